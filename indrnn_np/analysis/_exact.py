"""Is a product of many floats above a bound? Decided with whole numbers, so that no rounding has a say.

A float is n · 2^e with whole n and e, and so is a product of floats; but u^T has 53 T bits. So a number is held
between two whole multiples of one power of two, of as many bits as wanted: what is cut off is rounded down below and
up above. If the bound lies outside, the question is decided; if not, the bits are doubled.

This ends. If the product V is not the bound c, the enclosure shrinks to V with growing bits and leaves c. If V = c,
then V is a float, so its odd part has at most 53 bits, and so has that of every factor and partial product, as a
divisor of it: what is cut off from them are zeros, nothing is rounded, and both ends are V.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Enclosure(NamedTuple):
    """low · 2^exponent ≤ the number ≤ high · 2^exponent."""

    low: int
    high: int
    exponent: int


ONE = Enclosure(1, 1, 0)


def exactly(x: float) -> Enclosure:
    """Hold a finite number of at least 0."""
    numerator, denominator = x.as_integer_ratio()  # the denominator is a power of two
    return Enclosure(numerator, numerator, 1 - denominator.bit_length())


def times(p: Enclosure, q: Enclosure, bits: int) -> Enclosure:
    """Multiply, and cut what exceeds so many bits."""
    low, high, exponent = p.low * q.low, p.high * q.high, p.exponent + q.exponent
    excess = max(0, high.bit_length() - bits)
    return Enclosure(low >> excess, -(-high >> excess), exponent + excess)


def power(p: Enclosure, n: int, bits: int) -> Enclosure:
    """Raise to a whole power of at least 0, by squaring."""
    result = ONE
    while n:
        if n & 1:
            result = times(result, p, bits)
        p, n = times(p, p, bits), n >> 1
    return result


def product(factors: Sequence[float], bits: int) -> Enclosure:
    """Multiply numbers of at least 0; each 32 are multiplied whole before they are cut."""
    result = ONE
    for start in range(0, len(factors), 32):
        ratios = [x.as_integer_ratio() for x in factors[start:start + 32]]
        n = math.prod(numerator for numerator, _ in ratios)
        result = times(result, Enclosure(n, n, sum(1 - d.bit_length() for _, d in ratios)), bits)
    return result


def side(number: Callable[[int], Enclosure], bound: float) -> int:
    """Return the sign of number − bound; `number` encloses itself in so many bits, `bound` is finite and at least 0."""
    c, bits = exactly(bound), 128
    while True:
        x = number(bits)
        if _less(c.high, c.exponent, x.low, x.exponent):
            return 1
        if _less(x.high, x.exponent, c.low, c.exponent):
            return -1
        if x.low == x.high:
            return 0
        bits *= 2


def _less(m: int, e: int, n: int, f: int) -> bool:
    """Whether m · 2^e < n · 2^f, for m and n of at least 0."""
    if m == 0 or n == 0:
        return m < n
    top, other = m.bit_length() + e, n.bit_length() + f
    return top < other if top != other else m << max(e - f, 0) < n << max(f - e, 0)


def first(holds: Callable[[int], bool], guess: int, limit: int) -> int:
    """Return the least n from 0 to limit for which `holds`; it holds at limit, and above wherever it holds.

    The search goes out from the guess in steps that double, then halves; a poor guess costs time and nothing else.
    """
    high = min(max(guess, 0), limit)
    low, step = high - 1, 1  # to reach: holds(high), and not holds(low) or low = −1
    while not holds(high):
        low, high, step = high, min(high + step, limit), 2 * step
    while low >= 0 and holds(low):
        low, high, step = max(low - step, -1), low, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def ordinal(x: Any, dtype: np.dtype[Any]) -> int:
    """Count the numbers of this dtype from 0 to x, which is rounded to one of them; infinity is the last."""
    with np.errstate(over="ignore"):
        return int(np.asarray(x, dtype).view(f"u{dtype.itemsize}"))


def numbered(n: int, dtype: np.dtype[Any]) -> Any:
    """Return the number of this dtype whose ordinal is n."""
    return np.asarray(n, f"u{dtype.itemsize}").view(dtype)[()]
