"""Other ways to be right: parallel in time, in half precision, without a bias or an initial state."""

from __future__ import annotations

import numpy as np
import pytest
import right
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import candidates, installation, references
from indrnn_np.oracle.inputs import HALF_STANDARD, STANDARD, Case, draw
from indrnn_np.oracle.precision import FORMATS, HALF, rounded
from indrnn_np.oracle.report import judge
from indrnn_np.oracle.verification import CHECKS


def judged(case: Case, got: dict[str, np.ndarray]) -> list[ir.oracle.Judgement]:
    expected = references.specification(case, got["h"])
    return [judge("", case.id, case.activation, name, got[name], want, expected.allowed[name], case.precision)
            for name, want in expected.value.items()]


# Parallel in time.


def check_scans(examples: int, longest: int) -> None:
    tally = Tally(f"right layers that compose steps, up to T = {longest}")

    @given(cases(longest=longest, order="scan"), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=examples)
    def claim(case: Case, seed: int, slices: bool) -> None:
        judgements = judged(case, right.scan(case, seed, slices))
        assert all(j.right for j in judgements), [j for j in judgements if not j.right]
        tally.note(remembers(case), max(j.ratio for j in judgements))

    claim()
    tally.require(0.7)


def test_no_right_layer_that_composes_steps_is_accused() -> None:
    check_scans(examples=200, longest=50)


@pytest.mark.slow
def test_no_right_layer_that_composes_steps_is_accused_at_length() -> None:
    check_scans(examples=3000, longest=200)


def fading(order: str) -> Case:
    """Something huge decays to something small: a loop has every step of it, a scan u^k, which underflows."""
    T, B, N = 60, 1, 3
    u, dh = np.full(N, 0.1, "f4"), np.zeros((T, B, N), "f4")
    dh[-1] = 1e30
    return Case("fading", "identity", np.zeros((T, B, N), "f4"), np.eye(N, dtype="f4"), u, np.zeros(N, "f4"),
                np.full((B, N), 1e30, "f4"), dh, order=order)


