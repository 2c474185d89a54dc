"""The gradient through a dense recurrent matrix, over any number of steps: what an RNN has in place of u^k.

An RNN, h_t = σ(W x_t + U h_{t−1} + b) (Li et al. 2018, Eq. 1), has the Jacobians

    ∂h_T/∂h_{T−k} = D_T U D_{T−1} U … D_{T−k+1} U,      D_t = diag(σ'(z_t))

(the transpose of the paper's ∏ diag(σ') Uᵀ). An IndRNN has U = diag(u): the product is diagonal, u^k ∏σ', and |u| says
everything. For a dense U there is only ‖∂h_T/∂h_{T−k}‖ ≤ ∏ max σ'(z_t) ‖U‖: with ‖U‖ ≤ γ^{1/k} and |σ'| ≤ 1 the product
is at most γ, as in the paper's range, but nothing keeps it above ε in every direction. How far U itself is from such
simplicity is in `non_normality`.

Products are kept with a binary exponent, so that they neither over- nor underflow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .. import checks
from ..array_module import Array, namespace
from . import _checks, _shapes


class JacobianProducts(NamedTuple):
    """∂h_T/∂h_{T−k} = scaled[k] · 2^exponent[k], for k = 0 … K. The scaling rounds nothing, underflow apart.

    Attributes
    ----------
    scaled : (K+1, B, N, N), the largest entry of each matrix in [½, 1), or all of it 0
    exponent : (K+1, B) whole numbers
    """

    scaled: Array
    exponent: Array


def rnn_jacobians(U: Array, slopes: Array) -> Array:
    """Return ∂h_t/∂h_{t−1} = diag(σ'(z_t)) U of every step of an RNN.

    Parameters
    ----------
    U : (N, N) recurrent matrix
    slopes : (T, B, N) or (T, N), σ'(z_t)

    Returns
    -------
    jacobians : (T, B, N, N); B is 1 where slopes have no such axis

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is not finite; the message names it.
    """
    _shapes.square("U", U)
    checks._one_kind(checks.REAL + checks.COMPLEX, (), U=U, slopes=slopes)
    if slopes.ndim not in (2, 3) or 0 in slopes.shape or slopes.shape[-1] != len(U):
        raise ValueError(f"slopes: expected shape (T, B, {len(U)}) or (T, {len(U)}), a slope per neuron of U; "
                         f"got {slopes.shape}.")
    _checks.all_finite("slopes", slopes)
    return (slopes if slopes.ndim == 3 else slopes[:, None])[..., None] * U


def jacobian_products(jacobians: Array, lags: int | None = None) -> JacobianProducts:
    """Return ∂h_T/∂h_{T−k} for every lag k, the product of the last k one-step Jacobians.

    Parameters
    ----------
    jacobians : (T, B, N, N) ∂h_t/∂h_{t−1}, an RNN's (`rnn_jacobians`) or a stack's (`stack_jacobians`)
    lags : the largest lag K, at most T; None takes T

    Returns
    -------
    JacobianProducts : scaled (K+1, B, N, N) and exponent (K+1, B); entry 0 is the identity

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is not finite; the message names it.
    """
    xp = _shapes.square("jacobians", jacobians, "(T, B, N, N)")
    T, B, N, _ = jacobians.shape
    K = T if lags is None else _checks.whole("lags", lags, least=0)
    if K > T:
        raise ValueError(f"lags: expected at most {T}, the steps of jacobians; got {K}.")
    scaled = xp.empty((K + 1, B, N, N), jacobians.dtype)
    exponent = xp.zeros((K + 1, B), np.int64)
    scaled[0], exponent[0] = xp.eye(N, dtype=scaled.dtype) / 2, 1
    for k in range(1, K + 1):
        step, shift = _scaled(jacobians[T - k])                           # both factors scaled: nothing overflows
        scaled[k], more = _scaled(scaled[k - 1] @ step)
        exponent[k] = exponent[k - 1] + shift + more
    return JacobianProducts(scaled, exponent)


def log_norms(products: JacobianProducts) -> Array:
    """Return log‖∂h_T/∂h_{T−k}‖, the spectral norm, for every lag: how the largest gradient moves over time.

    Parameters
    ----------
    products : what `jacobian_products` returned

    Returns
    -------
    log_norm : (K+1, B); −inf where the product is 0

    Raises
    ------
    TypeError, ValueError
        products is no JacobianProducts, or what it holds has another shape or is not finite.
    """
    if not isinstance(products, JacobianProducts):
        raise TypeError(f"products: expected what jacobian_products returned; got {type(products).__name__}.")
    xp = _shapes.square("products.scaled", products.scaled, "(K+1, B, N, N)")
    with np.errstate(divide="ignore"):
        return xp.log(xp.linalg.norm(products.scaled, 2, axis=(-2, -1))) + products.exponent * math.log(2)


def _scaled(A: Array) -> tuple[Array, Array]:
    """Split matrices (B, N, N) into some with largest entry in [½, 1) and powers of two, exactly."""
    xp = namespace(A)
    largest = xp.maximum(abs(A.real), abs(A.imag)).max(axis=(-2, -1)) if xp.iscomplexobj(A) else abs(A).max((-2, -1))
    _, exponent = xp.frexp(largest)
    half = exponent // 2                                                  # in two steps: 2^1074 is beyond the floats
    for part in (half, exponent - half):
        A = A * xp.ldexp(xp.ones_like(largest), -part)[:, None, None]
    return A, exponent
