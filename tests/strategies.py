"""What the properties draw: by default every activation and dtype, with pre-activations away from kinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from indrnn_np.oracle import installation, strategies
from indrnn_np.oracle.inputs import Case


def cases(longest: int = 40, activations: Sequence[str] = installation.NAMES, **how: Any) -> st.SearchStrategy[Case]:
    """Draw a case."""
    return strategies.cases(activations, longest=longest, **how)


def remembers(case: Case) -> bool:
    """Whether the recurrence matters in this case: more than one step, and a weight that carries something."""
    return len(case.x) > 1 and bool((np.abs(case.u) > 1e-3).any()) and bool(np.count_nonzero(case.dh))
