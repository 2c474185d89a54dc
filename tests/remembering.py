"""What the oracle expects, computed once: many tests ask for the same, and most of their time is the oracle's.

It follows from the case and from the h that came, and from nothing else; so whoever remembers sees what would be
computed. For tests of what computes it, that is not meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.references import Expected
from indrnn_np.oracle.verification import Check

Expectation = Callable[..., Expected]


@cache
def remembering(expected: Expectation) -> Expectation:
    """Return the same function of a case and an h, that computes each once. Its results are not to be written to."""
    known: dict[tuple[Any, ...], tuple[Case, Expected]] = {}

    def remembered(case: Case, h: Any, *more: Any) -> Expected:
        if more:
            return expected(case, h, *more)
        bits = None if h is None else (h.dtype, h.shape, hashlib.sha256(h.tobytes()).digest())
        if (id(case), bits) not in known:
            found = expected(case, h)
            for array in (*found.value.values(), *found.allowed.values()):
                array.flags.writeable = False
            known[id(case), bits] = case, found  # the case stays, so that no other takes its id
        return known[id(case), bits][1]

    remembered.of = expected  # type: ignore[attr-defined]
    return remembered


def check(computed: Check) -> Check:
    """Return a check that remembers; exact vectors are looked up anyway."""
    if computed.name == "exact vectors" or hasattr(computed.expected, "of"):
        return computed
    return computed._replace(expected=remembering(computed.expected))
