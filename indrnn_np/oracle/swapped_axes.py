"""Does an implementation take time and batch the other way round? It is tried once with their axes swapped."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from . import answers, references
from .answers import Candidate
from .inputs import Case

BATCH_FIRST = ("It looks batch-first: say batch_first=True, or swap the first two axes of x and dh on the way in, of h "
               "and dx on the way out")
TIME_FIRST = "It looks time-first: leave out batch_first=True"


def suspicion(candidate: Candidate, failing: Iterable[Case]) -> str:
    """Return which axis seems to come first where h is right once the axes of x and dh, and then of h, are swapped.

    Parameters
    ----------
    candidate : as in `verify`; its attribute `batch_first` tells whether it was said to be so
    failing : cases on which it crashed or h had another shape; the smallest in which T, B and 1 all differ is tried

    Returns
    -------
    str : BATCH_FIRST or TIME_FIRST; empty where neither is so, or no case can tell
    """
    telling = [case for case in failing if len({1, *case.x.shape[:2]}) == 3]
    if not telling:
        return ""
    case = min(telling, key=lambda each: each.dh.size)
    arguments = {name: np.ascontiguousarray(array.swapaxes(0, 1)) if name in ("x", "dh") else array
                 for name, array in case.arguments().items()}
    try:
        h = answers.answer(candidate, arguments, case)["h"].swapaxes(0, 1)
    except (Exception, SystemExit):  # so it is not that
        return ""
    if answers.unlike(h, case.dh.shape, case.dtype):
        return ""
    exact = references.specification(case, None)
    with np.errstate(all="ignore"):
        right = (np.abs(h - exact.value["h"]) <= exact.allowed["h"]).all()
    if not right:
        return ""
    return TIME_FIRST if getattr(candidate, "batch_first", False) else BATCH_FIRST
