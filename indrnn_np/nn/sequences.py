"""Sequences of different lengths in one array: which positions are real, and how to turn each about its own middle.

Sequence b fills the steps 0 … lengths[b] − 1 of x[:, b]; what follows is padding. Two promises hold for every network
of this room: no number that stands in the padding has any influence, down to the last bit; and how much padding there
is moves results by rounding alone, since sums over more zeros may be bracketed in another way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array_module import Array, namespace, to_numpy


def mask(lengths: Any, x: Array) -> Array | None:
    """Say which positions of x (T, B, …) are real.

    Parameters
    ----------
    lengths : (B,) whole numbers from 1 to T, or None: all are real
    x : (T, B, …)

    Returns
    -------
    (T, B) of booleans on x's device, or None where all are real

    Raises
    ------
    TypeError, ValueError
        lengths are no such numbers.
    """
    if lengths is None:
        return None
    T, B = x.shape[:2]
    host = np.asarray(to_numpy(lengths))
    if host.dtype.kind not in "iu":
        raise TypeError(f"lengths: expected whole numbers; got {host.dtype}.")
    if host.shape != (B,):
        raise ValueError(f"lengths: expected shape ({B},), one per sequence of x {x.shape}; got {host.shape}.")
    if host.min() < 1 or host.max() > T:
        wrong = host.min() if host.min() < 1 else host.max()
        raise ValueError(f"lengths: expected 1 to {T}, the steps of x {x.shape}; got {wrong}.")
    if host.min() == T:
        return None
    xp = namespace(x)
    return xp.arange(T)[:, None] < xp.asarray(host)


def last_steps(real: Array | None, x: Array) -> Array:
    """Return the index of each sequence's last real step, (B,)."""
    xp = namespace(x)
    return xp.full(x.shape[1], len(x) - 1) if real is None else real.sum(axis=0) - 1


def keep(real: Array | None, x: Array) -> Array:
    """Return x with zeros in the padding; x itself where there is none. It selects, so that NaN in the padding goes."""
    if real is None:
        return x
    return namespace(x).where(real.reshape(real.shape + (1,) * (x.ndim - real.ndim)), x, x.dtype.type(0))


def turn_half(x: Array, real: Array | None) -> Array:
    """Reverse the second half of the features in time, each sequence within its own length.

    A layer half of whose neurons run from the last step to the first is then a layer as any other, between two turns:
    no IndRNN neuron sees its neighbours. Turning twice changes nothing, and a turn is its own transpose, so it pulls
    cotangents back as well.

    Parameters
    ----------
    x : (T, B, N), N even
    real : (T, B) as `mask` returns it

    Returns
    -------
    a new (T, B, N)
    """
    xp = namespace(x)
    T, B, N = x.shape
    if N % 2:
        raise ValueError(f"x: expected an even number of features, half of which are turned; got shape {x.shape}.")
    y = x.copy()
    half = x[..., N // 2:]
    if real is None:
        y[..., N // 2:] = half[::-1]
    else:
        t = xp.arange(T)[:, None]
        y[..., N // 2:] = half[xp.where(real, last_steps(real, x) - t, t), xp.arange(B)]
    return y
