"""The theorem of `indrnn_np/oracle/tolerance.py`, written a third time: one number at a time, in any arithmetic.

`high_precision.py` writes what a reader knows who has the arguments alone, for sums in a loop, in formats so fine that
underflow and overflow are out of sight. Here both orders are written, with the implementation's own h or without, and
every term: in an arithmetic coarse enough (a tenth of a per cent for ε, a hundredth for η, 40 for the largest number)
all of them count in every digit. Only the activations' own bounds are taken from the package.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np

from indrnn_np.activations import Activation, resolve
from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.tolerance import Rounding

COMPOSED = ("identity", "relu")


class Sizes(NamedTuple):
    """Of one neuron of one sequence: A_t and what flushing loses of it, T numbers each; |u|, |h0|, |dh_t|."""

    A: list[float]
    lost: list[float]
    u: float
    h0: float
    dh: list[float]


class Exact(NamedTuple):
    """Of one neuron of one sequence: z_t, h_t, h_{t−1}, σ'(z_t) and dz_t, T numbers each, and g_t."""

    z: list[float]
    h: list[float]
    before: list[float]
    slope: list[float]
    dz: list[float]
    g: list[float]


class Arithmetic(NamedTuple):
    """The model, an activation in it, and the number of inputs M."""

    model: Rounding
    σ: Activation
    M: int

    @property
    def ε(self) -> float:
        return self.model.unit

    @property
    def η(self) -> float:
        return self.model.smallest

    @property
    def k(self) -> int:
        return 0 if self.σ.name in COMPOSED else 3 if self.σ.kink is not None else self.model.smooth[0]

    @property
    def c(self) -> int:
        return 0 if self.σ.name in COMPOSED or self.σ.kink is not None else self.model.smooth[1]

    @property
    def composes(self) -> bool:
        return self.model.scan and self.σ.name in COMPOSED

    def γ(self, n: int) -> float:
        return n * self.ε / (1 - n * self.ε)

    def flushed(self, v: float) -> float:
        return abs(v) if abs(v) < self.η else 0.0

    def fits(self, size: float) -> bool:
        return size < self.model.largest


def states(sizes: Sizes, run: Exact, ar: Arithmetic) -> tuple[list[float], list[float]]:
    """Ez_t and Eh_t of a loop."""
    M, ε, η, u = ar.M, ar.ε, ar.η, sizes.u
    Ez, Eh = [], [ar.flushed(sizes.h0)]
    for t, (z, h) in enumerate(zip(run.z, run.h, strict=True)):
        before = abs(run.before[t]) + Eh[t]
        reach = sizes.A[t] + u * before
        Ez.append(u * Eh[t] + ar.γ(M + 2) * reach + sizes.lost[t] + ar.flushed(u) * before + 2 * (M + 2) * η)
        low, high = np.asarray(z - Ez[t]), np.asarray(z + Ez[t])
        c = min(Ez[t] * float(ar.σ.sup_slope(low, high)), float(ar.σ(high) - ar.σ(low)))
        E = c + ar.k * ε * (abs(h) + c) + ar.c * ε + 2 * η
        if ar.σ.name.startswith("leaky"):
            E += 2 * ε * (abs(z) + Ez[t])
        Eh.append(E if ar.fits(reach) and ar.fits(abs(h) + E) else inf)
    return Ez, Eh[1:]


def composed_states(sizes: Sizes, ar: Arithmetic) -> list[float]:
    """Ez_t = Eh_t of a scan."""
    T, M, η, u = len(sizes.A), ar.M, ar.η, sizes.u
    H = [sizes.h0]
    for A in sizes.A:
        H.append(A + u * H[-1])
    E, whole = [ar.flushed(sizes.h0)], []
    for t in range(1, T + 1):
        E.append(u * E[t - 1] + ar.γ(M + 2) * (H[t] + u * E[t - 1]) + sizes.lost[t - 1] + ar.flushed(u) * H[t - 1]
                 + 2 * (M + 2) * η + 2 * T * η * (1 + max(H[1:])) if H[t] else 0.0 * E[t - 1])  # 0 · inf is no number
        whole.append(E[t] + ar.γ(t - 1) * (H[t] + E[t]))
        if not ar.fits(H[t] + whole[-1]):
            E[t] = whole[-1] = inf
    return whole


