"""The affine map: y = W x + b, at every step and in every sequence alike.

One row of `rows` is one x, so that W x is a row of rows @ Wᵀ, and one matrix product serves all T · B of them:

    dx = Wᵀ dy        dW = Σ dy xᵀ        db = Σ dy                  (sums over all steps and sequences)
"""

from __future__ import annotations

from collections.abc import Callable

from ..array_module import Array
from . import _door

Params = dict[str, Array]


def affine(params: Params, x: Array) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Map the last axis of x.

    Parameters
    ----------
    params : W (N, M) and, unless the map has no bias, b (N,)
    x : (…, M), (T, B, M) or any other number of axes before the last

    Returns
    -------
    y : (…, N)
    backward : dy (…, N) to dx (…, M) and {"W": dW, "b": db}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    W, b = _door.leaf(params, "W"), params.get("b")
    _door.alike(x=x, W=W, b=b)
    _door.shape("W", W, (None, None), "a row per output and a column per input")
    N, M = W.shape
    _door.features("x", x, M)
    if b is not None:
        _door.shape("b", b, (N,), f"one bias per row of W {W.shape}")

    rows = x.reshape(-1, M)
    y = rows @ W.T
    if b is not None:
        y += b

    def backward(dy: Array) -> tuple[Array, Params]:
        _door.cotangent(dy, (*x.shape[:-1], N), x)
        d = dy.reshape(-1, N)
        dparams = {"W": d.T @ rows}
        if b is not None:
            dparams["b"] = over_all_but_the_last(dy)
        return (d @ W).reshape(x.shape), dparams

    return y.reshape(*x.shape[:-1], N), backward


def over_all_but_the_last(x: Array) -> Array:
    """Sum over all axes but the last, one after the other: T + B roundings on a path, where at once they are T · B."""
    while x.ndim > 1:
        x = x.sum(axis=0)
    return x
