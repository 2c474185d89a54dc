"""Eq. 4: how each state h_k reaches the last one, h_T, and the logarithm of it where numbers run out.

h_k acts on h_{k+1} through z_{k+1} = a_{k+1} + u ⊙ h_k and on nothing else; so, from the last state back,

    ∂h_T/∂h_T = 1          ∂h_T/∂h_k = u ⊙ σ'(z_{k+1}) ⊙ ∂h_T/∂h_{k+1}          k = T−1 … 0        (Eq. 4)

Each neuron of each sequence has a number of its own, since none sees another: the Jacobian is diagonal, and what is
returned is the diagonal. Entry k belongs to h_k, so entry 0 to h_0 and entry T, all ones, to h_T itself.

2 · 0.99^100000 is no float64, but its logarithm is an ordinary number. `log_gradient_through_time` adds

    log |∂h_T/∂h_k| = (T − k) log |u| + Σ_{j=k+1}^{T} log |σ'(z_j)|

in the widest precision there is and rounds once.

Complex numbers: all of this holds for the complex derivative, a kink being decided by the real part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..activations import is_builtin
from ..array_module import Array, namespace
from ..layer import Trace
from . import _checks


class LogGradient(NamedTuple):
    """|∂h_T/∂h_k| as its logarithm, and its sign; (T+1, B, N) each.

    log : real; −inf where the gradient is zero
    sign : −1, 0 or 1; where the trace is complex, a number of modulus 1, or 0
    """

    log: Array
    sign: Array


def slopes(trace: Trace) -> Array:
    """Return σ'(z_t) along a trajectory: the factors of Eq. 4 beside u.

    They are taken at z_t = a_t + u ⊙ h_{t−1} where h_t has lost them (tanh, sigmoid), else from h_t.

    Parameters
    ----------
    trace : what `forward` returned

    Returns
    -------
    (T, B, N) : row t − 1 is step t, as in h

    Raises
    ------
    TypeError
        trace is no Trace.
    """
    trace = _checks.trace(trace)
    with np.errstate(all="ignore"):
        return trace.activation.pull(namespace(trace.h).ones_like(trace.h), pre_activation(trace), trace.h)


def gradient_through_time(trace: Trace) -> Array:
    """Compute ∂h_T/∂h_k for every k (Li et al. 2018, Eq. 4).

    Beyond the range of the dtype it is 0 or inf, as IEEE says; see `log_gradient_through_time`.

    Parameters
    ----------
    trace : what `forward` returned, real or complex

    Returns
    -------
    (T+1, B, N) : entry k is ∂h_T/∂h_k, entry 0 for h0, entry T all ones

    Raises
    ------
    TypeError
        trace is no Trace.
    """
    trace = _checks.trace(trace)
    T, B, N = trace.h.shape
    σ, u, xp = trace.activation, trace.u, namespace(trace.h)
    gradient = xp.ones((T + 1, B, N), trace.h.dtype)
    with np.errstate(all="ignore"):
        z = pre_activation(trace)
        for k in reversed(range(T)):  # row k of h and z is step k + 1
            gradient[k] = u * σ.pull(gradient[k + 1], None if z is None else z[k], trace.h[k])
    return gradient


def log_gradient_through_time(trace: Trace) -> LogGradient:
    """Compute log |∂h_T/∂h_k| and the sign of ∂h_T/∂h_k for every k: Eq. 4 without underflow or overflow.

    Slopes of tanh and sigmoid that are too small to be numbers still have their logarithm; a softplus whose state is
    0, since it underflowed, counts as slope 0. All is computed from the trace's own h and a, in `longdouble` where
    there is one, and rounded once: where every slope is 1 the error is about half a unit in the last place. The sign
    of a complex gradient is a product of T phases, each good to a few roundings.

    Parameters
    ----------
    trace : what `forward` returned, real or complex

    Returns
    -------
    LogGradient : log (T+1, B, N) of the real dtype that trace.h has, sign (T+1, B, N) of the dtype of trace.h

    Raises
    ------
    TypeError
        trace is no Trace.
    """
    trace = _checks.trace(trace)
    xp, dtype = namespace(trace.h), trace.h.dtype
    T, B, N = trace.h.shape
    log, sign = xp.zeros((T + 1, B, N), trace.h.real.dtype), xp.ones((T + 1, B, N), dtype)
    with np.errstate(all="ignore"):
        wide = _widened(trace)
        log_slope, sign_slope = _log_slopes(wide)
        lag = xp.arange(T, 0, -1).reshape(T, 1, 1)
        log[:-1] = lag * xp.log(xp.abs(wide.u)) + _backwards(xp.cumsum, log_slope)
        sign[:-1] = _backwards(xp.cumprod, _sign(wide.u) * sign_slope)
    return LogGradient(log, sign)


def pre_activation(trace: Trace) -> Array | None:
    """z (T, B, N), where the activation needs it."""
    if trace.a is None:
        return None
    xp = namespace(trace.h)
    return trace.a + trace.u * xp.concatenate([trace.h0[None], trace.h[:-1]])


def _widened(trace: Trace) -> Trace:
    """Return the trace with u, h0, h and a in the widest precision of its library."""
    real = np.longdouble if namespace(trace.h) is np else np.float64
    dtype = np.result_type(real, np.complex64) if trace.h.dtype.kind == "c" else real
    u, h0, h = (array.astype(dtype) for array in (trace.u, trace.h0, trace.h))
    a = None if trace.a is None else trace.a.astype(dtype)
    return Trace(h=h, x=trace.x, W=trace.W, u=u, h0=h0, a=a, activation=trace.activation, engine=trace.engine)


def _log_slopes(trace: Trace) -> tuple[Array, Array]:
    """log |σ'(z_t)| and the sign of σ'(z_t), (T, B, N) each."""
    xp, z = namespace(trace.h), pre_activation(trace)
    if z is not None and is_builtin(trace.activation):
        log = _LOG_SLOPE[trace.activation.name](z)
        phase = xp.exp(1j * log.imag) if log.dtype.kind == "c" else xp.where(xp.isnan(log), log, 1)
        return log.real, xp.where(log.real == -math.inf, 0, phase)
    slope = slopes(trace)
    return xp.log(xp.abs(slope)), _sign(slope)


def _sign(x: Array) -> Array:
    """x / |x|, or 0."""
    xp = namespace(x)
    return xp.where(x == 0, 0, x / xp.abs(x)) if x.dtype.kind == "c" else xp.sign(x)


def _log_logistic_slope(z: Array) -> Array:
    """log of e / (1 + e)² with e = exp(−|z|), where for complex z, |z| means ±z with real part above 0."""
    xp = namespace(z)
    size = xp.where(z.real < 0, -z, z)
    return -size - 2 * xp.log(1 + xp.exp(-size))


_LOG_SLOPE: dict[str, Callable[[Array], Array]] = {
    "sigmoid": _log_logistic_slope,
    # tanh'(z) is four times the logistic slope at 2z.
    "tanh": lambda z: _log_logistic_slope(2 * z) + np.log(z.real.dtype.type(4)),
}


def _backwards(accumulate: Callable[..., Any], terms: Array) -> Array:
    """Accumulate over the steps from the last to the first."""
    return accumulate(terms[::-1], axis=0)[::-1]
