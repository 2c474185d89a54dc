"""The adding problem (Li et al. 2018, §5.1): remember two marked numbers among T, and say their sum.

Each step has a value drawn uniformly from [0, 1) and a marker, 0 but for two ones, one in each half of the sequence.
The target is the sum of the two marked values. Who always says 1 has a mean squared error of 1/6, the variance of the
sum.

Training data is fresh throughout. The values are multiples of 2^−24, so that every sequence is the same in float32 and
in float64 (its target then rounded).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...analysis import _checks
from .task import Batch, Loss, Readout, check_batch, check_size, slices


@dataclass(frozen=True)
class Adding:
    """The adding problem over T steps.

    Parameters
    ----------
    steps : T, from 2
    test_sequences : how many sequences the test set has
    test_seed : which test set; whatever it is, it shares no generator with training

    Raises
    ------
    TypeError, ValueError
        An argument is no such whole number; the message names it.
    """

    steps: int = 100
    test_sequences: int = 1000
    test_seed: int = 0
    name: str = field(default="adding", init=False)
    inputs: int = field(default=2, init=False)
    outputs: int = field(default=1, init=False)
    readout: Readout = field(default="last", init=False)
    loss: Loss = field(default="mse", init=False)
    tokens: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if _checks.whole("steps", self.steps) < 2:
            raise ValueError(f"steps: expected a whole number from 2, one step for each marker; got {self.steps}.")
        _checks.whole("test_sequences", self.test_sequences)
        _checks.whole("test_seed", self.test_seed, least=0)

    def batch(self, rng: np.random.Generator, size: int, dtype: Any = "float32") -> Batch:
        """Draw fresh sequences.

        Parameters
        ----------
        rng : NumPy's Generator; it alone decides what comes
        size : B
        dtype : float32 or float64

        Returns
        -------
        Batch : x (T, B, 2), value and marker; target (B, 1)

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        B, kind = check_batch(rng, size, dtype)
        T, b = self.steps, np.arange(B)
        x = np.zeros((T, B, 2), kind)
        x[:, :, 0] = rng.random((T, B), np.float32)
        first, second = rng.integers(0, T // 2, B), rng.integers(T // 2, T, B)
        x[first, b, 1] = x[second, b, 1] = 1
        return Batch(x, (x[first, b, 0] + x[second, b, 0])[:, None], None)

    def test_batches(self, size: int, dtype: Any = "float32") -> Iterator[Batch]:
        """Go through the test set, `size` sequences at a time.

        Sequence i has a generator of its own, seeded by what it is for, `test_seed` and i: so the set does not depend
        on `size`, and a training generator seeded with any number draws other sequences.

        Parameters
        ----------
        size : B; the last batch may have fewer
        dtype : float32 or float64

        Returns
        -------
        iterator of Batch, as `batch` makes them

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        B, kind = check_size(size, dtype)
        return (self._test_batch(range(self.test_sequences)[part], kind) for part in slices(self.test_sequences, B))

    def _test_batch(self, numbers: range, dtype: np.dtype[Any]) -> Batch:
        """Put the test sequences of these numbers side by side."""
        purpose = b"adding problem, test set"
        alone = [self.batch(np.random.default_rng([*purpose, self.test_seed, i]), 1, dtype) for i in numbers]
        return Batch(np.concatenate([one.x for one in alone], axis=1),
                     np.concatenate([one.target for one in alone]), None)
