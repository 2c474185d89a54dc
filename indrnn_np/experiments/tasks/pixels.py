"""Images read pixel by pixel: one number a step, and at the end the question which class it was (Li et al. 2018, §5.2).

Plain, an image is read row by row. Permuted, the same pixels come in an order drawn once and shared by all images, so
that neighbours in the image lie far apart in time.

Images stay bytes; only a batch is turned into numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...analysis import _checks
from ...array_module import Array
from .task import Batch, Loss, Readout, check_batch, check_size, choose, slices


class Images(NamedTuple):
    """Images (S, T), uint8, each row an image read row by row; labels (S,), int64."""

    pixels: Array
    labels: Array


@dataclass(frozen=True, eq=False)
class Pixels:
    """Classify images by their pixels, one a step. `digits` and `mnist` make it.

    Parameters
    ----------
    name : what the images are
    train, test : Images with the same T
    outputs : how many classes
    white : the pixel that becomes 1; 0 stays 0
    order : (T,) which pixel comes at each step; None: row by row
    """

    name: str
    train: Images = field(repr=False)
    test: Images = field(repr=False)
    outputs: int
    white: int
    order: Array | None = field(default=None, repr=False)
    inputs: int = field(default=1, init=False)
    readout: Readout = field(default="last", init=False)
    loss: Loss = field(default="cross entropy", init=False)
    tokens: bool = field(default=False, init=False)

    @property
    def steps(self) -> int:
        """T, the pixels of an image."""
        return int(self.train.pixels.shape[1])

    def batch(self, rng: np.random.Generator, size: int, dtype: Any = "float32") -> Batch:
        """Draw different training images.

        Parameters
        ----------
        rng : NumPy's Generator
        size : B, at most the number of training images
        dtype : float32 or float64

        Returns
        -------
        Batch : x (T, B, 1) from 0 to 1; target (B,) labels

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        B, kind = check_batch(rng, size, dtype)
        return self._batch(self.train, choose(rng, len(self.train.labels), B), kind)

    def test_batches(self, size: int, dtype: Any = "float32") -> Iterator[Batch]:
        """Go through the test images in their order.

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
        return (self._batch(self.test, part, kind) for part in slices(len(self.test.labels), B))

    def _batch(self, images: Images, which: Array | slice, dtype: np.dtype[Any]) -> Batch:
        """Turn some images into numbers, time first and in the task's order."""
        pixels = images.pixels[which].T
        x = (pixels if self.order is None else pixels[self.order]).astype(dtype, order="C")
        x /= dtype.type(self.white)
        return Batch(x[:, :, None], images.labels[which].copy(), None)


def order_of(steps: int, permuted: bool, seed: int) -> Array | None:
    """Return the order of the pixels: None unless permuted, else a permutation that the seed decides.

    The raw numbers of PCG64 are ranked; NumPy promises that they are the same in every version, which it does not
    promise of its shuffles.

    Raises
    ------
    TypeError, ValueError
        permuted is neither True nor False, or seed no whole number from 0; the message names it.
    """
    number = _checks.whole("seed", seed, least=0)
    return shuffled(steps, number) if _checks.flag("permuted", permuted) else None


def shuffled(count: int, seed: int) -> Array:
    """Return 0 … count − 1 in an order that the seed decides, the same for ever."""
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")
