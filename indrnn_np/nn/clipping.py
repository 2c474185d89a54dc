"""Clipping by the norm of all gradients together, in place.

All gradients are multiplied by c / ‖g‖ where ‖g‖ = √(Σ g²) over every number of every parameter exceeds the limit c
(Pascanu et al. 2013). They keep their direction, and the longest step is known. `analysis.clip_by_norm` is the same
function for the one who studies it: it returns new arrays and lets an inf pass as NaN.
"""

from __future__ import annotations

import math

import numpy as np

from ..analysis import _checks
from ..array_module import Array
from . import trees
from ._blocks import blocks, largest
from .trees import Tree


def clip_by_global_norm(grads: Tree, limit: float) -> float:
    """Shrink all gradients by one factor, in place, so that together their Euclidean norm is at most the limit.

    Squares are taken relative to the largest number and summed in float64, so that none overflows.

    Parameters
    ----------
    grads : tree of float32 or float64 arrays; changed where their norm exceeds the limit
    limit : number above 0; inf only measures

    Returns
    -------
    norm : float, as they came; inf where it is beyond float64

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    FloatingPointError
        A gradient is inf or NaN, and so has no direction; the message names it. Nothing was changed.
    """
    c = _checks.number("limit", limit, above_zero=True, infinite=True)
    flat = trees.flatten(grads)
    unit = max((_largest(name, g) for name, g in flat.items()), default=0.0)
    if unit == 0:
        return 0.0
    root = math.sqrt(sum(_sum_of_squares(g, unit) for g in flat.values()))
    norm = unit * root                                                          # 1 ≤ root
    if norm > c:
        with np.errstate(under="ignore"):
            for g in flat.values():
                g /= unit                                                       # the factor c / ‖g‖ may underflow
                g *= c / root
    return norm


def _largest(name: str, g: Array) -> float:
    """Return max |g|."""
    _checks.real_array(f"grads {name}", g)
    size = largest(g)
    if not math.isfinite(size):
        raise FloatingPointError(f"grads {name}: expected finite numbers; got inf or NaN. The run has diverged.")
    return size


def _sum_of_squares(g: Array, unit: float) -> float:
    """Return Σ (g / unit)²."""
    total = 0.0
    for block in blocks(g):
        relative = g[block].astype(np.float64)
        relative /= unit
        total += float((relative * relative).sum())
    return total
