"""Numbers that know how far rounding may have carried an implementation: running error analysis.

A Rounded has the exact value, computed in extended precision, and a bound of what an implementation in floating point
may be off by, given that each of its operations is off by a few units of roundoff. Programs are written with it once,
equation by equation, and yield both the expected result and its allowed error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Units of roundoff that an operation may be off by: one for itself, and room for those who factor a sum or a product
# in another way, or whose tanh and exp are right to a few units in the last place.
UNITS = 8


class Rounded:
    """An array with its error; `unit` is the roundoff of the implementation that is judged."""

    __array_ufunc__ = None  # NumPy's arrays leave operations to this class

    def __init__(self, value: Any, unit: float, error: Any = 0.0) -> None:
        self.value = np.asarray(value, np.longdouble)
        self.unit = unit
        self.error = np.broadcast_to(np.asarray(error, np.longdouble), self.value.shape).copy()

    def _result(self, value: Any, carried: Any, size: Any, roundings: int = 1) -> Rounded:
        return Rounded(value, self.unit, carried + UNITS * roundings * self.unit * (size + carried))

    def __add__(self, other: Rounded) -> Rounded:
        return self._result(self.value + other.value, self.error + other.error, abs(self.value) + abs(other.value))

    def __rsub__(self, one: float) -> Rounded:
        return self._result(one - self.value, self.error, one + abs(self.value))

    def __sub__(self, other: Rounded) -> Rounded:
        return self._result(self.value - other.value, self.error + other.error, abs(self.value) + abs(other.value))

    def __mul__(self, other: Rounded) -> Rounded:
        size = abs(self.value) * abs(other.value)
        reached = (abs(self.value) + self.error) * (abs(other.value) + other.error)
        return self._result(self.value * other.value, reached - size, size)

    def __matmul__(self, other: Rounded) -> Rounded:
        size = abs(self.value) @ abs(other.value)
        reached = (abs(self.value) + self.error) @ (abs(other.value) + other.error)
        return self._result(self.value @ other.value, reached - size, size, self.value.shape[-1])

    def __getitem__(self, index: Any) -> Rounded:
        return Rounded(self.value[index], self.unit, self.error[index])

    def put(self, index: Any, part: Rounded) -> None:
        """Write a part of it."""
        self.value[index], self.error[index] = part.value, part.error

    @property
    def T(self) -> Rounded:
        return Rounded(self.value.T, self.unit, self.error.T)

    def tanh(self) -> Rounded:
        """Slope at most 1."""
        return self._result(np.tanh(self.value), self.error, abs(np.tanh(self.value)))

    def logistic(self) -> Rounded:
        """Slope at most 1/4."""
        y = 1 / (1 + np.exp(-self.value))
        return self._result(y, self.error / 4, y)

    def relu(self) -> Rounded:
        """Away from the kink, which is asserted."""
        assert (abs(self.value) > self.error).all()
        return Rounded(np.where(self.value > 0, self.value, 0), self.unit, np.where(self.value > 0, self.error, 0))

    def allows(self, got: Any, share: float = 1.0) -> bool:
        """Whether an implementation's result is within this share of the error."""
        return got.shape == self.value.shape and bool((abs(got - self.value) <= share * self.error).all())


def stack(rows: Sequence[Rounded]) -> Rounded:
    """Return the rows as one array."""
    return Rounded(np.stack([row.value for row in rows]), rows[0].unit, np.stack([row.error for row in rows]))


def concatenate(parts: Sequence[Rounded]) -> Rounded:
    """Return the parts one behind the other."""
    return Rounded(np.concatenate([part.value for part in parts]), parts[0].unit,
                   np.concatenate([part.error for part in parts]))
