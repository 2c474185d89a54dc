"""A stand-in for CuPy on machines without a GPU, as strict as CuPy: what passes on it is meant to pass on a GPU.

Its arrays hold NumPy's and hide them. An operation that a NumPy array, a list, or a dtype that CuPy does not have
takes part in raises, as does every implicit way back to the CPU. Where the real CuPy is installed, which needs no GPU,
each function, method, keyword and dtype is looked up in it at the moment of use. Kernels are compiled for the CPU by
a C++ compiler, of the source that CUDA's would have had.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache, reduce
from types import ModuleType, SimpleNamespace
from typing import Any

import cuda_on_cpu
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from indrnn_np import engines

SCALARS = (bool, int, float, complex, np.generic)
DTYPES = "?bBhHiIlLqQefdFD"
OF_ARRAYS = ("a", "ary", "arr", "arrays", "array", "condition", "m", "tup", "v", "x")  # as CuPy calls what it takes
CREATED = ("array", "asanyarray", "asarray", "ascontiguousarray")  # the functions that take NumPy arrays and lists


class ndarray(NDArrayOperatorsMixin):  # noqa: N801  CuPy's name
    """An array that says it lives on a GPU; its operators are the mixin's, which end in `__array_ufunc__`."""

    device = SimpleNamespace(id=0)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, held: np.ndarray) -> None:
        self._held = held

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or not _exists(ufunc.__name__):
            return NotImplemented
        if "out" in options:
            (options["out"],) = options["out"]
        return _call(ufunc, _real(ufunc.__name__), inputs, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        path = ".".join([*function.__module__.split(".")[1:], function.__name__])
        return _call(function, _real(path), arguments, options) if _exists(path) else NotImplemented

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not _exists(f"ndarray.{name}"):
            raise AttributeError(f"CuPy's arrays have no {name!r}")
        found = getattr(self._held, name)
        if not callable(found):
            return _ours(found)
        return lambda *arguments, **options: _call(found, _real(f"ndarray.{name}"), arguments, options)

    def __pow__(self, exponent: Any) -> Any:
        return _ours(self._held ** _plain(exponent))  # NumPy's operator squares where its ufunc would not

    def __getitem__(self, index: Any) -> Any:
        return _ours(self._held[_plain(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._held[_plain(index)] = _plain(value)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._held)

    def __int__(self) -> int:
        return int(self._held)

    def __float__(self) -> float:
        return float(self._held)

    def __complex__(self) -> complex:
        return complex(self._held)

    def __repr__(self) -> str:
        return repr(self._held)

    def __format__(self, how: str) -> str:
        return format(self._held, how)

    @property
    def flags(self) -> SimpleNamespace:
        """What CuPy tells of the memory; nothing on alignment, nor whether it may be written to."""
        return SimpleNamespace(**{name: getattr(self._held.flags, name)
                                  for name in ("c_contiguous", "f_contiguous", "owndata")})

    @property
    def data(self) -> SimpleNamespace:
        """The memory, as CuPy points to it."""
        return SimpleNamespace(ptr=self._held.ctypes.data)

    def get(self) -> np.ndarray:
        """Copy to the CPU."""
        return self._held.copy()


ndarray.__module__ = "cupy"


class RawModule(cuda_on_cpu.RawModule):
    """Kernels that take the stand-in's arrays, and no others."""

    def get_function(self, name: str) -> Any:
        """Return the kernel of that name."""
        function = super().get_function(name)
        return lambda grid, block, arguments: function(grid, block, _plain(arguments))


class Namespace(ModuleType):
    """`cupy` or a part of it: NumPy's functions by CuPy's names."""

    def __getattr__(self, name: str) -> Any:
        path = f"{self.__name__}.{name}".partition(".")[2]
        if name.startswith("__") or not _exists(path):
            raise AttributeError(f"CuPy has no {path}")
        found = reduce(getattr, path.split("."), np)
        if name == "linalg":
            return Namespace(f"{self.__name__}.{name}")
        if isinstance(found, ModuleType):
            raise AttributeError(f"the stand-in has no {path}")
        if not callable(found) or isinstance(found, type):
            return found
        return lambda *arguments, **options: _call(found, _real(path), arguments, options)


def asarray(value: Any, dtype: Any = None) -> ndarray:
    """Copy to the pretended GPU what is not there."""
    return _call(np.asarray, _real("asarray"), (value, dtype), {})


def lying_as(value: np.ndarray) -> ndarray:
    """Return an array of the same memory, strides and all."""
    return _ours(value)


def _call(function: Callable[..., Any], real: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call NumPy's function on what our arrays hold, if CuPy's would take it."""
    if function.__name__ in CREATED:
        copied = arguments[0] if isinstance(arguments[0], ndarray) else _ours(np.array(arguments[0]))
        arguments = (copied, *arguments[1:])
    check = _check_operands if isinstance(function, np.ufunc) else _check_arguments
    check(function, real, arguments, options)
    return _ours(function(*_plain(arguments), **{name: _plain(value) for name, value in options.items()}))


def _check_arguments(function: Callable[..., Any], real: Any, arguments: tuple[Any, ...],
                     options: dict[str, Any]) -> None:
    """Raise where CuPy's function or method takes no such arguments, or wants an array for the first of them."""
    if inspect.isfunction(real):
        first, given = next(iter(inspect.signature(real).bind(*arguments, **options).arguments.items()))
        if first in OF_ARRAYS and not any(isinstance(each, ndarray)
                                          for each in (given if isinstance(given, tuple | list) else [given])):
            raise TypeError(f"Unsupported type {type(given)} in {function.__name__}")
    elif " -> " in (signature := (real.__doc__ or "").partition("\n")[0]) and any(
            f"{name}=" not in signature for name in options):  # a compiled method says so in the first line of its text
        raise TypeError(f"CuPy's is {signature}; got {options}")


def _check_operands(ufunc: np.ufunc, real: Any, operands: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Raise where CuPy's function of that name takes no such operands, keywords or dtypes."""
    for operand in operands:
        if not isinstance(operand, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(operand)} in {ufunc.__name__}")
    if unknown := options.keys() - {"out", "dtype", "casting"}:
        raise TypeError(f"CuPy's {ufunc.__name__} takes no {unknown}")
    dtypes = [operand.dtype.char if isinstance(operand, ndarray | np.generic) else None
              for operand in operands[:ufunc.nin]]
    loops = [loop for loop in getattr(real, "types", ()) if "E" not in loop]  # E is bfloat16
    if loops and not any(all(given is None or np.can_cast(given, loop[i]) for i, given in enumerate(dtypes))
                         for loop in loops):
        raise TypeError(f"CuPy's {ufunc.__name__} has no loop for {dtypes}")


def _plain(value: Any) -> Any:
    """Return what our arrays hold, in tuples and lists too; a NumPy array among them is refused, as by CuPy."""
    if isinstance(value, ndarray):
        return value._held
    if isinstance(value, np.ndarray | np.longdouble | np.clongdouble):
        raise TypeError(f"Unsupported type {type(value)}")
    return type(value)(map(_plain, value)) if type(value) in (tuple, list) else value


def _ours(value: Any) -> Any:
    """Return NumPy's results as CuPy returns them: arrays of ours, of no dimension where NumPy has a number."""
    if isinstance(value, tuple):
        return tuple(map(_ours, value))
    if not isinstance(value, np.ndarray | np.generic):
        return value
    if value.dtype.char not in DTYPES:
        raise TypeError(f"Unsupported dtype {value.dtype}")
    return ndarray(np.asarray(value))


@cache
def _cupy() -> ModuleType | None:
    """Return the real CuPy, where it is installed and nothing stands before it on the path."""
    try:
        found = importlib.import_module("cupy")
    except ImportError:
        return None
    return None if isinstance(found, Namespace) else found


@cache
def _real(path: str) -> Any:
    """Return the real CuPy's object of that name, None where there is no CuPy to ask."""
    return None if _cupy() is None else reduce(getattr, path.split("."), _cupy())


@cache
def _exists(path: str) -> bool:
    """Whether CuPy has something of that name, if there is a CuPy to ask."""
    try:
        _real(path)
    except AttributeError:
        return False
    return True


def module() -> ModuleType:
    """Return a module to be placed at sys.modules["cupy"]."""
    fake = Namespace("cupy")
    fake.ndarray, fake.RawModule = ndarray, RawModule
    fake.__version__ = "0 (pretended)"
    fake.cuda = SimpleNamespace(
        get_current_stream=lambda: SimpleNamespace(device_id=-1),
        runtime=SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 1),
    )
    return fake


def install(monkeypatch: Any) -> ModuleType:
    """Pretend that CuPy is installed and a GPU answers."""
    _cupy()  # the real one, before its name is taken
    fake = module()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(engines, "_gpu_answers", lambda: True)
    return fake
