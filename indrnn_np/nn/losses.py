"""Losses: one number J that says how wrong the outputs are, and ∂J/∂y.

Each is a mean over the positions that count, so that J does not depend on how many they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..array_module import Array
from . import _door, sequences


def mse(y: Array, target: Array, mask: Array | None = None) -> tuple[Any, Callable[[], Array]]:
    """Mean squared error, J = Σ (y − target)² / n over the n numbers that count.

    Parameters
    ----------
    y, target : arrays of one shape, such as (B, K) or (T, B, K)
    mask : of the shape of y without its last axis, True where a position counts; None: all do

    Returns
    -------
    J : a number
    backward : () to dy = 2 (y − target) / n

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    _door.alike(y=y, target=target)
    _door.features("y", y, y.shape[-1] if y.ndim else 1)
    _door.shape("target", target, y.shape, "as y has it")
    if mask is not None:
        _door.mask(mask, y.shape[:-1], y)
    n = y.size if mask is None else int(mask.sum()) * y.shape[-1]
    off = sequences.keep(mask, y - target)
    return (off * off).sum() / n, lambda: 2 * off / n


def softmax_cross_entropy(logits: Array, labels: Array,
                          mask: Array | None = None) -> tuple[Any, Callable[[], Array]]:
    """Cross entropy of a softmax, J = mean of −log p_label in nats, where p = exp(y) / Σ exp(y) along the last axis.

    The largest logit is taken off before exp, which changes no p and keeps exp from overflowing. With it,

        −log p_label = log Σ exp(y) − y_label        dy = (p − onehot(label)) / n

    Parameters
    ----------
    logits : (…, K), y above
    labels : (…) whole numbers from 0 to K − 1
    mask : (…), True where a position counts; None: all do. Labels elsewhere must still be such numbers

    Returns
    -------
    J : a number
    backward : () to dy (…, K)

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    xp = _door.alike(logits=logits)
    _door.features("logits", logits, logits.shape[-1] if logits.ndim else 1)
    _door.whole_numbers("labels", labels, logits.shape[-1])
    _door.shape("labels", labels, logits.shape[:-1], "one per row of logits")
    if mask is not None:
        _door.mask(mask, labels.shape, logits)
    n = labels.size if mask is None else int(mask.sum())

    y = logits - logits.real.max(axis=-1, keepdims=True)
    e = xp.exp(y)
    total = e.sum(axis=-1, keepdims=True)
    right = labels[..., None] == xp.arange(logits.shape[-1])
    surprise = xp.log(total[..., 0]) - xp.where(right, y, y.dtype.type(0)).sum(axis=-1)

    def backward() -> Array:
        return sequences.keep(mask, (e / total - right) / n)

    return sequences.keep(mask, surprise).sum() / n, backward
