"""Is it right? What a kernel computed, held against the NumPy engine and the oracle, before it is timed.

A plan that keeps to the loop's order must give the NumPy engine's h, da and dh0 in every bit, everywhere, where σ is
piecewise linear. Everything else is judged by the oracle's allowed error, which is derived in extended precision: on
some neurons, first and last among them, over all steps and sequences.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..activations import resolve
from ..array_module import Array, to_cupy
from ..engines import numpy as numpy_engine
from ..engines.cuda import SMOOTH, Plan
from ..oracle import references
from ..oracle.inputs import Case
from ..oracle.report import judge

JUDGED = 1 << 20  # elements of (T, B, N) that the oracle looks at, at most,
NEURONS = 16      # and neurons


class Verdict(NamedTuple):
    """What came of a comparison."""

    right: bool
    bits: bool        # whether equality of all bits was asked for
    ratio: float      # largest error ÷ allowed error among what the oracle looked at
    sharp: bool       # whether what it allowed was small against the values
    repeatable: bool  # whether two runs gave the same bits


class Given(NamedTuple):
    """What is computed on: a and dh (T, B, N), u (N,), h0 (B, N), of one dtype; the paper's |u|^T ≤ 2."""

    a: Array
    u: Array
    h0: Array
    dh: Array
    activation: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, B, N)."""
        return self.a.shape


def draw(shape: tuple[int, int, int], activation: str, dtype: str) -> Given:
    """Draw what is computed on."""
    rng = np.random.default_rng(0)
    T, B, N = shape
    precision: Any = np.dtype(dtype).type
    a, dh = (rng.standard_normal(shape, precision) for _ in range(2))
    u = (rng.uniform(-1, 1, N) * 2 ** (1 / T)).astype(precision)
    return Given(a, u, rng.standard_normal((B, N), precision), dh, activation)


class Checker:
    """Judges what comes of one input. What is right is computed once, when first asked for.

    Backward is always run on the NumPy engine's h, so that it is judged by itself.
    """

    def __init__(self, given: Given) -> None:
        self.given, self.σ = given, resolve(given.activation)
        T, B, N = given.shape
        count = min(N, NEURONS, max(1, JUDGED // (T * B)))
        self.neurons = np.unique(np.linspace(0, N - 1, count).round().astype(int))
        self._judged: dict[str, references.Expected] = {}

    @cached_property
    def moved(self) -> tuple[Array, ...]:
        """a, u, h0, dh and the NumPy engine's h, on the GPU."""
        return tuple(map(to_cupy, (*self.given[:4], self.h)))

    @cached_property
    def h(self) -> Array:
        """The states, by the NumPy engine."""
        with np.errstate(all="ignore"):
            return numpy_engine.forward(self.given.a, self.given.u, self.given.h0, self.σ)

    @cached_property
    def _gradients(self) -> dict[str, Array]:
        """Da, du and dh0, by the NumPy engine on that h."""
        a, u, h0, dh, _ = self.given
        with np.errstate(all="ignore"):
            return numpy_engine.backward(dh, self.h, a, u, h0, self.σ)._asdict()

    def forward(self, h: Array, plan: Plan, repeatable: bool) -> Verdict:
        """Judge states."""
        return self._verdict({"h": h}, {"h": self.h}, plan, repeatable)

    def backward(self, da: Array, du: Array, dh0: Array, db: Array, plan: Plan, repeatable: bool) -> Verdict:
        """Judge gradients, taken on this object's h."""
        found = {"dx": da, "du": du, "db": db, "dh0": dh0}
        return self._verdict(found, {"dx": self._gradients["da"], "dh0": self._gradients["dh0"]}, plan, repeatable)

    def on_own_states(self, da: Array, du: Array) -> float:
        """Return the largest error ÷ allowed error of gradients of somebody whose h is not known, parallel or not."""
        expected = references.specification(self._case("scan"), None)
        return max(judge("", "", self.σ.name, name, value[..., self.neurons], expected.value[name],
                         expected.allowed[name]).ratio for name, value in (("dx", da), ("du", du)))

    def _verdict(self, found: dict[str, Array], by_numpy: dict[str, Array], plan: Plan, repeatable: bool) -> Verdict:
        composes = plan.kernel == "slices"
        bits = not composes and self.σ.name not in SMOOTH
        expected = self._expected("scan" if composes else "loop")
        judgements = [judge("", "", self.σ.name, name, value[..., self.neurons], expected.value[name],
                            expected.allowed[name]) for name, value in found.items()]
        same = all(found[name].tobytes() == value.tobytes() for name, value in by_numpy.items()) if bits else True
        return Verdict(same and repeatable and all(j.right for j in judgements), bits,
                       max(j.ratio for j in judgements), all(j.judged for j in judgements), repeatable)

    def _expected(self, order: str) -> references.Expected:
        """Ask the oracle, once for each order."""
        if order not in self._judged:
            self._judged[order] = references.specification(self._case(order), self.h[..., self.neurons])
        return self._judged[order]

    def _case(self, order: str) -> Case:
        """Return the neurons that are judged, as a layer with W = I: then the drive is x, and da is dx."""
        a, u, h0, dh, _ = self.given
        few, dtype = self.neurons, a.dtype
        count = len(few)
        return Case("", self.σ.name, a[..., few], np.eye(count, dtype=dtype), u[few], np.zeros(count, dtype),
                    h0[..., few], dh[..., few], order=order)
