"""Batch normalisation (Ioffe & Szegedy 2015): each feature gets mean 0 and variance 1, then its own scale and shift.

    x̂ = (x − μ) / √(v + ε)        y = scale ⊙ x̂ + shift,        μ, v: mean, variance of x over the batch's n positions

Its derivative. y moves with x directly and through μ and v, which the n positions share; with s = 1 / √(v + ε),

    dscale = Σ dy ⊙ x̂        dshift = Σ dy        dx = scale ⊙ s ⊙ (dy − (dshift + x̂ ⊙ dscale) / n)

Proof. J moves with x_i by scale Σ_j dy_j ∂x̂_j/∂x_i, in three shares. Directly: s, for j = i alone. Through μ:
∂μ/∂x_i = 1/n and ∂x̂_j/∂μ = −s, together −s / n. Through v: ∂v/∂x_i = 2 (x_i − μ) / n and ∂x̂_j/∂v = −x̂_j s² / 2,
together −s x̂_j x̂_i / n. (v does not move with μ, since Σ (x − μ) = 0.) Sum over j. ∎

What the n positions are is a choice. Over the whole sequence, μ and v are over all steps and sequences: one pair per
feature. Per step ("frame-wise" in the papers) each step has a pair of its own, over the sequences; scale and shift are
one per feature still, and so their gradients are the sums over the steps. Padding counts in neither.

Evaluation takes running statistics in place of the batch's; they do not move with x, and dx = scale ⊙ s ⊙ dy. A batch
moves them by `momentum` of the way to its own μ and to n / (n − 1) v, the unbiased variance; a step that fewer than two
sequences reach leaves its pair as it is.

Beware of statistics per step where a feature is the same in all sequences at some step (a pixel that is always black,
and all that layers above make of it): v is 0 there, training gives x̂ = 0, and evaluation multiplies what the weights
have moved since by 1 / √ε = 316, in each layer anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..array_module import Array, namespace
from . import _door, sequences
from .affine import Params, over_all_but_the_last

EPSILON, MOMENTUM = 1e-5, 0.1
Backward = Callable[[Array], tuple[Array, Params]]


def initial_batch_norm(features: int, steps: int | None = None, dtype: Any = "float32",
                       xp: Any = np) -> tuple[Params, Params]:
    """Return params (scale 1, shift 0) and running statistics (mean 0, variance 1); steps given: a pair per step."""
    shape = features if steps is None else (steps, features)
    return ({"scale": xp.ones(features, dtype), "shift": xp.zeros(features, dtype)},
            {"mean": xp.zeros(shape, dtype), "var": xp.ones(shape, dtype)})


def batch_norm(params: Params, running: Params, x: Array, training: bool, mask: Array | None = None,
               epsilon: float = EPSILON, momentum: float = MOMENTUM) -> tuple[Array, Backward, Params]:
    """Normalise each feature, by the batch in training and by the running statistics in evaluation.

    Parameters
    ----------
    params : scale (N,), shift (N,)
    running : mean and var, (N,) each for statistics over the whole sequence, (steps, N) for statistics per step
    x : (T, B, N); T at most steps, where statistics are per step
    training : whether the batch's statistics are taken
    mask : (T, B), True where a position counts; None: all do. Elsewhere y and dx are 0
    epsilon, momentum : numbers above 0; momentum at most 1

    Returns
    -------
    y : (T, B, N)
    backward : dy to dx and {"scale": dscale, "shift": dshift}
    running : moved towards the batch's statistics in training, in new arrays; the same in evaluation

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    scale, shift = _door.leaf(params, "scale"), _door.leaf(params, "shift")
    xp = _check(x, scale, shift, running, mask)
    _door.above_zero("epsilon", epsilon)
    _door.above_zero("momentum", momentum, most=1)
    per_step = running["mean"].ndim == 2

    count = _positions(x, mask, per_step)
    n = xp.maximum(count, 1)
    if training:
        mean = _sum(sequences.keep(mask, x), per_step) / n
        x_hat = sequences.keep(mask, x - mean)
        var = _sum(x_hat * x_hat, per_step) / n
        running = _moved(running, mean, var, count, momentum)
    else:
        mean, var = (running[name][:len(x), None] if per_step else running[name] for name in ("mean", "var"))
        x_hat = sequences.keep(mask, x - mean)
    s = 1 / xp.sqrt(var + epsilon)
    x_hat = x_hat * s
    y = scale * x_hat
    y += shift

    def backward(dy: Array) -> tuple[Array, Params]:
        _door.cotangent(dy, x.shape, x)
        dy = sequences.keep(mask, dy)
        dscale, dshift = _sum(dy * x_hat, per_step), _sum(dy, per_step)
        if training:
            through = x_hat * (dscale / n)
            through += dshift / n
            dy = dy - through
        dx = sequences.keep(mask, dy * (scale * s))
        return dx, {"scale": over_all_but_the_last(dscale), "shift": over_all_but_the_last(dshift)}

    return sequences.keep(mask, y), backward, running


def _sum(x: Array, per_step: bool) -> Array:
    """Sum over the positions that share a mean: (T, 1, N) or (N,)."""
    return x.sum(axis=1, keepdims=True) if per_step else over_all_but_the_last(x)


def _positions(x: Array, mask: Array | None, per_step: bool) -> Array:
    """Count the positions that share a mean: (T, 1, 1) or a number, in x's own dtype."""
    xp = namespace(x)
    T, B, _ = x.shape
    if per_step:
        counts = xp.full((T, 1), B) if mask is None else mask.sum(axis=1, keepdims=True)
        return counts.astype(x.real.dtype)[..., None]
    return (xp.asarray(T * B) if mask is None else mask.sum()).astype(x.real.dtype)


def _moved(running: Params, mean: Array, var: Array, count: Array, momentum: float) -> Params:
    """Move the running statistics towards a batch's: (N,), or the first T rows of (steps, N)."""
    xp = namespace(mean)
    if mean.ndim == 3:
        mean, var, count = mean[:, 0], var[:, 0], count[:, 0]
    share = xp.where(count >= 2, count.dtype.type(momentum), count.dtype.type(0))
    moved = {}
    for name, batch in (("mean", mean), ("var", var * (count / xp.maximum(count - 1, 1)))):
        moved[name] = running[name].astype(batch.dtype)
        old = moved[name][:len(batch)]
        old += share * (batch - old)
    return moved


def _check(x: Array, scale: Array, shift: Array, running: Params, mask: Array | None) -> Any:
    xp = _door.alike(x=x, scale=scale, shift=shift)
    _door.shape("scale", scale, (None,), "one per feature")
    N = len(scale)
    _door.features("x", x, N, dimensions=3)
    _door.shape("shift", shift, (N,), "one per feature, as scale has it")
    steps = _door.leaf(running, "mean").shape[:-1]
    for name in ("mean", "var"):
        value, called = _door.leaf(running, name), f"running[{name!r}]"
        _door.alike(**{"x": x.real, called: value.real})
        _door.shape(called, value, (*steps[:1], N), "one per feature, or a row of them for each step")
    if steps and len(x) > steps[0]:
        raise ValueError(f"x: expected at most {steps[0]} steps, those that have statistics of their own; "
                         f"got shape {x.shape}.")
    if mask is not None:
        _door.mask(mask, x.shape[:2], x)
    return xp
