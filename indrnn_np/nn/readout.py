"""What of the states reaches the output: the last one of each sequence.

    y_b = h_{lengths[b], b}        dh_t is dy at a sequence's own last step and 0 elsewhere

A neuron that runs backwards in time has its last state at the first step.
"""

from __future__ import annotations

from collections.abc import Callable

from ..array_module import Array, namespace
from . import _door, sequences


def last_step(h: Array, mask: Array | None = None,
              bidirectional: bool = False) -> tuple[Array, Callable[[Array], Array]]:
    """Take the state after each sequence's own last step.

    Parameters
    ----------
    h : (T, B, N)
    mask : (T, B), True where a position is real, from the first step on; None: all are
    bidirectional : whether the second half of the neurons end at the first step

    Returns
    -------
    y : (B, N)
    backward : dy (B, N) to dh (T, B, N)

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    xp = _door.alike(h=h)
    _door.shape("h", h, (None, None, None), "(T, B, N)")
    if mask is not None:
        _door.mask(mask, h.shape[:2], h)
    _, B, N = h.shape
    end, b = sequences.last_steps(mask, h), xp.arange(B)
    halves = ((slice(N // 2), end), (slice(N // 2, N), xp.zeros(B, end.dtype))) if bidirectional else ((slice(N), end),)
    y = xp.concatenate([h[..., half][step, b] for half, step in halves], axis=-1)
    like = y[:0]

    def backward(dy: Array) -> Array:
        _door.cotangent(dy, (B, N), like)
        dh = namespace(dy).zeros(h.shape, h.dtype)
        for half, step in halves:
            dh[..., half][step, b] = dy[..., half]
        return dh

    return y, backward
