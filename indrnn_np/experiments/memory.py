"""Memory that one update gives back is kept for the next, where the C library lets itself be told.

An update takes and frees arrays of many megabytes, the same ones each time. By default glibc hands them back to the
system at once, which then finds, clears and hands out every page anew: at T = 1000 and 32 neurons that is a third of
the time of an update. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 2**30  # bytes; the most that an int argument of mallopt can say in a power of two


def keep_freed_memory() -> bool:
    """Have this process keep up to a gigabyte of memory that it has freed; return whether it will."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return all([mallopt(M_MMAP_THRESHOLD, KEPT), mallopt(M_TRIM_THRESHOLD, KEPT)])
