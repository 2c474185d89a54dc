"""Clipping gradients inside the recurrence, by value and by norm: three things, told apart."""

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
from indrnn_np.analysis import backward_clipping_inside, clip_by_norm, clip_by_value
from indrnn_np.oracle.inputs import Case

DTYPES = ("float32", "float64")


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

    @given(cases(longest=30), st.floats(0.05, 0.9))
    @settings(max_examples=200)
    def claim(case: Case, share: float) -> None:
        given = recurrence_of(case)
        free = ir.recurrence.backward(*given, case.activation)
        limit = share * (float(np.abs(free.da).max()) or 1.0)
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
            assert (abs(mine - want) <= 8 * len(h) ** 2 * growth * unit * (limit + abs(dh).max()) * size).all(), name
        assert (np.abs(got.da) <= limit).all()
        slack = 1 + before[..., 0].size * unit
        assert (np.abs(got.du) <= limit * before.sum((0, 1)) * slack).all()
        assert (np.abs(got.dh0) <= limit * np.abs(u) * slack).all()
        for mine, other in zip(backward_clipping_inside(*given, case.activation, math.inf), free, strict=True):
            assert np.array_equal(mine, other)
        beyond = backward_clipping_inside(*given, case.activation, limit / share * 2)
        assert np.array_equal(beyond.da, free.da), "where nothing exceeds the limit it is the gradient"
        tally.note(remembers(case) and bool((got.da != free.da).any()))

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
