"""The kernels touch no memory but their own, wait for each other where they must, and count beyond 2^31.

They run on the CPU, built with AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer, and say nothing. That
this is worth something is shown on each of them with a mistake planted: there the sanitizers speak.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import product

import pytest
from sanitized import MEMORY, THREADS, UNDEFINED, Case, Change, last_words

from indrnn_np.activations import ACTIVATIONS

pytestmark = pytest.mark.program("g++")

PLAIN, PREFETCH, SLICES = ("plain", 0), ("prefetch", 4), ("slices", 0, 4, 4, 2)
KERNELS = list(product(("forward", "backward"), (PLAIN, PREFETCH, SLICES)))


def silent(cases: Sequence[Case], flags: tuple[str, ...]) -> None:
    for case, words in zip(cases, last_words(cases, flags), strict=True):
        assert words == "", f"{case}:\n{words}"


def awkward(plan: tuple) -> tuple[tuple[int, int, int], ...]:
    """One step, one column; as many as a kernel takes at a time, one fewer, one more; blocks that are not full."""
    at_a_time = {"plain": 4, "prefetch": plan[-1], "slices": math.prod(plan[-2:])}[plan[0]]
    lengths = {1, 2, *(k * at_a_time + j for k in (1, 2, 3) for j in (-1, 0, 1))}
    return tuple((T, B, N) for T, (B, N) in product(sorted(lengths), ((1, 1), (3, 11))))


@pytest.mark.parametrize(("direction", "plan"), KERNELS)
def test_no_access_beyond_an_array(direction: str, plan: tuple) -> None:
    activations = ("relu", "tanh") if direction == "backward" else ("relu",)  # tanh: the drive is read as well
    silent([Case(direction, plan, activation, dtype, awkward(plan))
            for activation, dtype in product(activations, ("float32", "float64"))], MEMORY)


@pytest.mark.parametrize(("direction", "ahead"), [("forward", 64), ("backward", 32)])
def test_no_access_beyond_an_array_with_the_sizes_that_are_launched(direction: str, ahead: int) -> None:
    silent([Case(direction, plan, shapes=awkward(plan)[-6:])
            for plan in (("prefetch", ahead), ("slices", 0, 8, 64, 8), ("slices", 0, 32, 16, 8))], MEMORY)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_access_beyond_an_array_in_any_activation(activation: str, dtype: str) -> None:
    large = [("prefetch", 64), ("prefetch", 32), ("prefetch", 16), ("slices", 0, 8, 64, 8), ("slices", 0, 32, 16, 4)]
    silent([Case(direction, plan, activation, dtype, awkward(plan))
            for direction, plan in [*KERNELS, *product(("forward", "backward"), large)]
            if direction == "backward" or plan[0] != "slices" or activation in ("relu", "identity")], MEMORY)


def test_no_two_threads_meet_without_a_barrier_between() -> None:
    silent([Case(direction, SLICES, activation, shapes=((1, 1, 1), (17, 2, 3)))
            for direction, activation in (("forward", "relu"), ("backward", "relu"), ("backward", "tanh"))], THREADS)


# T·B·N is past 2^31 by many steps, or past 2^32 by many columns, which the numbers of blocks and threads, being
# unsigned, must not be multiplied to: arrays of 9 and 17 GiB, of which a few pages are touched.
FAR = LONG, WIDE = (9, 1, 2**28 + 5), (1, 17, 2**28 + 5)


def test_products_beyond_2_to_the_31st_are_counted_right() -> None:
    silent([Case(direction, plan, shapes=FAR, far=True) for direction, plan in KERNELS], UNDEFINED)


# What the checks are worth: each mistake is planted in a kernel, and its words must be heard.

BEYOND = r"AddressSanitizer: heap-buffer-overflow"
SHARED = r"runtime error: index \d+ out of bounds|AddressSanitizer: global-buffer-overflow"
ONE_COLUMN = ((7, 1, 1), (8, 1, 1))  # where a row too far is a number too far
ROW, COLUMN = ("return c < columns;", "return c <= columns;"), ("c, c < columns};", "c, c <= columns};")

MISTAKES = {
    "a thread too many": [
        *((Change(*ROW), Case(direction, plan), BEYOND) for direction, plan in KERNELS if plan != SLICES),
        *((Change(*COLUMN), Case(direction, SLICES), BEYOND) for direction in ("forward", "backward")),
    ],
    "a read too far": [
        (Change("a[t * columns + c], h_prev)", "a[(t + 1) * columns + c], h_prev)"), Case("forward", PLAIN), BEYOND),
        (Change("? h[(t - 1) * stride] : h0", "? h[(t - 1) * stride] : h[-stride]"), Case("backward", PLAIN), BEYOND),
        (Change("b < sequences", "b <= sequences"), Case("backward", PLAIN), BEYOND),
        (Change("t + j + AHEAD < T", "t + j + AHEAD <= T"), Case("forward", PREFETCH), BEYOND),
        (Change("t + k + TOGETHER + AHEAD <= T", "t + k + AHEAD <= T"), Case("forward", PREFETCH), BEYOND),
        (Change("t - j - AHEAD > 0 ?", "t - j - AHEAD >= 0 ?"), Case("backward", PREFETCH), BEYOND),
        (Change("t - k >= TOGETHER + AHEAD", "t - k >= TOGETHER + AHEAD - 1"), Case("backward", PREFETCH), BEYOND),
        (Change("j < left ? load[", "j <= left ? load["), Case("forward", SLICES), BEYOND),
        (Change("j < left ? dh[", "j <= left ? dh["), Case("backward", SLICES), BEYOND),
        (Change("(T, done + STEPS) > 0 ?", "(T, done + STEPS) >= 0 ?"), Case("backward", SLICES), BEYOND),
    ],
    "a write too far": [
        (Change("h[t * columns + c] =", "h[(t + 1) * columns + c] ="), Case("forward", PLAIN), BEYOND),
        (Change("da[at] =", "da[at - columns] ="), Case("backward", PLAIN), BEYOND),
        (Change("*store = h_prev", "store[columns] = h_prev", 1), Case("forward", PREFETCH), BEYOND),
        (Change("da[store] =", "da[store - columns] ="), Case("backward", PREFETCH), BEYOND),
        (Change("if (j < left) { store[", "if (j <= left) { store["), Case("forward", SLICES), BEYOND),
        (Change("da[at - j * columns] =", "da[at - (j + 1) * columns] ="), Case("backward", SLICES), BEYOND),
    ],
    "too little shared memory": [
        (Change("leaving[COLUMNS]", "leaving[COLUMNS - 1]"), Case("forward", SLICES), SHARED),
        (Change("maps[SLICES]", "maps[SLICES - 1]"), Case("forward", SLICES), SHARED),
        (Change("maps[SLICES]", "maps[SLICES - 1]"), Case("backward", SLICES), SHARED),
        (Change("du_of[SLICES]", "du_of[SLICES - 1]"), Case("backward", SLICES), SHARED),
    ],
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_memory_is_heard(kind: str) -> None:
    heard([(change, case._replace(shapes=ONE_COLUMN) if kind != "a thread too many" else case, words)
           for change, case, words in MISTAKES[kind]], MEMORY)


def heard(mistakes: Sequence[tuple[Change, Case, str]], flags: tuple[str, ...]) -> None:
    cases = [case._replace(change=change) for change, case, _ in mistakes]
    for case, said, (*_, words) in zip(cases, last_words(cases, flags), mistakes, strict=True):
        assert re.search(words, said), f"{case}: expected {words!r}; heard {said!r}"


@pytest.mark.parametrize(("direction", "barriers"), [("forward", 3), ("backward", 4)])
def test_each_barrier_is_missed(direction: str, barriers: int) -> None:
    case = Case(direction, SLICES, shapes=((17, 2, 3),))
    heard([(Change("__syncthreads();", "", which), case, "ThreadSanitizer: data race") for which in range(barriers)],
          THREADS)


def test_a_barrier_that_some_threads_pass_by_is_an_error() -> None:
    change = Change("__syncthreads();", "if (me.y) __syncthreads();")
    heard([(change, Case(direction, SLICES), "a thread left the kernel while others wait")
           for direction in ("forward", "backward")], MEMORY)


def test_32_bits_are_too_few() -> None:
    """In forward_prefetch nothing is multiplied by t: its pointers move on by a row."""
    change = Change("typedef long long int64", "typedef int int64")
    wide = Change("per_column[b * neurons + n]", "per_column[int(b) * int(neurons) + int(n)]")
    overflow = "runtime error: signed integer overflow"
    heard([(change, Case(direction, plan, shapes=(LONG,), far=True), overflow)
           for direction, plan in KERNELS if (direction, plan) != ("forward", PREFETCH)]
          + [(wide, Case("backward", PLAIN, shapes=(WIDE,), far=True), overflow)], UNDEFINED)
    unsigned = [Change("(int64)blockIdx.x", "blockIdx.x", occurrence) for occurrence in (0, 1)]  # in step, in slices
    heard([(change, Case("forward", plan, shapes=(WIDE,), far=True), "AssertionError")
           for change, plan in zip(unsigned, (PREFETCH, SLICES), strict=True)], UNDEFINED)
