"""Lyapunov exponents: triangular Jacobians, the closed form, and the QR iteration that knows nothing of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import Stack, absolute, draw, roundings, stacks
from tally import Tally

from indrnn_np.analysis import (
    jacobian_products,
    log_stack_kernel,
    lyapunov_by_qr,
    lyapunov_spectrum,
    rnn_jacobians,
    stack_gradient,
    stack_jacobians,
)
from indrnn_np.oracle.numerical import complex_step

EPS = float(np.finfo(float).eps)


def descending(exponents: np.ndarray) -> np.ndarray:
    return -np.sort(-exponents, axis=-1)


def plain_product(jacobians: np.ndarray) -> np.ndarray:
    scaled, exponent = jacobian_products(jacobians)
    return np.ldexp(scaled[-1], exponent[-1][:, None, None])


def test_the_one_step_jacobian_is_triangular_and_its_diagonal_is_slope_times_u() -> None:
    for residual in (False, True):
        stack = draw(1, "tanh", (3, 3, 3, 3), T=5, residual=residual)
        slopes = stack.slopes()
        J = stack_jacobians(stack.W, stack.u, slopes, residual)
        assert not np.triu(J, 1).any()
        assert np.array_equal(np.diagonal(J, axis1=-2, axis2=-1), np.concatenate(slopes, -1) * np.concatenate(stack.u))
        assert np.tril(J, -1).any()


def test_the_product_of_the_jacobians_is_the_derivative_by_the_initial_states() -> None:
    tally = Tally("∏ J_t = complex step by h0")

    @given(stacks(longest=8, deepest=3))
    @settings(max_examples=80)
    def claim(stack: Stack) -> None:
        slopes, B = stack.slopes(), stack.x.shape[1]
        product = plain_product(stack_jacobians(stack.W, stack.u, slopes, stack.residual))
        size = plain_product(stack_jacobians(absolute(stack.W), absolute(stack.u), absolute(slopes), stack.residual))
        cuts = np.cumsum([len(v) for v in stack.u])[:-1]

        def last_states(h0: np.ndarray) -> np.ndarray:
            v = stack.forward(stack.x.astype(h0.dtype), np.split(h0, cuts, axis=-1))[1]
            return np.concatenate([layer[-1] for layer in v], axis=-1)

        derivative = complex_step(last_states, np.concatenate(stack.h0, axis=-1))
        expected = np.stack([derivative[b, :, b] for b in range(B)])
        n = len(stack.x) * (roundings(stack.W, 1) + 8 * len(stack.W))  # every step climbs through all layers
        allowed = n * EPS * size + np.finfo(float).tiny
        assert (abs(product - expected) <= allowed).all()
        tally.note(len(stack.W) > 1 and np.count_nonzero(np.tril(product, -1)) > 0,
                   float((abs(product - expected) / allowed).max()))

    claim()
    tally.require(0.3)


def test_a_stack_is_a_dense_rnn_with_a_triangular_matrix() -> None:
    """∂h^L_T/∂x_{T−k} = (rows of layer L) J_T … J_{T−k+1} ∂s_{T−k}/∂x_{T−k}, the long way round."""
    stack = draw(2, "tanh", (3, 2, 4, 2), T=9)
    slopes = stack.slopes()
    scaled, exponent = jacobian_products(stack_jacobians(stack.W, stack.u, slopes))
    gradient = stack_gradient(stack.W, stack.u, slopes)
    size = stack_gradient(absolute(stack.W), absolute(stack.u), absolute(slopes))
    for k in range(9):
        entry, entries = np.eye(3), []
        for W, s in zip(stack.W, slopes, strict=True):
            entry = s[8 - k][:, :, None] * (W @ entry)
            entries.append(entry)
        product = np.ldexp(scaled[k], exponent[k][:, None, None])
        allowed = EPS * (k + 1) * roundings(stack.W, 1) * size[k]
        assert (abs(product[:, -2:] @ np.concatenate(entries, axis=1) - gradient[k]) <= allowed).all()


def test_the_diagonal_of_a_product_has_the_spectrum_for_every_number_of_steps() -> None:
    T, stack = 200, draw(3, "tanh", (2, 2, 3), T=200, u_range=(0.2, 1.3))
    slopes = stack.slopes()
    scaled, exponent = jacobian_products(stack_jacobians(stack.W, stack.u, slopes))
    spectrum, terms = (lyapunov_spectrum(stack.u, s) for s in (slopes, [np.exp(-abs(np.log(s))) for s in slopes]))
    got = np.log(abs(np.diagonal(scaled[-1], axis1=-2, axis2=-1))) + exponent[-1][:, None] * math.log(2)
    # T roundings of the product are T eps in its logarithm; the mean of T logarithms has at most 8 of its own
    allowed = EPS * (4 + 8 * (abs(terms) + 2 * abs(np.log(abs(np.concatenate(stack.u))))))
    assert (abs(got / T - spectrum) <= allowed).all()


def separated(seed: int, widths: tuple[int, ...], residual: bool, period: int) -> tuple[Any, Any, Any]:
    """A stack with periodic slopes and exponents 0.15 apart, in any order among the neurons."""
    rng = np.random.default_rng(seed)
    stack = draw(seed, "tanh", widths, T=1, residual=residual)
    slopes = [rng.uniform(0.1, 1, (period, 1, len(v))) for v in stack.u]
    wanted = rng.permutation(-0.15 * np.arange(sum(widths[1:])))
    u = [np.sign(v) * np.exp(target - np.log(s).mean(axis=(0, 1))) for v, s, target in
         zip(stack.u, slopes, np.split(wanted, np.cumsum(widths[1:])[:-1]), strict=True)]
    return stack.W, u, slopes


def test_the_qr_iteration_finds_the_spectrum_under_a_periodic_drive() -> None:
    """The error falls like exp(−gap · steps) there, so that only rounding is left after the first 400 steps."""
    tally = Tally("QR iteration = log|u| + mean log σ', periodic")
    blind = Tally("the same, against log|u| + log mean σ'")

    @given(st.integers(0, 2**32), st.sampled_from(((2, 2, 2, 2), (1, 1, 1, 1, 1), (3, 3), (1, 4, 2), (2, 1, 3, 1))),
           st.booleans(), st.sampled_from((1, 2, 4, 5)))
    @settings(max_examples=25)
    def claim(seed: int, widths: tuple[int, ...], residual: bool, period: int) -> None:
        residual = residual and len(set(widths)) == 1
        W, u, slopes = separated(seed, widths, residual, period)
        slopes = [np.tile(s, (800 // period, 1, 1)) for s in slopes]
        J = stack_jacobians(W, u, slopes, residual)
        got, spectrum = lyapunov_by_qr(J, skip=400), lyapunov_spectrum(u, slopes)
        N = len(got[0])
        allowed = N**2 * EPS * float(np.linalg.cond(J[:period]).max())
        allowed += 400 * EPS * abs(spectrum).max() + 400 * math.exp(-0.15 * 400)  # the sum of logarithms; what is left
        error = abs(got - descending(spectrum)).max()
        assert error <= allowed
        tally.note(len(W) > 1 and period > 1, float(error / allowed))
        mutant = np.concatenate([np.log(abs(v)) + np.log(s.mean(axis=0)) for v, s in zip(u, slopes, strict=True)], -1)
        blind.note(abs(got - descending(mutant)).max() > allowed)

    claim()
    tally.require(0.3)
    blind.require(0.4)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
def test_the_qr_iteration_approaches_the_spectrum_of_a_driven_stack(activation: str, residual: bool) -> None:
    """The leading exponent within (L log T)/T, what the polynomial growth of L layers may leave: 2 to 3 digits."""
    T, stack = 2000, draw(4, activation, (2, 2, 2, 2), T=2000, B=4, residual=residual, u_range=(0.3, 1.0))
    slopes = stack.slopes()
    J = stack_jacobians(stack.W, stack.u, slopes, residual)
    spectrum, got = descending(lyapunov_spectrum(stack.u, slopes)), lyapunov_by_qr(J)
    assert (abs(got - spectrum)[:, 0] <= 3 * math.log(T) / T).all()
    log_det = np.log(abs(np.linalg.det(J))).mean(axis=0)
    assert (abs(got.sum(axis=1) - log_det) <= 36 * EPS * np.linalg.cond(J).max()).all(), "the sum is exact for every T"


def test_the_qr_iteration_survives_slopes_that_fluctuate_where_householder_s_does_not() -> None:
    T, stack = 2000, draw(0, "leaky_relu", (3, 3, 3, 3), T=2000, B=1, u_range=(0.3, 1.0))
    slopes = stack.slopes()  # 0.01 or 1: a neuron's gain over a few steps spans many powers of ten
    J, exact = stack_jacobians(stack.W, stack.u, slopes), descending(lyapunov_spectrum(stack.u, slopes))
    allowed = 9 * math.log(T) / T  # growth like T^N at most
    assert (abs(lyapunov_by_qr(J) - exact) <= allowed).all()
    Q, total = np.linalg.qr(np.random.default_rng(0).standard_normal((3 * 3, 3 * 3)))[0], np.zeros((1, 9))
    for step in J:
        Q, R = np.linalg.qr(step @ Q)
        total += np.log(abs(np.diagonal(R, axis1=-2, axis2=-1)))
    assert abs(total / T - exact).max() > 2 * allowed


def test_a_zero_slope_or_weight_gives_minus_infinity_and_leaves_the_others() -> None:
    W, u, slopes = separated(5, (2, 2, 2), False, 4)
    before = lyapunov_spectrum(u, slopes)
    slopes[0][2, 0, 1] = 0
    u[1][0] = 0
    after = lyapunov_spectrum(u, slopes)
    assert np.isneginf(after[0, [1, 2]]).all()
    assert np.array_equal(after[0, [0, 3]], before[0, [0, 3]])
    by_qr = lyapunov_by_qr(stack_jacobians(W, u, [np.tile(s, (100, 1, 1)) for s in slopes]), skip=200)
    assert (abs(by_qr[0, :2] - descending(after)[0, :2]) <= 1000 * EPS).all()
    assert (by_qr[0, 2:] < -5).all()


def test_the_exponents_do_not_see_what_a_stack_of_equal_layers_grows_by() -> None:
    layers, T, u = 21, 50, 2 ** (1 / 50)
    spectrum = lyapunov_spectrum([np.array([u])] * layers, [np.ones((T, 1, 1))] * layers)
    assert (abs(spectrum - math.log(2) / T) <= 2 * EPS).all()
    assert float(log_stack_kernel(layers, u, T - 1)) / T > 50 * math.log(2) / T


def test_the_exponents_of_a_dense_constant_matrix_are_the_logarithms_of_its_eigenvalues() -> None:
    rng = np.random.default_rng(6)
    V = rng.standard_normal((4, 4)) + 3 * np.eye(4)
    λ = np.array([1.2, -0.8, 0.5, 0.3])
    J = rnn_jacobians(V @ np.diag(λ) @ np.linalg.inv(V), np.ones((400, 4)))
    allowed = 16 * EPS * float(np.linalg.cond(V)) ** 2 * 4
    assert (abs(lyapunov_by_qr(J, skip=200)[0] - np.log(abs(λ))) <= allowed).all()


def test_the_dtype_is_kept() -> None:
    stack = draw(8, "tanh", (2, 2, 2), T=5)
    W, u, s = ([array.astype(np.float32) for array in arrays] for arrays in (stack.W, stack.u, stack.slopes()))
    J = stack_jacobians(W, u, s)
    assert {J.dtype, lyapunov_spectrum(u, s).dtype, lyapunov_by_qr(J).dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: lyapunov_spectrum([np.ones(2)], []), ValueError, "slopes: expected at least one layer; got none."),
    (lambda: lyapunov_spectrum([np.ones(2)], [np.ones((3, 1, 2))] * 2), ValueError, "slopes: expected 1 arrays, one"),
    (lambda: lyapunov_spectrum([np.ones((2, 2))], [np.ones((3, 1, 2))]), ValueError, "u[0]: expected shape (N,)"),
    (lambda: lyapunov_spectrum([np.ones(2)], [np.ones((3, 1, 3))]), ValueError, "slopes[0]: expected shape (3, 1, 2)"),
    (lambda: lyapunov_spectrum([np.ones(2)], [np.full((3, 1, 2), np.nan)]), ValueError, "slopes[0]: expected finite"),
    (lambda: lyapunov_by_qr(np.ones((3, 2, 2))), ValueError, "jacobians: expected shape (T, B, N, N); got (3, 2, 2)."),
    (lambda: lyapunov_by_qr(np.ones((3, 1, 2, 2)), skip=3), ValueError, "skip: expected fewer than the 3 steps"),
    (lambda: lyapunov_by_qr([[1.0]]), TypeError, "jacobians: expected a NumPy or CuPy array; got list."),
    (lambda: stack_jacobians([np.eye(2)], [np.ones(2)], None), TypeError, "slopes: expected a list of arrays"),
    (lambda: stack_jacobians([np.eye(2)], [np.ones(2)], np.ones((3, 1, 2))), TypeError, "slopes: expected a list"),
])
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
