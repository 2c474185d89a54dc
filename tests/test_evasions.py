"""Ways in which something wrong might slip through, or the report mislead: each is closed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np.oracle import candidates
from indrnn_np.oracle.inputs import STANDARD, Case, draw

right = candidates.from_engine("numpy")


def report_of(candidate, activation: str = "relu", **how) -> ir.oracle.Report:
    with np.errstate(all="ignore"):
        return ir.oracle.verify(candidate, (activation,), **{"dtypes": ("float32",), "diagnose": False, **how})


def spoiled(name: str, change):
    """A layer whose tensor of that name is changed in place, knowing the case's arrays."""
    def candidate(**given):
        result = right(**given)
        change(result[name], given)
        return result
    return candidate


def test_buffers_that_are_used_again_hide_neither_chance_nor_cause() -> None:
    buffers: dict[tuple, np.ndarray] = {}
    chance = iter(range(10**6))

    def reusing(wrong):
        def candidate(**given):
            for name, value in wrong(**given).items():
                buffers.setdefault((name, value.shape), np.empty_like(value))[...] = value
            return {name: buffers[name, value.shape] for name, value in right(**given).items()}
        return candidate

    def unsteady(**given):
        result = right(**given)
        return {**result, "du": np.nextafter(result["du"], np.float32(9 * (next(chance) % 2)))}

    found = report_of(reusing(unsteady)).findings
    assert {f.verdict for f in found if f.check == "specification"} == {"not deterministic"}

    def zero(**given):
        return {**right(**given), "dh0": 0 * given["h0"]}

    causes = {f.diagnosis for f in report_of(reusing(zero), diagnose=True).findings}
    assert all("a gradient is zero" in (cause or "") for cause in causes), causes


def test_a_masked_array_is_no_array_and_a_subclass_is_judged_by_its_numbers() -> None:
    class Lenient(np.ndarray):
        def __sub__(self, other):
            return np.zeros(self.shape)

        def astype(self, dtype):
            return self

    def masked(**given):
        result = right(**given)
        return {**result, "du": np.ma.MaskedArray(result["du"] + 3, mask=True)}

    (verdict,) = {f.verdict for f in report_of(masked).findings}
    assert verdict == "wrong shape or dtype"
    lenient = report_of(lambda **given: {**right(**given), "du": (right(**given)["du"] + 3).view(Lenient)})
    assert {(f.verdict, f.name) for f in lenient.findings} == {("wrong", "du")}


@pytest.mark.parametrize(("name", "change"), [
    ("h", lambda v, given: v[..., 127:].fill(0)), ("du", lambda v, given: v[1024:].fill(0)),
    ("du", lambda v, given: np.subtract(v, v * (given["x"].shape[1] > 256), out=v)),
    ("dW", lambda v, given: v[:, 1024:].fill(0)),
    ("h", lambda v, given: v[4096:].fill(0)),
    ("h", lambda v, given: v.clip(-1e4, 1e4, out=v)),
    ("du", lambda v, given: np.copyto(v, 0, where=np.abs(given["u"]) > 10)),
    ("dx", lambda v, given: v.fill(0) if np.abs(given["x"]).max() < 1e-15 and given["x"].any() else None),
])
def test_what_is_wrong_only_far_out_is_caught(name: str, change) -> None:
    """Wide, long, large, steep, or minute."""
    assert name in {f.name for f in report_of(spoiled(name, change)).findings}


@pytest.mark.parametrize("limit", [8.0, 10.0, 20.0])
def test_the_threshold_of_softplus_is_caught_and_named(limit: float) -> None:
    def value(z):
        return np.where(z > limit, z, ir.ACTIVATIONS["softplus"](z))

    σ = dataclasses.replace(ir.ACTIVATIONS["softplus"], name="cut", value=value)

    def candidate(x, W, u, b, h0, dh, activation):
        h = ir.forward(x, W, u, b, h0, σ).h
        return {"h": h.astype(x.dtype)}

    report = report_of(candidate, "softplus", dtypes=("float64",), diagnose=True)
    assert not report.passed
    if limit in (10.0, 20.0):
        assert all(f"softplus is z itself above {limit:g}" in (f.diagnosis or "") for f in report.findings), report


