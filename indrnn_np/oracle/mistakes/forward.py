"""Mistakes that show in h."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...activations import ACTIVATIONS
from ...array_module import Array
from ..inputs import Case
from .layer import Mistake, catalogue, limit

FORWARD, mistake = catalogue()


@mistake("h0 is ignored: the first step starts from zero")
class H0Ignored(Mistake):
    def before(self, h: Array, t: int) -> Array:
        return h[t - 1] if t > 0 else 0 * self.h0


@mistake("the first step sees h0 without u")
class H0WithoutU(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + (self.u * before if t > 0 else before))


@mistake("no recurrence: each step is computed from its input alone")
class NoRecurrence(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t])


@mistake("u is missing: h_{{t−1}} is added as it is")
class NoU(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + before)


@mistake("u is squared")
class USquared(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + self.u**2 * before)


@mistake("u is taken absolute")
class UAbsolute(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + np.abs(self.u) * before)


@mistake("u has its sign flipped")
class UNegated(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] - self.u * before)


@mistake("u is clamped to |u| ≤ {guess:.6g}")
class UClamped(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (1.0, 0.99, 0.9, 0.5, 2.0 ** (1 / len(case.x)))

    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + np.clip(self.u, -self.guess, self.guess) * before)


@mistake("u is clamped to [0, {guess:.6g}]: negative weights are cut off")
class UClampedFromZero(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (np.inf, 1.0, 2.0 ** (1 / len(case.x)))

    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + np.clip(self.u, 0, self.guess) * before)


@mistake("W is clamped to |W| ≤ {guess:.6g}, where u was meant")
class WClamped(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (1.0, 2.0 ** (1 / len(case.x)))

    def drive(self) -> Array:
        return self.x @ np.clip(self.W, -self.guess, self.guess).T + self.b


@mistake("the bias is missing")
class NoBias(Mistake):
    def drive(self) -> Array:
        return self.x @ self.W.T


@mistake("the bias is added twice (such as b_ih and b_hh both set to b)")
class BiasTwice(Mistake):
    def drive(self) -> Array:
        return self.x @ self.W.T + 2 * self.b


@mistake("the bias is added outside the activation")
class BiasOutside(Mistake):
    def drive(self) -> Array:
        return self.x @ self.W.T

    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + self.u * before) + self.b


@mistake("W is read as its transpose: the memory of (N, M) taken for (M, N)")
class WReinterpreted(Mistake):
    def drive(self) -> Array:
        return self.x @ self.W.reshape(self.W.shape[::-1]) + self.b


@mistake("the recurrence is outside the activation: σ(a_t) + u ⊙ h_{{t−1}}")
class RecurrenceOutside(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t]) + self.u * before


@mistake("u multiplies the new state: u ⊙ σ(a_t + h_{{t−1}})")
class UOutside(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.u * self.σ(self.a[t] + before)


@mistake("the activation is left out of the carried state: h_t is right only at the first step")
class PreActivationCarried(Mistake):
    def forward(self) -> dict[str, Array]:
        z = np.empty_like(self.a)
        for t in range(self.T):
            z[t] = self.a[t] + self.u * (z[t - 1] if t > 0 else self.h0)
        return {"h": self.σ(z)}


@mistake("another activation is used: {guess}")
class OtherActivation(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return [name for name in ACTIVATIONS if name != case.activation]

    def state(self, t: int, before: Array) -> Array:
        return ACTIVATIONS[self.guess](self.a[t] + self.u * before)


@mistake("a leaky ReLU has slope {guess:g} below zero")
class OtherLeak(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (0.01, 0.1, 0.2, 0.25, 0.3, 0.125)

    def state(self, t: int, before: Array) -> Array:
        z = self.a[t] + self.u * before
        return np.where(z > 0, z, self.guess * z)


@mistake("the state is clipped at {guess:.6g}")
class StateClipped(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (1.0, 5.0, 6.0, 10.0, *limit(got["h"]))

    def state(self, t: int, before: Array) -> Array:
        return np.clip(self.σ(self.a[t] + self.u * before), -self.guess, self.guess)


@mistake("softplus is z itself above {guess:g}, which is off by e^−z (torch.nn.functional.softplus has 20)")
class SoftplusCut(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (20.0, 5.0, 10.0, 15.0, 30.0)

    def state(self, t: int, before: Array) -> Array:
        z = self.a[t] + self.u * before
        return np.where((z > self.guess) & (self.σ.name == "softplus"), z, self.σ(z))


@mistake("the input is read backwards in time")
class InputReversed(Mistake):
    def drive(self) -> Array:
        return self.x[::-1] @ self.W.T + self.b


@mistake("the sequence runs backwards: from the last step to the first, states in their own order")
class TimeReversed(Mistake):
    def forward(self) -> dict[str, Array]:
        h = np.empty_like(self.a)
        for t in reversed(range(self.T)):
            h[t] = self.state(t, h[t + 1] if t < self.T - 1 else self.h0)
        return {"h": h}


@mistake("the drive is that of the step before")
class DriveDelayed(Mistake):
    def drive(self) -> Array:
        a = self.x @ self.W.T + self.b
        return np.concatenate([a[:1], a[:-1]])


@mistake("the state is that of two steps before")
class StateDelayed(Mistake):
    def before(self, h: Array, t: int) -> Array:
        return h[t - 2] if t > 1 else self.h0


@mistake("the state returned is the one before the step: h_{{t−1}} for h_t")
class ReturnsBefore(Mistake):
    def forward(self) -> dict[str, Array]:
        h = super().forward()["h"]
        return {"h": np.concatenate([self.h0[None], h[:-1]])}


@mistake("the recurrence runs over the batch: time and batch are confused")
class OverBatch(Mistake):
    def forward(self) -> dict[str, Array]:
        h = np.empty_like(self.a)
        for s in range(self.B):
            h[:, s] = self.σ(self.a[:, s] + self.u * (h[:, s - 1] if s > 0 else 0))
        return {"h": h}


@mistake("every sequence starts from the first one's h0")
class FirstH0(Mistake):
    def before(self, h: Array, t: int) -> Array:
        return h[t - 1] if t > 0 else np.broadcast_to(self.h0[:1], self.h0.shape)


@mistake("every neuron uses the first one's u")
class FirstU(Mistake):
    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + self.u[0] * before)


@mistake("u is scaled by {guess:g}, so the memory decays otherwise")
class UScaled(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (0.5, 0.9, 0.99, 2.0)

    def state(self, t: int, before: Array) -> Array:
        return self.σ(self.a[t] + self.guess * self.u * before)
