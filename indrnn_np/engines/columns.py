"""Run a kernel on blocks of columns, which keep what is read again in the cache, and on several cores at once.

Threads end with the call: those that stayed would not survive a fork of the process, and would hinder it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

BLOCK_BYTES = 1 << 16     # of a row in a block: the rows that are read again then stay in the second cache
THREADED = 1 << 19        # elements of (T, B, N) from which on a second thread gains more than it costs
NARROWEST = 256           # columns to a thread: fewer would wait for their own past, not for memory


def run(kernel: Callable[..., object], rows: Any, *more: Any) -> None:
    """Call kernel(rows, *more, low, high) for blocks [low, high) of the columns of `rows` (T, columns).

    The kernel must let go of the interpreter's lock, and blocks must not meet.
    """
    steps, columns = rows.shape
    threads = min(cores(), columns // NARROWEST) if steps * columns >= THREADED else 1
    count = max(threads, -(-columns * rows.itemsize // BLOCK_BYTES))
    if count == 1:
        kernel(rows, *more, 0, columns)
        return
    width = -(-columns // (count * 16)) * 16  # whole cache lines, so that no two threads write to one
    blocks = [(low, min(low + width, columns)) for low in range(0, columns, width)]

    def work() -> None:
        while True:
            try:
                low, high = blocks.pop()
            except IndexError:
                return
            kernel(rows, *more, low, high)

    helpers: list[Thread] = []
    try:
        for _ in range(threads - 1):
            helper = Thread(target=work)
            with suppress(RuntimeError):  # the system has no more threads: those there are do the work
                helper.start()
                helpers.append(helper)
        work()
    finally:
        for helper in helpers:
            helper.join()


def cores() -> int:
    """Count the cores that this process may use; NUMBA_NUM_THREADS, Numba's own setting, can say fewer."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("NUMBA_NUM_THREADS", "")
    return max(1, min(here, int(said))) if said.isdecimal() else here
