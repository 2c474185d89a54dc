"""The specification as an engine. It knows no buffers, so what the caller gives for the result is filled afterwards."""

from __future__ import annotations

import numpy as np

from .. import recurrence
from ..activations import Activation
from ..array_module import Array
from ..recurrence import RecurrenceGradients


@np.errstate(all="ignore")
def forward(a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None) -> Array:
    """Return h (T, B, N), in `out` if given; arguments as in `recurrence.forward`."""
    return _put(recurrence.forward(a, u, h0, activation), out)


@np.errstate(all="ignore")
def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array, activation: Activation,
             out: Array | None = None, db: Array | None = None) -> RecurrenceGradients:
    """Return (da, du, dh0), da in `out` if given; db (N,), if given, gets Σ_t Σ_b da."""
    da, du, dh0 = recurrence.backward(dh, h, a, u, h0, activation)
    if db is not None:
        da.sum(axis=(0, 1), out=db)
    return RecurrenceGradients(_put(da, out), du, dh0)


def _put(result: Array, out: Array | None) -> Array:
    if out is None:
        return result
    out[...] = result
    return out
