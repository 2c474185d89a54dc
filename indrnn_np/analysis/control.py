"""Controlling u: where it starts, and two ways to hold |u| between low and high while it is trained.

Where it starts. `uniform_weight`: |u| up to γ^{1/T}, the follow-up's general choice. `long_term_weight`: between
ε^{1/T} and γ^{1/T}, its choice for the last layer where the last output alone is used. `constant_weight`: 1, the
identity's memory. `normal_weight`: the first paper's N(.4, .2) for words.

How it is held. The ends are those of `recurrent_weight_range`; the sign of u is its own.

- *Projection*, u ← `project`(u, low, high): the weight is overwritten, no gradient passes through it. After the
  optimiser's step, every weight that is used is in range. Before it, what the step leaves behind may be out of
  range: whoever evaluates or saves the network between two steps uses such a weight.
- *In the graph*, u, backward = `clip_in_graph`(v, low, high): the network uses u, the optimiser moves v, and the
  gradient passes through the clipping. That gradient is zero outside the range, so a v beyond it sticks for good
  unless something else moves it; projection would have freed it.

Clipping gradients is another thing, in `clipping`: it bounds a step of u, not u.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import array_module
from ..array_module import Array
from . import _checks
from .ranges import recurrent_weight_range


def uniform_weight(shape: int | tuple[int, ...], steps: int, gamma: float = 2.0, *, slope: float = 1.0,
                   rng: np.random.Generator, dtype: Any = np.float64) -> Array:
    """Draw u ~ U[0, γ^{1/T}] (follow-up, initialisation in general). |u|^T ≤ γ holds for every u as rounded.

    Parameters
    ----------
    shape : number of neurons, or a shape
    steps, gamma, slope : as in `recurrent_weight_range`; gamma is finite
    rng : np.random.Generator
    dtype : float32 or float64

    Returns
    -------
    array of that shape and dtype

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing, or the range is empty or has no upper end; the message says so.
    """
    return _draw_between(shape, recurrent_weight_range(steps, 0.0, gamma, slope, dtype), rng, dtype)


def long_term_weight(shape: int | tuple[int, ...], steps: int, epsilon: float, gamma: float = 2.0, *,
                     slope: float = 1.0, rng: np.random.Generator, dtype: Any = np.float64) -> Array:
    """Draw u ~ U[ε^{1/T}, γ^{1/T}] (follow-up, last layer): ε ≤ |u|^T ≤ γ holds for every u as rounded.

    The authors' code has ε = 1/γ.

    Parameters
    ----------
    shape : number of neurons, or a shape
    steps, epsilon, gamma, slope : as in `recurrent_weight_range`; gamma is finite
    rng : np.random.Generator
    dtype : float32 or float64

    Returns
    -------
    array of that shape and dtype

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing, or the range is empty or has no upper end; the message says so.
    """
    return _draw_between(shape, recurrent_weight_range(steps, epsilon, gamma, slope, dtype), rng, dtype)


def constant_weight(shape: int | tuple[int, ...], value: float = 1.0, *, dtype: Any = np.float64) -> Array:
    """Return u = value throughout; at 1, an active neuron hands every gradient on as it is.

    Parameters
    ----------
    shape : number of neurons, or a shape
    value : finite number
    dtype : float32 or float64

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    return np.full(_shape(shape), _checks.number("value", value, signed=True), _checks.real_dtype(dtype))


