"""A convolution over a feature axis: what W x_t is replaced by in the convolutional IndRNN (Li et al. 2018, §4.1).

Each step's input has C channels of L places, and so x has the shape (T, B, C, L); every step is mapped alike, as by an
affine map whose rows share their weights. Time is not convolved: that is what the recurrence is for. As in every
library of networks, the kernel is not flipped. With stride s, and zeros for x beyond its ends,

    y_{o,l} = b_o + Σ_c Σ_k W_{o,c,k} x_{c, s l + k − padding}

    dx_{c,m} = Σ_{s l + k − padding = m} Σ_o W_{o,c,k} dy_{o,l}        dW_{o,c,k} = Σ dy_{o,l} x_{c, s l + k − padding}
    db_o = Σ dy_{o,l}

The loop below is the sum over k: a kernel is short.
"""

from __future__ import annotations

from collections.abc import Callable

from ..array_module import Array
from . import _door
from .affine import Params


def places(length: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Count the places of y for so many places of x."""
    return (length + 2 * padding - kernel) // stride + 1


def convolution(params: Params, x: Array, stride: int = 1,
                padding: int = 0) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Convolve the last axis of x.

    Parameters
    ----------
    params : W (O, C, K) and, unless the map has no bias, b (O,)
    x : (T, B, C, L)
    stride : whole number above 0
    padding : whole number of at least 0, of zeros at each end of L

    Returns
    -------
    y : (T, B, O, places(L, K, stride, padding))
    backward : dy to dx (T, B, C, L) and {"W": dW, "b": db}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    W, b = _door.leaf(params, "W"), params.get("b")
    xp = _door.alike(x=x, W=W, b=b)
    _door.shape("W", W, (None, None, None), "(outputs, channels, kernel)")
    outputs, C, K = W.shape
    _door.shape("x", x, (None, None, C, None), f"(T, B, C, L) with the {C} channels of W {W.shape}")
    if b is not None:
        _door.shape("b", b, (outputs,), f"one bias per output channel of W {W.shape}")
    _door.at_least("stride", stride, 1)
    _door.at_least("padding", padding, 0)
    T, B, _, L = x.shape
    P = places(L, K, stride, padding)
    if P < 1:
        raise ValueError(f"x: expected at least {K - 2 * padding} places for a kernel of {K}; got shape {x.shape}.")

    wide = xp.zeros((T, B, C, L + 2 * padding), x.dtype)
    wide[..., padding:padding + L] = x
    under = [slice(k, k + stride * (P - 1) + 1, stride) for k in range(K)]  # the places that weight k looks at
    y = xp.zeros((T, B, outputs, P), x.dtype)
    for k in range(K):
        y += W[:, :, k] @ wide[..., under[k]]
    if b is not None:
        y += b[:, None]

    def backward(dy: Array) -> tuple[Array, Params]:
        _door.cotangent(dy, y.shape, x)
        dwide, dW = xp.zeros(wide.shape, x.dtype), xp.empty(W.shape, x.dtype)
        for k in range(K):
            dwide[..., under[k]] += W[:, :, k].T @ dy
            dW[:, :, k] = xp.tensordot(dy, wide[..., under[k]], axes=((0, 1, 3), (0, 1, 3)))
        dparams = {"W": dW} if b is None else {"W": dW, "b": dy.sum(axis=-1).sum(axis=0).sum(axis=0)}
        return dwide[..., padding:padding + L], dparams

    return y, backward
