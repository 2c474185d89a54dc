"""The number formats that an implementation may compute in, and how numbers are rounded to them.

NumPy has no bfloat16: its numbers travel in float32 arrays. The same is done for float16 where an implementation
hands over its results in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..array_module import Array


class Format(NamedTuple):
    """A binary floating-point format.

    Attributes
    ----------
    bits : of the significand, the hidden one included
    smallest : smallest normal number
    largest : largest finite number
    """

    bits: int
    smallest: float
    largest: float


FORMATS = {
    "bfloat16": Format(8, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    "float16": Format(11, 2.0**-14, (2 - 2.0**-10) * 2.0**15),
    "float32": Format(24, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float64": Format(53, 2.0**-1022, float(np.finfo(np.float64).max)),
}
HALF = ("float16", "bfloat16")


def rounded(values: Any, precision: str, dtype: Any) -> Array:
    """Round to the nearest number of that format, ties to even; return an array of that dtype, which holds it.

    Parameters
    ----------
    values : array of numbers, finite and within the format's range
    precision : a name in FORMATS
    dtype : of the array returned, in which every number of the format must be representable
    """
    values = np.asarray(values)
    if precision == np.dtype(dtype).name:
        return values.astype(dtype)
    exact = values.astype(np.longdouble)
    bits, smallest, _ = FORMATS[precision]
    _, exponent = np.frexp(exact)
    lowest = int(np.log2(smallest)) + 1  # below, the spacing stays that of the smallest normal number
    spacing = np.maximum(exponent, lowest) - bits
    return np.asarray(np.ldexp(np.rint(np.ldexp(exact, -spacing)), spacing), dtype=dtype)
