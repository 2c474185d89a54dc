"""The engine "cuda" kept to the order of the loop, with the bits of the specification where σ is piecewise linear.

Where B·N is large "cuda" runs the same kernels. Take this one where runs on different machines are to be equal.
"""

from __future__ import annotations

from ..activations import Activation
from ..array_module import Array
from ..recurrence import RecurrenceGradients
from . import cuda


def forward(a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None) -> Array:
    """Return h (T, B, N), in `out` if given, which may be a itself."""
    return cuda.forward(a, u, h0, activation, out, cuda.sequential("forward", activation, a.dtype))


def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array, activation: Activation,
             out: Array | None = None, db: Array | None = None) -> RecurrenceGradients:
    """Return (da, du, dh0), da in `out` if given, which may be dh itself; db (N,), if given, gets Σ_t Σ_b da."""
    return cuda.backward(dh, h, a, u, h0, activation, out, db, cuda.sequential("backward", activation, h.dtype))
