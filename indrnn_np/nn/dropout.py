"""Dropout with one mask for all steps: a feature of a sequence is there throughout, or not at all.

    y_t = m ⊙ x_t,    m = 0 with the probability p, else 1 / (1 − p)             dx_t = m ⊙ dy_t

A mask drawn anew at every step would interrupt the memory that Eq. 4 keeps (follow-up, arXiv 1910.06251). The mean of
m is 1, so evaluation leaves x as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..array_module import Array, namespace
from . import _door


def dropout(x: Array, probability: float, rng: np.random.Generator | None) -> tuple[Array, Callable[[Array], Array]]:
    """Drop features of whole sequences.

    Parameters
    ----------
    x : (T, B, N)
    probability : of being dropped, at least 0 and below 1
    rng : np.random.Generator that draws the mask; None: evaluation, y is x

    Returns
    -------
    y : (T, B, N); x itself where nothing can be dropped
    backward : dy to dx

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    p = _door.probability("probability", probability)
    _door.alike(x=x)
    _door.shape("x", x, (None, None, None), "(T, B, N)")
    if rng is None or p == 0:
        return x, lambda dy: dy
    kept = _door.generator(rng).random(x.shape[1:]) >= p
    m = namespace(x).asarray((kept / (1 - p)).astype(x.real.dtype))

    def backward(dy: Array) -> Array:
        _door.cotangent(dy, x.shape, x)
        return m * dy

    return m * x, backward
