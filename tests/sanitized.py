"""The kernels under a sanitizer: each case in a process of its own, whose last words are brought back.

The sanitizer's library must be there before Python is, so the cases run in a child that has it preloaded. The child
forks for each of them. NumPy takes the memory of its arrays from the sanitizer, which guards both ends.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cuda_on_cpu
import fake_cupy
import numpy as np

import indrnn_np as ir
from indrnn_np import engines
from indrnn_np.engines import cuda

UNDEFINED = ("-O0", "-g1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
MEMORY = (*UNDEFINED, "-fsanitize=address")
THREADS = ("-O1", "-g1", "-fsanitize=thread", "-DTHREADS")  # -O0 does not see what a function returns into an array
LIBRARIES = {UNDEFINED: None, MEMORY: "libasan.so", THREADS: "libtsan.so"}
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:redzone=2048",  # an access that misses an array by less bytes than that is seen
    "TSAN_OPTIONS": "halt_on_error=1",
    "OPENBLAS_NUM_THREADS": "1",  # no threads to be lost in a fork
}


class Change(NamedTuple):
    """A text of a kernel, what to replace it with, and where: its first occurrence is 0."""

    right: str
    wrong: str
    occurrence: int = 0


class Case(NamedTuple):
    """One direction, in place, on one shape after the other, with the text of its kernels changed."""

    direction: str
    plan: tuple[Any, ...]  # of cuda.Plan
    activation: str = "relu"
    dtype: str = "float32"
    shapes: tuple[tuple[int, int, int], ...] = ((5, 3, 7),)
    change: tuple[Any, ...] | None = None
    far: bool = False  # memory that is not there until it is touched, and of the blocks the last alone


def last_words(cases: Sequence[Case], flags: tuple[str, ...]) -> list[str]:
    """Run each case, and return what it said on the way to its end: nothing, where all is well."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if all(case.change for case in cases):  # where a mistake is that was planted, in which line, need not be looked up
        environment |= {name: f"{ENVIRONMENT[name]}:symbolize=0" for name in ("ASAN_OPTIONS", "TSAN_OPTIONS")}
    if (library := LIBRARIES[flags]) is not None:
        where = subprocess.run(["g++", f"-print-file-name={library}"], capture_output=True, text=True, check=True)
        environment["LD_PRELOAD"] = os.path.realpath(where.stdout.strip())
    request = json.dumps([str(cuda_on_cpu.folder()), flags, cases])
    child = subprocess.run([sys.executable, __file__], input=request, capture_output=True, text=True, check=False,
                           env=environment)
    if child.returncode:
        raise RuntimeError(f"the child failed ({child.returncode}):\n{child.stderr}")
    words: list[str] = json.loads(child.stdout)
    return words


def serve() -> None:
    """Be the child: run each case in a fork."""
    os.environ.pop("LD_PRELOAD", None)  # not for the compiler
    folder, flags, cases = json.loads(sys.stdin.read())
    cuda_on_cpu.folder = lambda: Path(folder)  # type: ignore[assignment]
    cuda_on_cpu.RawModule.flags = tuple(flags)
    sys.modules["cupy"] = None  # type: ignore[assignment]
    fake_cupy._cupy()  # finds no real one, which the stand-in would ask what it has, and load, for each child
    sys.modules["cupy"] = fake_cupy.module()
    engines._gpu_answers = lambda: True  # type: ignore[assignment]
    words = []
    for case in cases:
        with tempfile.TemporaryFile() as heard:
            if (pid := os.fork()) == 0:
                os.dup2(heard.fileno(), 2)
                try:
                    run(Case(*case))
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            heard.seek(0)
            said = "".join(line for line in heard.read().decode(errors="replace").splitlines(keepends=True)
                           if "ASan doesn't fully support makecontext" not in line)  # it does, where it is told of them
            words.append(said or f"it ended with {status}" * bool(status))
    json.dump(words, sys.stdout)


def run(case: Case) -> None:
    """Run one case through the launcher, as on a GPU."""
    if case.change is not None:
        plant(Change(*case.change))
    for shape in map(tuple, case.shapes):
        if case.far:
            run_far(case, shape)
        else:
            rng = np.random.default_rng(0)
            arrays = {name: fake_cupy.asarray(rng.standard_normal(size).astype(case.dtype))
                      for name, size in shapes(shape).items()}
            middle = shape[0] // 2
            arrays["a"][middle] = arrays["dh"][middle] = np.inf  # no map stands for that slice, so it is run again
            launch(case, **arrays)


def run_far(case: Case, shape: tuple[int, ...]) -> None:
    """Run the last blocks on arrays that no memory would hold, and insist that the last columns come out right."""
    cuda_on_cpu.Function.last = 2
    sys.modules["cupy"].empty = lambda size, dtype: fake_cupy.lying_as(sparse(size, dtype))  # type: ignore[attr-defined]
    arrays = {name: sparse(size, case.dtype) for name, size in shapes(shape).items()}
    tails = {name: whole(last(array), seed) for seed, (name, array) in enumerate(arrays.items())}
    a, dh, h, u, h0, _ = tails.values()
    how = case.activation, "numpy"  # such numbers are the same in any engine; this one needs no compiler's library
    want = ([ir.recurrent_forward(a, u, h0, *how)] if case.direction == "forward" else
            ir.recurrent_backward(dh, h, a, u, h0, *how))
    found = launch(case, **{name: fake_cupy.lying_as(array) for name, array in arrays.items()})
    for got, right in zip(found, want, strict=True):
        assert last(got).get().tobytes() == right.tobytes(), (last(got), right)


def launch(case: Case, a: Any, dh: Any, h: Any, u: Any, h0: Any, db: Any) -> Sequence[Any]:
    """Launch one direction."""
    activation, plan = ir.activations.resolve(case.activation), cuda.Plan(*case.plan)
    if case.direction == "forward":
        return [cuda.forward(a, u, h0, activation, a, plan)]
    return cuda.backward(dh, h, a, u, h0, activation, dh, db, plan)


def shapes(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array, by name."""
    _, B, N = shape
    return {"a": shape, "dh": shape, "h": shape, "u": (N,), "h0": (B, N), "db": (N,)}


def plant(change: Change) -> None:
    """Have it in every kernel that has the text."""
    right = cuda.source

    def wrong(name: str, plan: cuda.Plan) -> str:
        parts = right(name, plan).split(change.right)
        before = change.right.join(parts[:change.occurrence + 1])
        after = change.right.join(parts[change.occurrence + 1:])
        return f"{before}{change.wrong}{after}" if len(parts) > change.occurrence + 1 else before

    cuda.source = wrong


def sparse(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return zeros that take no memory until they are touched."""
    no_reserve = 0x4000  # mmap has no name for it before Python 3.13
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    return np.frombuffer(memory, dtype).reshape(shape)


def last(array: Any) -> Any:
    """Return the last five neurons, of the last sequence where there are several."""
    return array[-5:] if array.ndim == 1 else array[..., -1:, -5:]


def whole(array: np.ndarray, seed: int) -> np.ndarray:
    """Fill with whole numbers, so small that ten steps of the recurrence round nothing; return a copy of them."""
    array[...] = np.random.default_rng(seed).integers(-2, 3, array.shape)
    return array.copy()


if __name__ == "__main__":
    serve()
