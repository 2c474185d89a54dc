"""A third IndRNN, in 60-digit arithmetic, and how far from it rounding may carry a right one in float.

Nothing is imported from the package, and no NumPy: the recurrence, the activations and the theorem in
`indrnn_np/oracle/tolerance.py` are written here a second time, one neuron of one sequence at a time (a `Column`),
since no neuron sees another. A test compares the two.

The allowed error is that of a reader who knows the arguments alone, not the h that came: what rounding does to h is
carried on into the gradients. That needs every z_t further from a kink than its error, or on it with no error at all
(where all that is added is zero); `NearKink` says where it is not so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath

mp = mpmath.mp.clone()
mp.dps = 60

Number = Any  # mpmath's numbers have no useful types
Row = list[Number]


class NearKink(ArithmeticError):
    """A pre-activation so near a kink that rounding decides its slope."""


class Format(NamedTuple):
    """A floating-point format: unit roundoff ε and smallest normal number η."""

    unit: Number
    smallest: Number

    def gamma(self, n: int) -> Number:
        """γ_n = nε / (1 − nε): the relative error of n roundings."""
        return n * self.unit / (1 - n * self.unit)


FORMATS = {"float32": Format(mp.mpf(2) ** -24, mp.mpf(2) ** -126),
           "float64": Format(mp.mpf(2) ** -53, mp.mpf(2) ** -1022)}


class Activation(NamedTuple):
    """σ and σ'; their bounds over an interval; and to what a library computes σ: kε relative, cε absolute."""

    value: Callable[[Number], Number]
    slope: Callable[[Number], Number]
    largest_slope: Callable[[Number, Number], Number]
    largest_curvature: Callable[[Number, Number], Number]
    k: int
    c: int
    kinked: bool = False


def piecewise(below: float, k: int) -> Activation:
    """Slope 1 above zero, slope `below` at and below it."""
    alpha = mp.mpf(below)
    return Activation(lambda z: z if z > 0 else alpha * z, lambda z: mp.mpf(1) if z > 0 else alpha,
                      lambda low, high: mp.mpf(1) if high > 0 else alpha, lambda low, high: mp.mpf(0), k, 0, True)


def largest_of(bump: Callable[[Number], Number], *peaks: Number) -> Callable[[Number, Number], Number]:
    """Bound a function that rises to each peak and falls after it: its largest value from low to high."""
    return lambda low, high: max(bump(min(max(peak, low), high)) for peak in peaks)


def logistic(z: Number) -> Number:
    return 1 / (1 + mp.exp(-z))


def logistic_slope(z: Number) -> Number:
    return logistic(z) * (1 - logistic(z))


def logistic_curvature(z: Number) -> Number:
    return abs(logistic_slope(z) * (1 - 2 * logistic(z)))


def tanh_slope(z: Number) -> Number:
    return 1 - mp.tanh(z) ** 2


def tanh_curvature(z: Number) -> Number:
    return abs(2 * mp.tanh(z) * tanh_slope(z))


# Where |σ''| is largest: 2tanh(1 − tanh²) at tanh² = 1/3, and the logistic function's at twice that z.
PEAK = mp.atanh(1 / mp.sqrt(3))

# Vendors document libraries to 4 ulp, k = 8; formulas such as (1 − e) / (1 + e) lose a few units absolutely, c = 4.
# A slope such as 0.01 is itself rounded, and multiplied once: k = 3; and ½(1 + α)z + ½(1 − α)|z| is a right way to
# write a leaky ReLU, to an error relative to z, and likewise for its slope.
SMOOTH = {
    "tanh": Activation(mp.tanh, tanh_slope, largest_of(tanh_slope, 0), largest_of(tanh_curvature, -PEAK, PEAK), 8, 4),
    "sigmoid": Activation(logistic, logistic_slope, largest_of(logistic_slope, 0),
                          largest_of(logistic_curvature, -2 * PEAK, 2 * PEAK), 8, 4),
    "softplus": Activation(lambda z: mp.log(1 + mp.exp(z)), logistic, lambda low, high: logistic(high),
                           largest_of(logistic_slope, 0), 8, 4),
}
ACTIVATIONS = {"relu": piecewise(0.0, 0), "leaky_relu": piecewise(0.01, 3)} | SMOOTH


