"""A GPU that is pretended whole: the stand-in for CuPy, with streams, events, and what CUDA tells about a device.

Its events read the CPU's clock; its figures mean nothing, but they come the way that a GPU's do.
"""

from __future__ import annotations

import sys
from time import perf_counter
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import fake_cupy

from indrnn_np import engines

MEMORY = 1 << 27
CACHE = 1 << 16


class Event:
    """As CuPy's; the pretended GPU always has something to do, so an event is never over before it is waited for."""

    done = False

    def record(self, stream: object = None) -> None:
        self.time = perf_counter()

    def synchronize(self) -> None:
        assert self.time > 0


class Stream:
    """As CuPy's; work is done when it is asked for."""

    def __init__(self, non_blocking: bool = False) -> None:
        self.device_id = 0

    def __enter__(self) -> Stream:
        CURRENT.append(self)
        return self

    def __exit__(self, kind: type | None, value: object, traceback: TracebackType | None) -> None:
        CURRENT.pop()

    def synchronize(self) -> None:
        """Nothing is ever outstanding."""


CURRENT = [Stream()]
CURRENT[0].device_id = -1


def _properties(device: int) -> dict[str, Any]:
    assert device == 0
    return {"name": b"pretended GPU", "major": 0, "minor": 0, "multiProcessorCount": 1, "l2CacheSize": CACHE,
            "totalGlobalMem": MEMORY}


def module() -> ModuleType:
    """Return the stand-in for CuPy that the clock and the tests of a GPU can use."""
    fake = fake_cupy.module()
    fake.cuda = SimpleNamespace(
        Event=Event, Stream=Stream, Device=lambda *number: SimpleNamespace(id=0, synchronize=lambda: None),
        get_current_stream=lambda: CURRENT[-1],
        get_elapsed_time=lambda start, stop: 1e3 * (stop.time - start.time),
        is_available=lambda: True, set_allocator=lambda allocator: None,
        nvrtc=SimpleNamespace(getVersion=lambda: (0, 0)),
        runtime=SimpleNamespace(
            getDevice=lambda: 0, getDeviceCount=lambda: 1, getDeviceProperties=_properties,
            driverGetVersion=lambda: 0, runtimeGetVersion=lambda: 0, memGetInfo=lambda: (MEMORY, MEMORY)))
    fake.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: None)
    return fake


def install(monkeypatch: Any) -> ModuleType:
    """Pretend that CuPy is installed and that such a GPU answers."""
    fake = module()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(engines, "_gpu_answers", lambda: True)
    return fake
