"""A dense recurrent matrix: the product of its Jacobians, which for a diagonal one is the IndRNN's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import MATRICES, SEEDS, jordan, matrix
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    JacobianProducts,
    departure_from_normality,
    jacobian_products,
    kreiss_lower_bound,
    log_norms,
    numerical_radius,
    rnn_jacobians,
    spectral_radius,
    transient_growth,
)
from indrnn_np.oracle.numerical import central_difference, complex_step

EPS = float(np.finfo(float).eps)
LENGTHS = st.integers(1, 20) | st.integers(5, 20)


def run(U: np.ndarray, drive: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """An explicit tanh RNN, h_t = tanh(a_t + U h_{t−1}); returns h (T, B, N)."""
    h = [h0]
    for a in drive:
        h.append(np.tanh(a + h[-1] @ U.T))
    return np.stack(h[1:])


# ---- the product of Jacobians


@pytest.mark.parametrize("batch", [None, 2])
def test_the_product_of_jacobians_agrees_with_differences_of_an_explicit_rnn(batch: int | None) -> None:
    rng, T, N = np.random.default_rng(0), 6, 4
    U, drive, h0 = matrix(1, N, "dense") * 1.5, rng.standard_normal((T, batch or 1, N)), rng.uniform(-1, 1, (1, N))
    h0 = np.repeat(h0, batch or 1, axis=0)
    h = run(U, drive, h0)
    slopes = 1 - h**2
    scaled, exponent = jacobian_products(rnn_jacobians(U, slopes if batch else slopes[:, 0]))
    for k in range(T + 1):
        start = h[T - 1 - k] if k < T else h0
        product = np.ldexp(scaled[k], exponent[k][:, None, None])

        def last(v: np.ndarray, start: np.ndarray = start, k: int = k) -> np.ndarray:
            return run(U.astype(v.dtype), drive[T - k:], v)[-1] if k else v

        found = central_difference(last, start, noise=EPS * 8 * N * (1 + k) * max(1.0, np.linalg.norm(U) ** k))
        exact = complex_step(last, start)
        for b in range(batch or 1):
            assert not found.kink.any()
            assert (abs(found.derivative[b, :, b] - product[b]) <= found.error[b, :, b]).all()
            # 1 − h² has an absolute error of an eps, tanh' a few: so does each factor of each path
            size = np.linalg.matrix_power(abs(U), k)
            assert (abs(exact[b, :, b] - product[b]) <= EPS * (k + 1) * (N + 8) * (size + np.eye(N))).all()


def test_scaling_changes_no_bit_of_the_product() -> None:
    rng, U = np.random.default_rng(2), matrix(2, 5, "dense")
    J = rnn_jacobians(U, rng.uniform(0.2, 1, (30, 3, 5)))
    scaled, exponent = jacobian_products(J)
    plain = np.broadcast_to(np.eye(5), (3, 5, 5))
    for k in range(31):
        assert np.array_equal(np.ldexp(scaled[k], exponent[k][:, None, None]), plain)
        largest = abs(scaled[k]).max(axis=(1, 2))
        assert ((largest >= 0.5) & (largest < 1)).all()
        plain = plain @ J[29 - k] if k < 30 else plain
    assert np.array_equal(jacobian_products(J, 7).scaled, scaled[:8])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_long_products_neither_overflow_nor_underflow(dtype: Any, size: float) -> None:
    """An orthogonal matrix times 10^±30, a thousand times over: 10^±30000."""
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]
    products = jacobian_products(rnn_jacobians((size * Q).astype(dtype), np.ones((1000, 4), dtype)))
    assert products.scaled.dtype == dtype
    got, lags = log_norms(products)[:, 0], np.arange(1001)
    per_step = 40 * float(np.finfo(dtype).eps)  # of a product of four terms a step, and of Q itself
    room = (lags + 1) * per_step + abs(got) * 4 * float(np.finfo(dtype).eps)
    assert (abs(got - lags * math.log(size)) <= room).all(), "the bound ∏ max σ' ‖U‖, attained"
    assert not (got <= lags * math.log(0.99 * size) + room).all(), "a bound 1 % smaller a step would fail"


def test_a_product_that_is_zero_has_norm_zero() -> None:
    got = log_norms(jacobian_products(rnn_jacobians(jordan(3), np.ones((5, 3)))))[:, 0]
    assert np.isneginf(got[3:]).all()
    assert (abs(got[:3]) <= 4 * EPS).all()
    silent = log_norms(jacobian_products(rnn_jacobians(np.eye(3), np.zeros((5, 3)))))
    assert np.isneginf(silent[1:]).all()


def test_the_norm_over_the_lag_is_at_most_the_product_of_slopes_and_norms() -> None:
    tally = Tally("‖∏ D U‖ ≤ ∏ max σ' ‖U‖")

    @given(MATRICES, SEEDS, LENGTHS)
    @settings(max_examples=150)
    def claim(U: np.ndarray, seed: int, T: int) -> None:
        slopes = np.random.default_rng(seed).uniform(0.1, 1, (T, 2, len(U))).astype(U.dtype)
        got = log_norms(jacobian_products(rnn_jacobians(U, slopes)))
        steps = np.log(slopes.real.max(axis=-1))[::-1] + math.log(np.linalg.norm(U, 2))
        bound = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        assert (got <= bound + EPS * 4 * len(U) * (np.arange(T + 1)[:, None] + 1) * (1 + abs(bound))).all()
        tally.note(len(U) > 1 and T > 1)

    claim()
    tally.require(0.5)


# ---- a diagonal U is an IndRNN: everything coincides


def test_for_a_diagonal_matrix_everything_is_the_indrnn_s_product_of_numbers() -> None:
    tally = Tally("diagonal U = IndRNN")

    @given(SEEDS, st.integers(1, 5) | st.integers(2, 5), LENGTHS,
           st.sampled_from(("tanh", "sigmoid", "identity", "softplus")))
    @settings(max_examples=100)
    def claim(seed: int, N: int, T: int, activation: str) -> None:
        rng = np.random.default_rng(seed)
        u, a, h0 = rng.uniform(-1.2, 1.2, N), rng.standard_normal((T, 2, N)), rng.standard_normal((2, N))
        h, σ = ir.recurrence.forward(a, u, h0, activation), ir.ACTIVATIONS[activation]
        slopes = σ.slope(a + u * np.concatenate([h0[None], h[:-1]]))
        products = jacobian_products(rnn_jacobians(np.diag(u), slopes))
        scaled, exponent = products
        dh = np.zeros_like(h)
        dh[-1] = 1
        by_backward = ir.recurrence.backward(dh, h, a, u, h0, activation).dh0
        last = np.ldexp(scaled[-1], exponent[-1][:, None, None])
        diagonal = np.diagonal(last, axis1=-2, axis2=-1)
        assert (abs(diagonal - by_backward) <= 8 * T * EPS * abs(by_backward)).all()
        assert not (last * (1 - np.eye(N))).any()
        scalar = np.cumsum(np.log(abs(u * slopes[::-1])), axis=0).max(axis=-1)
        room = 8 * EPS * (np.arange(1, T + 1)[:, None] + abs(np.log(abs(u * slopes[::-1]))).sum(axis=(0, 2)))
        assert (abs(log_norms(products)[1:] - scalar) <= room).all()

        largest, low_high = abs(u).max(), numerical_radius(np.diag(u))
        assert abs(spectral_radius(np.diag(u)) - largest) <= 4 * EPS * largest
        assert low_high[0] <= largest <= low_high[1] <= largest * (1 + 2e-6)
        assert departure_from_normality(np.diag(u)) <= math.sqrt(8 * N * EPS) * np.linalg.norm(u)
        if largest <= 1:
            assert kreiss_lower_bound(np.diag(u)) == 1
            assert transient_growth(np.diag(u), 20).lag == 0
        tally.note(N > 1 and T > 1)

    claim()
    tally.require(0.5)


# ---- the door


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: rnn_jacobians(np.ones(3), np.ones((4, 3))), ValueError, "U: expected shape (N, N); got (3,)."),
    (lambda: rnn_jacobians(np.ones((2, 3)), np.ones((4, 3))), ValueError, "U: expected shape (N, N); got (2, 3)."),
    (lambda: rnn_jacobians(np.eye(3), np.ones((4, 2))), ValueError, "slopes: expected shape (T, B, 3) or (T, 3)"),
    (lambda: rnn_jacobians(np.eye(3), np.ones((0, 3))), ValueError, "slopes: expected shape (T, B, 3) or (T, 3)"),
    (lambda: rnn_jacobians(np.eye(3), np.ones((4, 3), np.float32)), TypeError, "slopes: expected dtype float64"),
    (lambda: rnn_jacobians(np.eye(3), np.full((4, 3), np.inf)), ValueError, "slopes: expected finite numbers"),
    (lambda: jacobian_products(np.ones((4, 3, 3))), ValueError, "jacobians: expected shape (T, B, N, N)"),
    (lambda: jacobian_products(np.ones((4, 1, 3, 3)), 5), ValueError, "lags: expected at most 4, the steps of"),
    (lambda: log_norms(JacobianProducts(np.eye(3), np.ones(1))), ValueError, "products.scaled: expected shape (K+1, B"),
    (lambda: log_norms(np.eye(3)), TypeError, "products: expected what jacobian_products returned; got ndarray."),
])
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
