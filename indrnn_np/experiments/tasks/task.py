"""What a task is: a description of its sequences, batches to train on, and a fixed set to test on.

Everything is NumPy and time-major. A task computes nothing in its batches that depends on another batch: whoever holds
the generator decides what comes, and the test set is the same whatever was trained on and however it is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from ...analysis import _checks
from ...array_module import Array

Readout = Literal["last", "every"]
Loss = Literal["mse", "cross entropy"]


class Batch(NamedTuple):
    """Some sequences and what is to be said of them, in memory of their own.

    Attributes
    ----------
    x : (T, B, M) numbers, or (T, B) whole numbers below M where the task's `tokens` is true
    target : what the readout is held against: (B, K) numbers for "mse", (B,) labels for "cross entropy" at the last
        step, (T, B) labels for "cross entropy" at every step. Labels are int64 from 0 to K − 1
    lengths : (B,) how many steps of each sequence count, from 1 to T; None where all do
    """

    x: Array
    target: Array
    lengths: Array | None


class Task(Protocol):
    """What every task has; each is a frozen dataclass."""

    @property
    def name(self) -> str:
        """How `tasks.named` knows it."""
        ...

    @property
    def steps(self) -> int:
        """T."""
        ...

    @property
    def inputs(self) -> int:
        """M, or the size of the vocabulary where `tokens` is true."""
        ...

    @property
    def outputs(self) -> int:
        """K."""
        ...

    @property
    def readout(self) -> Readout:
        """Whether the output is wanted at the last step or at every one."""
        ...

    @property
    def loss(self) -> Loss:
        """What the output is judged by."""
        ...

    @property
    def tokens(self) -> bool:
        """Whether x has whole numbers, to be embedded."""
        ...

    def batch(self, rng: np.random.Generator, size: int, dtype: Any = "float32") -> Batch:
        """Draw `size` training sequences, all chance from rng."""
        ...

    def test_batches(self, size: int, dtype: Any = "float32") -> Iterator[Batch]:
        """Go through the test set once, `size` sequences at a time; the last batch may have fewer."""
        ...


def check_batch(rng: Any, size: Any, dtype: Any) -> tuple[int, np.dtype[Any]]:
    """Check the arguments of `batch`; return size and dtype."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: expected a numpy.random.Generator, such as numpy.random.default_rng(0); "
                        f"got {type(rng).__name__}.")
    return check_size(size, dtype)


def check_size(size: Any, dtype: Any) -> tuple[int, np.dtype[Any]]:
    """Check the arguments of `test_batches`; return them."""
    return _checks.whole("size", size), _checks.real_dtype(dtype)


def choose(rng: np.random.Generator, available: int, size: int) -> Array:
    """Draw `size` different numbers below `available`."""
    if size > available:
        raise ValueError(f"size: expected at most {available}, as many training sequences as there are; got {size}.")
    return rng.choice(available, size, replace=False)


def slices(available: int, size: int) -> Iterator[slice]:
    """Cut 0 … available − 1 into pieces of `size`; the last may be shorter."""
    return (slice(start, min(start + size, available)) for start in range(0, available, size))
