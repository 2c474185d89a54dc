"""Depth: the gradient of a stack of layers lag by lag, and its bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import Stack, absolute, draw, is_attained, roundings, stacks
from tally import Tally

from indrnn_np.activations import resolve
from indrnn_np.analysis import stack_bound, stack_gradient
from indrnn_np.oracle.numerical import central_difference, complex_step

EPS = float(np.finfo(float).eps)


def per_lag(derivative: np.ndarray) -> np.ndarray:
    """∂h_T[b, n]/∂x[t, c, m] as (lag, b, n, m); a sequence never feels another's input."""
    B = derivative.shape[0]
    for b in range(B):
        assert not derivative[b, :, :, np.arange(B) != b].any()
    return np.stack([derivative[b, :, ::-1, b] for b in range(B)]).transpose(2, 0, 1, 3)


def holds(gradient: np.ndarray, bound: np.ndarray) -> bool:
    return bool((abs(gradient) <= bound[:, None]).all())


# ---- the gradient per lag


def test_the_gradient_per_lag_agrees_with_the_complex_step_through_stacked_layers() -> None:
    tally = Tally("stack gradient = complex step")

    @given(stacks())
    @settings(max_examples=150)
    def claim(stack: Stack) -> None:
        slopes = stack.slopes()
        gradient = stack_gradient(stack.W, stack.u, slopes, residual=stack.residual)
        expected = per_lag(complex_step(lambda x: stack.forward(x)[0][-1], stack.x))
        size = stack_gradient(absolute(stack.W), absolute(stack.u), absolute(slopes), residual=stack.residual)
        # 8 roundings more a node, for two evaluations of σ', on at most lag + L nodes of a path
        n = np.array([roundings(stack.W, k) + 8 * (k + len(stack.W)) for k in range(len(stack.x))])
        allowed = EPS * n[:, None, None, None] * size + np.finfo(float).tiny
        assert (abs(gradient - expected) <= allowed).all()
        tally.note(len(stack.W) > 1 and np.count_nonzero(gradient[1:]) > 0, float((abs(gradient - expected)
                                                                                   / allowed).max()))

    claim()
    tally.require(0.3)


def test_the_gradient_per_lag_agrees_with_differences_of_a_black_box() -> None:
    tally = Tally("stack gradient = central differences")

    @given(stacks(longest=4, deepest=3, smooth=True))
    @settings(max_examples=40)
    def claim(stack: Stack) -> None:
        gradient = stack_gradient(stack.W, stack.u, stack.slopes(), residual=stack.residual)
        # The noise of a forward pass: a few roundings a node of the largest value, grown by what the bound says.
        output, values, drives = stack.forward()
        largest = 1 + max(float(abs(array).max()) for array in (output, stack.x, *values, *drives))
        growth = 1 + stack_bound(absolute(stack.W), stack.u, len(stack.x), residual=stack.residual).sum()
        found = central_difference(lambda x: stack.forward(x)[0][-1], stack.x,
                                   noise=EPS * roundings(stack.W, 1) * largest * growth)
        assert not found.kink.any()
        error, allowed = abs(gradient - per_lag(found.derivative)), per_lag(found.error * same_sequence(stack))
        assert (error <= allowed).all()
        tally.note(len(stack.W) > 1 and len(stack.x) > 1, float((error / allowed).max()))

    claim()
    tally.require(0.3)


def same_sequence(stack: Stack) -> np.ndarray:
    return np.eye(stack.x.shape[1])[:, None, None, :, None]


def test_a_residual_stack_is_the_sum_of_all_its_plain_sub_stacks() -> None:
    stack = draw(5, "tanh", (3, 3, 3, 3), T=6, residual=True)
    slopes = stack.slopes()
    total = np.zeros((6, 2, 3, 3))
    total[0] += np.eye(3)                                     # the sub-stack without layers: the identity, at lag 0
    size = total.copy()
    for chosen in range(1, 8):
        layers = [i for i in range(3) if chosen >> i & 1]
        parts = [[array[i] for i in layers] for array in (stack.W, stack.u, slopes)]
        total += stack_gradient(*parts)
        size += stack_gradient(*map(absolute, parts))
    whole = stack_gradient(stack.W, stack.u, slopes, residual=True)
    assert (abs(whole - total) <= EPS * (roundings(stack.W, 6) + 8) * size).all()


