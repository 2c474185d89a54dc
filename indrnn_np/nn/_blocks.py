"""Large arrays in blocks that fit the cache, and their largest number: what runs over all parameters needs both."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

from ..array_module import Array, is_cupy

BLOCK = 1 << 15  # numbers; six arrays of that many float64 are 1.5 MiB


def blocks(array: Array) -> Iterator[slice | EllipsisType]:
    """Cut an array along its first axis; whole where it has none, and on a GPU."""
    if array.ndim == 0 or is_cupy(array):
        yield ...
        return
    rows = max(1, BLOCK * len(array) // max(1, array.size))
    for first in range(0, len(array), rows):
        yield slice(first, first + rows)


def largest(array: Array) -> float:
    """Return max |array|, NaN where a number is NaN, without an array of absolute values."""
    return max(float(array.max()), -float(array.min())) if array.size else 0.0
