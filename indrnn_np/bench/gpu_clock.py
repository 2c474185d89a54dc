"""A GPU's clock: time on the device by events, with cold and with warm caches, and on the host until a launch returns.

Device time is that between two events around a run. It means the run's own time only if the GPU never waited for
Python in between, so before each sample the GPU is given something to do, and more of it until Python stays ahead.
That something is to write a buffer larger than the L2 cache and to read it through: what lies in the cache then is
neither the run's nor waits to be written back.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ..array_module import require_cupy
from .machine import describe as describe_host

BUFFER = 4      # times the L2 cache
WARM_UP = 3     # runs that are not counted
MOST = 256      # passes over the buffer after which a run that launches slower than it runs is left as it is
LARGEST = 1 << 30

Run = Callable[[], object]


class Times(NamedTuple):
    """Seconds, sample by sample: on the device with a cold and with a warm cache, and on the host."""

    cold: list[float]
    warm: list[float]
    host: list[float]
    ahead: bool  # whether Python was always ahead of the GPU; if not, device times contain its delays

    def medians(self) -> tuple[float, float, float]:
        """Return the median of each."""
        return median(self.cold), median(self.warm), median(self.host)


class Copy(NamedTuple):
    """Copying so many bytes on the device: read once and written once."""

    bytes: int
    times: Times

    def bandwidth(self, warm: bool = False) -> float:
        """Bytes read and written per second, the caches cold or warm."""
        return 2 * self.bytes / median(self.times.warm if warm else self.times.cold)


class Clock:
    """Times runs on the current stream of the current device."""

    def __init__(self, repeats: int) -> None:
        self.cupy, self.repeats = require_cupy(), repeats
        cache = properties()["l2CacheSize"] or 1 << 20
        self._buffer = self.cupy.zeros(BUFFER * cache // 4, np.float32)
        self._total = self.cupy.empty((), np.float32)
        self._passes = 1

    def measure(self, run: Run) -> Times:
        """Time a run `repeats` times in each of the three ways."""
        for _ in range(WARM_UP):
            run()
        host = [self._on_the_host(run) for _ in range(self.repeats)]
        self._passes = 1
        samples = {warm: [self._on_the_device(run, warm) for _ in range(self.repeats)] for warm in (False, True)}
        cold, warm = ([seconds for seconds, _ in samples[kind]] for kind in (False, True))
        return Times(cold, warm, host, all(ahead for kind in samples.values() for _, ahead in kind))

    def copy(self, size: int) -> Copy:
        """Time a copy of so many bytes; cudaMemcpyAsync does it."""
        source, target = (self.cupy.zeros(size // 4, np.float32) for _ in range(2))
        return Copy(size // 4 * 4, self.measure(lambda: self.cupy.copyto(target, source)))

    def copy_of_much(self) -> Copy:
        """Time a copy of a gigabyte, or of what there is room for: the bandwidth of this device's memory."""
        return self.copy(min(LARGEST, self.cupy.cuda.runtime.memGetInfo()[0] // 8))

    def _on_the_host(self, run: Run) -> float:
        self._wait()
        start = perf_counter()
        run()
        seconds = perf_counter() - start
        self._wait()
        return seconds

    def _on_the_device(self, run: Run, warm: bool) -> tuple[float, bool]:
        """Return the seconds of one run, and whether Python had launched all of it before the GPU began."""
        while True:
            start, stop = self.cupy.cuda.Event(), self.cupy.cuda.Event()
            for _ in range(self._passes):
                self._buffer.fill(1)
            self._buffer.sum(out=self._total)
            if warm:
                run()
            start.record()
            run()
            stop.record()
            ahead = not start.done
            stop.synchronize()
            if ahead or self._passes >= MOST:
                return 1e-3 * self.cupy.cuda.get_elapsed_time(start, stop), ahead
            self._passes *= 2

    def _wait(self) -> None:
        self.cupy.cuda.get_current_stream().synchronize()


def wall(run: Run, wait: Run, repeats: int) -> list[float]:
    """Time a run from its call until the device is idle again, as its user waits for it; the first is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        wait()
        start = perf_counter()
        run()
        wait()
        seconds.append(perf_counter() - start)
    return seconds[1:]


def properties() -> dict[str, Any]:
    """Return what CUDA tells about the current device."""
    runtime = require_cupy().cuda.runtime
    return dict(runtime.getDeviceProperties(runtime.getDevice()))


def describe() -> dict[str, object]:
    """Return what the figures depend on: device, driver, versions.

    Raises
    ------
    ModuleNotFoundError, RuntimeError
        There is no CuPy, or no GPU answers.
    """
    cupy, device = require_cupy(), properties()
    return describe_host() | {
        "device": device["name"].decode(), "compute capability": f"{device['major']}.{device['minor']}",
        "processors": device["multiProcessorCount"], "L2 bytes": device["l2CacheSize"],
        "memory bytes": device["totalGlobalMem"], "driver": _driver(),
        "CUDA of the driver": cupy.cuda.runtime.driverGetVersion(),
        "CUDA runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "NVRTC": ".".join(map(str, cupy.cuda.nvrtc.getVersion())), "cupy": cupy.__version__,
        "system": platform.platform()}


def _driver() -> str | None:
    """Ask nvidia-smi for the driver's version; CUDA's own interface does not tell it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] if said else None
