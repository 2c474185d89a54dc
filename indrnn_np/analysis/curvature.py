"""Second derivatives of the loss by W, u, b and h_0: Hessian times vector in two ways, and the Gauss-Newton part.

Differentiate the equations of `recurrence` once more, in a direction (W˙, u˙, b˙, h˙_0). A dot is the derivative in
that direction; s_t = σ'(z_t), s˙_t = σ''(z_t) z˙_t. Forward in time,

    z˙_t = W˙ x_t + b˙ + u˙ h_{t−1} + u h˙_{t−1}          h˙_t = s_t z˙_t                               (i)

and back, where dh_t = ∂J/∂h_t is a function of the states with the derivative dh˙_t in that direction,

    g_t = dh_t + u dz_{t+1}                            g˙_t = dh˙_t + u˙ dz_{t+1} + u dz˙_{t+1}              (ii)
    dz_t = s_t g_t                                     dz˙_t = s_t g˙_t + s˙_t g_t                           (iii)

so that H times the direction, which is the derivative of backward's result in it, is

    W: Σ dz˙_t x_tᵀ      u: Σ (dz˙_t h_{t−1} + dz_t h˙_{t−1})      b: Σ dz˙_t      h_0: u˙ dz_1 + u dz˙_1      (iv)

The Gauss-Newton part is what remains where only dh˙ is felt: (ii) and (iii) with dz˙_t = s_t (dh˙_t + u dz˙_{t+1}) and
(iv) without dz. It is Jᵀ (∂²J/∂h²) J with J the Jacobian of the states; for J = ½ Σ (h_t − y_t)² its diagonal is Σ p_t²
along u, Σ q_t² along b, Σ R_t² along W and Σ v_t² along h_0 (`sensitivity`). As no neuron sees another, each is its
neuron's own; and it is the whole Hessian where h = y.

At a unit input p_T is about T/2 times R_T (u ≈ 1), so the curvature along u is about (T/2)² times that along W, and a
gradient step that suits W, which must stay below 2 over the curvature, is too large for u by that factor.

σ'' is −2 σ σ' for tanh, (1 − 2σ) σ' for sigmoid, (1 − σ') σ' for softplus, and 0 where σ is piecewise linear, away from
its kink; at a kink the Hessian does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import array_module, checks, recurrence
from ..activations import Activation, resolve
from ..array_module import Array, namespace
from ..layer import Trace
from . import _checks
from .sensitivity import SensitivityGradients, contract


class PerParameter(NamedTuple):
    """A number per parameter: a direction, or the Hessian times one. W (N, M), u (N,), b (N,), h0 (B, N)."""

    W: Array
    u: Array
    b: Array
    h0: Array


@dataclass(frozen=True)
class Loss:
    """A loss J as a function of the states h (T, B, N), by its derivatives.

    Parameters
    ----------
    gradient : callable
        h → ∂J/∂h, (T, B, N). For the complex step it must accept complex h, and be analytic there.
    curvature : callable
        (h, h˙) → the derivative of `gradient` in the direction h˙, (T, B, N): the loss's own Hessian times h˙.
    """

    gradient: Callable[[Array], Array]
    curvature: Callable[[Array, Array], Array]


def linear_loss(dh: Array) -> Loss:
    """Return J = Σ dh_t · h_t: cotangents that do not depend on the states.

    Parameters
    ----------
    dh : (T, B, N)
    """
    return Loss(lambda h: dh, lambda h, h_dot: namespace(h).zeros_like(h_dot))


def squared_loss(y: Array, weight: Array | float = 1.0) -> Loss:
    """Return J = ½ Σ weight · (h_t − y_t)².

    Parameters
    ----------
    y : (T, B, N) targets
    weight : number, or array that broadcasts to (T, B, N): 0 where a step has no target
    """
    def gradient(h: Array) -> Array:
        _checks.library(h=h, y=y, weight=weight)
        return weight * (h - y)

    return Loss(gradient, lambda h, h_dot: weight * h_dot)


def hessian_vector_product(loss: Loss, direction: PerParameter, x: Array, W: Array, u: Array, b: Array | None = None,
                           h0: Array | None = None, activation: str | Activation = "relu") -> PerParameter:
    """Return the Hessian of J times a direction, equations (i) to (iv): one run forward, one back.

    Parameters
    ----------
    loss : Loss
    direction : PerParameter, W (N, M), u (N,), b (N,), h0 (B, N)
    x, W, u, b, h0, activation : as in `indrnn_np.forward`, real; an activation of your own has no σ'' here

    Returns
    -------
    PerParameter : the derivative of (dW, du, db, dh0) in that direction

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    return _forward_over_reverse(loss, direction, x, W, u, b, h0, activation, whole=True)


