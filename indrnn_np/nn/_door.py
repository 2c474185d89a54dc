"""The door of this room: what comes in is checked by name, before any work is done."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import array_module
from ..array_module import Array
from ..checks import COMPLEX, REAL


def alike(**arrays: Any) -> Any:
    """Insist on one library, one device and one floating-point dtype; None is passed over. Return the namespace."""
    given = {name: array for name, array in arrays.items() if array is not None}
    kinds = {(type(array), getattr(array, "dtype", None)) for array in given.values()}
    if len(kinds) == 1 and (kind := kinds.pop())[0] is np.ndarray and kind[1] in REAL + COMPLEX:
        return np  # as nearly every call has it
    xp = array_module.of(**given)
    first, dtype = "", ""
    for name, array in given.items():
        if array.dtype.name not in REAL + COMPLEX:
            raise TypeError(f"{name}: expected dtype {' or '.join(REAL + COMPLEX)}; got {array.dtype}.")
        if dtype and array.dtype.name != dtype:
            raise TypeError(f"{name}: expected dtype {dtype}, as {first} has it; got {array.dtype}. "
                            "All arrays of a call share one dtype.")
        first, dtype = first or name, dtype or array.dtype.name
    return xp


def leaf(params: Any, name: str) -> Any:
    """Return a leaf of the parameters, or of the running statistics."""
    if not isinstance(params, dict) or name not in params:
        came = sorted(params) if isinstance(params, dict) else type(params).__name__
        raise KeyError(f"{name}: expected among the parameters; got {came}.")
    return params[name]


def shape(name: str, array: Array, expected: tuple[int | None, ...], meaning: str) -> None:
    """Check a shape, in which None fits any number of at least 1."""
    right = len(array.shape) == len(expected) and all(
        n == wanted or (wanted is None and n > 0) for n, wanted in zip(array.shape, expected, strict=True))
    if not right:
        wanted = ", ".join("·" if n is None else str(n) for n in expected)
        raise ValueError(f"{name}: expected shape ({wanted}), {meaning}; got {array.shape}.")


def features(name: str, array: Array, count: int, dimensions: int | None = None) -> None:
    """Check that the last axis has so many features, and, if asked, how many axes there are."""
    if array.ndim == 0 or array.shape[-1] != count or 0 in array.shape or array.ndim != (dimensions or array.ndim):
        axes = "(T, B, " if dimensions == 3 else "(…, "
        raise ValueError(f"{name}: expected shape {axes}{count}), at least one of each; got {array.shape}.")


def cotangent(dy: Array, y_shape: tuple[int, ...], like: Array, name: str = "dy") -> None:
    """Check a cotangent against the shape of what it belongs to, and its kind against one of the arguments."""
    if type(dy) is not type(like) or dy.dtype != like.dtype:
        alike(**{"the argument of forward": like, name: dy})
    if dy.shape != y_shape:
        raise ValueError(f"{name}: expected shape {y_shape}, that of what forward returned; got {dy.shape}.")


def whole_numbers(name: str, array: Any, below: int) -> None:
    """Check an array of whole numbers from 0 up to, but not including, `below`."""
    array_module.of(**{name: array})
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected whole numbers; got {array.dtype}.")
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one number; got shape {array.shape}.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= below:
        raise ValueError(f"{name}: expected whole numbers from 0 to {below - 1}; got {low if low < 0 else high}.")


def mask(value: Any, expected: tuple[int, ...], like: Array) -> None:
    """Check a mask: True where a position counts, at least one of which does."""
    array_module.of(x=like, mask=value)
    if value.dtype.kind != "b":
        raise TypeError(f"mask: expected booleans; got {value.dtype}.")
    shape("mask", value, expected, "one truth value per position")
    if not value.any():
        raise ValueError("mask: expected at least one position that counts; got none.")


def probability(name: str, value: Any) -> float:
    """Return a probability of at least 0 and below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected a number; got {type(value).__name__}.")
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected a probability of at least 0 and below 1; got {value}.")
    return float(value)


def above_zero(name: str, value: Any, most: float = math.inf) -> None:
    """Check a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected a number; got {type(value).__name__}.")
    if not 0 < value <= most or math.isinf(value):
        raise ValueError(f"{name}: expected a finite number above 0{f', at most {most}' if most < math.inf else ''}; "
                         f"got {value}.")


def generator(value: Any) -> np.random.Generator:
    """Return a NumPy generator."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"rng: expected a np.random.Generator, such as np.random.default_rng(0); "
                        f"got {type(value).__name__}.")
    return value


def at_least(name: str, value: Any, least: int) -> None:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected a whole number of at least {least}; got {type(value).__name__}.")
    if value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}; got {value}.")
