"""The door of the pictures: what can be drawn; the message names what cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import array_module
from ..array_module import Array
from ._checks import whole


def increasing(name: str, values: Sequence[int] | Array) -> Array:
    """Return at least two increasing whole numbers above 0 as an array."""
    values = array_module.to_numpy(values) if array_module.is_cupy(values) else values  # type: ignore[arg-type]
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) \
            or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"{name}: expected increasing whole numbers above 0; got {type(values).__name__}.")
    numbers = np.array([whole(name, value) for value in values])
    if len(numbers) < 2 or (np.diff(numbers) <= 0).any():
        raise ValueError(f"{name}: expected at least two whole numbers, each above the one before; got {values}.")
    return numbers


def magnitudes(name: str, array: Array, shapes: dict[int, str]) -> Array:
    """Return |array| in float64 on the CPU.

    It must have one of these shapes, by number of dimensions, at least one entry, and no NaN; inf is a number.
    """
    array_module.of(**{name: array})
    values = array_module.to_numpy(array)
    if values.dtype.kind not in "fciu":
        raise TypeError(f"{name}: expected numbers; got dtype {values.dtype}.")
    if values.ndim not in shapes or values.size == 0:
        raise ValueError(f"{name}: expected shape {' or '.join(shapes.values())}, with at least one of each; "
                         f"got {values.shape}.")
    if np.isnan(values).any():
        raise ValueError(f"{name}: expected numbers; got NaN at {first(np.isnan(values))}.")
    return np.abs(values.astype(np.complex128 if values.dtype.kind == "c" else np.float64))


def first(where: Array) -> tuple[int, ...]:
    """Return the index of the first True."""
    return tuple(int(i) for i in np.argwhere(where)[0])
