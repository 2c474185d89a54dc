"""CuPy's RawModule for machines without a GPU: the same source, compiled by g++ behind `cuda_on_cpu.h`.

Compiled kernels are kept for the life of the process, or in a folder that CUDA_ON_CPU names, which several processes
may share. What a kernel does with its pointers is not checked, as on a GPU; built with a sanitizer it is.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-parameter", "-Wno-unused-function")
NUMBERS = {"q": ctypes.c_int64, "l": ctypes.c_int64, "f": ctypes.c_float, "d": ctypes.c_double}


class RawModule:
    """As CuPy's, as far as the package uses it; compiled when a function is asked for."""

    flags: tuple[str, ...] = ("-O1",)

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> Function:
        """Return the kernel of that name."""
        return Function(built(self.code, self.options, self.flags), name)


class Function:
    """A kernel that is launched on the CPU, on arrays in its memory."""

    last: int | None = None  # so many of the blocks, the last ones; None: all

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.launch = getattr(library, f"on_cpu_{name}")

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        values = [ctypes.c_void_p(v.ctypes.data) if isinstance(v, np.ndarray) else NUMBERS[np.dtype(type(v)).char](v)
                  for v in arguments]
        places = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        sizes = [(ctypes.c_uint * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
        first = 0 if self.last is None else max(0, grid[0] - self.last)
        self.launch(ctypes.c_uint(first), *sizes, places)


def kernels(code: str) -> list[str]:
    """Name the kernels of a source."""
    return re.findall(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(', code)


@cache
def folder() -> Path:
    """Where the compiled kernels lie: a folder that goes with the process, or the one that CUDA_ON_CPU names."""
    if named := os.environ.get("CUDA_ON_CPU"):
        return Path(named)
    kept = tempfile.TemporaryDirectory(prefix="cuda-on-cpu-")
    folder.kept = kept  # type: ignore[attr-defined]
    return Path(kept.name)


LOADED: dict[Path, ctypes.CDLL] = {}


def built(code: str, options: tuple[str, ...], flags: tuple[str, ...]) -> ctypes.CDLL:
    """Compile and load, once."""
    path = compiled(code, options, flags)
    return LOADED[path] if path in LOADED else LOADED.setdefault(path, ctypes.CDLL(str(path)))


def shuffle(order: int) -> None:
    """Let the threads of a block run in another order, in all kernels loaded so far."""
    for library in LOADED.values():
        library.on_cpu_shuffle(order)


def compiled(code: str, options: tuple[str, ...], flags: tuple[str, ...]) -> Path:
    """Return the library made of a source."""
    defines = [option for option in options if option.startswith(("-D", "-std"))]
    if "__syncthreads();" in code:
        defines.append("-DSYNCHRONISES")
    text = "\n".join((f'#include "{HEADER}"', code, *(f"EXPORT({name})" for name in kernels(code)), ""))
    stem = folder() / hashlib.sha256(repr((text, defines, flags)).encode()).hexdigest()[:24]
    if not (library := stem.with_suffix(".so")).exists():
        mine = stem.with_name(f"{stem.name}-{os.getpid()}.cpp")  # another process may be at the same
        mine.write_text(text, "utf-8")
        command = ["g++", *defines, "-fPIC", "-shared", "-ffp-contract=off", *WARNINGS, *flags,
                   str(mine), "-o", str(mine.with_suffix(".so"))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"g++ failed:\n{result.stderr}")
        mine.with_suffix(".so").replace(library)
    return library
