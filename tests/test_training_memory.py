"""Memory that is freed is taken again, where the C library is glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from runs import SEES_US

PROGRAM = """
import resource, sys
import numpy as np
from indrnn_np.experiments.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else False
for repeat in range(21):
    if repeat == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**18) for _ in range(4)]  # 512 pages each
    del arrays
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is left as it is")
def test_arrays_that_are_freed_and_made_again_cost_no_new_pages() -> None:
    pages = {}
    for how in ("kept", "left"):
        shown = subprocess.run([sys.executable, "-c", PROGRAM, how], env=SEES_US, check=True, stdout=subprocess.PIPE,
                               text=True).stdout.split()
        assert shown[0] == str(how == "kept")
        pages[how] = int(shown[1])
    assert pages["kept"] < 2048 < pages["left"]
