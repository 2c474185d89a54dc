"""One IndRNN layer in pieces, so that a mistake can be written as one piece replaced.

It computes what `recurrence.py` and `layer.py` compute, in extended precision, on one case. The gradients are taken on
the candidate's own h, as the oracle judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from ...activations import resolve
from ...array_module import Array
from ..inputs import Case
from ..references import by_state


class Mistake:
    """The right layer; a subclass replaces one piece and says in `text` what is then wrong.

    Parameters
    ----------
    case : the inputs
    got : what the candidate returned, by tensor name; the backward mistakes start from its h
    guess : a parameter of the mistake (a limit, a length), one of `guesses`; `text` is formatted with it
    """

    text: ClassVar[str] = "nothing"

    def __init__(self, case: Case, got: dict[str, Array], guess: Any = None) -> None:
        p = case.precisely()
        self.x, self.W, self.u, self.b, self.h0, self.dh = (p[name] for name in ("x", "W", "u", "b", "h0", "dh"))
        self.T, self.B, self.N = self.dh.shape
        self.σ, self.own_slope = resolve(case.activation), by_state(resolve(case.activation))
        self.guess = guess
        self.a = self.drive()
        self.h = got["h"].astype(np.longdouble)
        self.h_prev = np.concatenate([self.h0[None], self.h[:-1]])

    @classmethod
    def guesses(cls, case: Case, got: dict[str, Array]) -> Iterable[Any]:
        """Propose parameters, from what the candidate returned on one case."""
        return (None,)

    @classmethod
    def is_in_flow(cls) -> bool:
        """Whether a piece that makes dz is replaced, rather than one that makes a gradient of it."""
        pieces = ("cotangent", "carry", "slopes", "dz")
        return any(getattr(cls, piece) is not getattr(Mistake, piece) for piece in pieces)

    # Forward, piece by piece.

    def drive(self) -> Array:
        """a = W x + b."""
        return self.x @ self.W.T + self.b

    def before(self, h: Array, t: int) -> Array:
        """h_{t−1}."""
        return h[t - 1] if t > 0 else self.h0

    def state(self, t: int, before: Array) -> Array:
        """h_t from h_{t−1}."""
        return self.σ(self.a[t] + self.u * before)

    def forward(self) -> dict[str, Array]:
        """Return h."""
        h = np.empty_like(self.a)
        for t in range(self.T):
            h[t] = self.state(t, self.before(h, t))
        return {"h": h}

    # Backward, piece by piece.

    def cotangent(self, t: int) -> Array:
        """dh_t."""
        return self.dh[t]

    def carry(self, t: int, dz_next: Array) -> Array:
        """u ⊙ dz_{t+1}."""
        return self.u * dz_next

    def slopes(self) -> Array:
        """σ'(z_t), all steps."""
        return self.own_slope.pull(np.ones_like(self.h), None, self.h)

    def dz(self, t: int, slope: Array, dz_next: Array) -> Array:
        """dz_t = σ'(z_t) ⊙ (dh_t + u ⊙ dz_{t+1})."""
        return slope * (self.cotangent(t) + self.carry(t, dz_next))

    def dx(self, dz: Array) -> Array:
        """Wᵀ dz_t."""
        return dz @ self.W

    def dW(self, dz: Array) -> Array:
        """Σ dz_t x_tᵀ."""
        return np.einsum("tbn,tbm->nm", dz, self.x)

    def du(self, dz: Array) -> Array:
        """Σ dz_t ⊙ h_{t−1}."""
        return np.asarray((dz * self.h_prev).sum((0, 1)))

    def db(self, dz: Array) -> Array:
        """Σ dz_t."""
        return np.asarray(dz.sum((0, 1)))

    def dh0(self, dz: Array) -> Array:
        """u ⊙ dz_1."""
        return self.u * dz[0]

    def backward(self) -> dict[str, Array]:
        """Return the five gradients."""
        slopes, dz = self.slopes(), np.empty_like(self.h)
        dz_next = np.zeros_like(self.h0)
        for t in reversed(range(self.T)):
            dz[t] = dz_next = self.dz(t, slopes[t], dz_next)
        return {name: getattr(self, name)(dz) for name in ("dx", "dW", "du", "db", "dh0")}

    # What guesses are made from.

    @classmethod
    def dz_of(cls, case: Case, got: dict[str, Array]) -> Array:
        """Recover the candidate's dz from its dx = dz W, which the cases make possible: W has full row rank."""
        return np.asarray(got["dx"].astype(float) @ np.linalg.pinv(case.W.astype(float)))


def limit(values: Array) -> tuple[float, ...]:
    """Guess the limit that clipped these values: the largest that is left, if it is of a size that one would set."""
    largest = float(np.abs(values).max())
    return (largest,) if 1e-3 < largest < np.inf else ()


def last_wrong_step(case: Case, got: dict[str, Array]) -> int:
    """Guess the last step, from 0 on, whose dx is off by 1 % of its largest number; −1 where there is none."""
    with np.errstate(all="ignore"):
        want = Mistake(case, got).backward()["dx"]
        error, size = np.abs(got["dx"] - want).max(axis=(1, 2)), np.abs(want).max(axis=(1, 2))
        return int(np.flatnonzero((size > 0) & (error >= 0.01 * size)).max(initial=-1))


Enter = Callable[[type[Mistake]], type[Mistake]]


def catalogue() -> tuple[list[type[Mistake]], Callable[[str], Enter]]:
    """Return an empty list, and a decorator that enters a class in it under a sentence."""
    entries: list[type[Mistake]] = []

    def mistake(text: str) -> Enter:
        def enter(cls: type[Mistake]) -> type[Mistake]:
            cls.text = text
            entries.append(cls)
            return cls
        return enter
    return entries, mistake
