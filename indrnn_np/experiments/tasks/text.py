"""Predict each token of a text from those before it: at every step the label is the next token.

A text is one long row of tokens, whole numbers that index a vocabulary. A batch is cut from it in one of two ways:

`batch`      windows of T tokens from anywhere in the training text, each independent of the others; the state at
             their beginning is unknown, and a model starts from its initial one.
`streams`    the text cut into B rows of equal length (to one token), and each row into windows of T steps, in order.
             Row b of a batch goes on where row b of the batch before it stopped, so a model may carry its state over;
             one that does not starts each window anew. Every token but the text's first is a target exactly once.

The test set comes in streams, and its windows depend on `size` only in where they begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...analysis import _checks
from ...array_module import Array
from .task import Batch, Loss, Readout, check_batch, check_size

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Text:
    """Predict the next token of a text. `ptb_characters` and `ptb_words` make it.

    Parameters
    ----------
    name : what the text is
    steps : T, fewer than the training text has tokens
    vocabulary : the tokens; token k of a text is vocabulary[k]
    train, validation, test : (S,) whole numbers each, at least two

    Raises
    ------
    TypeError, ValueError
        steps is no such number; the message says so.
    """

    name: str
    steps: int
    vocabulary: tuple[str, ...] = field(repr=False)
    train: Array = field(repr=False)
    validation: Array = field(repr=False)
    test: Array = field(repr=False)
    readout: Readout = field(default="every", init=False)
    loss: Loss = field(default="cross entropy", init=False)
    tokens: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if _checks.whole("steps", self.steps) >= len(self.train):
            raise ValueError(f"steps: expected fewer than the {len(self.train)} tokens of the training text, so that "
                             f"the last has a next one; got {self.steps}.")

    @property
    def inputs(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    @property
    def outputs(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    def batch(self, rng: np.random.Generator, size: int, dtype: Any = "float32") -> Batch:
        """Draw windows from anywhere in the training text.

        Parameters
        ----------
        rng : NumPy's Generator
        size : B
        dtype : float32 or float64; tokens are int64 in either

        Returns
        -------
        Batch : x (T, B) tokens; target (T, B), the token after each

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        B, _ = check_batch(rng, size, dtype)
        at = rng.integers(0, len(self.train) - self.steps, B) + np.arange(self.steps)[:, None]
        return Batch(self.train[at].astype(np.int64), self.train[at + 1].astype(np.int64), None)

    def test_batches(self, size: int, dtype: Any = "float32") -> Iterator[Batch]:
        """Go through the test text: `streams("test", size)`.

        Parameters
        ----------
        size : B; a batch has fewer rows where not so many are left
        dtype : float32 or float64; tokens are int64 in either

        Returns
        -------
        iterator of Batch

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        return self.streams("test", size, dtype)

    def streams(self, part: str, size: int, dtype: Any = "float32") -> Iterator[Batch]:
        """Go through a text once, in `size` rows side by side, T steps at a time.

        Parameters
        ----------
        part : "train", "validation" or "test"
        size : B, how many rows; fewer where the text has not so many targets
        dtype : float32 or float64; tokens are int64 in either

        Returns
        -------
        iterator of Batch : x and target (T, B). The last windows may be shorter than T; where some rows are one step
            longer than the others, `lengths` says how many steps count, and a row with none left is no longer there
            (it is among the last)

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        _checks.one_of("part", part, PARTS)
        B, _ = check_size(size, dtype)
        return _windows(getattr(self, part), B, self.steps)


def _windows(text: Array, B: int, T: int) -> Iterator[Batch]:
    """Cut a text into B rows, and these into windows of T steps."""
    targets = len(text) - 1
    B = min(B, targets)
    row = targets // B + (np.arange(B) < targets % B)  # the first rows have one step more, if it does not come out even
    start = np.cumsum(row) - row
    for done in range(0, int(row[0]), T):
        left = np.minimum(row - done, T)
        rows = np.count_nonzero(left)
        left, step = left[:rows], np.arange(left[0])[:, None]
        counts = step < left
        at = np.where(counts, start[:rows] + done + step, 0)
        x, target = (np.where(counts, text[at + ahead], 0).astype(np.int64) for ahead in (0, 1))
        yield Batch(x, target, None if counts.all() else left)
