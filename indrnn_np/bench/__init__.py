"""Benchmarks: our engines, a peer and the memory's own limit, side by side in one process on one core.

Every round times each contender once, in turn, so that a busy moment of the machine hits all alike; the median
over the rounds is reported. Ratios within one run are the result; milliseconds belong to one machine.
"""

from . import recurrence
from .recurrence import Result, measure

__all__ = ["Result", "measure", "recurrence"]
