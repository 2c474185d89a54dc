"""Hypothesis strategies: shapes, dtypes, activations and regimes of u, with pre-activations away from kinks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from indrnn_np.oracle import installation
from indrnn_np.oracle.inputs import Case, Recipe, draw

ACTIVATIONS = st.sampled_from(installation.NAMES)
DTYPES = st.sampled_from(installation.DTYPES)

# u small, about 1, up to the paper's bound 2^{1/T}, beyond it, zero.
REGIMES = {
    "small": {"low": 0.01, "high": 0.3},
    "about 1": {"low": 0.9, "high": 1.05},
    "the paper's range": {"memory": (0.01, 2.0)},
    "beyond the range": {"low": 1.05, "high": 1.2},
    "zero": {"low": 0.0, "high": 0.0},
}


@st.composite
def recipes(draw_: st.DrawFn, longest: int = 40) -> Recipe:
    """Draw sizes and a regime; T = 1, B = 1 and N = 1 are among them."""
    T = draw_(st.sampled_from((1, 2, 3, longest)) | st.integers(2, longest) | st.integers(longest // 2, longest))
    regime = draw_(st.sampled_from(("small", "about 1", "the paper's range", "beyond the range") * 3 + ("zero",)))
    if regime == "beyond the range" and T > 300:
        regime = "the paper's range"  # 1.2^300 is the end of float32
    return Recipe(T, draw_(st.integers(1, 4)), draw_(st.integers(1, 6)), draw_(st.integers(0, 3)),
                  signs=draw_(st.sampled_from(("both", "+", "-"))),
                  firing=draw_(st.sampled_from(((1.0, 0.5, 0.9), (1.0,), (0.0, 1.0), (0.3,)))),
                  cotangent=draw_(st.sampled_from(("every", "every", "last", "first"))),
                  size=draw_(st.sampled_from((1.0, 1.0, 0.1, 5.0))), **REGIMES[regime])


@st.composite
def cases(draw_: st.DrawFn, longest: int = 40, activations: st.SearchStrategy[str] = ACTIVATIONS) -> Case:
    """Draw a case."""
    return draw("drawn", draw_(recipes(longest)), draw_(activations), draw_(DTYPES), draw_(st.integers(0, 2**32)))


def remembers(case: Case) -> bool:
    """Whether the recurrence matters in this case: more than one step, and a weight that carries something."""
    return len(case.x) > 1 and bool((np.abs(case.u) > 1e-3).any()) and bool(np.count_nonzero(case.dh))
