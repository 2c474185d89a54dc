"""The recurrence alone, forward and backward, ReLU in float32."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from .. import engines
from ..array_module import Array

COPY = "copy of h, new memory"
COPY_REUSED = "copy of h, same memory"
PEER = "PyTorch loop, both"


@dataclass(frozen=True)
class Result:
    """Median seconds by contender, and where they were measured."""

    shape: tuple[int, int, int]
    seconds: dict[str, float]
    left_out: dict[str, str]
    rounds: int

    def copies(self, name: str) -> float:
        """How many copies of h into new memory take as long."""
        return self.seconds[name] / self.seconds[COPY]

    def speedup(self, name: str) -> float | None:
        """How many times faster than the peer's both directions; None where that compares nothing."""
        if not name.endswith(", both") or PEER not in self.seconds or name == PEER:
            return None
        return self.seconds[PEER] / self.seconds[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {"shape": self.shape, "rounds": self.rounds, "seconds": self.seconds,
                "copies": {name: self.copies(name) for name in self.seconds},
                "speedup": {name: ratio for name in self.seconds if (ratio := self.speedup(name))},
                "left_out": self.left_out, "machine": platform.machine(), "processor": _processor(),
                "python": platform.python_version(), "numpy": np.__version__}


def measure(shape: tuple[int, int, int], rounds: Iterable[object]) -> Result:
    """Time every contender once a round; the first round warms up and is not counted.

    Parameters
    ----------
    shape : (T, B, N)
    rounds : at least two of anything; a progress bar, for instance

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        There were fewer than two rounds.
    """
    with _one_core():
        contenders, left_out = _contenders(shape)
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in rounds:
            for name, run in contenders.items():
                start = perf_counter()
                run()
                samples[name].append(perf_counter() - start)
    counted = len(samples[COPY]) - 1
    if counted < 1:
        raise ValueError(f"rounds: expected at least two, one of them to warm up; got {counted + 1}.")
    seconds = {name: median(times[1:]) for name, times in samples.items()}
    for engine in engines.available():
        seconds[f"{engine}, both"] = median(
            forward + backward for forward, backward in zip(samples[f"{engine}, forward"][1:],
                                                            samples[f"{engine}, backward"][1:], strict=True))
    return Result(shape, seconds, left_out, counted)


def _contenders(shape: tuple[int, int, int]) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    rng = np.random.default_rng(0)
    T, _, N = shape
    a = rng.standard_normal(shape).astype(np.float32)
    dh = rng.standard_normal(shape).astype(np.float32)
    u = rng.uniform(-1, 1, N).astype(np.float32) * np.float32(2 ** (1 / T))
    h = engines.recurrent_forward(a, u)
    again = np.empty_like(h)
    found: dict[str, Callable[[], object]] = {COPY: h.copy, COPY_REUSED: lambda: np.copyto(again, h)}
    for engine in engines.available():
        found[f"{engine}, forward"] = partial(engines.recurrent_forward, a, u, engine=engine)
        found[f"{engine}, backward"] = partial(engines.recurrent_backward, dh, h, None, u, engine=engine)
    try:
        found[PEER] = _torch_loop(a, u, dh)
    except ModuleNotFoundError:
        return found, {"PyTorch": "not installed: pip install 'indrnn-np[torch]'"}
    return found, {}


def _torch_loop(a: Array, u: Array, dh: Array) -> Callable[[], object]:
    """The recurrence as one writes it in PyTorch, differentiated by its autograd."""
    import torch

    torch.set_num_threads(1)
    drive, weight = (torch.from_numpy(array.copy()).requires_grad_() for array in (a, u))
    cotangent = torch.from_numpy(dh)

    def run() -> None:
        drive.grad = weight.grad = None
        h_prev, states = torch.zeros(a.shape[1:]), []
        for a_t in torch.unbind(drive):
            h_prev = torch.relu(a_t + weight * h_prev)
            states.append(h_prev)
        torch.stack(states).backward(cotangent)
    return run


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process on one core while measuring, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
