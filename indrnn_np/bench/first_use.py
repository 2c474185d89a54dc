"""The first call of an installation compiles, the first of a process loads from disk, later ones do neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from tempfile import TemporaryDirectory

CALLS = """
import json, time
import numpy as np
import indrnn_np as ir
a, u, seconds = np.ones((20, 4, 16), np.float32), np.ones(16, np.float32), []
for _ in range(100):
    start = time.perf_counter()
    ir.recurrent_backward(a, ir.recurrent_forward(a, u), None, u)
    seconds.append(time.perf_counter() - start)
print(json.dumps([seconds[0], sorted(seconds)[50]]))
"""


def first_use() -> dict[str, float]:
    """Return the seconds of a call forward and backward: on a fresh cache, from the disk, and later, at (20, 4, 16)."""
    with TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}

        def call() -> list[float]:
            return json.loads(subprocess.run([sys.executable, "-c", CALLS], env=environment, capture_output=True,
                                             text=True, check=True).stdout)
        (compiled, _), (loaded, later) = call(), call()
    return {"fresh cache": compiled, "from disk": loaded, "later": later}