def test_a_silent_layer_ends_a_plain_gradient_and_only_leaves_a_residual_one() -> None:
    stack = draw(6, "tanh", (3, 3, 3, 3), T=6)
    W, u, slopes = stack.W, stack.u, stack.slopes()
    slopes[1] = np.zeros_like(slopes[1])
    assert not stack_gradient(W, u, slopes).any()
    without = stack_gradient(W[::2], u[::2], slopes[::2], residual=True)
    assert np.array_equal(stack_gradient(W, u, slopes, residual=True), without)
    assert without[1:].any()


# ---- the bound


def test_the_bound_holds_for_every_drawn_stack() -> None:
    bound_holds(300, "stack bound")


@pytest.mark.slow
def test_the_bound_holds_for_thousands_of_drawn_stacks() -> None:
    bound_holds(5000, "stack bound, long")


def bound_holds(examples: int, name: str) -> None:
    tally = Tally(f"{name} (allowed: the bound; lags above 0 of two layers or more)")

    @given(stacks(longest=30, deepest=5), st.sampled_from((np.float32, np.float64)))
    @settings(max_examples=examples)
    def claim(stack: Stack, dtype: Any) -> None:
        W, u, slopes = ([array.astype(dtype) for array in arrays] for arrays in (stack.W, stack.u, stack.slopes()))
        gradient = stack_gradient(W, u, slopes, residual=stack.residual)
        bound = stack_bound(W, u, len(stack.x) - 1, resolve(stack.activation).max_slope, stack.residual)
        assert gradient.dtype == bound.dtype == dtype
        assert holds(gradient, bound)
        later, limit = abs(gradient[1:]), np.broadcast_to(bound[1:, None], gradient[1:].shape)
        ratio = later[limit > 0] / limit[limit > 0]
        tally.note(len(W) > 1 and bool(ratio.any()), float(ratio.max(initial=0)) if len(W) > 1 else 0.0)

    claim()
    tally.require(0.3)


def tight(activation: str, residual: bool) -> Stack:
    """A stack with nothing negative and every slope at its supremum: z > 0 for ReLU, z = 0 for tanh and sigmoid."""
    stack = draw(7, activation, (3, 3, 3, 3), T=12, residual=residual)
    W, u = absolute(stack.W), absolute(stack.u)
    if activation in ("relu", "identity"):
        return Stack(W, u, absolute(stack.b), abs(stack.x), absolute(stack.h0), activation, residual)
    rest = float(resolve(activation).value(np.zeros(1))[0])       # σ(0), the state where every z is 0
    h, b = 0.0, []
    for w, v in zip(W, u, strict=True):
        b.append(-(w.sum(axis=1) * h + v * rest))
        h = h + rest if residual else rest
    return Stack(W, u, b, np.zeros_like(stack.x), [np.full_like(start, rest) for start in stack.h0], activation,
                 residual)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_the_bound_is_attained_and_nothing_smaller_holds(activation: str, residual: bool) -> None:
    stack, S, K = tight(activation, residual), resolve(activation).max_slope, 11
    slopes = stack.slopes()
    # z = 0 up to rounding: the slope of tanh and sigmoid is flat there, so it is its supremum but for less than that
    assert all((abs(s - S) <= EPS * S).all() for s in slopes)
    gradient = stack_gradient(stack.W, stack.u, slopes, residual=residual)
    bound = stack_bound(stack.W, stack.u, K, S, residual)
    assert holds(gradient, bound)
    assert is_attained(gradient, bound, stack.W)
    no_waiting = stack_bound(stack.W, [*stack.u[:-1], 0 * stack.u[-1]], K, S, residual)
    slower = stack_bound(stack.W, [0.99 * v for v in stack.u], K, S, residual)
    other = stack_bound(stack.W, stack.u, K, S, not residual)
    for mutant in (0.99 * bound, no_waiting, slower, bound[::-1]):
        assert not holds(gradient, mutant)
    assert holds(gradient, other) == (not residual), "a residual stack's bound is the larger one"
    assert not is_attained(gradient, 1.01 * bound, stack.W), "a looser bound would be noticed"
    assert residual or not is_attained(gradient, other, stack.W)