class Arguments(NamedTuple):
    """What a layer takes, as nested lists of numbers."""

    x: list[list[Row]]
    W: list[Row]
    u: Row
    b: Row
    h0: list[Row]
    dh: list[list[Row]]

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """T, B, M, N."""
        return len(self.x), len(self.h0), len(self.W[0]), len(self.u)


class Column(NamedTuple):
    """One neuron of one sequence: T numbers each."""

    z: Row
    h: Row
    before: Row  # h_{t−1}
    slope: Row
    g: Row
    dz: Row


class Errors(NamedTuple):
    """Bounds of the errors of a column's h, h_{t−1} and dz."""

    h: Row
    before: Row
    dz: Row


Columns = dict[tuple[int, int], Column]


def drive(given: Arguments, t: int, s: int, n: int) -> Number:
    """a_t = W x_t + b."""
    return given.b[n] + sum(w * x for w, x in zip(given.W[n], given.x[t][s], strict=True))


def columns(given: Arguments, σ: Activation) -> Columns:
    """Run every neuron n of every sequence s by itself: Eq. 2 forward, the chain rule back; keyed (s, n)."""
    T, B, _, N = given.sizes
    return {(s, n): column([drive(given, t, s, n) for t in range(T)], given.u[n], given.h0[s][n],
                           [given.dh[t][s][n] for t in range(T)], σ) for s in range(B) for n in range(N)}


def column(a: Row, u: Number, h0: Number, dh: Row, σ: Activation) -> Column:
    T = len(a)
    z, states = [], [h0]
    for t in range(T):
        z.append(a[t] + u * states[t])
        states.append(σ.value(z[t]))
    slope = [σ.slope(v) for v in z]
    g, dz = [mp.mpf(0)] * T, [mp.mpf(0)] * (T + 1)
    for t in reversed(range(T)):
        g[t] = dh[t] + u * dz[t + 1]
        dz[t] = slope[t] * g[t]
    return Column(z, states[1:], states[:-1], slope, g, dz[:-1])


def cube(given: Arguments, of: Callable[[int, int, int], Number]) -> list[list[Row]]:
    """Build a (T, B, N) nested list from its elements, a function of t, s and n."""
    T, B, _, N = given.sizes
    return [[[of(t, s, n) for n in range(N)] for s in range(B)] for t in range(T)]


def results(given: Arguments, run: Columns) -> dict[str, Any]:
    """Return z, h, dz, and h's five gradients as nested lists."""
    T, B, M, N = given.sizes
    every = [(t, s) for t in range(T) for s in range(B)]
    z, h, dz, before = (cube(given, lambda t, s, n: getattr(run[s, n], part)[t])
                        for part in ("z", "h", "dz", "before"))
    return {
        "z": z, "h": h, "dz": dz,
        "dx": [[[sum(dz[t][s][n] * given.W[n][m] for n in range(N)) for m in range(M)] for s in range(B)]
               for t in range(T)],
        "dW": [[sum(dz[t][s][n] * given.x[t][s][m] for t, s in every) for m in range(M)] for n in range(N)],
        "du": [sum(dz[t][s][n] * before[t][s][n] for t, s in every) for n in range(N)],
        "db": [sum(dz[t][s][n] for t, s in every) for n in range(N)],
        "dh0": [[given.u[n] * dz[0][s][n] for n in range(N)] for s in range(B)],
    }


