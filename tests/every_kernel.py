"""Launch every kernel on a GPU, for every dtype and activation, on awkward shapes, and hold what comes against NumPy.

    compute-sanitizer --tool memcheck --error-exitcode 3 python tests/every_kernel.py

Every array is an allocation of its own, without CuPy's pool, so that a sanitizer sees where it ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import product

import numpy as np

from indrnn_np.activations import resolve
from indrnn_np.array_module import require_cupy
from indrnn_np.bench import gpu, gpu_check
from indrnn_np.engines import cuda
from indrnn_np.oracle import installation

# One element; less than a block, a ring and a tile; one step more than a ring; than a tile of 64 slices of 8 steps, or
# of 16, with one column more than a block has; more columns than a block of the sequential kernels.
SHAPES = ((1, 1, 1), (5, 3, 7), (65, 1, 9), (513, 3, 11), (3, 5, 27))
LOUD = (140, 2, 5)  # with numbers so large that slices of time cannot be composed, and must be run again


def inputs(activation: str, dtype: str) -> Iterator[gpu_check.Given]:
    for shape in (*SHAPES, LOUD):
        given = gpu_check.draw(shape, activation, dtype)
        loud = np.dtype(dtype).type(np.finfo(dtype).max ** 0.8) if shape == LOUD else given.a.dtype.type(1)
        yield given._replace(a=given.a * loud, dh=given.dh * loud)


def verdicts(activation: str, dtype: str) -> Iterator[tuple[str, cuda.Plan, gpu_check.Given, gpu_check.Verdict]]:
    """Run each plan of each direction on each input."""
    for given in inputs(activation, dtype):
        checker = gpu_check.Checker(given)
        for direction in gpu.DIRECTIONS:
            chosen = cuda.fastest(direction, resolve(activation), np.dtype(dtype), given.shape)
            for plan in dict.fromkeys([*gpu.plans(direction, activation, dtype, sweep=False), chosen]):
                verdict, _ = gpu.checked(checker, direction, plan)
                yield direction, plan, given, verdict


def say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()  # a sanitizer may end the process before its time


def main() -> int:
    """Print a line for each dtype and activation; exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brief", action="store_true", help="float32 and ReLU alone")
    options = parser.parse_args()
    require_cupy().cuda.set_allocator(None)
    wrong = 0
    names, dtypes = (("relu",), ("float32",)) if options.brief else (installation.NAMES, installation.DTYPES)
    for dtype, activation in product(dtypes, names):
        found = list(verdicts(activation, dtype))
        worst = max(verdict.ratio for *_, verdict in found)
        say(f"{dtype}, {activation}: {len(found)} launches, largest error ÷ allowed {worst:.3f}")
        for direction, plan, given, verdict in found:
            if not verdict.right:
                wrong += 1
                say(f"WRONG: {direction} {plan} on {given.shape}: {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
