"""The door of the analysis: numbers, arrays and traces, checked by name before any work is done."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import array_module, checks
from ..array_module import Array, is_cupy
from ..layer import Trace


def whole(name: str, value: object, least: int = 1) -> int:
    """Return a whole number of at least `least` (1 or 0) as an int."""
    wanted = f"a whole number {'above 0' if least == 1 else 'of at least 0'}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected {wanted}; got {type(value).__name__}.")
    if value < least:
        raise ValueError(f"{name}: expected {wanted}; got {value}.")
    return int(value)


def number(name: str, value: Any, *, signed: bool = False, above_zero: bool = False, infinite: bool = False) -> float:
    """Return a number of at least 0, or above 0, or of either sign; finite unless `infinite`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected a number; got {value!r} ({type(value).__name__}).")
    try:
        result = float(value)
    except OverflowError:  # a whole number beyond every float
        result = math.inf if value > 0 else -math.inf
    inside = result > 0 if above_zero else result >= 0 or (signed and not math.isnan(result))
    if not inside or (math.isinf(result) and not infinite):
        raise ValueError(f"{name}: expected a {'' if infinite else 'finite '}number{_from(signed, above_zero)}; "
                         f"got {value}.")
    return result


def library(**values: Any) -> Any:
    """Return the one library that those values belong to which are arrays; numbers and lists go with any."""
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray) or is_cupy(value)}
    return array_module.of(**arrays) if arrays else np


def reals(name: str, value: Any, *, signed: bool = False, above_zero: bool = False, xp: Any = None) -> Array:
    """Return a number, a list or an array as a float64 array: finite, at least 0 unless `signed`.

    It is one of the library xp; None: of its own.
    """
    xp, came = xp or library(**{name: value}), getattr(value, "dtype", type(value).__name__)
    try:
        array = value if is_cupy(value) else np.asarray(value)
    except ValueError:  # NumPy's, of rows that differ in length
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise TypeError(f"{name}: expected real numbers; got {came}.")
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one number; got shape {array.shape}.")
    array = xp.asarray(array.astype(np.float64))
    wrong = array[~(xp.isfinite(array) & (signed | (array > 0 if above_zero else array >= 0)))]
    if wrong.size:
        raise ValueError(f"{name}: expected finite numbers{_from(signed, above_zero)}; got {float(wrong[0])}.")
    return array


def _from(signed: bool, above_zero: bool) -> str:
    return "" if signed else " above 0" if above_zero else " of at least 0"


def together(**arrays: Array) -> None:
    """Check that arrays broadcast with each other; the first that does not fit those before it is named."""
    shape: tuple[int, ...] = ()
    for name, array in arrays.items():
        try:
            shape = np.broadcast_shapes(shape, array.shape)
        except ValueError:
            raise ValueError(f"{name}: expected a shape that broadcasts with {shape}, as the others have it; "
                             f"got {array.shape}.") from None


def bounds(epsilon: Any, gamma: Any) -> tuple[float, float]:
    """Return ε and γ, 0 ≤ ε ≤ γ; γ may be infinite."""
    ε, γ = number("epsilon", epsilon), number("gamma", gamma, infinite=True)
    if ε > γ:
        raise ValueError(f"epsilon: expected at most gamma, {γ:g}; got {ε:g}. "
                         "epsilon is the smallest gradient that counts, gamma the largest that is tolerated.")
    return ε, γ


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


def all_finite(name: str, array: Array) -> None:
    """Check that an array has no NaN and no infinity."""
    if not np.isfinite(array).all():  # NumPy's function hands a CuPy array to CuPy
        raise ValueError(f"{name}: expected finite numbers; got NaN or infinity among them.")


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False; got {type(value).__name__}.")
    return bool(value)


def one_of(name: str, value: Any, names: tuple[str, ...]) -> None:
    """Insist on one of some names."""
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(names)}; got {value!r}.")
