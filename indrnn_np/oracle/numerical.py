"""Derivatives of a function that can only be called: three ways to one, none of which knows the recurrence.

`complex_step` is exact to rounding, for functions that accept complex numbers. `central_difference` serves
black boxes, and says where a kink inside its stencil makes the question meaningless. `adjoint_identity`
compares a forward-mode derivative with a reverse-mode one. All is NumPy's: CuPy's arrays are refused, except by
the last. Nothing here imports the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def complex_step(f: Callable[[Array], Any], x: Array, step: float = 1e-20) -> Array:
    """Differentiate f at x along each coordinate, as Im f(x + i·step·e) / step (Squire & Trapp 1998).

    Nothing is subtracted, so there is no cancellation and no step to tune: the error is O(step²), far below
    rounding. f must be analytic at x, which for a function with kinks means that it decides them by the real
    part. Products of many small factors can underflow: 0.5^1000 · 1e-20 is lost in double precision. Where f
    is piecewise linear any step is exact, and step=1 avoids that.

    Parameters
    ----------
    f : callable
        Takes a complex array of x's shape, returns a complex number or array. It must not modify its argument.
    x : real array, float32, float64 or longdouble
    step : float, above 0

    Returns
    -------
    array of shape f(x).shape + x.shape : entry [out, in] is ∂f_out/∂x_in; for scalar f, the gradient

    Raises
    ------
    TypeError
        x is not a real floating-point array, or f returns real numbers (it dropped the imaginary part).
    ValueError
        step is not above 0.
    """
    x = _floating("x", x)
    _positive("step", step)
    z = x.astype(np.result_type(x, np.complex64))
    columns = []
    for index in np.ndindex(x.shape):
        moved = z.copy()
        moved[index] += z.dtype.type(1j) * z.real.dtype.type(step)
        value = _numbers(f(moved))
        if value.dtype.kind != "c":
            raise TypeError("f: expected complex values for a complex argument, since the derivative is in the "
                            f"imaginary part; got {value.dtype}.")
        columns.append(value.imag / z.real.dtype.type(step))
    return _by_column(columns, x.shape)


class Difference(NamedTuple):
    """A derivative from differences: each array has the shape f(x).shape + x.shape."""

    derivative: Array
    error: Array  # an estimate: what the last extrapolation changed, plus rounding
    kink: Array   # True where f is not smooth inside the stencil; the derivative there means nothing


def central_difference(f: Callable[[Array], Any], x: Array, step: float = 2.0**-6,
                       noise: float | None = None) -> Difference:
    """Differentiate a black box at x along each coordinate, by central differences extrapolated twice.

    f is called at nine points x + k·s·e, k = −4 … 4, with s = step · max(1, |x_k|) / 4. Richardson's
    extrapolation of the differences over 4s, 2s and s leaves an error O(s⁶). The same nine values tell a kink:
    where f is smooth at the scale of the stencil, differences of higher order get smaller (the sixth against
    the fourth), whereas the jump of a slope makes them grow. A jump below about s³ |f''''| hides behind the
    curvature of f; it moves the derivative by no more than its own small size.

    Parameters
    ----------
    f : callable
        Takes an array like x, returns a real number or array. It must not modify its argument.
    x : real array
    step : float
        Half width of the stencil, relative to max(1, |x_k|).
    noise : float, optional
        The absolute rounding error of one value of f. None takes one unit in the last place of f's largest value,
        which is too little where f sums terms that cancel.

    Returns
    -------
    Difference : derivative, error, kink

    Raises
    ------
    TypeError, ValueError
        x is not a real floating-point array, or step is not above 0.
    """
    x = _floating("x", x)
    _positive("step", step)
    derivatives, errors, kinks = [], [], []
    for index in np.ndindex(x.shape):
        center = x[index]
        s = x.dtype.type(2.0 ** np.round(np.log2(step * max(1.0, abs(float(center))))) / 4)
        at = np.stack([_numbers(f(_moved(x, index, center + k * s))) for k in range(-4, 5)])
        wide, middle, narrow = (at[8] - at[0]) / (8 * s), (at[6] - at[2]) / (4 * s), (at[5] - at[3]) / (2 * s)
        once, once_narrow = (4 * middle - wide) / 3, (4 * narrow - middle) / 3
        twice = (16 * once_narrow - once) / 15
        unit = np.finfo(at.dtype).eps * np.abs(at).max(axis=0) if noise is None else noise
        fourth = np.abs(np.diff(at, 4, axis=0)).max(axis=0)
        sixth = np.abs(np.diff(at, 6, axis=0)).max(axis=0)
        derivatives.append(twice)
        errors.append(np.abs(twice - once_narrow) + 4 * unit / s)
        kinks.append((fourth > 64 * unit) & (sixth > fourth / 2))  # above what rounding alone can make
    return Difference(*(_by_column(c, x.shape) for c in (derivatives, errors, kinks)))


def adjoint_identity(cotangents: Mapping[str, Array], pushed: Mapping[str, Array],
                     tangents: Mapping[str, Array], pulled: Mapping[str, Array]) -> tuple[Any, Any]:
    """Return both sides of ⟨v, J w⟩ = ⟨Jᵀ v, w⟩, which holds for every v and w if J and Jᵀ are right.

    Parameters
    ----------
    cotangents, pushed : v and J w, by output name; NumPy's arrays or CuPy's
    tangents, pulled : w and Jᵀ v, by input name

    Returns
    -------
    (⟨v, J w⟩, ⟨Jᵀ v, w⟩) : two numbers, equal but for rounding

    Raises
    ------
    ValueError, TypeError
        The names, shapes or libraries of a pair differ.
    """
    return _inner("cotangents", cotangents, "pushed", pushed), _inner("tangents", tangents, "pulled", pulled)


def _inner(left: str, p: Mapping[str, Array], right: str, q: Mapping[str, Array]) -> Any:
    if p.keys() != q.keys():
        raise ValueError(f"{right}: expected the names of {left}, {sorted(p)}; got {sorted(q)}.")
    for name in p:
        if _library(p[name]) != _library(q[name]):
            raise TypeError(f"{right}[{name!r}]: expected an array of {_library(p[name])}, as {left} has it; got "
                            f"one of {_library(q[name])}.")
        if p[name].shape != q[name].shape:
            raise ValueError(f"{right}[{name!r}]: expected shape {p[name].shape}, as {left} has it; "
                             f"got {q[name].shape}.")
    return sum((p[name] * q[name]).sum() for name in p)


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _by_column(columns: list[Array], shape: tuple[int, ...]) -> Array:
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(stacked.shape[:-1] + shape)


def _numbers(value: Any) -> Array:
    try:
        return np.asarray(value)
    except TypeError:  # CuPy's: it does not leave the GPU unasked
        raise TypeError(f"f: expected a number or a NumPy array; got {type(value).__name__} of {_library(value)}. "
                        "From CuPy: f(x).get().") from None


def _moved(x: Array, index: tuple[int, ...], value: Any) -> Array:
    x = x.copy()
    x[index] = value
    return x


def _floating(name: str, x: Array) -> Array:
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        came = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{name}: expected a real floating-point NumPy array; got {came}. From CuPy: {name}.get().")
    if x.size == 0:
        raise ValueError(f"{name}: expected at least one coordinate; got shape {x.shape}.")
    return x


def _positive(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name}: expected a finite number above 0; got {value}.")