def normal_weight(shape: int | tuple[int, ...], mean: float = 0.4, std: float = 0.2, *, rng: np.random.Generator,
                  dtype: Any = np.float64) -> Array:
    """Draw u ~ N(mean, std²); the first paper's u for words. No range is promised: the tails go beyond any.

    Parameters
    ----------
    shape : number of neurons, or a shape
    mean, std : finite numbers, std of at least 0
    rng : np.random.Generator
    dtype : float32 or float64

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    mean, std = _checks.number("mean", mean, signed=True), _checks.number("std", std)
    return _generator(rng).normal(mean, std, _shape(shape)).astype(_checks.real_dtype(dtype))


def project(u: Array, low: float = 0.0, high: float = math.inf, *, zero: int = 1) -> Array:
    """Return the nearest weight with low ≤ |u| ≤ high, which keeps the sign of u.

    Proof that it is the nearest: on u's own side it is, since clipping is; the other side is |u| + low away, which is
    no nearer. ∎  At u = 0 both sides are as near, and `zero` chooses. sign(u) · clip(|u|, low, high), as it is often
    written, chooses neither: sign(0) = 0 leaves u at 0, below every lower bound. That is zero=0.

    Parameters
    ----------
    u : array of any shape, float32 or float64
    low, high : 0 ≤ low ≤ high; if u's dtype does not have them, its next numbers inside the range are taken
    zero : 1, −1 or 0: u = 0 goes to low, to −low, or stays

    Returns
    -------
    a new array like u; a u in range is returned as it is, a NaN stays a NaN

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    xp = _checks.real_array("u", u)
    bottom, top = _checks.range_within(low, high, u.dtype)
    if not isinstance(zero, int | np.integer) or zero not in (-1, 0, 1):
        raise ValueError(f"zero: expected 1, −1 or 0, the side to which u = 0 goes; got {zero!r}.")
    return xp.where(u == 0, zero * bottom, xp.copysign(xp.clip(xp.abs(u), bottom, top), u))


def clip_in_graph(v: Array, low: float = 0.0, high: float = math.inf, *,
                  zero: int = 1) -> tuple[Array, Callable[[Array], Array]]:
    """Clip |v| to [low, high] inside the network, and return u with what pulls its gradient back to v.

        u = ± clip(|v|, low, high)          dv = du where low ≤ |v| ≤ high, else 0

    Proof: inside, u = v; outside, u does not move with v. ∎  At the ends, where u has a kink, the slope is 1, as
    PyTorch's clamp has it. With low > 0, u jumps at v = 0 from −low to low, which no gradient tells.

    Parameters
    ----------
    v : array of any shape, float32 or float64: the weight that the optimiser moves
    low, high, zero : as in `project`

    Returns
    -------
    u : array like v
    backward : the gradient of u, an array like v, to the gradient of v

    Raises
    ------
    TypeError, ValueError
        As `project`; backward too, where du is unlike v.
    """
    xp = _checks.real_array("v", v)
    bottom, top = _checks.range_within(low, high, v.dtype)
    u = project(v, low, high, zero=zero)
    inside = (xp.abs(v) >= bottom) & (xp.abs(v) <= top)

    def backward(du: Array) -> Array:
        _checks.real_array("du", du)
        array_module.of(v=v, du=du)
        if du.shape != v.shape or du.dtype != v.dtype:
            raise ValueError(f"du: expected an array like v, {v.shape} {v.dtype}; got {du.shape} {du.dtype}.")
        return xp.where(inside, du, du.dtype.type(0))

    return u, backward


def _draw_between(shape: int | tuple[int, ...], ends: tuple[Any, Any], rng: np.random.Generator,
                  dtype: Any) -> Array:
    """Draw uniformly; clipped in float64 and then rounded, which both keep a number between two of the dtype."""
    low, high = map(float, ends)
    if not low <= high < math.inf:
        raise ValueError(f"gamma, slope: expected a range of |u| with a float in it and an upper end; "
                         f"got [{low:g}, {high:g}].")
    return np.clip(_generator(rng).uniform(low, high, _shape(shape)), low, high).astype(_checks.real_dtype(dtype))


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(_checks.whole("shape", n) for n in (shape if isinstance(shape, tuple) else (shape,)))


def _generator(rng: Any) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: expected a np.random.Generator, such as np.random.default_rng(0); "
                        f"got {type(rng).__name__}.")
    return rng
