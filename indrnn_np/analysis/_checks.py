"""The door of the analysis: numbers and traces are checked before any work is done."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import array_module, checks
from ..array_module import Array, to_numpy
from ..layer import Trace


def whole(name: str, value: Any) -> int:
    """Return a whole number above 0."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected a whole number above 0; got {value!r} ({type(value).__name__}).")
    if value < 1:
        raise ValueError(f"{name}: expected a whole number above 0; got {value}.")
    return int(value)


def number(name: str, value: Any, *, infinite: bool = False, above_zero: bool = False) -> float:
    """Return a number of at least 0, or above 0; finite unless `infinite`."""
    result = _float(name, value)
    if not (result > 0 if above_zero else result >= 0) or (math.isinf(result) and not infinite):
        raise ValueError(f"{name}: expected a {'' if infinite else 'finite '}number "
                         f"{'above 0' if above_zero else 'of at least 0'}; got {value}.")
    return result


def finite(name: str, value: Any) -> float:
    """Return a finite number of either sign."""
    result = _float(name, value)
    if not math.isfinite(result):
        raise ValueError(f"{name}: expected a finite number; got {value}.")
    return result


def _float(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected a number; got {value!r} ({type(value).__name__}).")
    try:
        return float(value)
    except OverflowError:  # a whole number beyond every float
        return math.inf if value > 0 else -math.inf


def bounds(epsilon: Any, gamma: Any) -> tuple[float, float]:
    """Return ε and γ, 0 ≤ ε ≤ γ; γ may be infinite."""
    ε, γ = number("epsilon", epsilon), number("gamma", gamma, infinite=True)
    if ε > γ:
        raise ValueError(f"epsilon: expected at most gamma, {γ:g}; got {ε:g}. "
                         "epsilon is the smallest gradient that counts, gamma the largest that is tolerated.")
    return ε, γ


def magnitudes(name: str, values: Any, *, signed: bool = True) -> Array:
    """Return the absolute values of finite real numbers, of at least 0 unless `signed`, as float64 on the CPU."""
    array = np.asarray(to_numpy(values))
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        hint = f" Pass abs({name})." if array.dtype.kind == "c" else ""
        raise TypeError(f"{name}: expected real numbers; got dtype {array.dtype}.{hint}")
    array = array.astype(np.float64)
    wrong = array[~np.isfinite(array) | ((array < 0) & (not signed))]
    if wrong.size:
        raise ValueError(f"{name}: expected finite numbers{'' if signed else ' of at least 0'}; got {wrong[0]}.")
    return np.abs(array)


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """Return float32 or float64."""
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = None
    if result is None or result.name not in checks.REAL or dtype is None:
        raise TypeError(f"dtype: expected {' or '.join(checks.REAL)}; got {dtype!r}.")
    return result


def trace(value: Any) -> Trace:
    """Return a Trace."""
    if not isinstance(value, Trace):
        raise TypeError(f"trace: expected the Trace that forward returned; got {type(value).__name__}.")
    return value


def real_array(name: str, value: Any) -> Any:
    """Check that it is a float32 or float64 array; return its namespace."""
    xp = array_module.of(**{name: value})
    if value.dtype.name not in checks.REAL:
        raise TypeError(f"{name}: expected dtype {' or '.join(checks.REAL)}; got {value.dtype.name}.")
    return xp


def range_within(low: Any, high: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return 0 ≤ low ≤ high, low finite, as numbers of this dtype, rounded inward: both lie in the range given."""
    least, most = number("low", low), number("high", high, infinite=True)
    with np.errstate(over="ignore"):
        bottom, top = dtype.type(least), dtype.type(most)
    if float(bottom) < least:
        bottom = np.nextafter(bottom, dtype.type(np.inf))
    if float(top) > most:
        top = np.nextafter(top, dtype.type(0))
    if bottom > top:
        raise ValueError(f"low: expected at most high, with a {dtype} between them; got {low} and {high}.")
    return bottom, top
