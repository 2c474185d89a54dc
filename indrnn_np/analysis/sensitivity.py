"""How much each state moves with each parameter: the derivative forward in time, and the sharp bound it gives.

Differentiate z_t = W x_t + b + u ⊙ h_{t−1} and h_t = σ(z_t) by u, b, W and h_0, with s_t = σ'(z_t):

    p_t = ∂h_t/∂u   = s_t (h_{t−1} + u p_{t−1})          p_0 = 0                                (i)
    q_t = ∂h_t/∂b   = s_t (1 + u q_{t−1})                q_0 = 0                                (ii)
    R_t = ∂h_t/∂W   = s_t (x_t + u R_{t−1})              R_0 = 0                                (iii)
    v_t = ∂h_t/∂h_0 = s_t u v_{t−1}                      v_0 = 1                                (iv)

No neuron sees another, so each is a number per sequence and neuron (R a row of M). By the chain rule

    du = Σ_t Σ_b dh_t p_t,    db = Σ_t Σ_b dh_t q_t,    dW = Σ_t Σ_b dh_t R_t,    dh_0 = Σ_t dh_t v_t     (v)

which backward finds from the other end of time. Since the sensitivities know nothing of the loss, (v) bounds every
loss with cotangents of given size, |du| ≤ Σ_t Σ_b |dh_t| |p_t|, and no smaller bound holds: dh_t = D sign(p_t)
has all terms positive. So has dh_t = D sign(q_t) for db, and so on. Any σ, any sign of u.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .. import checks
from ..array_module import Array, namespace
from ..layer import Trace
from . import _checks
from .through_time import pre_activation


class Sensitivities(NamedTuple):
    """∂h_t by u, by b and by h_0, each (T, B, N): entry [t, b, n] is of that state, by its own neuron's parameter."""

    p: Array
    q: Array
    v: Array


class SensitivityGradients(NamedTuple):
    """One array per parameter: dW (N, M), du (N,), db (N,), dh0 (B, N)."""

    dW: Array
    du: Array
    db: Array
    dh0: Array


def sensitivities(trace: Trace) -> Sensitivities:
    """Return p, q and v, equations (i), (ii) and (iv).

    R, which has T·B·N·M entries, is not kept: `forward_mode` and `sharp_bounds` contract it as it arises.

    Parameters
    ----------
    trace : what `forward` returned

    Returns
    -------
    Sensitivities : p, q, v, each (T, B, N)

    Raises
    ------
    TypeError
        trace is no Trace.
    """
    _checks.trace(trace)
    xp, h, u = namespace(trace.h), trace.h, trace.u
    p, q, v = xp.empty_like(h), xp.empty_like(h), xp.empty_like(h)
    p_t, q_t, v_t = xp.zeros_like(h[0]), xp.zeros_like(h[0]), xp.ones_like(h[0])
    with np.errstate(all="ignore"):
        for t, _, h_prev, through in _steps(trace):
            p[t] = p_t = through(h_prev + u * p_t)                  # (i)
            q[t] = q_t = through(1 + u * q_t)                       # (ii)
            v[t] = v_t = through(u * v_t)                           # (iv)
    return Sensitivities(p, q, v)


def forward_mode(dh: Array, trace: Trace) -> SensitivityGradients:
    """Differentiate J forward in time, equation (v): what backward returns, found without going back.

    It costs M times as much as backward, and its memory does not grow with T.

    Parameters
    ----------
    dh : (T, B, N) partial derivative of J by each h_t, not through later steps
    trace : what `forward` returned

    Returns
    -------
    SensitivityGradients : dW (N, M), du (N,), db (N,), dh0 (B, N)

    Raises
    ------
    TypeError, ValueError
        dh has the wrong type, dtype, device or shape, or trace is no Trace.
    """
    return contract(dh, trace, lambda sensitivity: sensitivity)


def sharp_bounds(dh: Array, trace: Trace) -> SensitivityGradients:
    """Bound the gradients of every loss whose cotangents are no larger than |dh|, on the states of this trace.

    Each entry is attained: du[n] by cotangents |dh[..., n]| · sign(p[..., n]), and so on, each by its own.

    Parameters
    ----------
    dh : (T, B, N) cotangents; their signs do not matter
    trace : what `forward` returned

    Returns
    -------
    SensitivityGradients : bounds of |dW| (N, M), |du| (N,), |db| (N,), |dh0| (B, N)

    Raises
    ------
    TypeError, ValueError
        As `forward_mode`.
    """
    return contract(dh, trace, abs, abs)


def contract(dh: Array, trace: Trace, measure: Callable[[Array], Array],
             weight: Callable[[Array], Array] = lambda dh: dh) -> SensitivityGradients:
    """Return Σ_t weight(dh_t) ⊙ measure(sensitivity_t) for all four; R is held for one step at a time.

    Parameters
    ----------
    dh : (T, B, N)
    trace : what `forward` returned
    measure : what is made of each sensitivity before it is summed: itself, its size, its square
    weight : what is made of each cotangent

    Returns
    -------
    SensitivityGradients

    Raises
    ------
    TypeError, ValueError
        As `forward_mode`.
    """
    _checks.trace(trace)
    checks.cotangent(dh, trace.h)
    xp, h, u = namespace(trace.h), trace.h, trace.u
    p, q, v = xp.zeros_like(h[0]), xp.zeros_like(h[0]), xp.ones_like(h[0])
    R = xp.zeros((*v.shape, trace.x.shape[2]), h.dtype)
    rows_u, rows_b, dh0, dW = xp.zeros_like(p), xp.zeros_like(p), xp.zeros_like(p), xp.zeros_like(trace.W)
    with np.errstate(all="ignore"):
        for t, x_t, h_prev, through in _steps(trace):
            p, q, v = through(h_prev + u * p), through(1 + u * q), through(u * v)       # (i), (ii), (iv)
            R = through(x_t[:, None, :] + u[:, None] * R)                               # (iii)
            w = weight(dh[t])
            rows_u += w * measure(p)                                                    # (v)
            rows_b += w * measure(q)
            dh0 += w * measure(v)
            dW += xp.einsum("bn,bnm->nm", w, measure(R))
    return SensitivityGradients(dW, rows_u.sum(axis=0), rows_b.sum(axis=0), dh0)


def _steps(trace: Trace) -> Iterator[tuple[int, Array, Array, Callable[[Array], Array]]]:
    """Yield t, x_t, h_{t−1} and the map g → σ'(z_t) ⊙ g, for g (B, N) or (B, N, M)."""
    σ, z = trace.activation, pre_activation(trace)
    for t in range(len(trace.h)):
        h_prev = trace.h[t - 1] if t > 0 else trace.h0
        h_t = trace.h[t]
        z_t = None if z is None else z[t]

        def through(g: Array, h_t: Array = h_t, z_t: Array | None = z_t) -> Array:
            if g.ndim == 3:
                h_t, z_t = h_t[..., None], None if z_t is None else z_t[..., None]
            return σ.pull(g, z_t, h_t)

        yield t, trace.x[t], h_prev, through