def local(sizes: Sizes, run: Exact, ar: Arithmetic) -> list[float]:
    """Ez_t where z_t is formed from the implementation's own h_{t−1}."""
    u, Ez = sizes.u, []
    for A, lost, h in zip(sizes.A, sizes.lost, map(abs, run.before), strict=True):
        size = A + u * h
        Ez.append(ar.γ(ar.M + 2) * size + lost + ar.flushed(u) * h + u * ar.flushed(h) + 2 * (ar.M + 2) * ar.η
                  if size else 0.0)
    return Ez


def slope_error(z: float, slope: float, Ez: float, ar: Arithmetic, own: bool) -> float:
    """Es_t: of the slope that the implementation's own h tells, or of σ'(z) where its h is not known."""
    σ, ε = ar.σ, ar.ε
    if (σ.name == "identity" or (σ.kink is not None and not own)) and not Ez < inf:
        return inf  # after an overflow that nobody has seen
    if σ.kink is not None:
        if abs(z) <= Ez and Ez > 0:
            return abs(1 - σ.alpha) + ε * max(1, σ.alpha)
        return ε * (abs(slope) + (2 if σ.alpha else 0))
    if σ.name == "identity":
        return 0.0
    moved = Ez * float(σ.sup_curvature(np.asarray(z - Ez), np.asarray(z + Ez)))
    return (0 if own else min(moved, σ.max_slope)) + min(2 * moved, σ.max_slope) + (2 * ar.k + 2 * ar.c + 3) * ε


def dz_errors(sizes: Sizes, run: Exact, Es: list[float], ar: Arithmetic) -> list[float]:
    """Edz_t."""
    T, ε, η, u, dh = len(sizes.A), ar.ε, ar.η, sizes.u, sizes.dh
    S = [abs(slope) + E for slope, E in zip(run.slope, Es, strict=True)]
    D, G, underflow = [abs(dz) for dz in run.dz] + [0.0], [abs(g) for g in run.g], 0.0
    if ar.model.scan:
        D, G = [0.0] * (T + 1), [0.0] * T
        for t in reversed(range(T)):
            G[t] = dh[t] + u * D[t + 1]
            D[t] = S[t] * G[t]
        underflow = 2 * T * η * (1 + max(D))
    E, whole = [0.0] * (T + 1), [0.0] * (T + 1)
    for t in reversed(range(T)):
        following = D[t + 1] + whole[t + 1]
        Eg = (u * E[t + 1] + ar.γ(3) * (dh[t] + u * following) + ar.flushed(dh[t]) + ar.flushed(u) * following + 2 * η)
        E[t] = S[t] * Eg + Es[t] * G[t] + 2 * ε * S[t] * (G[t] + Eg) + 2 * η + underflow
        whole[t] = E[t] + (ar.γ(T - 1 - t) * (D[t] + E[t]) if ar.model.scan else 0.0)
        if not (ar.fits(dh[t] + u * following) and ar.fits(D[t] + whole[t])):
            E[t] = whole[t] = inf
    return whole[:T]


