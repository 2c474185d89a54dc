"""All that the project says of its speed on a CPU, as plain data: measurements, growth, and the first call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from .. import engines
from ..engines.columns import cores
from .contenders import SUBJECTS, heavy
from .first_use import first_use
from .machine import describe
from .measuring import SHAPES, Growth, Result, grow, measure

Cell = tuple[str, tuple[int, int, int], str, int]  # subject, shape, activation, cores
LARGE = 1 << 23  # elements from which on one round must do


class Suite(NamedTuple):
    """What was measured, in one process; seconds of a first call are those of processes of their own."""

    results: list[Result]
    growth: list[Growth]
    first: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON, with machine and versions."""
        return describe() | {"results": [result.as_dict() for result in self.results],
                             "growth": [dataclasses.asdict(line) for line in self.growth], "first": self.first}


def plan(shapes: Sequence[tuple[int, int, int]], most: int) -> list[Cell]:
    """List what is measured: each shape on one core, and with ReLU on two where there are so many.

    A layer whose products take seconds is measured with ReLU on one core alone. One core comes first, since JAX keeps
    the threads with which it began.
    """
    found: list[Cell] = [(subject, shape, activation, 1) for shape in shapes for subject, activation in (
        *product(SUBJECTS, ("relu", "tanh")), ("recurrence", "sigmoid"))]
    if most > 1:
        found += [(subject, shape, "relu", 2) for shape, subject in product(shapes, SUBJECTS)]
    return [cell for cell in found if cell[0] == "recurrence" or not heavy(cell[1]) or cell[2:] == ("relu", 1)]


def run(shapes: Sequence[tuple[int, int, int]] = SHAPES, rounds: int = 5,
        progress: Callable[[Iterable[Cell]], Iterable[Cell]] = iter) -> Suite:
    """Measure each shape, with ReLU on two cores also; then growth in T, B and N, and the first call."""
    results = []
    for subject, shape, activation, count in progress(plan(shapes, cores())):
        counted = rounds if prod(shape) < LARGE else 1
        results.append(measure(shape, range(1 + counted), activation, count, subject))
    return Suite(results, [grow(engine, letter) for engine in engines.on_the_cpu()[1:] for letter in "TBN"],
                 first_use())
