"""Hypothesis strategies: cases to verify an implementation on, in your own property tests.

With pytest, for instance::

    from hypothesis import given
    from indrnn_np.oracle.strategies import cases

    @given(cases(activations=("relu", "tanh")))
    def test_my_layer(case):
        ir.oracle.assert_matches(my_layer, case)

Pre-activations are placed away from kinks, cotangents are random and differ at every step, and |u| is small, about 1,
in the paper's range, beyond it, or zero. Needs Hypothesis, which is not imported with the rest of the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("Hypothesis is not installed: pip install 'indrnn-np[test]'.") from error

from .inputs import Case, Recipe, draw
from .verification import checked

# u small, about 1, up to the paper's bound 2^{1/T}, beyond it, zero.
REGIMES: dict[str, dict[str, Any]] = {
    "small": {"low": 0.01, "high": 0.3},
    "about 1": {"low": 0.9, "high": 1.05},
    "the paper's range": {"memory": (0.01, 2.0)},
    "beyond the range": {"low": 1.05, "high": 1.2},
    "zero": {"low": 0.0, "high": 0.0},
}
EXTREME: dict[str, dict[str, Any]] = {
    "overflowing": {"low": 10.0, "high": 1e3},
    "underflowing": {"low": 1e-6, "high": 1e-3},
}


def cases(activations: Sequence[str] = ("relu",), dtypes: Sequence[str] = ("float32", "float64"),
          longest: int = 40, *, precision: str | None = None, order: str = "loop", without: Sequence[str] = (),
          extreme: bool = False) -> st.SearchStrategy[Case]:
    """Draw cases for `assert_matches`; T = 1, B = 1 and N = 1 are among them.

    Parameters
    ----------
    activations, dtypes, precision, order, without : as in `verify`
    longest : largest T, above 0
    extreme : whether to add cases in which results overflow, underflow, saturate, or lie on a kink to within rounding;
        a right implementation's results may then be anything, and are judged where they may not

    Raises
    ------
    TypeError, ValueError
        A name is unknown, or longest is no whole number above 0.
    """
    if type(longest) is not int or longest < 1:
        raise ValueError(f"longest: expected a whole number above 0; got {longest!r}.")
    names, precisions, how = checked(activations, dtypes, precision, order, without)
    return st.builds(draw, st.just("drawn"), _recipes(longest, extreme), st.sampled_from(names),
                     st.sampled_from(precisions), st.integers(0, 2**32), **{key: st.just(how[key]) for key in how})


@st.composite
def _recipes(draw_: st.DrawFn, longest: int, extreme: bool) -> Recipe:
    """Draw sizes and a regime."""
    T = draw_(st.sampled_from((1, min(2, longest), min(3, longest), longest)) | st.integers(min(2, longest), longest)
              | st.integers(longest // 2 + 1, longest))
    regimes = REGIMES | (EXTREME if extreme else {})
    regime = draw_(st.sampled_from([name for name in regimes if name != "zero"] * 3 + ["zero"]))
    if regime == "beyond the range" and T > 300:
        regime = "the paper's range"  # 1.2^300 is the end of float32
    sizes = (1.0, 1.0, 0.1, 5.0) + ((1e-38, 1e-30, 50.0, 1e15, 1e33) if extreme else ())
    return Recipe(T, draw_(st.integers(1, 4)), draw_(st.integers(1, 6)), draw_(st.integers(0, 3)),
                  signs=draw_(st.sampled_from(("both", "+", "-"))),
                  firing=draw_(st.sampled_from(((1.0, 0.5, 0.9), (1.0,), (0.0, 1.0), (0.3,)))),
                  cotangent=draw_(st.sampled_from(("every", "every", "last", "first"))),
                  size=draw_(st.sampled_from(sizes)), kinks=draw_(st.sampled_from((0.0, 0.3))) if extreme else 0.0,
                  **regimes[regime])