@np.errstate(all="ignore")
def allowed(case: Case, model: Rounding, h: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Bound the errors of h and of the five gradients; on the implementation's own h, if given, else on the exact."""
    x, W, u, b, h0, dh = (array.astype(float) for array in case.arrays().values())
    T, B, M = x.shape
    N = len(u)
    ar = Arithmetic(model, resolve(case.activation), M)
    σ, fl = ar.σ, np.vectorize(ar.flushed, otypes=[float])
    Eh, Edz, before, before_off, dz = (np.zeros((T, B, N)) for _ in range(5))
    for s, n in itertools.product(range(B), range(N)):
        sizes = Sizes([float(sum(abs(W[n] * x[t, s])) + abs(b[n])) for t in range(T)],
                      [float(sum(abs(W[n]) * fl(x[t, s]) + fl(W[n]) * abs(x[t, s])) + fl(b[n])) for t in range(T)],
                      float(abs(u[n])), float(abs(h0[s, n])), [float(abs(v)) for v in dh[:, s, n]])
        a = [float(sum(W[n] * x[t, s]) + b[n]) for t in range(T)]
        exact = column(a, float(u[n]), float(h0[s, n]), dh[:, s, n].tolist(), σ, None)
        Ez, Eh[:, s, n] = [composed_states(sizes, ar)] * 2 if ar.composes else states(sizes, exact, ar)
        run, Eh_prev = exact, [0.0, *Eh[:-1, s, n].tolist()]
        if h is not None:
            run = column(a, float(u[n]), float(h0[s, n]), dh[:, s, n].tolist(), σ, h[:, s, n].tolist())
            Eh_prev = [0.0] * T
            Ez = [E + (2 * off if ar.composes else 0) for E, off in zip(local(sizes, run, ar), Ez, strict=True)]
        Es = [slope_error(z, slope, E, ar, h is not None) for z, slope, E in zip(run.z, run.slope, Ez, strict=True)]
        Edz[:, s, n] = dz_errors(sizes, run, Es, ar)
        before[:, s, n], before_off[:, s, n] = run.before, Eh_prev
        dz[:, s, n] = run.dz
    return {"h": Eh, **_gradients(case, ar, dz, Edz, before, before_off)}


def column(a: list[float], u: float, h0: float, dh: list[float], σ: Activation, own: list[float] | None) -> Exact:
    """Run a neuron of a sequence; its own h tells the slopes, if given."""
    def of(function: Callable, *v: float) -> float:
        return float(function(*map(np.asarray, v)))

    by_state = {"tanh": lambda h: 1 - h * h, "sigmoid": lambda h: h * (1 - h), "softplus": lambda h: 1 - np.exp(-h)}
    z, h, slope = [], [], []
    for t, a_t in enumerate(a):
        z.append(a_t + u * ((own or h)[t - 1] if t else h0))
        h.append(of(σ, z[t]))
        slope.append(of(σ.slope, z[t]) if own is None else of(by_state.get(σ.name, σ.slope), own[t]))
    g, dz = [0.0] * len(a), [0.0] * (len(a) + 1)
    for t in reversed(range(len(a))):
        g[t] = dh[t] + u * dz[t + 1]
        dz[t] = slope[t] * g[t]
    return Exact(z, h, [h0, *(own or h)[:-1]], slope, dz[:-1], g)


def _gradients(case: Case, ar: Arithmetic, dz: np.ndarray, Edz: np.ndarray, before: np.ndarray,
               before_off: np.ndarray) -> dict[str, np.ndarray]:
    """Each gradient is a sum of products of dz with something known, or with h_{t−1}: of so many terms."""
    x, W, u = case.x, case.W, case.u
    T, B, N = dz.shape
    rows = [(t, s) for t in range(T) for s in range(B)]

    def bound(terms: list[tuple], γ: float, η_of_each: int = 2) -> float:
        """Bound a sum of terms: (index of dz, factor v, its error Ev) each."""
        E = total = 0.0
        for index, v, Ev in terms:
            there, reach = abs(dz[index]) + Edz[index], abs(v) + Ev
            E += Edz[index] * reach + abs(dz[index]) * Ev + γ * there * reach + there * ar.flushed(v)
            total += there * reach
        E += η_of_each * len(terms) * ar.η
        return E if ar.fits(total + E) else inf

    over_n, over_ts = ar.γ(N), ar.γ(T * B)
    return {
        "dx": np.array([[[bound([((t, s, n), w[n], 0.0) for n in range(N)], over_n) for w in W.T] for s in range(B)]
                        for t in range(T)]),
        "dW": np.array([[bound([((t, s, n), x[t, s, m], 0.0) for t, s in rows], over_ts) for m in range(ar.M)]
                        for n in range(N)]),
        "du": np.array([bound([((t, s, n), before[t, s, n], before_off[t, s, n]) for t, s in rows], over_ts)
                        for n in range(N)]),
        "db": np.array([bound([((t, s, n), 1.0, 0.0) for t, s in rows], over_ts, η_of_each=1) for n in range(N)]),
        "dh0": np.array([[bound([((0, s, n), u[n], 0.0)], ar.ε) for n in range(N)] for s in range(B)]),  # one product
    }
