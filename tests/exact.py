"""A second IndRNN, in rational arithmetic: no rounding, no NumPy, nothing imported from the package.

Arrays are nested lists of `fractions.Fraction`, indexed [t][b][n] as everywhere. It covers the activations whose
values are rational: slope 1 above zero, slope `below` at and below it (0: ReLU, 1: identity, 1/8: a leaky ReLU).

Every sum it forms is audited: its terms are multiples of one power of two, 2^−q, and Σ|terms| < 2^24 · 2^−q, so
that every partial sum is a float32 in whatever order the terms are added. That makes the results exact in binary
floating point too, for any right implementation.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

Vector = list[Fraction]
Matrix = list[Vector]
Cube = list[Matrix]


class NotExact(ArithmeticError):
    """A sum whose partial sums need more than the 24 bits of a float32."""


class Results(NamedTuple):
    z: Cube
    h: Cube
    dz: Cube
    dx: Cube
    dW: Matrix
    du: Vector
    db: Vector
    dh0: Matrix


def exact_sum(terms: Iterable[Fraction]) -> Fraction:
    """Add, and insist that no float32 addition in any order could round."""
    terms = list(terms)
    grain = max((t.denominator for t in terms), default=1)
    if grain & (grain - 1) or grain > 2**100:
        raise NotExact(f"a denominator of {grain} is no small power of two")
    if sum(abs(t) for t in terms) * grain >= 2**24:
        raise NotExact(f"{len(terms)} terms need {float(sum(abs(t) for t in terms) * grain):.3g} units of 1/{grain}")
    return sum(terms, Fraction(0))


def run(x: Cube, W: Matrix, u: Vector, b: Vector, h0: Matrix, dh: Cube, below: Fraction) -> Results:
    """Forward by Eq. 2, then backward by the chain rule, both one number at a time."""
    T, B, M, N = len(x), len(x[0]), len(x[0][0]), len(u)
    z: Cube = []
    h: Cube = []
    for t in range(T):
        before = h[t - 1] if t else h0
        z.append([[exact_sum([W[n][m] * x[t][s][m] for m in range(M)] + [b[n], u[n] * before[s][n]])
                   for n in range(N)] for s in range(B)])
        h.append([[v if v > 0 else below * v for v in row] for row in z[t]])

    dz: Cube = [[[Fraction(0)] * N for _ in range(B)] for _ in range(T + 1)]
    for t in reversed(range(T)):
        for s in range(B):
            for n in range(N):
                total = exact_sum([dh[t][s][n], u[n] * dz[t + 1][s][n]])
                dz[t][s][n] = total if z[t][s][n] > 0 else below * total

    every = [(t, s) for t in range(T) for s in range(B)]
    return Results(
        z=z,
        h=h,
        dz=dz[:T],
        dx=[[[exact_sum(dz[t][s][n] * W[n][m] for n in range(N)) for m in range(M)] for s in range(B)]
            for t in range(T)],
        dW=[[exact_sum(dz[t][s][n] * x[t][s][m] for t, s in every) for m in range(M)] for n in range(N)],
        du=[exact_sum(dz[t][s][n] * (h[t - 1] if t else h0)[s][n] for t, s in every) for n in range(N)],
        db=[exact_sum(dz[t][s][n] for t, s in every) for n in range(N)],
        dh0=[[u[n] * dz[0][s][n] for n in range(N)] for s in range(B)],
    )