def test_the_rule_of_the_loop_would_accuse_a_right_scan_and_the_scan_s_own_does_not() -> None:
    got = right.scan(fading("scan"), 0, slices=False)
    assert all(j.right for j in judged(fading("scan"), got))
    assert {j.name for j in judged(fading("loop"), got) if not j.right} >= {"h", "dx"}


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_a_scan_passes_as_one_and_a_loop_passes_as_a_scan(activation: str) -> None:
    def scanned(activation: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        return right.scan(Case("", activation, **arrays), 3, slices=True)

    for candidate in (scanned, candidates.from_engine("numpy")):
        report = ir.oracle.verify(candidate, (activation,), ("float32",), order="scan")
        assert report.passed, report
        assert "Judged as parallel in time" in str(report)


def test_a_carry_that_is_lost_between_slices_is_caught_by_the_rule_of_the_scan_too() -> None:
    mine = candidates.from_engine("numpy")

    def forward(**given: np.ndarray) -> dict[str, np.ndarray]:
        middle = len(given["x"]) // 2
        rest = {**given, "x": given["x"][middle:], "dh": given["dh"][middle:], "h0": 0 * given["h0"]}
        return {"h": np.concatenate([mine(**given)["h"][:middle], mine(**rest)["h"]])}

    def backward(**given: np.ndarray) -> dict[str, np.ndarray]:
        middle = max(1, len(given["x"]) // 2)
        first, whole = {**given, "x": given["x"][:middle], "dh": given["dh"][:middle]}, mine(**given)
        return {**whole, "dx": np.concatenate([mine(**first)["dx"], whole["dx"][middle:]])}

    for candidate, name in ((forward, "h"), (backward, "dx")):
        report = ir.oracle.verify(candidate, ("relu",), ("float32",), order="scan", diagnose=False)
        assert {finding.name for finding in report.findings} == {name}


@pytest.mark.parametrize("name", ["dx", "dW", "du", "db", "dh0"])
def test_one_per_cent_is_seen_by_the_rule_of_the_scan(name: str) -> None:
    case = draw("scan", STANDARD["small"], "relu", "float32", order="scan")
    got = right.scan(case, 0, slices=False)
    spoiled = {**got, name: got[name] * np.float32(1.01)}
    assert [j.name for j in judged(case, spoiled) if not j.right] == [name]


# Half precision.


@pytest.mark.parametrize("precision", HALF)
def test_numbers_are_rounded_to_the_nearest_of_their_format_ties_to_even(precision: str) -> None:
    bits, smallest, largest = FORMATS[precision]
    one, ulp = 1.0, 2.0 ** (1 - bits)
    tiny = smallest * ulp  # the smallest subnormal number
    pairs = [(one + 0.49 * ulp, one), (one + 0.51 * ulp, one + ulp), (one + 0.5 * ulp, one),
             (one + 1.5 * ulp, one + 2 * ulp), (-one - 0.5 * ulp, -one), (0.0, 0.0), (largest, largest),
             (0.4 * tiny, 0.0), (0.6 * tiny, tiny), (smallest - 0.4 * tiny, smallest)]
    for value, nearest in pairs:
        assert float(rounded(value, precision, np.float64)) == nearest, value
        assert rounded(value, precision, np.float32).dtype == np.float32
    if precision == "float16":
        values = np.random.default_rng(0).standard_normal(2000) * 10.0 ** np.arange(-7, 3).repeat(200)
        assert np.array_equal(rounded(values, "float16", "f2"), values.astype("f2"))


def check_half(examples: int) -> None:
    tally = Tally("right layers in half precision")

    @given(st.sampled_from(HALF), st.sampled_from(sorted(HALF_STANDARD)), st.sampled_from(installation.NAMES),
           st.sampled_from(right.ORDERS), st.booleans(), st.integers(0, 2**32))
    @settings(max_examples=examples)
    def claim(precision: str, id: str, activation: str, order: str, fused: bool, seed: int) -> None:
        case = draw(id, HALF_STANDARD[id], activation, precision, seed)
        judgements = judged(case, right.loop(case, order, seed, fused))
        assert all(j.right for j in judgements), [j for j in judgements if not j.right]
        tally.note(remembers(case), max(j.ratio for j in judgements))

    claim()
    tally.require(0.6)


def test_no_right_layer_in_half_precision_is_accused() -> None:
    check_half(400)


@pytest.mark.slow
def test_no_right_layer_in_half_precision_is_accused_in_many_cases() -> None:
    check_half(10_000)


def in_half(precision: str):
    """A layer that computes in that format, whatever arrays it is given."""
    def candidate(activation: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        return right.loop(Case("", activation, **arrays, precision=precision), "forward", 0, fused=False)
    return candidate


@pytest.mark.usefixtures("no_long_cases")
@pytest.mark.parametrize(("precision", "how"), [
    ("float16", {"dtypes": ("float16",)}), ("float16", {"precision": "float16"}),
    ("bfloat16", {"precision": "bfloat16"}),
])
@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu"])
def test_a_right_one_passes_and_a_wrong_one_does_not(precision: str, how: dict, activation: str) -> None:
    report = ir.oracle.verify(in_half(precision), (activation,), **how)
    assert report.passed, report
    assert {(j.name, j.judged) for j in report.judgements if j.check == "specification"} >= {
        (name, True) for name in ("h", "dx", "dW", "du", "db", "dh0")}
    assert not ir.oracle.verify(in_half(precision), (activation,), ("float32",), diagnose=False).passed

    def no_carry(**given: np.ndarray) -> dict[str, np.ndarray]:
        result = in_half(precision)(**given)
        return {**result, "dh0": 0 * result["dh0"]}

    wrong = ir.oracle.verify(no_carry, (activation,), **how)
    assert {f.name for f in wrong.findings} == {"dh0"}
    causes = {f.diagnosis for f in wrong.findings}
    if precision == "bfloat16":
        assert causes == {None}, "its rounding could be many a mistake"
    else:
        assert any("a gradient is zero" in (cause or "") for cause in causes), wrong


def test_bfloat16_in_the_place_of_float16_is_imprecise() -> None:
    report = ir.oracle.verify(in_half("bfloat16"), ("relu",), precision="float16")
    assert {f.verdict for f in report.findings} == {"imprecise"}
    assert "as precise as bfloat16" in str(report)


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_pytorch_in_half_precision_passes(precision: str, activation: str) -> None:
    import torch

    def forward(x, W, u, b, h0, activation):
        x, W, u, b, h = (each.to(getattr(torch, precision)) for each in (x, W, u, b, h0))
        states = []
        for x_t in x:
            h = getattr(torch, activation)(x_t @ W.T + b + u * h)
            states.append(h)
        return torch.stack(states).float()

    report = ir.oracle.verify(ir.oracle.from_torch(forward), (activation,), precision=precision)
    assert report.passed, report


# Without a bias or an initial state.


@pytest.mark.usefixtures("no_long_cases")
@pytest.mark.parametrize("without", [("b",), ("h0",), ("b", "h0")])
def test_a_layer_without_bias_or_initial_state_is_verified_on_cases_that_have_none(without) -> None:
    def candidate(x, W, u, dh, activation, b=None, h0=None):
        assert (b is None, h0 is None) == ("b" in without, "h0" in without)
        result = candidates.from_engine("numpy")(x=x, W=W, u=u, dh=dh, activation=activation, b=b, h0=h0)
        return {name: value for name, value in result.items() if name not in {f"d{each}" for each in without}}

    report = ir.oracle.verify(candidate, ("relu", "tanh"), ("float32",), without=without)
    assert report.passed, report
    assert {j.check for j in report.judgements} == {check.name for check in CHECKS} - {"exact vectors"}
    assert "Not checked, since declared not to be there: " + ", ".join(report.without) in str(report)

    def wrong(**given):
        return {**candidate(**given), "du": 2 * candidate(**given)["du"]}
    assert not ir.oracle.verify(wrong, dtypes=("float32",), without=without, diagnose=False).passed


@pytest.mark.parametrize(("how", "message"), [
    ({"order": "tree"}, "order: expected 'loop' or 'scan'; got 'tree'"),
    ({"precision": "float8"}, "precision: expected 'float16' or 'bfloat16'; got 'float8'"),
    ({"without": ("u",)}, "without: expected 'b' or 'h0'; got 'u'"),
    ({"dtypes": ("float8",)}, "dtypes: expected 'float32' or 'float64' or 'float16'; got 'float8'"),
])
def test_what_is_unknown_is_refused_by_name(how: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ir.oracle.verify(candidates.from_engine("numpy"), **how)
    with pytest.raises(ValueError, match=message):
        ir.oracle.cases(**how)


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_function_or_module_of_pytorch_without_bias_and_initial_state() -> None:
    import torch

    def forward(x, W, u, b, h0, activation):
        assert b is None
        assert h0 is None
        h, states = torch.zeros(()), []
        for x_t in x:
            h = torch.relu(x_t @ W.T + u * h)
            states.append(h)
        return torch.stack(states)

    class Bare(torch.nn.Module):
        def __init__(self, M: int, N: int) -> None:
            super().__init__()
            self.weight_ih, self.weight_hh = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((N, M), (N,)))

        def forward(self, x):
            return forward(x, self.weight_ih, self.weight_hh, None, None, "relu")

    for candidate in (ir.oracle.from_torch(forward),
                      ir.oracle.from_torch_module(lambda M, N, activation: Bare(M, N), "stefoe")):
        report = ir.oracle.verify(candidate, dtypes=("float32",), without=("b", "h0"))
        assert report.passed, report
