"""The handwritten digits bundled with scikit-learn, pixel by pixel: 1797 images of 8 × 8, so T = 64.

Small enough to learn within a minute, and there without a download. 1437 images are for training and 360 for testing;
the split is always the same, and every class has a fifth of its images in the test set, give or take one.
"""

from __future__ import annotations

import importlib

import numpy as np

from .pixels import Images, Pixels, order_of, shuffled


def digits(permuted: bool = False, seed: int = 0) -> Pixels:
    """Return the task of classifying scikit-learn's digits; a pixel is 0 to 16 sixteenths.

    Parameters
    ----------
    permuted : whether the pixels come in a fixed random order
    seed : which order; it has no part in the split

    Returns
    -------
    Pixels : T = 64, 10 classes

    Raises
    ------
    ModuleNotFoundError
        scikit-learn is not installed; the message names the extra.
    TypeError, ValueError
        An argument has the wrong type or value; the message names it.
    """
    order = order_of(64, permuted, seed)
    try:
        bundle = importlib.import_module("sklearn.datasets").load_digits()
    except ModuleNotFoundError:
        raise ModuleNotFoundError("scikit-learn, which brings the digits, is not installed: "
                                  "pip install 'indrnn-np[experiments]'.") from None
    pixels, labels = bundle.data.astype(np.uint8), bundle.target.astype(np.int64)
    mixed = shuffled(len(labels), seed=0)
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    testing = np.zeros(len(labels), bool)
    testing[by_class[::5]] = True
    return Pixels("digits", train=Images(pixels[~testing], labels[~testing]),
                  test=Images(pixels[testing], labels[testing]), outputs=10, white=16, order=order)
