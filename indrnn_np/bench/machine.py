"""The machine: which one it is, and how many of its cores everybody here may use."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..engines.columns import cores

PACKAGES = ("indrnn-np", "numpy", "numba", "torch", "jax")


def describe() -> dict[str, object]:
    """Return what the figures depend on: processor, cores, versions."""
    return {"machine": platform.machine(), "processor": _processor(), "cores": cores(),
            "python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


@contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Keep this process, its threads, NumPy's BLAS, PyTorch and JAX on so many cores, where the system can.

    JAX starts anew, with as many threads as there are cores then; what it compiled before is lost. Threads that it had
    before may hinder it on one core: measure there first.

    Raises
    ------
    ValueError
        There are not so many.
    """
    if not 1 <= count <= cores():
        raise ValueError(f"cores: expected from 1 to {cores()}, which this process may use; got {count}.")
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    _settle(sorted(before)[-count:], count)
    try:
        yield
    finally:
        _settle(sorted(before), len(before) or cores())


def _settle(where: list[int], count: int) -> None:
    tasks = Path("/proc/self/task")
    for task in tasks.iterdir() if where and tasks.is_dir() else ():  # also threads that a library started before
        with suppress(OSError):
            os.sched_setaffinity(int(task.name), where)
    for library in Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*"):  # as NumPy's wheels bring it
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(library)).scipy_openblas_set_num_threads64_(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if sys.modules.get("jax"):  # None where it is hidden
        importlib.import_module("jax.extend.backend").clear_backends()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