def gauss_newton_product(loss: Loss, direction: PerParameter, x: Array, W: Array, u: Array, b: Array | None = None,
                         h0: Array | None = None, activation: str | Activation = "relu") -> PerParameter:
    """Return the Gauss-Newton part of the Hessian times a direction: no σ'' in it, positive where the loss is convex.

    Its arguments and errors are those of `hessian_vector_product`; any activation will do.
    """
    return _forward_over_reverse(loss, direction, x, W, u, b, h0, activation, whole=False)


def complex_step_hessian_vector_product(loss: Loss, direction: PerParameter, x: Array, W: Array, u: Array,
                                        b: Array | None = None, h0: Array | None = None,
                                        activation: str | Activation = "relu", step: float = 1e-20) -> PerParameter:
    """Return the Hessian of J times a direction, as Im backward(θ + i·step·direction) / step.

    Nothing is subtracted, so the error is rounding; and nothing here knows (i) to (iv). It runs on the specification
    in complex128 whatever came. Gradients below 1e-288 are lost to underflow.

    Parameters
    ----------
    loss : Loss, its gradient analytic
    step : number above 0
    direction, x, W, u, b, h0, activation : as in `hessian_vector_product`; your own activation must be analytic too

    Returns
    -------
    PerParameter

    Raises
    ------
    TypeError, ValueError
        As `hessian_vector_product`; or step is not above 0.
    """
    b, h0, xp = _door(loss, direction, x, W, u, b, h0)
    step = _checks.number("step", step, above_zero=True)
    W_, u_, b_, h0_ = (value + 1j * step * tangent.astype(np.float64)
                       for value, tangent in zip((W, u, b, h0), direction, strict=True))
    with np.errstate(all="ignore"):
        a = x.astype(np.complex128) @ W_.T + b_
        h = recurrence.forward(a, u_, h0_, activation)
        dh = loss.gradient(h)
        array_module.of(h=h, **{"loss.gradient": dh})
        dh = dh.astype(np.complex128)
        _fits("loss.gradient", dh, "h", h)
        da, du, dh0 = recurrence.backward(dh, h, a, u_, h0_, activation)
        dW = xp.einsum("tbn,tbm->nm", da, x.astype(np.complex128))
        found = (dW, du, da.sum(axis=(0, 1)), dh0)
        return PerParameter(*((gradient.imag / step).astype(W.dtype) for gradient in found))


def gauss_newton_diagonal(trace: Trace, curvature: Array | None = None) -> PerParameter:
    """Return the diagonal of the Gauss-Newton matrix: Σ_t c_t p_t² along u, Σ_t c_t R_t² along W, and so on.

    Parameters
    ----------
    trace : what `forward` returned
    curvature : (T, B, N) c_t = ∂²J/∂h_t², of a loss that sums over the states; 1 where None, as for ½ Σ (h_t − y_t)²

    Returns
    -------
    PerParameter : W (N, M), u (N,), b (N,), h0 (B, N)

    Raises
    ------
    TypeError, ValueError
        trace is no Trace, or curvature has another type, dtype or shape than its states.
    """
    _checks.trace(trace)
    if curvature is None:
        curvature = namespace(trace.h).ones_like(trace.h)
    else:
        _fits("curvature", curvature, "h", trace.h)
    found: SensitivityGradients = contract(curvature, trace, lambda sensitivity: sensitivity**2)
    return PerParameter(*found)


def second_slope(activation: str | Activation, z: Array) -> Array:
    """Return σ''(z); 0 for the piecewise linear ones, which is right away from the kink.

    Raises
    ------
    TypeError, ValueError
        There is no such activation, or it is not built in; or z is no array of floating-point numbers.
    """
    σ = resolve(activation)
    array_module.of(z=z)
    if z.dtype.kind not in "fc":
        raise TypeError(f"z: expected floating-point numbers; got dtype {z.dtype}.")
    if σ.name == "identity" or σ.alpha is not None:
        return namespace(z).zeros_like(z)
    if σ.name not in _SECOND_SLOPE:
        raise ValueError(f"activation: expected a built-in one, whose second derivative is known; got {σ.name!r}. "
                         "For your own, take complex_step_hessian_vector_product.")
    return _SECOND_SLOPE[σ.name](σ, z)