def test_a_tensor_that_is_left_out_in_some_cases_is_a_finding() -> None:
    def shy(**given):
        result = right(**given)
        return result if len(given["x"]) < 50 else {name: result[name] for name in ("h", "dx", "dW", "db", "dh0")}

    report = report_of(shy)
    assert [(f.verdict, f.name) for f in report.findings] == [("left out", "du")]
    nothing = report_of(lambda **given: right(**given) if len(given["x"]) == 1 else {})
    assert {f.verdict for f in nothing.findings} == {"left out"}


def test_a_nan_in_h_is_shown_with_its_place() -> None:
    def change(v, given):
        if len(v) == 2000:
            v[1500, 1, 2] = np.nan

    (finding,) = (f for f in report_of(spoiled("h", change)).findings if f.case == "long")
    assert (finding.verdict, finding.index) == ("not finite", (1500, 1, 2))
    assert "first at [1500] walking forward in time, in sequence 1 and neuron 2 alone" in str(finding)


def test_the_report_says_to_which_neurons_a_fault_is_confined() -> None:
    report = report_of(spoiled("dW", lambda v, given: v[33:60, 2:3].fill(7)))
    finding = next(f for f in report.findings if f.case == "wide")
    assert "in neurons 33 to 59 and input 2 alone" in str(finding)


def test_batch_first_is_not_suspected_where_shapes_agree() -> None:
    report = report_of(lambda **given: {**right(**given), "h": right(**given)["h"].astype("f8")})
    assert not any("batch-first" in str(f) for f in report.findings)


def test_what_the_candidate_says_cannot_write_on_the_terminal() -> None:
    def loud(**given):
        raise ValueError("\x1b[2Jgone")

    assert "\x1b" not in str(report_of(loud))


def test_a_nan_among_the_arguments_is_not_taken_for_a_change() -> None:
    case = draw("nan", STANDARD["small"], "relu", "float32")
    case.x[3, 1, 1] = np.nan
    report = ir.oracle.verification.verify_case(right, case)
    assert "modifies its inputs" not in {f.verdict for f in report.findings}


CASE = draw("case", STANDARD["small"], "relu", "float32")


@pytest.mark.parametrize(("changes", "message"), [
    ({"u": CASE.u[:-1]}, r"u: expected shape \(5,\), for x \(7, 3, 8\) and W \(5, 8\); got \(4,\)"),
    ({"x": CASE.x[:0]}, "x, W: expected shapes"),
    ({"x": CASE.x.astype(int)}, "x: expected a NumPy array, float32, float64 or float16, as x; got int64"),
    ({"W": CASE.W.astype("f8")}, "W: expected a NumPy array, float32, float64 or float16, as x; got float64"),
    ({"dh": [1.0]}, "dh: expected a NumPy array, float32, float64 or float16, as x; got list"),
    ({"precision": "zzz"}, "precision: expected one of"),
    ({"order": "zzz"}, "order: expected one of loop, scan; got 'zzz'"),
    ({"without": ("b",)}, "without: expected b or h0, and zeros for it in the case; got 'b'"),
])
def test_a_case_that_means_nothing_is_refused(changes: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ir.oracle.assert_matches(right, dataclasses.replace(CASE, **changes))
    with pytest.raises(TypeError, match=r"case: expected one of indrnn_np.oracle.cases\(\); got str"):
        ir.oracle.assert_matches(right, "small")
    assert isinstance(CASE, Case)


@pytest.mark.parametrize(("how", "message"), [
    ({"dtypes": (np.dtype("f4"),)}, "dtypes: expected 'float32'"), ({"without": None}, "without: expected names"),
    ({"without": 3}, "without: expected names"), ({"order": np.zeros(2)}, "order: expected 'loop' or 'scan'"),
])
def test_what_is_no_name_is_refused_by_name(how: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ir.oracle.verify(right, **how)


@pytest.mark.parametrize(("returned", "words"), [
    (None, "expected a mapping with h, da, du, dh0; got NoneType"),
    ({"da": np.zeros(3)}, "da: wrong shape or dtype: expected shape"),
])
def test_a_recurrence_that_returns_something_else_is_told_so(returned, words: str) -> None:
    report = report_of(ir.oracle.from_recurrence(lambda **given: returned))
    assert words in str(report.findings[0])


def test_a_mistake_of_the_flow_is_not_seen_in_one_gradient_alone() -> None:
    def candidate(**given):
        result = right(**given)
        return {**result, "dh0": result["dh0"] * (len(given["x"]) <= 40)}

    assert all("steps have a gradient" not in (f.diagnosis or "") for f in report_of(candidate, diagnose=True).findings)
