"""The oracle: nothing wrong passes, nothing right is accused, and each of its checks can fail."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import remembering
from every_engine import EVERY
from mutants import MUTANTS, Mutant, build

import indrnn_np as ir
from indrnn_np.oracle import candidates, installation, references, verification
from indrnn_np.oracle.inputs import STANDARD, Case
from indrnn_np.oracle.report import judge
from indrnn_np.oracle.verification import Check

pytestmark = pytest.mark.usefixtures("remembered")
CHECKS = tuple(map(remembering.check, verification.CHECKS))
SPECIFICATION, _, _, EQUATION_4 = CHECKS


def test_what_is_remembered_is_what_is_computed_of_that_case_and_that_h() -> None:
    cases = [case for case in SPECIFICATION.cases("tanh", "float32") if case.id in ("small", "fewer-inputs")]
    assert len(cases) == 2
    for check in (SPECIFICATION, EQUATION_4):
        computed = check.expected.of
        for case in cases * 2:
            for came in (case.dh, -case.dh):  # any h
                for ours, theirs in zip(check.expected(case, came), computed(case, came), strict=True):
                    assert ours.keys() == theirs.keys()
                    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def caught(mutant: Mutant, activation: str, check: Check) -> bool:
    """Whether a check has a finding in one of its cases, tried up to the first that has: the long ones come late."""
    candidate = candidates.from_engine_module(build(mutant))
    with np.errstate(all="ignore"):
        return any(verification._run(candidate, [(check, case)], False, lambda: None).findings
                   for case in check.cases(activation, "float32"))


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_every_engine_of_this_package_is_right(engine: str, activation: str) -> None:
    report = ir.oracle.verify(candidates.from_engine(engine), (activation,))
    assert report.passed, report


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_mistake_is_caught_in_every_activation_that_it_changes(mutant: Mutant) -> None:
    """By the specification alone, and without the cases of 2000 steps."""
    shorter = {id: recipe for id, recipe in STANDARD.items() if recipe.T <= 300}
    check = CHECKS[0]._replace(cases=verification._from(shorter))
    for activation in installation.NAMES:
        if activation not in mutant.harmless_in:
            assert caught(mutant, activation, check), f"{mutant.name} passes with {activation}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_alone_catches_many_planted_mistakes(check: Check) -> None:
    found = [mutant.name for mutant in MUTANTS
             if caught(mutant, "relu" if "relu" not in mutant.harmless_in else "tanh", check)]
    assert len(found) >= 0.4 * len(MUTANTS), found


def right(**given):
    """A right implementation, for changing one thing about it."""
    return candidates.from_engine("numpy")(**given)


def with_change(name, change):
    return lambda **given: {**right(**given), name: change(right(**given)[name])}


def unsteady(**given):
    given["x"][0] = 0  # after all, these arrays are the candidate's
    return right(**given)


@pytest.mark.parametrize(("candidate", "verdict", "name", "words"), [
    (with_change("dW", lambda v: v.T), "wrong shape or dtype", "dW", "expected shape (5, 8), float32; got (8, 5)"),
    (with_change("du", lambda v: v.astype(np.float64)), "wrong shape or dtype", "du", "expected float32; got float64"),
    (with_change("db", lambda v: v.tolist()), "wrong shape or dtype", "db", "expected a NumPy array; got list"),
    (with_change("h", lambda v: v * np.float32("nan")), "not finite", "h", ""),
    (with_change("dx", lambda v: v / np.float32(0)), "not finite", "dx", ""),
    (with_change("dh0", lambda v: v * np.float32(1.001)), "wrong", "dh0", "elements are off"),
    (lambda **given: 1 / 0, "crashed", "", "ZeroDivisionError: division by zero"),
    (lambda **given: None, "crashed", "", "TypeError"),
    (lambda **given: sys.exit(0), "crashed", "", "SystemExit"),
    (lambda **given: {**right(**given), "dw": 0}, "no such result", "dw", "dw: no such result; did you mean dW?"),
    (lambda x, W: None, "crashed", "", "unexpected keyword argument"),
    (unsteady, "modifies its inputs", "x", ""),
])
def test_a_finding_says_what_is_wrong_and_where(candidate, verdict: str, name: str, words: str) -> None:
    with np.errstate(all="ignore"):
        report = ir.oracle.verify(candidate, dtypes=("float32",))
    assert not report.passed
    found = [finding for finding in report.findings if (finding.verdict, finding.name) == (verdict, name)]
    assert found, report
    assert any(words in str(finding) for finding in found), found
    assert str(report).startswith("FAILED")


def test_a_wrong_number_is_shown_with_its_place_and_what_was_allowed() -> None:
    def one_element(v: np.ndarray) -> np.ndarray:
        v = v.copy()
        v[-1] *= np.float32(1.01)
        return v

    report = ir.oracle.verify(with_change("du", one_element), dtypes=("float32",))
    finding = next(f for f in report.findings if f.case == "small" and f.check == "specification")
    assert (finding.name, finding.index, finding.diagnosis) == ("du", (4,), None)
    assert abs(finding.got - 1.01 * finding.want) < 1e-5 * abs(finding.want)
    assert 0 < finding.allowed < 1e-4 * abs(finding.want)
    assert str(finding).startswith(f"du[4]: got {finding.got:.9g}, want {finding.want:.9g}, allowed error ")
    assert "1 of 5 elements are off" in str(finding)


def test_the_first_bad_step_is_the_one_that_each_direction_meets_first() -> None:
    def late(v: np.ndarray) -> np.ndarray:
        v = v.copy()
        v[3:5] += 1
        return v

    for name, step, walking in (("h", 3, "forward"), ("dx", 4, "backward")):
        report = ir.oracle.verify(with_change(name, late), dtypes=("float32",), diagnose=False)
        judgement = next(j for j in report.judgements if j.case == "small" and j.name == name and not j.right)
        assert judgement.first_bad_step == step
        assert f"first at [{step}] walking {walking} in time" in str(judgement.finding())


def test_the_report_of_a_right_implementation_says_passed() -> None:
    report = ir.oracle.verify(right, ("relu",), ("float64",))
    assert report.passed
    assert not report.findings
    assert str(report).startswith(f"PASSED: {len(report.judgements)} tensors compared")
    assert report.as_dict()["worst"].keys() == {check.name for check in CHECKS}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "leaky_relu(0.125)"])
@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_another_slope_at_the_kink_is_seen(activation: str, slope: float) -> None:
    """Such as maximum(z, 0) of PyTorch and JAX, whose slope at 0 is a half."""
    σ = ir.activations.resolve(activation)
    other = ir.Activation("other", σ.value, lambda z: np.where(z == 0, z.dtype.type(slope), σ.slope(z)))

    def candidate(x, W, u, b, h0, dh, activation):
        trace = ir.forward(x, W, u, b, h0, other)
        return {"h": trace.h, **ir.backward(dh, trace)._asdict()}

    report = ir.oracle.verify(candidate, (activation,), ("float32",))
    assert {finding.case for finding in report.findings if finding.check == "specification"} == {"on-the-kink"}
    assert "h" not in {finding.name for finding in report.findings}


@pytest.mark.usefixtures("no_long_cases")
def test_a_wrong_forward_is_not_blamed_on_backward() -> None:
    def without_h0(x, W, u, b, h0, dh, activation):
        h = ir.forward(x, W, u, b, None, activation).h
        gradients = ir.backward(dh, dataclasses.replace(ir.forward(x, W, u, b, h0, activation), h=h))
        return {"h": h, **gradients._asdict()}

    for activation in installation.NAMES:
        σ = ir.activations.resolve(activation)
        if not σ.needs_z:  # where backward takes all it needs from h
            report = ir.oracle.verify(without_h0, (activation,))
            assert {finding.name for finding in report.findings} == {"h"}, report


def test_a_backward_that_forms_z_anew_in_another_order_is_not_accused() -> None:
    """A long sum that cancels: ẑ differs between the passes, and tanh is steep where it does."""
    rng = np.random.default_rng(0)
    T, B, M, N = 5, 2, 40, 3
    x, W = 30 * rng.standard_normal((T, B, M)), rng.standard_normal((N, M))
    x -= (x @ W.T - rng.uniform(-1, 1, (T, B, N))) @ np.linalg.pinv(W).T
    u, b, h0, dh = rng.uniform(-1, 1, N), np.zeros(N), rng.uniform(-1, 1, (B, N)), rng.standard_normal((T, B, N))
    case = Case("cancel", "tanh", *(v.astype(np.float32) for v in (x, W, u, b, h0, dh)))
    x, W, u, b, h0, dh = case.arrays().values()

    h = ir.recurrent_forward(x @ W.T + b, u, h0, "tanh")
    again = np.zeros_like(h)
    for m in reversed(range(M)):
        again += x[..., m, None] * W[:, m]
    da, du, dh0 = ir.recurrent_backward(dh, h, again + b, u, h0, "tanh")
    rows = da.reshape(-1, N)
    got = {"dx": da @ W, "dW": rows.T @ x.reshape(-1, M), "du": du, "db": rows.sum(0), "dh0": dh0}
    expected = references.specification(case, h)
    judgements = [judge("", "cancel", "tanh", name, value, expected.value[name], expected.allowed[name])
                  for name, value in got.items()]
    assert all(j.right for j in judgements), judgements
    local = references.specification(Case("", "tanh", again + b, np.eye(N, dtype=x.dtype), u, b, h0, dh), h)
    assert not judge("", "", "", "dx", da, local.value["dx"], local.allowed["dx"]).right, "ẑ did not differ enough"


@pytest.mark.usefixtures("no_long_cases")
def test_every_tensor_of_every_activation_is_judged_in_some_case() -> None:
    """A bound so loose that nothing is judged would let anything pass."""
    for activation in installation.NAMES:
        for dtype in installation.DTYPES:
            report = ir.oracle.verify(candidates.from_engine("numpy"), (activation,), (dtype,))
            judged = {(j.check, j.name) for j in report.judgements if j.judged}
            assert {name for check, name in judged if check == "specification"} == {"h", "dx", "dW", "du", "db", "dh0"}
            assert {name for check, name in judged if check == "complex step"} == {"h", "dx", "dW", "du", "db", "dh0"}
            assert {name for check, name in judged if check == "Eq. 4"} == {"h", "dx", "dh0"}
            assert report.not_judged < 0.1 * len(report.judgements)
