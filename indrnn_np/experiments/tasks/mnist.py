"""MNIST pixel by pixel (Li et al. 2018, §5.2), from the four files as they are published: T = 784.

The files are not part of this library, which downloads nothing: name the folder that holds them. Other data in the same
dress (28 × 28 bytes an image, ten classes) is read just as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from . import idx
from .files import DataError, existing_file, existing_folder
from .pixels import Images, Pixels, order_of

SIDE, CLASSES = 28, 10
TRAIN, TEST = "train", "t10k"
HOLDS = "the four files of MNIST, " + ", ".join(
    f"{part}-{kind}" for part in (TRAIN, TEST) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))


def mnist(folder: str | os.PathLike[str], permuted: bool = False, seed: int = 0) -> Pixels:
    """Return the task of classifying MNIST's images.

    Parameters
    ----------
    folder : holds the four files under their official names, each as it is or packed (.gz)
    permuted : whether the pixels come in a fixed random order ("pMNIST")
    seed : which order

    Returns
    -------
    Pixels : T = 784, 10 classes; the images stay bytes

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        The folder or a file is missing; the message names it.
    DataError
        A file is not what its name says; the message names the file and the byte.
    TypeError, ValueError
        An argument has the wrong type or value; the message names it.
    """
    order = order_of(SIDE * SIDE, permuted, seed)
    home = existing_folder(folder, HOLDS)
    return Pixels("mnist", train=_part(home, TRAIN), test=_part(home, TEST), outputs=CLASSES, white=255, order=order)


def _part(folder: Path, part: str) -> Images:
    """Read the images and labels of one part, and hold them against each other."""
    image_file, label_file = (existing_file(folder, name, f"{name}.gz")
                              for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"))
    images, labels = idx.read(image_file, 3), idx.read(label_file, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise DataError(image_file, "byte 8", f"expected images of {SIDE} × {SIDE}; got "
                        f"{images.shape[1]} × {images.shape[2]}.")
    if len(labels) != len(images):
        raise DataError(label_file, "byte 4", f"expected {len(images)} labels, one for each image in "
                        f"{image_file.name}; got {len(labels)}.")
    if (wrong := np.flatnonzero(labels >= CLASSES)).size:
        raise DataError(label_file, f"byte {8 + wrong[0]}", f"expected a label from 0 to {CLASSES - 1}; "
                        f"got {labels[wrong[0]]}.")
    return Images(images.reshape(len(images), SIDE * SIDE), labels.astype(np.int64))
