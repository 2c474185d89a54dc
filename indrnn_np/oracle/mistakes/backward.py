"""Mistakes in how the gradient flows back through time: cotangents, carry, slope. h is the candidate's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...activations import ACTIVATIONS
from ...array_module import Array
from ..inputs import Case
from .layer import Mistake, catalogue, last_wrong_step, limit

BACKWARD, mistake = catalogue()


# The cotangents.


@mistake("the last step's cotangent is dropped")
class LastDropped(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[t] * (t < self.T - 1)


@mistake("only the last step's cotangent is used")
class OnlyLast(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[t] * (t == self.T - 1)


@mistake("the first step's cotangent is dropped")
class FirstDropped(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[t] * (t > 0)


@mistake("the cotangents are reversed in time")
class Reversed(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[self.T - 1 - t]


@mistake("every step gets the last step's cotangent")
class LastEverywhere(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[-1]


@mistake("every step gets the first step's cotangent")
class FirstEverywhere(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[0]


@mistake("each step gets the cotangent of the step before")
class ShiftedLater(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[t - 1] if t > 0 else 0 * self.dh[0]


@mistake("each step gets the cotangent of the step after")
class ShiftedEarlier(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[t + 1] if t < self.T - 1 else 0 * self.dh[0]


@mistake("each step gets the cotangent of the step before, the first one the last's (an index −1)")
class Rolled(Mistake):
    def cotangent(self, t: int) -> Array:
        return self.dh[t - 1]


@mistake("each step gets the sum of its own and all later cotangents on top of the carry: counted twice")
class Accumulated(Mistake):
    def cotangent(self, t: int) -> Array:
        return np.asarray(self.dh[t:].sum(axis=0))


# The carry.


@mistake("no carry: the gradient does not flow through time")
class NoCarry(Mistake):
    def carry(self, t: int, dz_next: Array) -> Array:
        return 0 * dz_next


@mistake("the carry is u g_{{t+1}}, the gradient of h, for u dz_{{t+1}}: σ' is missing on the way back in time")
class CarryWithoutSlope(Mistake):
    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        later = 0 * dz_next if t == self.T - 1 else self.carry(t, self.g_next)
        self.g_next: Array = self.cotangent(t) + later
        return slope * self.g_next


@mistake("u is missing in the carry")
class CarryWithoutU(Mistake):
    def carry(self, t: int, dz_next: Array) -> Array:
        return dz_next


@mistake("u is squared in the carry")
class CarryUSquared(Mistake):
    def carry(self, t: int, dz_next: Array) -> Array:
        return self.u**2 * dz_next


@mistake("u is taken absolute in the carry")
class CarryUAbsolute(Mistake):
    def carry(self, t: int, dz_next: Array) -> Array:
        return np.abs(self.u) * dz_next


@mistake("the carry has the wrong sign")
class CarryNegated(Mistake):
    def carry(self, t: int, dz_next: Array) -> Array:
        return -self.u * dz_next


@mistake("backpropagation is truncated: the carry is cut every {guess} steps from the start")
class Truncated(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        T, cut = len(case.x), last_wrong_step(case, got) + 1  # the last cut lies between the steps cut and cut + 1
        return [*(k for k in range(cut, 1, -1) if cut % k == 0 and cut + k >= T), *range(2, min(T, 64))]

    def carry(self, t: int, dz_next: Array) -> Array:
        return self.u * dz_next * ((t + 1) % self.guess != 0)


@mistake("backpropagation is truncated: only the last {guess} steps have a gradient")
class LastSteps(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        T = len(case.x)
        return [*filter(None, [T - 1 - last_wrong_step(case, got)]), *range(1, min(T, 64))]

    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        return super().dz(t, slope, dz_next) * (t >= self.T - self.guess)


@mistake("the gradient is clipped inside the recurrence: dz_t at each step to ±{guess:.4g}")
class ClippedInside(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return limit(cls.dz_of(case, got))

    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        return np.clip(super().dz(t, slope, dz_next), -self.guess, self.guess)


@mistake("the gradient is clipped inside the recurrence: the total gradient of h_t to ±{guess:.4g}")
class TotalClippedInside(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        slopes = Mistake(case, got).slopes().astype(float)
        return limit(np.divide(cls.dz_of(case, got), slopes, out=np.zeros_like(slopes), where=slopes != 0))

    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        return slope * np.clip(self.cotangent(t) + self.carry(t, dz_next), -self.guess, self.guess)


@mistake("the gradient is clipped inside the recurrence: the carried part to ±{guess:.4g}")
class CarryClipped(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        slopes = Mistake(case, got).slopes().astype(float)
        total = np.divide(cls.dz_of(case, got), slopes, out=np.zeros_like(slopes), where=slopes != 0)
        return limit(np.where(slopes != 0, total - case.dh, 0)[:-1]) if len(slopes) > 1 else ()

    def carry(self, t: int, dz_next: Array) -> Array:
        return np.clip(self.u * dz_next, -self.guess, self.guess)


@mistake("the gradient is clipped inside the recurrence: the carried dz_(t+1) to ±{guess:.4g}")
class CarriedClipped(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0)

    def carry(self, t: int, dz_next: Array) -> Array:
        return self.u * np.clip(dz_next, -self.guess, self.guess)


# The slope.


@mistake("the slope is forgotten: taken as 1")
class NoSlope(Mistake):
    def slopes(self) -> Array:
        return np.ones_like(self.h)


@mistake("the slope of softplus is 1 above {guess:g} (torch.nn.functional.softplus has 20)")
class SoftplusSlopeCut(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (20.0, 5.0, 10.0, 15.0, 30.0)

    def slopes(self) -> Array:
        cut = (self.h > self.guess) & (self.σ.name == "softplus")
        return np.where(cut, 1, super().slopes())


@mistake("the slope is applied to the direct part only, not to the carry")
class SlopeOnDirect(Mistake):
    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        return slope * self.cotangent(t) + self.carry(t, dz_next)


@mistake("the slope is applied to the carry only, not to the direct part")
class SlopeOnCarry(Mistake):
    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        return self.cotangent(t) + slope * self.carry(t, dz_next)


@mistake("the slope is that of the step before")
class SlopeBefore(Mistake):
    def slopes(self) -> Array:
        right = super().slopes()
        return np.concatenate([right[:1], right[:-1]])


@mistake("the slope is that of the step before, the first one the last's (an index −1)")
class SlopeRolled(Mistake):
    def slopes(self) -> Array:
        return np.roll(super().slopes(), 1, axis=0)


@mistake("the slope is that of the step after")
class SlopeAfter(Mistake):
    def slopes(self) -> Array:
        right = super().slopes()
        return np.concatenate([right[1:], right[-1:]])


@mistake("the slope is taken at the drive a_t, without the recurrence")
class SlopeAtDrive(Mistake):
    def slopes(self) -> Array:
        return self.σ.slope(self.a)


@mistake("the slope is taken at h_t, where z_t was meant: the activation applied twice")
class SlopeAtState(Mistake):
    def slopes(self) -> Array:
        return self.σ.slope(self.h)


@mistake("the slope is taken as 1 − z² (tanh) or z(1 − z) (sigmoid): z where h was meant")
class SlopeOfZ(Mistake):
    def slopes(self) -> Array:
        z = self.a + self.u * self.h_prev
        return self.own_slope.pull(np.ones_like(z), None, z)


@mistake("the slope is that of another activation: {guess}")
class OtherSlope(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return [name for name in ACTIVATIONS if name != case.activation]

    def slopes(self) -> Array:
        return ACTIVATIONS[self.guess].slope(self.a + self.u * self.h_prev)


@mistake("the slope is squared: applied twice")
class SlopeTwice(Mistake):
    def slopes(self) -> Array:
        return super().slopes() ** 2


@mistake("at z = 0 the slope is taken as {guess:g}")
class SlopeAtKink(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (0.0, 0.5, 1.0)

    def slopes(self) -> Array:
        return np.where(self.a + self.u * self.h_prev == 0, self.guess, super().slopes())
