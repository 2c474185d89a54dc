"""Batch normalisation: each feature gets mean 0 and variance 1 over the batch, then a scale and a shift of its own.

    x̂ = (x − μ) / √(v + ε)        y = scale ⊙ x̂ + shift,        μ, v: mean and variance of x over the n positions

Its derivative. y moves with x directly and through μ and v, which all positions share; with s = 1 / √(v + ε) and
d = scale ⊙ dy,

    dx = s ⊙ (d − mean(d) − x̂ ⊙ mean(d ⊙ x̂))        dscale = Σ dy ⊙ x̂        dshift = Σ dy

Proof. μ takes from each x an equal share 1/n, which is the first mean; ∂v/∂x_i = 2 (x_i − μ) / n, and x̂ falls with v
as −x̂ s² / 2, which together make the second. ∎

What the n positions are is a choice. Over the whole sequence, μ and v are over all steps and sequences: one pair per
feature. Per step ("frame-wise" in the papers) each step has a pair of its own, over the sequences; scale and shift are
one per feature still. Padding counts in neither.

Evaluation takes running statistics in place of the batch's. A batch moves them by `momentum` of the way to its own μ
and to n / (n − 1) v, the unbiased variance; a step that fewer than two sequences reach leaves its pair as it is.
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
    scale, shift = params["scale"], params["shift"]
    xp = _check(x, scale, shift, running, mask)
    per_step = running["mean"].ndim == 2

    if training:
        n = _positions(x, mask, per_step)
        mean = _sum(sequences.keep(mask, x), per_step) / xp.maximum(n, 1)
        centred = sequences.keep(mask, x - mean)
        var = _sum(centred * centred, per_step) / xp.maximum(n, 1)
        running = _moved(running, mean, var, n, momentum)
    else:
        mean, var = (running[name][:len(x), None] if per_step else running[name] for name in ("mean", "var"))
        centred = sequences.keep(mask, x - mean)
    s = 1 / xp.sqrt(var + epsilon)
    x_hat = centred * s
    y = sequences.keep(mask, scale * x_hat + shift)

    def backward(dy: Array) -> tuple[Array, Params]:
        _door.cotangent(dy, x.shape, x)
        dy = sequences.keep(mask, dy)
        dparams = {"scale": over_all_but_the_last(dy * x_hat), "shift": over_all_but_the_last(dy)}
        d = scale * dy
        if not training:
            return s * d, dparams
        through_mean = _sum(d, per_step) / xp.maximum(n, 1)
        through_var = _sum(d * x_hat, per_step) / xp.maximum(n, 1)
        return sequences.keep(mask, s * (d - through_mean - x_hat * through_var)), dparams

    return y, backward, running


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


def _moved(running: Params, mean: Array, var: Array, n: Array, momentum: float) -> Params:
    """Move the running statistics towards a batch's."""
    xp = namespace(mean)
    n = n.reshape(-1, 1) if n.ndim else n
    share = xp.where(n >= 2, n.dtype.type(momentum), n.dtype.type(0))
    batch = {"mean": mean, "var": var * (n / xp.maximum(n - 1, 1)).reshape(-1, *(1,) * (var.ndim - 1))}
    moved = {}
    for name, old in running.items():
        steps = slice(len(mean)) if old.ndim == 2 else slice(None)
        new = old.astype(mean.dtype)
        new[steps] += share * (batch[name].reshape(new[steps].shape) - new[steps])
        moved[name] = new
    return moved


def _check(x: Array, scale: Array, shift: Array, running: Params, mask: Array | None) -> Any:
    xp = _door.alike(x=x, scale=scale, shift=shift)
    _door.shape("scale", scale, (None,), "one per feature")
    N = len(scale)
    _door.features("x", x, N, dimensions=3)
    _door.shape("shift", shift, (N,), "one per feature, as scale has it")
    for name in ("mean", "var"):
        _door.alike(**{"x": x.real, f"running[{name!r}]": running[name].real})
        if running[name].ndim == 2:
            _door.shape(f"running[{name!r}]", running[name], (None, N), "one row per step and one column per feature")
            if len(x) > len(running[name]):
                raise ValueError(f"x: expected at most {len(running[name])} steps, those that have statistics of their "
                                 f"own; got shape {x.shape}.")
        else:
            _door.shape(f"running[{name!r}]", running[name], (N,), "one per feature, as scale has it")
    if mask is not None:
        _door.mask(mask, x.shape[:2], x)
    return xp