def column_errors(run: Column, drive_size: Row, inputs: int, u: Number, dh: Row, σ: Activation,
                  format: Format) -> Errors:
    """Bound the errors of h (forward) and of dz (backward); the theorem's two parts."""
    ε, η = format
    T, u = len(drive_size), abs(u)
    Ez, Eh, Es = [], [mp.mpf(0)], []
    for t in range(T):
        size = drive_size[t] + u * (abs(run.before[t]) + Eh[t])
        Ez.append(u * Eh[t] + (format.gamma(inputs + 2) * size + 2 * (inputs + 2) * η if size else 0))
        low, high = run.z[t] - Ez[t], run.z[t] + Ez[t]
        moved = Ez[t] * σ.largest_slope(low, high)
        exact = not Ez[t] and not run.h[t]  # zeros add up to zero, and σ(0) = 0 is met exactly
        formula = 2 * ε * (abs(run.z[t]) + Ez[t]) if σ.kinked and σ.k else 0
        Eh.append(mp.mpf(0) if exact else moved + σ.k * ε * (abs(run.h[t]) + moved) + σ.c * ε + formula + 2 * η)
        Es.append(slope_error(run.slope[t], run.z[t], Ez[t], σ, ε))

    Edz = [mp.mpf(0)] * (T + 1)
    for t in reversed(range(T)):
        following = abs(run.dz[t + 1]) if t + 1 < T else mp.mpf(0)
        Eg = u * Edz[t + 1] + format.gamma(3) * (abs(dh[t]) + u * (following + Edz[t + 1])) + 2 * η
        steepest, g = run.slope[t] + Es[t], abs(run.g[t])
        Edz[t] = steepest * Eg + Es[t] * g + 2 * ε * steepest * (g + Eg) + 2 * η
    return Errors(Eh[1:], Eh[:-1], Edz[:-1])


def slope_error(slope: Number, z: Number, Ez: Number, σ: Activation, ε: Number) -> Number:
    """Bound how far a slope may be off that is taken at a z off by Ez, or read off the h there."""
    if σ.kinked:
        if Ez and abs(z) <= Ez:
            raise NearKink(f"z = {mp.nstr(z, 3)} is within its error {mp.nstr(Ez, 3)} of the kink")
        return ε * (slope + (2 if σ.k else 0))
    # Once Ez for z itself; twice since backward may form z anew, in another order.
    return 3 * Ez * σ.largest_curvature(z - Ez, z + Ez) + (2 * σ.k + 2 * σ.c + 3) * ε


def allowed(given: Arguments, run: Columns, σ: Activation, format: Format) -> dict[str, Any]:
    """Bound the errors of h and of the five gradients, as nested lists."""
    ε, η = format
    T, B, M, N = given.sizes
    every = [(t, s) for t in range(T) for s in range(B)]
    magnitudes = Arguments(*(absolute(array) for array in given))
    bounds = {(s, n): column_errors(part, [drive(magnitudes, t, s, n) for t in range(T)], M, given.u[n],
                                    [given.dh[t][s][n] for t in range(T)], σ, format)
              for (s, n), part in run.items()}
    Eh, before_off, Edz = (cube(given, lambda t, s, n: getattr(bounds[s, n], part)[t])
                           for part in ("h", "before", "dz"))
    dz, before = (cube(given, lambda t, s, n: abs(getattr(run[s, n], part)[t])) for part in ("dz", "before"))

    def rounded(terms: int) -> list[list[Row]]:
        """Return the error of dz, and what adding up so many terms with it may add."""
        γ = format.gamma(terms)
        return cube(given, lambda t, s, n: Edz[t][s][n] + γ * (dz[t][s][n] + Edz[t][s][n]))

    over_n, over_ts = rounded(N), rounded(T * B)
    return {
        "h": Eh,
        "dx": [[[sum(over_n[t][s][n] * magnitudes.W[n][m] for n in range(N)) + 2 * N * η for m in range(M)]
                for s in range(B)] for t in range(T)],
        "dW": [[sum(over_ts[t][s][n] * magnitudes.x[t][s][m] for t, s in every) + 2 * T * B * η for m in range(M)]
               for n in range(N)],
        "du": [sum(over_ts[t][s][n] * (before[t][s][n] + before_off[t][s][n]) + dz[t][s][n] * before_off[t][s][n]
                   for t, s in every) + 2 * T * B * η for n in range(N)],
        "db": [sum(over_ts[t][s][n] for t, s in every) + T * B * η for n in range(N)],
        "dh0": [[magnitudes.u[n] * (Edz[0][s][n] + ε * (dz[0][s][n] + Edz[0][s][n])) + 2 * η for n in range(N)]
                for s in range(B)],
    }


def absolute(nested: Any) -> Any:
    """Return the magnitudes of a nested list's elements."""
    return [absolute(part) for part in nested] if isinstance(nested, list) else abs(nested)


def exactly(nested: Any) -> Any:
    """Turn the numbers of a nested list into this arithmetic's."""
    return [exactly(part) for part in nested] if isinstance(nested, list) else mp.mpf(nested)
