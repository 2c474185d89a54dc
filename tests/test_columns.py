"""What runs a kernel over columns loses no failure of a thread, keeps nothing of it, and ends with its last thread."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import suppress

import numpy as np
import pytest

from indrnn_np.engines import columns


@pytest.mark.parametrize("failure", [MemoryError, SystemExit])
def test_what_fails_in_a_thread_fails_in_the_call(failure, two_cores) -> None:
    main = threading.get_ident()

    def kernel(rows, low, high, width, depth) -> None:
        if threading.get_ident() == main:
            helper_failed.wait(10)
        else:
            helper_failed.set()
            raise failure("no room for a row of weights")

    helper_failed = threading.Event()
    with pytest.raises(failure, match="no room"):
        columns.run(kernel, np.ones((2, 3, 32)))


def test_a_call_that_failed_keeps_no_array(two_cores) -> None:
    def kernel(rows, low, high, width, depth) -> None:
        raise MemoryError

    rows = np.ones((2, 3, 32))
    kept = weakref.ref(rows)
    gc.disable()  # which would find them in the end
    try:
        with suppress(MemoryError):
            columns.run(kernel, rows)
        del rows
        assert kept() is None
    finally:
        gc.enable()


def test_a_call_ends_when_the_last_of_its_threads_has_ended_also_where_one_failed(two_cores) -> None:
    main, ended = threading.get_ident(), []

    def kernel(rows, low, high, width, depth) -> None:
        if threading.get_ident() == main:
            assert helper_runs.wait(10)
            raise KeyboardInterrupt
        helper_runs.set()
        threading.Event().wait(0.05)
        ended.append(low)

    helper_runs = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        columns.run(kernel, np.ones((2, 3, 32)))
    assert ended