def test_signs_that_agree_along_every_path_attain_the_bound_too() -> None:
    stack = tight("identity", residual=False)
    rng, W, bound = np.random.default_rng(1), stack.W, stack_bound(stack.W, stack.u, 11)
    alternating = stack_gradient(W, [-v for v in stack.u], lags=11)
    assert (np.sign(alternating[:, 0, 0, 0]) == (-1.0) ** np.arange(12)).all()
    assert is_attained(alternating, bound, W)
    signs = [rng.choice([-1, 1], 3) for _ in range(4)]
    signed = [above[:, None] * w * below for w, below, above in zip(W, signs[:-1], signs[1:], strict=True)]
    assert is_attained(stack_gradient(signed, stack.u, lags=11), bound, W)
    mixed = [rng.choice([-1, 1], w.shape) * w for w in W]
    assert not is_attained(stack_gradient(mixed, stack.u, lags=11), bound, W)


def test_where_the_bound_overflows_it_is_infinite_and_never_nan() -> None:
    W, u = [np.array([[1.0, 0.0], [0.0, 1.0]])] * 2, [np.array([1e200, 0.5])] * 2
    bound = stack_bound(W, u, 4)
    assert np.isinf(bound[3:, 0, 0]).all()
    assert not np.isnan(bound).any()
    gradient = stack_gradient(W, u, [np.ones((5, 1, 2)), np.zeros((5, 1, 2))])
    assert not gradient.any(), "a slope of 0 met an inf"


# ---- the door

ONE = [np.ones((2, 3))], [np.ones(2)], [np.ones((4, 1, 2))]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: stack_gradient(np.ones((1, 2, 3)), ONE[1]), TypeError, "W: expected a list of arrays, one per layer"),
    (lambda: stack_gradient([], []), ValueError, "W: expected at least one layer; got none."),
    (lambda: stack_gradient(ONE[0], ONE[1] * 2, lags=3), ValueError, "u: expected 1 arrays, one per layer"),
    (lambda: stack_gradient([np.ones(3)], ONE[1], lags=3), ValueError, "W[0]: expected shape (N, M)"),
    (lambda: stack_gradient(ONE[0] * 2, ONE[1] * 2, lags=3), ValueError, "W[1]: expected shape (N, 2)"),
    (lambda: stack_gradient(*ONE, residual=True), ValueError, "W[0]: expected a square matrix"),
    (lambda: stack_gradient(ONE[0], [np.ones((2, 2))], lags=3), ValueError, "A full recurrent matrix is an RNN's"),
    (lambda: stack_gradient(ONE[0], [np.ones(2, np.float32)], lags=1), TypeError, "u[0]: expected dtype float64"),
    (lambda: stack_gradient(ONE[0], [np.array([1, np.nan])], lags=1), ValueError, "u[0]: expected finite numbers"),
    (lambda: stack_gradient(ONE[0], ONE[1], [np.ones((4, 2))]), ValueError, "slopes[0]: expected 3 dimensions"),
    (lambda: stack_gradient(ONE[0], ONE[1], [np.ones((4, 1, 3))]), ValueError, "slopes[0]: expected shape (4, 1, 2)"),
    (lambda: stack_gradient(ONE[0], ONE[1]), ValueError, "lags: expected the largest lag, since without slopes"),
    (lambda: stack_gradient(*ONE, lags=4), ValueError, "lags: expected at most 3, as slopes have 4 steps; got 4."),
    (lambda: stack_gradient(*ONE, residual="no"), TypeError, "residual: expected True or False; got str."),
    (lambda: stack_bound(ONE[0], ONE[1], -1), ValueError, "lags: expected a whole number of at least 0; got -1."),
    (lambda: stack_bound(ONE[0], ONE[1], 2.0), TypeError, "lags: expected a whole number of at least 0; got float."),
    (lambda: stack_bound(ONE[0], ONE[1], 2, slope=-1), ValueError, "slope: expected a finite number of at least 0"),
    (lambda: stack_bound(ONE[0], ONE[1], 2, slope=[1, 1]), ValueError, "slope: expected one number or 1"),
    (lambda: stack_bound(ONE[0], ONE[1], 2, slope=math.inf), ValueError, "slope: expected a finite number"),
])
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
