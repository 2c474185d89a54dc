"""Benchmarks: our engines, peers and the memory's own limit, side by side in one process, on one core or more.

Every round gives each contender its turn, so that a busy moment of the machine hits all alike; the median over the
rounds is reported. Ratios within one run are the result; milliseconds belong to one machine.
"""

from ..engines.columns import cores
from . import plot, suite
from .contenders import LOOP, SUBJECTS
from .machine import describe
from .measuring import GROWTH, SHAPES, Growth, Result, grow, measure
from .suite import Suite

__all__ = ["GROWTH", "LOOP", "SHAPES", "SUBJECTS", "Growth", "Result", "Suite", "cores", "describe", "grow", "measure",
           "plot", "suite"]
