"""Clipping gradients: inside the recurrence, as the authors' first code does, after it, or by norm.

Three things, three results.

One active ReLU neuron, T = 200, u = 1.02, drive .01, last cotangent 5 and limit 1: du is 19292 unclipped, 1187 when dz
is clipped at each step of the recurrence, and 1 when du is clipped, by value or by norm, after it.

None of them holds u: what they bound is a gradient, and a step of the optimiser with it. See `control`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..activations import Activation, resolve
from ..array_module import Array
from ..recurrence import RecurrenceGradients
from . import _checks


def backward_clipping_inside(dh: Array, h: Array, a: Array | None, u: Array, h0: Array,
                             activation: str | Activation, limit: float) -> RecurrenceGradients:
    """Backpropagate through the recurrence with every dz_t clipped to ±limit before it is carried on.

        dz_t = clip(σ'(z_t) ⊙ (dh_t + u ⊙ dz_{t+1}), −limit, limit)               dz_{T+1} = 0
        da_t = dz_t          du = Σ_t Σ_b dz_t ⊙ h_{t−1}          dh_0 = u ⊙ dz_1

    The authors' first code has it (the gradient clipping of Theano's recurrent layers). So |du| ≤ limit · Σ|h_{t−1}|
    and |dh_0| ≤ limit · |u|, since |dz_t| ≤ limit. ∎  It is the gradient where no dz_t exceeds the limit; elsewhere
    an early step's share is what the limit left of it, at every step again, so the direction changes too.

    Parameters
    ----------
    dh, h, a, u, h0, activation : as in `recurrence.backward`, real
    limit : number above 0; inf clips nothing

    Returns
    -------
    RecurrenceGradients : da (T, B, N), du (N,), dh0 (B, N)

    Raises
    ------
    TypeError, ValueError
        As `recurrence.backward`; also where limit is no number above 0.
    """
    xp = checks.recurrence(u, h0, h=h, dh=dh, a=a, optional=("a",), dtypes=checks.REAL)
    σ, c = resolve(activation), _limit(limit, h.dtype)
    checks.drive(a, σ)

    da, du = xp.empty(h.shape, h.dtype), xp.zeros(u.shape, u.dtype)
    dz = xp.zeros(h0.shape, h0.dtype)
    with np.errstate(all="ignore"):
        for t in reversed(range(len(h))):
            h_prev = h[t - 1] if t > 0 else h0
            z = a[t] + u * h_prev if σ.needs_z and a is not None else None
            dz = da[t] = xp.clip(σ.pull(dh[t] + u * dz, z, h[t]), -c, c)
            du += (dz * h_prev).sum(axis=0)
        return RecurrenceGradients(da, du, u * dz)


def clip_by_value(gradient: Array, limit: float) -> Array:
    """Clip every element to ±limit. The direction of the whole changes where some are clipped and others not.

    Parameters
    ----------
    gradient : array of any shape, float32 or float64
    limit : number above 0

    Returns
    -------
    a new array like it; a NaN stays a NaN

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    xp = _checks.real_array("gradient", gradient)
    c = _limit(limit, gradient.dtype)
    return xp.clip(gradient, -c, c)


def clip_by_norm(gradients: Sequence[Array], limit: float) -> tuple[tuple[Array, ...], float]:
    """Shrink all gradients by one factor, so that together their Euclidean norm is at most limit: same direction.

    Everything is taken relative to the largest element, so that no square overflows. Gradients with an inf or a NaN
    have no direction: all of them come back as NaN, for the caller to see.

    Parameters
    ----------
    gradients : arrays of any shapes, float32 or float64: those of all parameters, each on any device
    limit : number above 0

    Returns
    -------
    clipped : as many arrays, each like its own; the gradients themselves where the norm is within the limit
    norm : their norm as they came; inf where it is beyond float64, NaN where there is an inf or a NaN

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    if not isinstance(gradients, tuple | list) or not gradients:
        raise TypeError("gradients: expected a tuple or list of at least one array; "
                        f"got {type(gradients).__name__}.")
    for k, g in enumerate(gradients):
        _checks.real_array(f"gradients[{k}]", g)
        if g.size == 0:
            raise ValueError(f"gradients[{k}]: expected at least one element; got shape {g.shape}.")
    c = float(_limit(limit, np.dtype(np.float64)))
    with np.errstate(all="ignore"):
        largest = float(np.max([float(abs(g).max()) for g in gradients]))  # NaN where one is
        if largest == 0:
            return tuple(gradients), 0.0
        scaled = [g.astype(np.float64) / largest for g in gradients]
        root = math.sqrt(sum(float((g**2).sum()) for g in scaled))
        norm = largest * root
        if norm <= c:
            return tuple(gradients), norm
        return tuple((s * (c / root)).astype(g.dtype) for s, g in zip(scaled, gradients, strict=True)), norm


def _limit(limit: Any, dtype: np.dtype[Any]) -> Any:
    """Return the largest number of this dtype within a limit above 0."""
    return _checks.range_within(0, _checks.number("limit", limit, infinite=True, above_zero=True), dtype)[1]
