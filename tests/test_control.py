"""Controlling u and its gradients: each way does what it says, and they are not the same thing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    backward_clipping_inside,
    clip_by_norm,
    clip_by_value,
    clip_in_graph,
    constant_weight,
    long_term_weight,
    normal_weight,
    project,
    recurrent_weight_range,
    uniform_weight,
)
from indrnn_np.oracle.inputs import Case
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


def one_neuron(T: int = 200, u: float = 1.02, drive: float = 0.01, last: float = 5.0):
    a, h0 = np.full((T, 1, 1), drive), np.zeros((1, 1))
    h = ir.recurrent_forward(a, np.array([u]), h0)
    dh = np.zeros_like(h)
    dh[-1] = last
    return dh, h, a, np.array([u]), h0


def test_clipping_inside_after_and_not_at_all_are_1187_and_1_and_19292() -> None:
    dh, h, a, u, h0 = one_neuron()
    du = ir.recurrent_backward(dh, h, a, u, h0).du
    inside = backward_clipping_inside(dh, h, a, u, h0, "relu", 1.0)
    assert round(float(du[0])) == 19292
    assert round(float(inside.du[0])) == 1187
    assert clip_by_value(du, 1.0).tolist() == [1]
    (shrunk,), norm = clip_by_norm([du], 1.0)
    assert shrunk.tolist() == [1]
    assert norm == du[0]
    assert (inside.da == 1).all(), "the limit at every step: the bound is attained"
    assert abs(inside.du[0] - h[:-1].sum()) <= 200 * np.finfo(float).eps * h[:-1].sum()


def clipped_by_hand(dh, h, a, u, h0, activation: str, limit: float) -> tuple[np.ndarray, ...]:
    """The equations of clipping inside, one number at a time."""
    σ = ir.activations.resolve(activation)
    before = np.concatenate([h0[None], h[:-1]])
    slope = σ.pull(np.ones_like(h), a + u * before, h)
    T, B, N = h.shape
    da, du, dh0 = np.zeros_like(h), np.zeros(N), np.zeros((B, N))
    for b, n in np.ndindex(B, N):
        carried = 0.0
        for t in range(T - 1, -1, -1):
            carried = min(max(slope[t, b, n] * (dh[t, b, n] + u[n] * carried), -limit), limit)
            da[t, b, n] = carried
            du[n] += carried * before[t, b, n]
        dh0[b, n] = u[n] * carried
    return da, du, dh0


def recurrence_of(case: Case) -> tuple[np.ndarray, ...]:
    x, W, u, b, h0, dh = (array.astype(float) for array in case.arrays().values())
    a = x @ W.T + b
    return dh, ir.recurrent_forward(a, u, h0, case.activation), a, u, h0


def test_clipping_inside_is_its_equations_and_bounds_what_it_says() -> None:
    tally = Tally("clipping inside: |dz| ≤ limit, |du| ≤ limit Σ|h_{t−1}|")

    @given(cases(longest=30), st.floats(0.05, 3.0))
    @settings(max_examples=200)
    def claim(case: Case, limit: float) -> None:
        given = recurrence_of(case)
        dh, h, _, u, h0 = given
        got = backward_clipping_inside(*given, case.activation, limit)
        before = np.abs(np.concatenate([h0[None], h[:-1]]))
        unit = np.finfo(float).eps
        for name, mine, want in zip(("da", "du", "dh0"), got, clipped_by_hand(*given, case.activation, limit),
                                    strict=True):
            # da: at most 4 roundings a step of what is at most limit, each carried on by |u| ≤ 1.2; clipping does
            # not enlarge an error. du sums T·B of them.
            growth = max(1.0, np.abs(u).max() ** len(h))
            size = {"da": 1.0, "du": before.sum((0, 1)) + before.size, "dh0": np.abs(u)}[name]
            assert (abs(mine - want) <= 8 * len(h)**2 * growth * unit * (limit + abs(dh).max()) * size).all(), name
        assert (np.abs(got.da) <= limit).all()
        slack = 1 + before[..., 0].size * unit
        assert (np.abs(got.du) <= limit * before.sum((0, 1)) * slack).all()
        assert (np.abs(got.dh0) <= limit * np.abs(u) * slack).all()
        free = ir.recurrence.backward(*given, case.activation)
        for mine, other in zip(backward_clipping_inside(*given, case.activation, math.inf), free, strict=True):
            assert np.array_equal(mine, other)
        clipped = (np.abs(free.da) > limit).any()
        assert clipped or np.array_equal(got.da, free.da)
        tally.note(remembers(case) and bool(clipped))

    claim()
    tally.require(0.3)


def test_the_bounds_of_clipping_inside_are_attained_and_a_smaller_one_is_not() -> None:
    dh, h, a, u, h0 = one_neuron()
    inside = backward_clipping_inside(dh, h, a, u, h0, "relu", 1.0)
    bound = h[:-1].sum()
    assert not abs(inside.du[0]) <= 0.99 * bound
    assert inside.dh0[0, 0] == 1.0 * u[0]


def test_clipping_by_value_turns_the_direction_and_by_norm_does_not() -> None:
    g = np.array([3.0, -4.0, 0.5])
    assert clip_by_value(g, 1.0).tolist() == [1, -1, 0.5]
    (shrunk,), norm = clip_by_norm((g,), 1.0)
    assert norm == pytest.approx(math.sqrt(25.25), rel=4 * 2.0**-53)
    assert (abs(shrunk / g - 1 / norm) <= 8 * 2.0**-53).all()
    assert (abs(np.cross(shrunk, g)) <= 32 * 2.0**-53).all()
    assert (abs(np.cross(clip_by_value(g, 1.0), g)) > 0.1).any()


@given(st.lists(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=5), min_size=1, max_size=4),
       st.floats(1e-3, 1e3), st.sampled_from(DTYPES))
@settings(max_examples=200)
def test_all_gradients_together_are_within_the_norm(values: list[list[float]], limit: float, dtype: str) -> None:
    gradients = [np.array(some, dtype) for some in values]
    whole = math.sqrt(sum(Fraction(float(v)) ** 2 for g in gradients for v in g))
    clipped, norm = clip_by_norm(gradients, limit)
    assert abs(norm - whole) <= 40 * 2.0**-53 * whole
    after = math.sqrt(sum(Fraction(float(v)) ** 2 for g in clipped for v in g))
    tiny = 5 * np.finfo(dtype).tiny  # of at most 20 elements, √20 of it
    assert after <= min(limit, whole) * (1 + 40 * np.finfo(dtype).eps) + tiny
    if whole > limit * (1 + 1e-6):
        assert after >= limit * (1 - 40 * np.finfo(dtype).eps) - tiny
    else:
        assert all(map(np.array_equal, clipped, gradients)) or whole > limit * (1 - 1e-6)
    assert all(c.dtype == dtype for c in clipped)


def test_no_square_overflows_and_what_has_no_direction_is_seen() -> None:
    (shrunk,), norm = clip_by_norm([np.full(4, 1e308)], 1.0)
    assert shrunk.tolist() == [0.5] * 4
    assert norm == math.inf
    for bad in (math.nan, math.inf):
        both, norm = clip_by_norm([np.array([1.0, bad]), np.ones(1)], 1.0)
        assert all(np.isnan(g).all() for g in both)
        assert math.isnan(norm)
    zeros, norm = clip_by_norm([np.zeros(3)], 1.0)
    assert zeros[0].tolist() == [0, 0, 0]
    assert norm == 0
    assert np.isnan(clip_by_value(np.array([math.nan]), 1.0)).all()
    assert float(clip_by_value(np.array([5], np.float32), 0.1)[0]) <= 0.1 < float(np.float32(0.1))


DH, H, A, U, H0 = one_neuron(T=3)


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
    (lambda: clip_in_graph(np.ones(2), 0, 1)[1](np.ones(3)), r"^du: expected an array like v, \(2,\) float64; got \("),
    (lambda: clip_in_graph(np.ones(2, int), 0, 1), r"^v: expected dtype"),
    (lambda: backward_clipping_inside(DH, H, A, U, H0, "relu", 0), r"^limit: expected a number above 0; got 0"),
    (lambda: backward_clipping_inside(DH, H, None, U, H0, "tanh", 1), r"^a: expected the drive"),
    (lambda: backward_clipping_inside(DH[:2], H, A, U, H0, "relu", 1), r"^dh: expected shape|^h: expected shape"),
    (lambda: clip_by_value(np.ones(2), math.nan), r"^limit: "),
    (lambda: clip_by_norm(np.ones(2), 1), r"^gradients: expected a tuple or list"),
    (lambda: clip_by_norm([], 1), r"^gradients: "),
    (lambda: clip_by_norm([np.ones(2), np.ones(0)], 1), r"^gradients\[1\]: expected at least one element"),
    (lambda: clip_by_norm([np.ones(2), "x"], 1), r"^gradients\[1\]: expected a NumPy"),
])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
