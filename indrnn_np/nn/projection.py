"""Projection: the recurrent weights back into their range after an update (Li et al. 2018, §3.1).

|u| ≤ γ^{1/T} keeps ∂h_T/∂h_t at most γ over T steps, for slopes of at most 1. The nearest such u is u clipped, number
by number. The follow-up paper enforces the upper end alone (arXiv 1910.06251), and so does this.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..analysis import _checks
from ..array_module import namespace
from . import trees
from .trees import Tree


def project(params: Tree, limits: Mapping[str, float]) -> None:
    """Clip the named parameters to |u| ≤ limit, in place.

    Parameters
    ----------
    params : tree of float32 or float64 arrays
    limits : {flattened name: number of at least 0}, as a model's `limits(steps)` returns it. The limit is rounded down
        to the dtype of u, so that |u| ≤ limit holds exactly; inf leaves u as it is, and a NaN stays one

    Raises
    ------
    TypeError, ValueError
        A name is no parameter's, or a limit is no such number; the message names it. Nothing was changed.
    """
    flat = trees.flatten(params)
    tops = {}
    for name, limit in limits.items():
        if name not in flat:
            raise ValueError(f"limits {name!r}: expected the name of a parameter, one of {', '.join(flat)}.")
        _checks.real_array(name, flat[name])
        _checks.number(f"limits {name!r}", limit, infinite=True)
        _, tops[name] = _checks.range_within(0.0, limit, np.dtype(flat[name].dtype))
    for name, top in tops.items():
        u = flat[name]
        namespace(u).clip(u, -top, top, out=u)
