"""The kernels on a GPU: every plan that could be chosen, checked, timed, and held against what the memory can do.

Each element of (T, B, N) must be moved at least this often, whatever the kernel: forward a and h; backward dh, h and
da; and a besides where σ is tanh or sigmoid. These bytes, at the bandwidth measured for a copy, are the roofline. Where
steps of tanh or sigmoid follow one another, T times what one step takes bounds the time too: the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import isfinite
from statistics import median
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, resolve
from ..array_module import Array, require_cupy, to_numpy
from ..engines import cuda
from ..engines.cuda import Plan
from .gpu_check import Checker, Verdict, draw
from .gpu_clock import Clock, Copy, Run, Times, describe
from .gpu_peers import Peer, peers

SHAPES = ((150, 128, 2048), (784, 32, 128), (5000, 50, 128), (5000, 1, 512))
CROSSOVER = tuple((1024, 1, 1 << k) for k in range(7, 17))  # as B·N grows: where do slices of time cease to pay?
DIRECTIONS = {"forward": ("relu", "tanh", "sigmoid"), "backward": tuple(ACTIVATIONS)}
SWEPT = {"forward": ("relu", "tanh"), "backward": ("relu", "tanh")}  # one of each kind is enough for the sizes
CHAINED = ("tanh", "sigmoid")
CHAIN = 8192  # steps over which the latency of one is measured

Shape = tuple[int, int, int]
Cell = tuple[Shape, str, str, str]  # shape, dtype, activation, direction


@dataclass(frozen=True)
class Line:
    """One plan in one direction: whether it was right, and only then how long it took."""

    shape: Shape
    dtype: str
    activation: str
    direction: str
    plan: Plan
    chosen: bool  # by the engine "cuda", for this shape
    verdict: Verdict | None = None
    times: Times | None = None
    failure: str | None = None

    @property
    def right(self) -> bool:
        """Whether what came is right; nothing may come only of a plan that the engine would not choose."""
        return self.verdict.right if self.verdict else not self.chosen

    @property
    def bytes(self) -> int:
        """What must be moved at least."""
        streams = 2 if self.direction == "forward" else 4 if resolve(self.activation).needs_z else 3
        return streams * int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass
class Outcome:
    """All that was found on one device."""

    device: dict[str, object]
    copy: Copy
    copies: list[Copy] = field(default_factory=list)                # of as many bytes as the arrays of each shape
    step: dict[tuple[str, str], float] = field(default_factory=dict)  # (activation, dtype): seconds of one step
    lines: list[Line] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether all that came is right, and came where it must."""
        return all(line.right for line in self.lines) and all(peer.right for peer in self.peers)

    def to_roofline(self, line: Line) -> float | None:
        """How many times as long as moving the bytes, at the bandwidth of a large copy, all caches cold."""
        return median(line.times.cold) * self.copy.bandwidth() / line.bytes if line.times else None

    def to_chain(self, line: Line) -> float | None:
        """How many times as long as T steps one after the other; None where no such chain was measured."""
        step = self.step.get((line.activation, line.dtype))
        if line.direction == "backward" or line.times is None or not step:
            return None
        return median(line.times.cold) / (line.shape[0] * step)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON: every sample, and what follows from them."""
        lines = [vars(line) | {"plan": line.plan._asdict(), "verdict": line.verdict and line.verdict._asdict(),
                               "times": line.times and line.times._asdict(), "bytes": line.bytes, "right": line.right,
                               "roofline": self.to_roofline(line), "chain": self.to_chain(line)}
                 for line in self.lines]
        return _finite({
            "device": self.device, "right": self.right, "bandwidth": self.copy.bandwidth(),
            "copies": [{"bytes": copy.bytes, "cold": copy.bandwidth(), "warm": copy.bandwidth(warm=True),
                        "times": copy.times._asdict()} for copy in (self.copy, *self.copies)],
            "step": [{"activation": activation, "dtype": dtype, "seconds": seconds}
                     for (activation, dtype), seconds in self.step.items()],
            "lines": lines, "peers": [peer._asdict() for peer in self.peers], "left_out": self.left_out})


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for: an infinite error becomes null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_finite, value))
    return None if isinstance(value, float) and not isfinite(value) else value


def measure(shapes: Sequence[Shape] = SHAPES, dtypes: Sequence[str] = ("float32",), activation: str | None = None,
            repeats: int = 50, sweep: bool = False,
            progress: Callable[[Iterable[Cell]], Iterable[Cell]] = iter) -> Outcome:
    """Check and time everything on the current device.

    Parameters
    ----------
    shapes : of (T, B, N)
    dtypes : "float32", "float64"
    activation : this one alone; None: what matters for each direction
    repeats : samples of each time
    sweep : all sizes of the kernels rather than a few, and shapes of growing B·N besides
    progress : wraps what there is to do, as a progress bar does

    Returns
    -------
    Outcome

    Raises
    ------
    ModuleNotFoundError, RuntimeError
        There is no CuPy, or no GPU answers.
    """
    require_cupy()
    clock = Clock(repeats)
    outcome = Outcome(describe(), clock.copy_of_much())
    sizes = {int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in product(shapes, dtypes)}
    outcome.copies += [clock.copy(size) for size in sorted(sizes)]
    for name, dtype in product(CHAINED, dtypes):
        if activation in (None, name):
            outcome.step[name, dtype] = _seconds_of_a_step(name, dtype, clock)
    for cell in progress(list(_cells(shapes, dtypes, activation, sweep))):
        outcome.lines += _measure(*cell, sweep=sweep, clock=clock)
        clock.cupy.get_default_memory_pool().free_all_blocks()
    if "float32" in dtypes:
        found, outcome.left_out = peers(shapes, activation or "relu", clock)
        outcome.peers += found
    return outcome


def plans(direction: str, activation: str, dtype: str, sweep: bool) -> list[Plan]:
    """Return every plan that could be chosen: a few, or all sizes that a sweep goes through."""
    σ, real = resolve(activation), np.dtype(dtype)
    sequential = cuda.sequential(direction, σ, real)
    found = [Plan("plain"), sequential]
    if sweep:
        found += [Plan("prefetch", ahead=ahead) for ahead in (4, 8, 16, 32, 64) if ahead != sequential.ahead]
    if not cuda.composes(direction, σ):
        return found
    if not sweep:
        return found + [cuda.sliced(direction, σ, real, columns) for columns in (8, 32)]
    return found + [Plan("slices", columns=columns, slices=threads // columns, steps=steps)
                    for columns, threads, steps in product((4, 8, 16, 32), (256, 512, 1024), (4, 8, 16))
                    if columns * real.itemsize >= 32]  # less than memory delivers at a time


def _cells(shapes: Sequence[Shape], dtypes: Sequence[str], activation: str | None, sweep: bool) -> Iterator[Cell]:
    """List what there is to measure."""
    every = SWEPT if sweep else DIRECTIONS
    for shape, dtype, direction in product((*shapes, *(CROSSOVER if sweep else ())), dtypes, every):
        for name in (activation,) if activation else every[direction]:
            yield shape, dtype, resolve(name).name, direction


def _measure(shape: Shape, dtype: str, activation: str, direction: str, sweep: bool, clock: Clock) -> list[Line]:
    """Check and time all plans of one cell."""
    σ = resolve(activation)
    chosen = cuda.fastest(direction, σ, np.dtype(dtype), shape)
    wide = sweep and shape not in CROSSOVER
    checker = Checker(draw(shape, activation, dtype))
    found = []
    for plan in dict.fromkeys([*plans(direction, activation, dtype, wide), chosen]):
        line = partial(Line, shape, dtype, activation, direction, plan, plan == chosen)
        try:
            verdict, run = checked(checker, direction, plan)
            found.append(line(verdict, clock.measure(run) if verdict.right else None))
        except Exception as error:  # CuPy raises several types; a plan that does not fit the device is told of
            found.append(line(failure=f"{type(error).__name__}: {error}"))
    return found


def checked(checker: Checker, direction: str, plan: Plan) -> tuple[Verdict, Run]:
    """Run one direction twice, judge it, and return the run, which writes into buffers of its own."""
    cupy, σ = require_cupy(), checker.σ
    a, u, h0, dh, h = checker.moved
    out = cupy.empty_like(a)
    if direction == "forward":
        run = partial(cuda.forward, a, u, h0, σ, out, plan)
        (found,), repeatable = _twice(lambda: (run(),), out)
        return checker.forward(found, plan, repeatable), run
    back = partial(cuda.backward, dh, h, a if σ.needs_z else None, u, h0, σ, out, plan=plan)
    db = cupy.empty_like(u)
    (da, du, dh0, db_found), repeatable = _twice(lambda: (*back(db=db), db), out)
    return checker.backward(da, du, dh0, db_found, plan, repeatable), back


def _twice(run: Callable[[], tuple[Array, ...]], out: Array) -> tuple[list[Array], bool]:
    """Run into a buffer full of NaN, twice; return what came, on the CPU, and whether it was the same bits."""
    results = []
    for _ in range(2):
        out.fill(np.nan)
        results.append([np.array(to_numpy(array)) for array in run()])
    return results[0], all(np.array_equal(x.view(np.uint8), y.view(np.uint8)) for x, y in zip(*results, strict=True))


def _seconds_of_a_step(activation: str, dtype: str, clock: Clock) -> float:
    """Time one step of a chain: a single column, whose numbers are in the cache."""
    cupy, σ = clock.cupy, resolve(activation)
    a, u, h0, _ = map(cupy.asarray, draw((CHAIN, 1, 1), activation, dtype)[:4])
    plan = cuda.sequential("forward", σ, np.dtype(dtype))
    times = clock.measure(partial(cuda.forward, a, u, h0, σ, cupy.empty_like(a), plan))
    return median(times.warm) / CHAIN
