"""One timing loop, and what it finds.

In a turn a contender runs once uncounted, so that caches and freed memory are as its own last run left them, and then
as often as TURN seconds allow. What took LONG does without: its own run leaves nothing of what was there before.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

from .contenders import COPY, FOOTPRINT, PEERS, SUBJECTS, Run, contenders, draw, ours, timed
from .machine import limited_to
from .right import SMALL, wrong

SHAPES = ((20, 4, 16), (784, 32, 128), (5000, 1, 64), (5000, 50, 128), (150, 128, 2000))
TURN, LONG = 0.02, 1.0
GROWTH = (256, 8, 64)  # (T, B, N), from which each in turn is doubled


@dataclass(frozen=True)
class Result:
    """Median seconds by contender, and where they were measured; `peak` by engine, see `measure`."""

    subject: str
    shape: tuple[int, int, int]
    activation: str
    cores: int
    rounds: int
    seconds: dict[str, float]
    peak: dict[str, float]
    left_out: dict[str, str]

    def copies(self, name: str) -> float:
        """How many copies of h into new memory take as long."""
        return self.seconds[name] / self.seconds[COPY]

    def to_limit(self, name: str) -> float:
        """How many times as long as moving a, h, dh and da once, into new memory."""
        return self.seconds[name] / self.seconds[FOOTPRINT]

    def limit_to_peer(self) -> float | None:
        """How many times faster than the fastest peer the memory's limit itself is: no engine's speedup exceeds it."""
        peer = self.fastest_peer()
        return self.seconds[peer] / self.seconds[FOOTPRINT] if peer else None

    def fastest_peer(self) -> str | None:
        """Name the fastest of the peers; None where there is none."""
        return min((peer for peer in PEERS if peer in self.seconds), key=self.seconds.__getitem__, default=None)

    def speedup(self, name: str, peer: str | None = None) -> float | None:
        """How many times faster than the fastest peer, or that one; None where that compares nothing."""
        peer = peer or self.fastest_peer()
        if not name.endswith(", both") or peer not in self.seconds or name in PEERS:
            return None
        return self.seconds[peer] / self.seconds[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return asdict(self) | {"copies": {name: self.copies(name) for name in self.seconds},
                               "to_limit": {name: self.to_limit(name) for name in self.seconds},
                               "speedup": {name: ratio for name in self.seconds if (ratio := self.speedup(name))}}


@dataclass(frozen=True)
class Growth:
    """Median nanoseconds per element of (T, B, N), both directions, as one of T, B and N doubles."""

    engine: str
    letter: str
    shapes: list[tuple[int, int, int]]
    nanoseconds: list[float]


def measure(shape: tuple[int, int, int], rounds: Iterable[object], activation: str = "relu", cores: int = 1,
            subject: str = "recurrence") -> Result:
    """Time every contender that is right in each round; the first round warms up and is not counted.

    Parameters
    ----------
    shape : (T, B, N); a whole layer has as many inputs as neurons
    rounds : at least two of anything; a progress bar, for instance
    activation : name
    cores : how many everybody may use
    subject : "recurrence" or "layer"

    Returns
    -------
    Result : its `peak` is the most memory that NumPy held at a time in both directions of an engine, divided by that of
        the arrays that must exist then (h and da, or a layer's h, da and dx)

    Raises
    ------
    ValueError
        There were fewer than two rounds, or there are fewer cores, or no such subject.
    ArithmeticError
        An engine of ours is wrong; a peer that is wrong is left out.
    """
    if subject not in SUBJECTS:
        raise ValueError(f"subject: expected {' or '.join(SUBJECTS)}; got {subject!r}.")
    with limited_to(cores):  # before anybody starts threads
        small = draw(SMALL, activation)
        mistaken = wrong(contenders(subject, small)[0], small, subject)
        if blamed := sorted(mistaken.keys() - set(PEERS)):
            raise ArithmeticError(f"{blamed[0]}: {mistaken[blamed[0]]}.")
        given = draw(shape, activation)
        found, left_out = contenders(subject, given)
        for name, why in mistaken.items():
            del found[name]
            left_out[name.removesuffix(", both")] = why
        samples: dict[str, list[float]] = {name: [] for name in found}
        for _ in rounds:
            for name, run in found.items():
                samples[name].append(_turn(run, samples[name]))
        counted = len(samples[COPY]) - 1
        if counted < 1:
            raise ValueError(f"rounds: expected at least two, one of them to warm up; got {counted + 1}.")
        needed = given.a.nbytes * (2 if subject == "recurrence" else 3)
        peak = {engine: _peak(found, engine) / needed for engine in timed(given)}
        seconds = {name: median(times[1:]) for name, times in samples.items()}
    return Result(subject, shape, activation, cores, counted, seconds, peak, left_out)


def _turn(run: Run, before: Sequence[float] = (0.0,)) -> float:
    """Return the mean seconds of a run that follows one of its own kind."""
    if before and before[-1] < LONG:
        run()
    start, calls = perf_counter(), 0
    while True:
        run()
        calls += 1
        if (passed := perf_counter() - start) >= TURN:
            return passed / calls


def _peak(found: dict[str, Run], engine: str) -> int:
    """Return the most bytes allocated at a time while an engine runs both directions, holding h between them."""
    tracemalloc.start()
    try:
        found[f"{engine}, both"]()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def grow(engine: str, letter: str, doublings: int = 6, rounds: int = 5, activation: str = "relu") -> Growth:
    """Double one of T, B and N again and again, on one core: time per element should stay flat."""
    place = "TBN".index(letter)
    shapes, nanoseconds = [], []
    for k in range(doublings + 1):
        T, B, N = (size << k if axis == place else size for axis, size in enumerate(GROWTH))
        given = draw((T, B, N), activation)
        found = ours("recurrence", given)
        with limited_to(1):
            times = [_turn(found[f"{engine}, both"]) for _ in range(rounds)]
        shapes.append((T, B, N))
        nanoseconds.append(1e9 * median(times) / given.a.size)
    return Growth(engine, letter, shapes, nanoseconds)
