"""Controlling u: each way does what it says, and they are not the same thing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    clip_in_graph,
    constant_weight,
    long_term_weight,
    normal_weight,
    project,
    recurrent_weight_range,
    uniform_weight,
)
from indrnn_np.oracle.numerical import central_difference

DTYPES = ("float32", "float64")
RNG = np.random.default_rng


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("T", [1, 7, 100])
def test_drawn_weights_keep_the_promise_as_rounded_and_fill_the_range(T: int, dtype: str) -> None:
    ε, γ = Fraction(1, 2), 2
    both = {"uniform": uniform_weight((40, 5), T, γ, rng=RNG(0), dtype=dtype),
            "long": long_term_weight((40, 5), T, 0.5, γ, rng=RNG(0), dtype=dtype)}
    for name, u in both.items():
        assert u.shape == (40, 5)
        assert u.dtype == dtype
        powers = [Fraction(float(v)) ** T for v in u.ravel()]
        assert all((0 if name == "uniform" else ε) <= power <= γ for power in powers)
        low, high = recurrent_weight_range(T, 0.0 if name == "uniform" else 0.5, γ, dtype=dtype)
        assert u.min() < low + 0.05 * (high - low)
        assert u.max() > high - 0.05 * (high - low)
        assert abs(u.mean() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * 200)  # four standard errors
    assert not all(Fraction(float(v)) ** T <= γ for v in (both["uniform"] * np.array(1.1, dtype)).ravel())


def test_the_same_generator_draws_the_same_weights() -> None:
    assert np.array_equal(uniform_weight(9, 100, rng=RNG(3)), uniform_weight(9, 100, rng=RNG(3)))
    assert not np.array_equal(uniform_weight(9, 100, rng=RNG(3)), uniform_weight(9, 100, rng=RNG(4)))


def test_the_slope_widens_the_range_that_is_drawn_from() -> None:
    assert uniform_weight(500, 100, rng=RNG(0), slope=0.25).max() > 3.9


def test_a_constant_weight_of_1_hands_every_gradient_on() -> None:
    u = constant_weight(3, dtype="float32")
    assert u.tolist() == [1, 1, 1]
    assert u.dtype == "float32"
    trace = ir.forward(np.ones((50, 1, 1), np.float32), np.ones((3, 1), np.float32), u)
    assert (ir.analysis.gradient_through_time(trace) == 1).all()
    assert constant_weight((2, 2), -0.5).tolist() == [[-0.5, -0.5]] * 2


def test_normal_weights_have_their_mean_and_spread_and_no_bound() -> None:
    u = normal_weight(10_000, 0.4, 0.2, rng=RNG(1), dtype="float32")
    assert u.dtype == "float32"
    assert abs(float(u.mean()) - 0.4) < 4 * 0.2 / 100
    assert abs(float(u.std()) - 0.2) < 4 * 0.2 / math.sqrt(2e4)
    assert (u > recurrent_weight_range(100)[1]).any()


WEIGHTS = st.lists(st.floats(-3, 3, width=32) | st.sampled_from((0.0, -0.0, 0.5, -1.0, math.inf)), min_size=1,
                   max_size=8)
ENDS = st.tuples(st.floats(0, 1), st.floats(0.5, 2)).map(sorted)


def test_projection_goes_to_the_nearest_weight_in_range_and_keeps_the_sign() -> None:
    tally = Tally("projection")

    @given(WEIGHTS, ENDS, st.sampled_from(DTYPES), st.sampled_from((-1, 1)))
    @settings(max_examples=300)
    def claim(values: list[float], ends: list[float], dtype: str, zero: int) -> None:
        low, high = ends
        u = np.array(values, dtype)
        if np.nextafter(np.array(low, dtype), 9) >= np.nextafter(np.array(high, dtype), 0):
            tally.note(nontrivial=False)
            return
        held = project(u, low, high, zero=zero)
        assert held.dtype == dtype
        assert ((low <= np.abs(held.astype(float))) & (np.abs(held.astype(float)) <= high)).all()
        assert np.array_equal(project(held, low, high, zero=zero), held)
        inside = (low <= np.abs(u).astype(float)) & (np.abs(u).astype(float) <= high)
        assert np.array_equal(held[inside], u[inside])
        assert (np.sign(held) == np.where(u == 0, zero if low > 0 else 0, np.sign(u))).all()
        # Nearest: no grid of points in the range is nearer by more than a rounding.
        finite = np.isfinite(u)
        grid = np.linspace(low, high, 21)
        nearest = np.abs(u[finite, None].astype(float) - np.concatenate([grid, -grid])).min(axis=1)
        assert (np.abs(held - u)[finite] <= nearest + 4 * np.finfo(dtype).eps * 3).all()
        tally.note(bool((~inside).any()))

    claim()
    tally.require(0.6)


def test_range_ends_that_a_float32_does_not_have_are_rounded_inward() -> None:
    plainly = 0
    for T in range(1, 101):
        low, high = recurrent_weight_range(T, 1e-3)
        u = project(np.array([1e-4, 5.0], np.float32), low, high)
        assert Fraction(1e-3) <= Fraction(float(u[0])) ** T
        assert Fraction(float(u[1])) ** T <= 2
        assert np.array_equal(u, recurrent_weight_range(T, 1e-3, dtype="float32"))
        plainly += float(np.float32(high)) > high
    assert plainly > 20, "plain rounding would have done"


def test_a_weight_of_exactly_zero_escapes_a_lower_bound_only_if_asked_to() -> None:
    zeros = np.array([0.0, -0.0])
    assert project(zeros, 0.5, 1.0).tolist() == [0.5, 0.5]
    assert project(zeros, 0.5, 1.0, zero=-1).tolist() == [-0.5, -0.5]
    assert project(zeros, 0.5, 1.0, zero=0).tolist() == [0, 0]
    assert (np.sign(zeros) * np.clip(np.abs(zeros), 0.5, 1.0)).tolist() == [0, 0], "the way it is often written"
    assert clip_in_graph(zeros, 0.5, 1.0, zero=0)[0].tolist() == [0, 0]


def test_a_nan_weight_stays_visible() -> None:
    assert np.isnan(project(np.array([np.nan]), 0.1, 1.0)).all()


def test_the_gradient_of_clipping_in_the_graph_is_that_of_the_function() -> None:
    """Against central differences of it, away from its kinks; and zero beyond the range, both sides."""
    low, high = 0.25, 1.0
    v = np.array([-2.0, -0.6, -0.1, 0.1, 0.5, 0.9, 1.5])
    weights = np.array([3.0, -1.0, 2.0, 5.0, -4.0, 0.5, 7.0])
    u, backward = clip_in_graph(v, low, high)
    assert np.array_equal(u, project(v, low, high))
    found = central_difference(lambda v: (weights * clip_in_graph(v, low, high)[0]).sum(), v, noise=2.0**-48)
    assert not found.kink.any()
    assert (abs(backward(weights) - found.derivative) <= found.error).all()
    assert backward(weights).tolist() == [0, -1, 0, 0, -4, 0.5, 0]
    assert clip_in_graph(np.array([low, -high]), low, high)[1](np.ones(2)).tolist() == [1, 1], "the ends are inside"


def descent(hold: str, start: float, high: float = 1.1, target: float = 0.9) -> tuple[list[float], list[float]]:
    """Fit u of h_T = u^T h_0 to a target by gradient descent; return the weights in use, and those between steps."""
    T, v = 5, np.array([start])
    x, h0, W = np.zeros((T, 1, 1)), np.ones((1, 1)), np.ones((1, 1))
    used, left = [], []
    for _ in range(60):
        if hold == "before":
            v = project(v, 0.0, high)
        u, pull = clip_in_graph(v, 0.0, high) if hold == "in graph" else (v, lambda du: du)
        used.append(float(u[0]))
        trace = ir.forward(x, W, u, h0=h0, activation="identity")
        dh = np.zeros_like(trace.h)
        dh[-1] = trace.h[-1] - target**T
        v = v - 0.05 * pull(ir.backward(dh, trace).du)
        if hold == "after":
            v = project(v, 0.0, high)
        left.append(float(v[0]))
    return used, left


def test_a_weight_beyond_the_range_sticks_in_the_graph_and_is_freed_by_projection() -> None:
    used, left = descent("in graph", start=1.5)
    assert set(left) == {1.5}, "its gradient is zero, so it never moves"
    assert set(used) == {1.1}
    assert abs(descent("before", start=1.5)[1][-1] - 0.9) < 0.01
    assert abs(descent("after", start=1.1)[1][-1] - 0.9) < 0.01
    assert abs(descent("in graph", start=1.05)[1][-1] - 0.9) < 0.01, "within the range it learns like the others"


def test_projection_before_the_step_leaves_weights_beyond_the_range_and_after_it_does_not() -> None:
    """A target beyond the range pushes u outward at every step."""
    before_used, before_left = descent("before", start=1.0, target=1.3)
    after_used, after_left = descent("after", start=1.0, target=1.3)
    assert max(before_used) <= 1.1, "what is trained on is in range"
    assert before_left[-1] > 1.1, "what is left behind is not"
    assert max(after_used + after_left) <= 1.1
    unprojected = np.array(before_left)
    assert np.array_equal(project(unprojected, 0.0, 1.1), after_left), "the two differ by that projection alone"


@pytest.mark.parametrize(("call", "message"), [
    (lambda: uniform_weight(0, 10, rng=RNG(0)), r"^shape: expected a whole number above 0; got 0\.$"),
    (lambda: uniform_weight((3, -1), 10, rng=RNG(0)), r"^shape: "),
    (lambda: uniform_weight(3, 0, rng=RNG(0)), r"^steps: "),
    (lambda: uniform_weight(3, 10, rng=np.random), r"^rng: expected a np.random.Generator.*got module"),
    (lambda: uniform_weight(3, 10, math.inf, rng=RNG(0)), r"^gamma, slope: expected a range.*got \[0, inf\]"),
    (lambda: uniform_weight(3, 10, slope=0.0, rng=RNG(0)), r"^gamma, slope: "),
    (lambda: long_term_weight(3, 3, 2.0, 2.0, rng=RNG(0)), r"^gamma, slope: expected a range"),
    (lambda: long_term_weight(3, 3, 3.0, 2.0, rng=RNG(0)), r"^epsilon: expected at most gamma"),
    (lambda: uniform_weight(3, 10, rng=RNG(0), dtype=int), r"^dtype: "),
    (lambda: constant_weight(3, math.nan), r"^value: expected a finite number; got nan"),
    (lambda: constant_weight(3, True), r"^value: expected a number; got True \(bool\)"),
    (lambda: normal_weight(3, 0.4, -0.2, rng=RNG(0)), r"^std: "),
    (lambda: project([0.5], 0, 1), r"^u: expected a NumPy or CuPy array; got list"),
    (lambda: project(np.ones(2) * 1j, 0, 1), r"^u: expected dtype float32 or float64; got complex128"),
    (lambda: project(np.ones(2), 2, 1), r"^low: expected at most high"),
    (lambda: project(np.ones(2, np.float32), 1 + 2.0**-40, 1 + 2.0**-39), r"^low: expected at most high.*float32"),
    (lambda: project(np.ones(2), -1, 1), r"^low: "),
    (lambda: project(np.ones(2), 0, math.nan), r"^high: "),
    (lambda: project(np.ones(2), 0, 1, zero=2), r"^zero: expected 1, −1 or 0.*got 2"),
    (lambda: project(np.ones(2), 0, 1, zero=np.ones(2)), r"^zero: expected 1, −1 or 0"),
    (lambda: clip_in_graph(np.ones(2), 0, 1)[1](np.ones(3)), r"^du: expected an array like v, \(2,\) float64; got \("),
    (lambda: clip_in_graph(np.ones(2, int), 0, 1), r"^v: expected dtype"),
])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
