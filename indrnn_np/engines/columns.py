"""Run a kernel over columns in portions that the caches keep, and on several cores at once.

Threads end with the call: those that stayed would not survive a fork of the process, and would hinder it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

BLOCK_BYTES = 1 << 16     # of a row in a block: the rows that are read again then stay in the second cache
CHUNK_BYTES = 1 << 22     # of an array at a time: pages that the system has just cleared are still in the third cache
THREADED = 1 << 19        # elements of (T, B, N) from which on a second thread gains more than it costs
NARROWEST = 256           # columns to a thread: fewer would wait for their own past, not for memory


def run(kernel: Callable[..., object], first: Any, *more: Any) -> None:
    """Call kernel(first, *more, low, high, width, depth) for parts [low, high) of the columns of `first` (T, B, N).

    The kernel takes so many columns and so many steps at a time. It must let go of the interpreter's lock, and parts
    must not meet.
    """
    T, B, N = first.shape
    columns = B * N
    threads = min(cores(), columns // NARROWEST) if T * columns >= THREADED else 1
    portions = max(1, BLOCK_BYTES // first.itemsize), max(1, CHUNK_BYTES // (columns * first.itemsize))
    if threads <= 1:
        kernel(first, *more, 0, columns, *portions)
        return
    share = -(-columns // (threads * 16)) * 16  # whole cache lines, so that no two threads write to one
    parts = [(low, min(low + share, columns)) for low in range(0, columns, share)]

    failures: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                try:
                    low, high = parts.pop()
                except IndexError:
                    return
                kernel(first, *more, low, high, *portions)
        except BaseException as failure:  # which would be lost with its thread: there was no memory, for instance
            failures.append(failure)

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
    try:
        if failures:
            raise failures[0]
    finally:
        failures.clear()  # else the failure would hold this frame, and the frame the failure, with all arrays


def cores() -> int:
    """Count the cores that this process may use; NUMBA_NUM_THREADS, Numba's own setting, can say fewer."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("NUMBA_NUM_THREADS", "")
    return max(1, min(here, int(said))) if said.isdecimal() else here
