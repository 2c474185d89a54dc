"""Mistakes in what the gradients are made of once dz is there: the sums of dW, du and db, dx, dh0, and their scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...array_module import Array
from ..inputs import Case
from .backward import mistake
from .layer import Mistake, limit


@mistake("du takes h_t for h_{{t−1}}")
class DuOwnStep(Mistake):
    def du(self, dz: Array) -> Array:
        return np.asarray((dz * self.h).sum((0, 1)))


@mistake("du leaves out the first step: h0 is missing from Σ dz_t ⊙ h_{{t−1}}")
class DuWithoutFirst(Mistake):
    def du(self, dz: Array) -> Array:
        return np.asarray((dz * self.h_prev)[1:].sum((0, 1)))


@mistake("du is of the last step only")
class DuLastStep(Mistake):
    def du(self, dz: Array) -> Array:
        return np.asarray((dz * self.h_prev)[-1].sum(0))


@mistake("du takes h two steps before")
class DuTwoBefore(Mistake):
    def du(self, dz: Array) -> Array:
        return np.asarray((dz[1:] * self.h_prev[:-1]).sum((0, 1)))


@mistake("du takes the pre-activation of the step before for h_{{t−1}}")
class DuPreActivation(Mistake):
    def du(self, dz: Array) -> Array:
        z = self.a + self.u * self.h_prev
        return np.asarray((dz * np.concatenate([self.h0[None], z[:-1]])).sum((0, 1)))


@mistake("du is summed with the direct cotangents dh_t in place of dz_t")
class DuOfCotangents(Mistake):
    def du(self, dz: Array) -> Array:
        return np.asarray((self.dh * self.h_prev).sum((0, 1)))


@mistake("a parameter's gradient is the mean over the batch, not the sum")
class BatchMean(Mistake):
    def dW(self, dz: Array) -> Array:
        return super().dW(dz) / self.B

    def du(self, dz: Array) -> Array:
        return super().du(dz) / self.B

    def db(self, dz: Array) -> Array:
        return super().db(dz) / self.B


@mistake("a parameter's gradient is the mean over the steps, not the sum")
class TimeMean(Mistake):
    def dW(self, dz: Array) -> Array:
        return super().dW(dz) / self.T

    def du(self, dz: Array) -> Array:
        return super().du(dz) / self.T

    def db(self, dz: Array) -> Array:
        return super().db(dz) / self.T


@mistake("a parameter's gradient is the mean over steps and batch, not the sum")
class FullMean(Mistake):
    def dW(self, dz: Array) -> Array:
        return super().dW(dz) / (self.T * self.B)

    def du(self, dz: Array) -> Array:
        return super().du(dz) / (self.T * self.B)

    def db(self, dz: Array) -> Array:
        return super().db(dz) / (self.T * self.B)


@mistake("a parameter's gradient is that of the first sequence only")
class FirstSequence(Mistake):
    def backward(self) -> dict[str, Array]:
        return super().backward() | self._of(slice(0, 1))

    def _of(self, part: slice) -> dict[str, Array]:
        slopes, dz = self.slopes(), np.empty_like(self.h)
        dz_next = np.zeros_like(self.h0)
        for t in reversed(range(self.T)):
            dz[t] = dz_next = self.dz(t, slopes[t], dz_next)
        dz[:, [s for s in range(self.B) if s not in range(self.B)[part]]] = 0
        return {"dW": self.dW(dz), "du": self.du(dz), "db": self.db(dz)}


@mistake("a parameter's gradient is that of the last sequence only")
class LastSequence(FirstSequence):
    def backward(self) -> dict[str, Array]:
        return Mistake.backward(self) | self._of(slice(-1, None))


@mistake("du is the one of |u|: its sign is wrong where u < 0")
class DuOfAbsolute(Mistake):
    def du(self, dz: Array) -> Array:
        return super().du(dz) * np.sign(self.u)


@mistake("u is clipped in the graph: du is zero where |u| > {guess:.6g}")
class DuBlocked(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        return (1.0, 2.0 ** (1 / len(case.x)))

    def du(self, dz: Array) -> Array:
        return super().du(dz) * (np.abs(self.u) <= self.guess)


@mistake("a gradient is clipped after the backward pass, each element to ±{guess:.4g}")
class ClippedAfter(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        found = [limit(got[name]) for name in ("dx", "dW", "du", "db", "dh0") if name in got]
        return sorted({value for values in found for value in values}, reverse=True)

    def backward(self) -> dict[str, Array]:
        return {name: np.clip(value, -self.guess, self.guess) for name, value in super().backward().items()}


@mistake("the parameters' gradients are scaled down to a norm of {guess:.4g}")
class NormClipped(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        names = [name for name in ("dW", "du", "db") if name in got]
        return limit(np.sqrt(sum((got[name].astype(float) ** 2).sum() for name in names)))

    def backward(self) -> dict[str, Array]:
        right = super().backward()
        norm = np.sqrt(sum((right[name] ** 2).sum() for name in ("dW", "du", "db")))
        factor = min(1.0, self.guess / norm) if norm > 0 else 1.0
        return right | {name: factor * right[name] for name in ("dW", "du", "db")}


@mistake("a gradient is {guess:.4g} times what it should be")
class Scaled(Mistake):
    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        right, found = Mistake(case, got).backward(), []
        for name in (name for name in right if name in got):
            large = np.abs(right[name]) > 0.1 * np.abs(right[name]).max()
            if large.any():
                found.append(float(np.median((got[name] / np.where(large, right[name], 1))[large])))
        return sorted({round(value, 6) for value in found if abs(value - 1) > 1e-6 and abs(value) > 1e-2})

    def backward(self) -> dict[str, Array]:
        return {name: self.guess * value for name, value in super().backward().items()}


@mistake("a gradient is zero")
class Zero(Mistake):
    def backward(self) -> dict[str, Array]:
        return {name: 0 * value for name, value in super().backward().items()}


@mistake("dh0 is without u: it is dz_1 itself")
class Dh0WithoutU(Mistake):
    def dh0(self, dz: Array) -> Array:
        return dz[0]


@mistake("dh0 is of the wrong step: u ⊙ dz_T")
class Dh0Last(Mistake):
    def dh0(self, dz: Array) -> Array:
        return self.u * dz[-1]


@mistake("dh0 counts the first cotangent too: it is the total gradient of h_1")
class Dh0Total(Mistake):
    def dh0(self, dz: Array) -> Array:
        return self.dh[0] + (self.u * dz[1] if self.T > 1 else 0 * self.dh[0])


@mistake("dW takes the input of the step before")
class DWBefore(Mistake):
    def dW(self, dz: Array) -> Array:
        return np.einsum("tbn,tbm->nm", dz[1:], self.x[:-1])


@mistake("dW takes the input reversed in time")
class DWReversed(Mistake):
    def dW(self, dz: Array) -> Array:
        return np.einsum("tbn,tbm->nm", dz, self.x[::-1])


@mistake("dW is of the last step only")
class DWLast(Mistake):
    def dW(self, dz: Array) -> Array:
        return np.einsum("bn,bm->nm", dz[-1], self.x[-1])


@mistake("db is the sum of the direct cotangents, not of dz")
class DbOfCotangents(Mistake):
    def db(self, dz: Array) -> Array:
        return np.asarray(self.dh.sum((0, 1)))


@mistake("db is of the last step only")
class DbLast(Mistake):
    def db(self, dz: Array) -> Array:
        return np.asarray(dz[-1].sum(0))


@mistake("dx is without the carry: the direct part only")
class DxDirect(Mistake):
    def dx(self, dz: Array) -> Array:
        return (self.slopes() * self.dh) @ self.W


@mistake("dx is reversed in time")
class DxReversed(Mistake):
    def dx(self, dz: Array) -> Array:
        return dz[::-1] @ self.W