# 1 − 2 · logistic(z) is −tanh(z/2), and 1 − logistic(z) is logistic(−z): no cancellation.
_SECOND_SLOPE: dict[str, Callable[[Activation, Array], Array]] = {
    "tanh": lambda σ, z: -2 * σ(z) * σ.slope(z),
    "sigmoid": lambda σ, z: -namespace(z).tanh(z / 2) * σ.slope(z),
    "softplus": lambda σ, z: σ.slope(z) * σ.slope(-z),
}


def _forward_over_reverse(loss: Loss, direction: PerParameter, x: Array, W: Array, u: Array, b: Array | None,
                          h0: Array | None, activation: str | Activation, whole: bool) -> PerParameter:
    b, h0, xp = _door(loss, direction, x, W, u, b, h0)
    σ = resolve(activation)
    T, (W_dot, u_dot, b_dot, h0_dot) = len(x), direction
    with np.errstate(all="ignore"):
        a, a_dot = x @ W.T + b, x @ W_dot.T + b_dot
        h, h_dot = recurrence.jvp(a, u, h0, σ, a_dot, u_dot, h0_dot)                    # (i)
        h_prev, h_dot_prev = xp.concatenate([h0[None], h[:-1]]), xp.concatenate([h0_dot[None], h_dot[:-1]])
        z, z_dot = a + u * h_prev, a_dot + u_dot * h_prev + u * h_dot_prev
        dh, dh_dot = loss.gradient(h), loss.curvature(h, h_dot)
        _fits("loss.gradient", dh, "h", h)
        _fits("loss.curvature", dh_dot, "h", h)
        s_dot = second_slope(σ, z) * z_dot if whole else xp.zeros_like(z)

        dz, dz_dot = xp.zeros_like(h0), xp.zeros_like(h0)                               # of step T + 1
        every_dz, every_dz_dot = xp.empty_like(h), xp.empty_like(h)
        for t in reversed(range(T)):
            g = dh[t] + u * dz                                                          # (ii)
            g_dot = dh_dot[t] + (u_dot * dz if whole else 0) + u * dz_dot
            bend = xp.where(s_dot[t] == 0, 0, s_dot[t] * g)                             # selected: no 0 · inf
            dz, dz_dot = σ.pull(g, z[t], h[t]), σ.pull(g_dot, z[t], h[t]) + bend        # (iii)
            every_dz[t], every_dz_dot[t] = dz, dz_dot
        du = every_dz_dot * h_prev + (every_dz * h_dot_prev if whole else 0)            # (iv)
        return PerParameter(xp.einsum("tbn,tbm->nm", every_dz_dot, x), du.sum(axis=(0, 1)),
                          every_dz_dot.sum(axis=(0, 1)), (u_dot * dz if whole else 0) + u * dz_dot)


def _door(loss: Loss, direction: PerParameter, x: Array, W: Array, u: Array, b: Array | None,
          h0: Array | None) -> tuple[Array, Array, Any]:
    """Check all arguments; return b and h0 as arrays, and the namespace."""
    if not isinstance(loss, Loss):
        raise TypeError("loss: expected a Loss, such as squared_loss(y) or linear_loss(dh); "
                        f"got {type(loss).__name__}.")
    xp = checks.layer(x, W, u, b, h0)
    if x.dtype.name not in checks.REAL:
        raise TypeError(f"x: expected dtype float32 or float64; got {x.dtype}.")
    b = xp.zeros_like(u) if b is None else b
    h0 = xp.zeros((x.shape[1], len(u)), x.dtype) if h0 is None else h0
    if not isinstance(direction, tuple) or len(direction) != 4:
        raise TypeError(f"direction: expected PerParameter(W, u, b, h0); got {type(direction).__name__}.")
    for name, tangent, value in zip(PerParameter._fields, direction, (W, u, b, h0), strict=True):
        _fits(f"direction.{name}", tangent, name, value)
    return b, h0, xp


def _fits(name: str, array: Array, model: str, like: Array) -> None:
    array_module.of(**{model: like, name: array})
    if array.shape != like.shape or array.dtype != like.dtype:
        raise ValueError(f"{name}: expected an array {like.dtype} {like.shape}; got {array.dtype} {array.shape}.")
