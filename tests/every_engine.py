"""The engines as parameters of tests; one that needs an extra carries its mark; nothing is left out in silence."""

from __future__ import annotations

import pytest

EVERY = ["reference", "numpy", pytest.param("numba", marks=pytest.mark.extra("fast"))]
FAST = EVERY[1:]
