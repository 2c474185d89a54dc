"""The door of the analysis: numbers, arrays and traces, checked by name before any work is done."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import array_module, checks
from ..array_module import Array, namespace, to_numpy
from ..layer import Trace


def whole(name: str, value: object, least: int = 1) -> int:
    """Return a whole number of at least `least` (1 or 0) as an int."""
    wanted = "a whole number above 0" if least == 1 else "a whole number, 0 or more"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected {wanted}; got {type(value).__name__}.")
    if value < least:
        raise ValueError(f"{name}: expected {wanted}; got {value}.")
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


def real(name: str, value: object, meaning: str) -> float:
    """Return a finite real number as a float; `meaning` says what it is, after "expected "."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected {meaning}; got {type(value).__name__}.")
    if not np.isfinite(value):
        raise ValueError(f"{name}: expected {meaning}; got {value}.")
    return float(value)


def not_negative(name: str, value: object, meaning: str) -> float:
    """Return a finite number, 0 or more, as a float."""
    number = real(name, value, meaning)
    if number < 0:
        raise ValueError(f"{name}: expected {meaning}; got {value}.")
    return number


def reals(name: str, value: Any, *, negative: bool = False) -> Array:
    """Return a real number or array as float64; not NaN, not infinite, and not below 0 unless `negative`."""
    kind = getattr(value, "dtype", np.asarray(value).dtype if isinstance(value, int | float) else None)
    if isinstance(value, bool) or kind is None or kind.kind not in "fiu":
        raise TypeError(f"{name}: expected a real number or array; got "
                        f"{type(value).__name__ if kind is None or isinstance(value, bool) else kind}.")
    xp = namespace(value)
    array = xp.asarray(value, np.float64)
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one number; got shape {array.shape}.")
    wrong = ~xp.isfinite(array) if negative else ~(xp.isfinite(array) & (array >= 0))
    if wrong.any():
        raise ValueError(f"{name}: expected finite numbers{'' if negative else ', none below 0'}; "
                         f"got {float(array[wrong].ravel()[0]) if array.ndim else float(array)}.")
    return array


def sizes(name: str, value: Any) -> Array:
    """Return a list of finite numbers above 0 as a float64 array."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected real numbers; got {array.dtype}.")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: expected one dimension and at least one number; got shape {array.shape}.")
    wrong = ~(np.isfinite(array) & (array > 0))
    if wrong.any():
        raise ValueError(f"{name}: expected finite numbers above 0; got {array[wrong][0]}.")
    return array.astype(np.float64)


def all_finite(name: str, array: Array) -> None:
    """Check that an array has no NaN and no infinity."""
    if not np.isfinite(array).all():  # NumPy's function hands a CuPy array to CuPy
        raise ValueError(f"{name}: expected finite numbers; got NaN or infinity among them.")


def one_of(name: str, value: Any, names: tuple[str, ...]) -> None:
    """Insist on one of some names."""
    if value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(names)}; got {value!r}.")
