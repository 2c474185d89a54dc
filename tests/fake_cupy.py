"""A stand-in for CuPy on machines without a GPU: its arrays refuse to meet NumPy's, as CuPy's do.

Only what the package touches: an `ndarray` with a device, NumPy's functions returning it, and kernels, which a C++
compiler makes for the CPU of the source that CUDA's would have had.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from cuda_on_cpu import RawModule

from indrnn_np import engines


class ndarray(np.ndarray):  # noqa: N801  CuPy's name
    """An array that says it lives on a GPU, and raises where a NumPy array joins it in an operation."""

    device = SimpleNamespace(id=0)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        for operand in (*inputs, *options.get("out", ())):
            if type(operand) is np.ndarray:
                raise TypeError(f"Unsupported type {type(operand)} in {ufunc.__name__}")
        plain = [np.asarray(v) if isinstance(v, ndarray) else v for v in inputs]
        if "out" in options:
            options["out"] = tuple(np.asarray(v) for v in options["out"])
        return _ours(getattr(ufunc, method)(*plain, **options))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if np.ndarray in types:
            raise TypeError(f"Unsupported type {np.ndarray} in {function.__name__}")
        return _ours(super().__array_function__(function, types, arguments, options))

    def get(self) -> np.ndarray:
        """Copy to the CPU."""
        return np.array(self.view(np.ndarray))


ndarray.__module__ = "cupy"


def _ours(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_ours, value))
    return np.asarray(value).view(ndarray) if isinstance(value, np.ndarray | np.generic) else value


def asarray(value: np.ndarray) -> ndarray:
    """Copy to the pretended GPU."""
    return np.array(value).view(ndarray)


def module() -> ModuleType:
    """Return a module to be placed at sys.modules["cupy"]."""
    fake = ModuleType("cupy")
    fake.ndarray, fake.asarray = ndarray, asarray
    fake.__version__ = "0 (pretended)"
    fake.RawModule = RawModule
    fake.cuda = SimpleNamespace(
        get_current_stream=lambda: SimpleNamespace(device_id=-1),
        runtime=SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 1),
    )
    fake.__getattr__ = lambda name: _forwarded(name)
    return fake


def _forwarded(name: str) -> Any:
    found = getattr(np, name)
    if not callable(found) or isinstance(found, type):
        return found
    return lambda *arguments, **options: _ours(found(*arguments, **options))


def install(monkeypatch: Any) -> ModuleType:
    """Pretend that CuPy is installed and a GPU answers."""
    fake = module()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(engines, "_gpu_answers", lambda: True)
    return fake
