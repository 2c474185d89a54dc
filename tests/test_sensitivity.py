"""Forward mode says what backward says, and its sharp bound is attained."""

from __future__ import annotations

import numpy as np
import pytest
from extremes import absolute_sums
from hypothesis import given, settings
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import forward_mode, sensitivities, sharp_bounds
from indrnn_np.oracle import installation
from indrnn_np.oracle.inputs import SMALL, STANDARD, Case, draw
from indrnn_np.oracle.numerical import complex_step
from indrnn_np.oracle.tolerance import gamma

NAMES = ("dW", "du", "db", "dh0")


def run(case: Case) -> ir.Trace:
    return ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation)


def rounding(trace: ir.Trace) -> float:
    """At most 8 roundings a step on a path (4 in a slope by state) and one a term, on either side."""
    T, B, _ = trace.h.shape
    return 2 * float(gamma(8 * T + T * B + 16, np.finfo(trace.h.dtype).eps / 2))


def test_forward_in_time_gives_what_backward_gives_in_every_regime() -> None:
    tally = Tally("⟨dh, p⟩, ⟨dh, q⟩, ⟨dh, R⟩, ⟨dh, v⟩ = backward")

    @given(cases(longest=40))
    @settings(max_examples=150)
    def claim(case: Case) -> None:
        trace = run(case)
        forward, backward, kept = forward_mode(case.dh, trace), ir.backward(case.dh, trace), sensitivities(trace)
        size = absolute_sums(case.dh, trace)
        contracted = {"du": (case.dh * kept.p).sum((0, 1)), "db": (case.dh * kept.q).sum((0, 1)),
                      "dh0": (case.dh * kept.v).sum(0)}
        worst = 0.0
        for name in NAMES:
            got, want = getattr(forward, name), getattr(backward, name)
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            allowed = rounding(trace) * getattr(size, name) + 8 * len(case.x) * np.finfo(case.dtype).tiny
            for found in (got, contracted.get(name, got)):
                assert (np.abs(found - want) <= allowed).all(), name
                worst = max(worst, float((np.abs(found - want) / allowed).max()))
        tally.note(remembers(case) and bool(size.du.any()), worst)

    claim()
    tally.require(0.5)


@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_sensitivities_are_the_derivatives_of_every_state(activation: str) -> None:
    case = draw("sensitivities", SMALL["few"], activation, "float64")
    trace, kept = run(case), sensitivities(run(case))
    arguments = {name: getattr(case, name) + 0j for name in ("x", "W", "u", "b", "h0")}
    for name, found in (("u", kept.p), ("b", kept.q), ("h0", kept.v)):
        def states(value: np.ndarray, name: str = name) -> np.ndarray:
            return ir.forward(**(arguments | {name: value}), activation=activation).h
        jacobian = complex_step(states, getattr(case, name))
        own = np.einsum("tbnbn->tbn", jacobian) if name == "h0" else np.einsum("tbnn->tbn", jacobian)
        size = np.abs(own) + absolute_sums(np.ones_like(trace.h), trace).du.max() + 1
        assert (np.abs(found - own) <= 4 * rounding(trace) * size).all(), name
        assert np.count_nonzero(jacobian) <= own.size, "another neuron's or sequence's parameter was felt"


def test_no_loss_exceeds_the_sharp_bound_and_one_attains_it() -> None:
    tally = Tally("|du| ≤ Σ |dh||p|, and as for db, dW, dh0")

    @given(cases(longest=30))
    @settings(max_examples=200)
    def claim(case: Case) -> None:
        trace = run(case)
        bounds, size = sharp_bounds(case.dh, trace), absolute_sums(case.dh, trace)
        gradients = ir.backward(case.dh, trace)
        slack = {name: rounding(trace) * getattr(size, name) + 8 * len(case.x) * np.finfo(case.dtype).tiny
                 for name in NAMES}
        for name in NAMES:
            assert (np.abs(getattr(gradients, name)) <= getattr(bounds, name) + slack[name]).all(), name
        kept, worst = sensitivities(trace), 0.0
        for name, sensitivity in (("du", kept.p), ("db", kept.q), ("dh0", kept.v)):
            attained = getattr(ir.backward(np.abs(case.dh) * np.sign(sensitivity), trace), name)
            error = np.abs(attained - getattr(bounds, name))
            assert (error <= slack[name]).all(), name
            worst = max(worst, float((error / slack[name]).max()))
        mutant = 0.99 * bounds.du  # a bound 1 % too small must be caught
        caught = np.abs(ir.backward(np.abs(case.dh) * np.sign(kept.p), trace).du) > mutant + slack["du"]
        telling = 0.005 * bounds.du > slack["du"]
        assert caught[telling].all()
        tally.note(remembers(case) and bool(telling.any()), worst)

    claim()
    tally.require(0.5)


@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_bound_of_each_input_weight_is_attained_by_its_own_cotangent(activation: str) -> None:
    case = draw("input weights", SMALL["few"], activation, "float64")
    trace = run(case)
    bound, slack = sharp_bounds(case.dh, trace).dW, rounding(trace) * absolute_sums(case.dh, trace).dW
    arguments = {name: getattr(case, name) + 0j for name in ("x", "u", "b", "h0")}
    for n, m in np.ndindex(case.W.shape):
        def states(value: np.ndarray, n: int = n, m: int = m) -> np.ndarray:
            W = case.W + 0j
            W[n, m] = value[0]
            return ir.forward(W=W, **arguments, activation=activation).h
        steepest = np.sign(complex_step(states, case.W[n, m, None])[..., 0])  # of R, found without R
        attained = ir.backward(np.abs(case.dh) * steepest, trace).dW[n, m]
        assert abs(attained - bound[n, m]) <= slack[n, m]
        assert bound[n, m] > 0


def test_an_equation_taken_one_step_late_is_caught() -> None:
    """p_t = s_t (h_t + u p_{t−1}) in place of h_{t−1}: the commonest slip gives another du."""
    case = draw("late", STANDARD["small"], "tanh", "float64")
    trace = run(case)
    p, late = np.zeros_like(trace.h[0]), np.zeros_like(trace.u)
    for t, h_t in enumerate(trace.h):
        p = (1 - h_t**2) * (h_t + trace.u * p)
        late += (case.dh[t] * p).sum(0)
    allowed = rounding(trace) * absolute_sums(case.dh, trace).du
    assert (np.abs(late - ir.backward(case.dh, trace).du) > 1e6 * allowed).all()


def test_what_is_no_trace_or_no_cotangent_is_named() -> None:
    trace = run(draw("door", SMALL["few"], "relu", "float64"))
    with pytest.raises(TypeError, match=r"^trace: expected the Trace that forward returned; got ndarray\."):
        sensitivities(trace.h)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^trace: expected the Trace"):
        forward_mode(trace.h, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^dh: expected shape"):
        sharp_bounds(trace.h[1:], trace)
    with pytest.raises(TypeError, match=r"^dh: expected dtype float64"):
        forward_mode(trace.h.astype(np.float32), trace)
