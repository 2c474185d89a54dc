"""Which array library is this? NumPy or CuPy, inferred from the arguments at the boundary of a public function.

What is below computes in the namespace `xp` that `of` returns, so one text serves the CPU and the GPU. CuPy is
never imported unless an argument already is a CuPy array, or a caller asks for it.
"""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # or its CuPy twin, which has the same interface


class NoGPU(RuntimeError):
    """CuPy is installed, and finds no GPU; the message says why."""


def is_cupy(value: object) -> bool:
    """Whether value is a CuPy array; decided by its type alone, without importing CuPy."""
    return type(value) is not np.ndarray and any(  # which nearly every one is
        base.__module__.partition(".")[0] == "cupy" and base.__name__ == "ndarray" for base in type(value).__mro__)


def of(**arrays: Array) -> Any:
    """Return the namespace, `numpy` or `cupy`, that all the named arrays belong to.

    Raises
    ------
    TypeError
        An argument is neither a NumPy nor a CuPy array.
    ValueError
        Two arguments live on two devices; the message names both.
    """
    first, home = "", ""
    for name, value in arrays.items():
        place = _device(name, value)
        if home and place != home:
            raise ValueError(f"{name}: expected an array on {home}, as {first} is; got one on {place}. "
                             "Move one of them: to_numpy(x) or cupy.asarray(x).")
        first, home = first or name, home or place
    return namespace(next(iter(arrays.values())))


def namespace(array: Array) -> Any:
    """Return the library of one array or number; whatever is not CuPy's is NumPy's."""
    return importlib.import_module("cupy") if is_cupy(array) else np


def to_numpy(array: Array) -> Array:
    """Return the array on the CPU: itself if it is a NumPy array, a copy of it if it is CuPy's."""
    return array.get() if is_cupy(array) else array  # type: ignore[attr-defined]


def to_cupy(array: Array) -> Array:
    """Return a copy of the array on the current GPU; itself if it is on a GPU already.

    Raises
    ------
    ModuleNotFoundError, NoGPU
        CuPy is not installed, or no GPU answers; one sentence says which.
    """
    return array if is_cupy(array) else require_cupy().asarray(array)


def require_cupy() -> Any:
    """Return the module `cupy`, if it is installed and a GPU answers.

    Raises
    ------
    ModuleNotFoundError
        CuPy is not installed; the message names the extras that install it.
    NoGPU
        CuPy is installed, but no GPU answers; the message says what the CUDA driver said.
    """
    try:
        cupy = importlib.import_module("cupy")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("CuPy is not installed. For a GPU: pip install 'indrnn-np[cuda13]' "
                                  "(or [cuda12], to match the driver).") from None
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises several types here, by what is missing
        raise NoGPU(f"CuPy {cupy.__version__} is installed, but no GPU answers: {error}") from None
    return cupy


def _device(name: str, value: object) -> str:
    if is_cupy(value):
        return f"GPU {value.device.id}"  # type: ignore[attr-defined]
    if isinstance(value, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"{name}: expected a plain array; got {type(value).__name__}, whose own rules of "
                        f"arithmetic would change the result. Pass np.asarray({name}).")
    if isinstance(value, np.ndarray):
        return "the CPU"
    raise TypeError(f"{name}: expected a NumPy or CuPy array; got {_kind(value)}.{_remedy(name, value)}")


def _remedy(name: str, value: object) -> str:
    """Say how it becomes an array, where there is a way."""
    if type(value).__module__.partition(".")[0] == "torch":
        return f" Pass {name}.numpy(force=True)."
    if isinstance(value, list | tuple) or hasattr(value, "__array__"):
        return f" Pass np.asarray({name}, dtype), with the dtype of the others."
    return ""


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
