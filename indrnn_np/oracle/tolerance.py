"""How far may a right implementation be from the exact result? A bound for every element, derived.

Model. Every operation of an implementation satisfies fl(x ∘ y) = (x ∘ y)(1 + δ) + η' with |δ| ≤ ε, the unit
roundoff of its precision, and |η'| ≤ η, its smallest normal number (underflow, flushed to zero or not). A sum
of n products then errs by at most γ_n Σ|x_i y_i| + 2nη in any order of summation, with or without FMA, where
γ_n = nε / (1 − nε). An activation is evaluated with a relative error kε and an absolute one cε (EVALUATION).

Theorem. Let h, z be exact and ĥ, ẑ an implementation's. With A_t = |W||x_t| + |b| and M inputs,

    |ẑ_t − z_t| ≤ Ez_t = |u| Eh_{t−1} + γ_{M+2} (A_t + |u| (|h_{t−1}| + Eh_{t−1})) + 2(M+2)η
    |ĥ_t − h_t| ≤ Eh_t = c_t + kε (|h_t| + c_t) + cε + 2η,     c_t = Ez_t · sup |σ'| over [z_t − Ez_t, z_t + Ez_t]

(c_t is at most σ(z_t + Ez_t) − σ(z_t − Ez_t), since σ is monotone; a leaky ReLU has 2ε (|z_t| + Ez_t) more, for those
who write it with |z|, which is right for slopes up to 1: above, it cancels). Arithmetic that also reads subnormal
arguments as zero loses, with v° = |v| where |v| < η and 0 elsewhere, |W| x°_t + W° |x_t| + b° + u° (|h_{t−1}| +
Eh_{t−1}) more in Ez_t, h°_0 in Eh_0, dh°_t + u° (|dz_{t+1}| + Edz_{t+1}) in Eg_t. With s_t the slope,
Es_t what it may be off by (`of_slopes`, `of_slopes_by_state`), S_t = |s_t| + Es_t, and g_t = dh_t + u ⊙ dz_{t+1},

    Eg_t  = |u| Edz_{t+1} + γ_3 (|dh_t| + |u| (|dz_{t+1}| + Edz_{t+1})) + 2η
    Edz_t = S_t Eg_t + Es_t |g_t| + 2ε S_t (|g_t| + Eg_t) + 2η

Proof. Induction on t: the first term of each line carries the error of the step before, and the others are
the rounding of this step's operations, taken at magnitudes |exact| + E, which bound the implementation's own.
Where such a magnitude reaches the largest number, the model says nothing and everything is allowed, there and in
all that is computed from it.
Two roundings are counted as γ_3 and one as 2ε, which pays for their products. ∎  The gradients are sums of products
with dz, which the model covers.

The specification judges gradients on the implementation's own h: its slopes and its h_{t−1} are inputs of backward.
This tells a wrong backward from a wrong forward, and what rounding did to h is not counted again. Where z lies
within Ez of a kink, the slopes of both sides are allowed.

An implementation that is parallel in time composes steps before it applies them, so it adds up terms that a loop has
already cancelled: its bounds have magnitudes without cancellation in place of |h_{t−1}|, |g_t| and |dz_{t+1}|,

    H_t = A_t + |u| H_{t−1},  H_0 = |h_0|           G_t = |dh_t| + |u| D_{t+1},  D_t = S_t G_t

Theorem (order "scan"). Let E_t be Eh_t = Ez_t in the forward pass (identity and ReLU: h → max(0, a + u h) composes
within h → min(hi, max(lo, s h + c)), whatever the bracketing), or Edz_t, with these magnitudes and with
2Tη (1 + max H) or 2Tη (1 + max D) more at each step. Then E_t + γ_{t−1} (H_t + E_t) in the forward pass, and
E_t + γ_{T−t} (D_t + E_t) backward, bound the errors for every bracketing of the steps, also if slices are run again
from their true carry.

Proof. dz_t is a sum of terms (∏ s_j) u^{k−t} dh_k, k ≥ t: its n = k − t products by u and n + 1 by a slope are that
many multiplications in any bracketing, which γ_3 and 2ε at each of its n + 1 steps pay for, at the magnitude D of all
terms. A sum of T − t + 1 terms is T − t additions, and in some bracketing the term of step t passes all of them, the
steps after it being added one by one; γ_{T−t} pays for these. A slope that is off by Es counts once for each step. A
sum or product that underflows is off by η, a composed s that does by η times the size of what it is applied to, each
for at most 2T operations that end at a step. In h the terms are u^{t−k} a_k and u^t h_0, with M + 1 + n roundings and
at most t additions, the first of which γ_{M+2} pays for; lo, hi and s h + c are each such a sum; min and max do not
round, and carry no more error than they are given. ∎ The other activations' forward pass composes to nothing shorter,
so it is bounded as a loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..activations import Activation
from ..array_module import Array
from .precision import FORMATS, HALF

ORDERS = ("loop", "scan")
COMPOSED = ("identity", "relu")  # whose forward pass a scan can compute

# What the library functions behind σ may be off by: k units of roundoff relative, c absolute. Vendors document up
# to 4 ulp, that is k = 8; formulas such as (1 − e) / (1 + e) lose a few units absolutely. A leaky slope such as
# 0.01 is itself rounded, and multiplied once: (1 + ε)² < 1 + 3ε.
# In half precision, libraries evaluate in float32 and round once.
EVALUATION = {"identity": (0, 0), "relu": (0, 0), "leaky_relu": (3, 0)}
SMOOTH, SMOOTH_HALF = (8, 4), (2, 2)


class Rounding(NamedTuple):
    """The arithmetic of an implementation: unit roundoff ε, smallest normal η, largest finite number, order."""

    unit: Any
    smallest: Any
    largest: Any
    scan: bool = False  # whether it may compose steps before it applies them
    smooth: tuple[int, int] = SMOOTH  # k and c of a smooth activation


def rounding(precision: str, order: str = "loop") -> Rounding:
    """Return the rounding model of a format and an order, with the reference's own rounding on top.

    The reference is computed in `longdouble`, whose error obeys the same bounds with its own ε; a factor 4 covers
    the complex step, which takes up to four real operations where an implementation takes one.
    """
    format, reference = FORMATS[precision], np.finfo(np.longdouble)
    unit = np.longdouble(2) ** -format.bits + 2 * reference.eps
    return Rounding(unit, np.longdouble(format.smallest), np.longdouble(format.largest), order == "scan",
                    SMOOTH_HALF if precision in HALF else SMOOTH)


def gamma(n: int, unit: Any) -> Any:
    """γ_n = nε / (1 − nε), the relative error of n roundings; infinite where the model says nothing."""
    return n * unit / (1 - n * unit) if n * unit < 1 else np.longdouble(np.inf)


class Drive(NamedTuple):
    """What rounding does to a = W x + b: its terms' size A and what flushing loses, (T, B, N) each; M inputs."""

    size: Array
    lost: Array
    inputs: int


def of_drive(x: Array, W: Array, b: Array, model: Rounding) -> Drive:
    """Measure the terms of W x + b."""
    lost = _flushed(x, model) @ np.abs(W).T + np.abs(x) @ _flushed(W, model).T + _flushed(b, model)
    return Drive(np.abs(x) @ np.abs(W).T + np.abs(b), lost, x.shape[-1])


def _flushed(v: Array, model: Rounding) -> Array:
    """v°: what is lost if subnormal numbers are read as zero."""
    return np.where(np.abs(v) < model.smallest, np.abs(v), 0)


class StateErrors(NamedTuple):
    """Bounds of |ẑ − z| and |ĥ − h|, each (T, B, N)."""

    z: Array
    h: Array


@np.errstate(all="ignore")
def of_states(drive: Drive, u: Array, h0: Array, h: Array, z: Array, activation: Activation,
              model: Rounding) -> StateErrors:
    """Bound the forward errors, first part of the theorem.

    Parameters
    ----------
    drive : of `of_drive`
    u, h0, h, z : the exact values, in the reference's precision
    activation : with its bound sup_slope
    model : the rounding of the implementation

    Returns
    -------
    StateErrors : that of h is inf where the model bounds nothing
    """
    ε, η = model.unit, model.smallest
    if composes(activation, model):
        return _of_composed_states(drive, u, h0, model)
    γ, underflow = gamma(drive.inputs + 2, ε), 2 * (drive.inputs + 2) * η
    k, c = _evaluation(activation, model)
    leaky = activation.alpha not in (None, 0.0)  # ½(1 + α)z + ½(1 − α)|z| is right too, to an error relative to z
    Ez, Eh = np.empty_like(z), np.empty_like(z)
    carried, size = _flushed(h0, model), np.abs(h0)
    for t in range(len(z)):
        reach = drive.size[t] + np.abs(u) * (size + carried)
        lost = drive.lost[t] + _flushed(u, model) * (size + carried)
        Ez[t] = np.abs(u) * carried + γ * reach + lost + underflow
        moved = np.minimum(Ez[t] * _sup_slope(activation, z[t], Ez[t]),
                           activation(z[t] + Ez[t]) - activation(z[t] - Ez[t]))  # σ is monotone
        formula = 2 * ε * (np.abs(z[t]) + Ez[t]) if leaky else 0
        carried = moved + k * ε * (np.abs(h[t]) + moved) + c * ε + formula + 2 * η
        carried = Eh[t] = np.where(np.maximum(reach, np.abs(h[t]) + carried) < model.largest, carried, np.inf)
        size = np.abs(h[t])
    return StateErrors(Ez, Eh)


def _of_composed_states(drive: Drive, u: Array, h0: Array, model: Rounding) -> StateErrors:
    """Bound the forward errors of a scan over h → min(hi, max(lo, s h + c))."""
    ε, η = model.unit, model.smallest
    H = _accumulated(drive.size, u, np.abs(h0))
    lost = drive.lost + _flushed(u, model) * np.concatenate([np.abs(h0)[None], H[:-1]])
    underflow = 2 * η * (drive.inputs + 2 + len(H) * (1 + H.max(axis=0)))
    E, carried = np.empty_like(H), _flushed(h0, model)
    for t in range(len(E)):
        carried = (np.abs(u) * carried + gamma(drive.inputs + 2, ε) * (H[t] + np.abs(u) * carried) + lost[t]
                   + underflow)
        carried = np.where(H[t] > 0, carried, 0 * carried)  # zeros add up exactly
        whole = carried + gamma(t, ε) * (H[t] + carried)
        carried, E[t] = np.where(H[t] + whole < model.largest, (carried, whole), np.inf)
    return StateErrors(E, E)


def _accumulated(terms: Array, u: Array, first: Array) -> Array:
    """H_t = terms_t + |u| H_{t−1}: what the states would be if nothing ever cancelled."""
    H, before = np.empty_like(terms), first
    for t in range(len(terms)):
        before = H[t] = terms[t] + np.abs(u) * before
    return H


@np.errstate(all="ignore")
def local_z_error(drive: Drive, u: Array, h_prev: Array, model: Rounding) -> Array:
    """Bound |ẑ_t − z_t| where z_t is formed from the implementation's own h_{t−1}: one step's rounding."""
    ε, η = model.unit, model.smallest
    size = drive.size + np.abs(u) * np.abs(h_prev)
    lost = drive.lost + _flushed(u, model) * np.abs(h_prev) + np.abs(u) * _flushed(h_prev, model)
    error = gamma(drive.inputs + 2, ε) * size + lost + 2 * (drive.inputs + 2) * η
    return np.where(size > 0, error, 0)  # zeros add up exactly


def composes(activation: Activation, model: Rounding) -> bool:
    """Whether the implementation may have h_t from composed steps, so not from its own h_{t−1}."""
    return model.scan and activation.name in COMPOSED


@np.errstate(all="ignore")
def of_slopes(activation: Activation, z: Array, slope: Array, Ez: Array, model: Rounding) -> Array:
    """Bound how far the slope that an implementation uses may be from σ'(z), if its ẑ is within Ez of z."""
    assert activation.sup_curvature is not None, "every built-in activation has it"
    moved = np.minimum(Ez * activation.sup_curvature(z - Ez, z + Ez), activation.max_slope)
    return np.asarray(moved + of_slopes_by_state(activation, z, slope, Ez, model))


@np.errstate(all="ignore")
def of_slopes_by_state(activation: Activation, z: Array, slope: Array, Ez: Array, model: Rounding) -> Array:
    """Bound how far the slope that an implementation uses may be from the one that its own ĥ tells.

    Where σ is smooth, ĥ = σ(ẑ) up to kε|ĥ| + cε. A slope computed from ĥ, as 1 − ĥ² or ĥ(1 − ĥ), has up to three
    roundings of numbers up to 1; one computed from ẑ differs from it by at most 2(k + c)ε, since |d slope/dh| ≤ 2.
    Backward may also form ẑ anew, in another order: two such ẑ differ by up to 2 Ez.
    """
    ε = model.unit
    if activation.kink is not None and activation.alpha is not None:
        unsure = (np.abs(z - activation.kink) <= Ez) & (Ez > 0)  # 0 = W·0 + u·0 + 0 is exact: no doubt about that slope
        rounded = ε * (np.abs(slope) + (2 if activation.alpha else 0))
        return np.asarray(np.where(unsure, abs(1 - activation.alpha) + ε * activation.max_slope, rounded))
    assert activation.sup_curvature is not None, "every built-in activation has it"
    k, c = _evaluation(activation, model)
    anew = np.minimum(2 * Ez * activation.sup_curvature(z - Ez, z + Ez), activation.max_slope)
    return np.asarray(anew + ((2 * k + 2 * c + 3) * ε if (k or c) else 0))


@np.errstate(all="ignore")
def of_gradients(x: Array, W: Array, u: Array, dh: Array, h_prev: Array, Eh_prev: Array, slope: Array, Es: Array,
                 dz: Array, model: Rounding) -> dict[str, Array]:
    """Bound the errors of all five gradients, second part of the theorem.

    Parameters
    ----------
    x, W, u, dh : the arguments, in the reference's precision
    h_prev, Eh_prev : (T, B, N) h_{t−1} and the bound of its error: 0 where it is the implementation's own
    slope, Es : (T, B, N) σ'(z) and the bound of its error
    dz : (T, B, N) exact dz, on that h
    model : the rounding of the implementation

    Returns
    -------
    dict : dx, dW, du, db, dh0, each of its gradient's shape; inf where the model bounds nothing
    """
    ε, η = model.unit, model.smallest
    T, B, N = dz.shape
    S = np.abs(slope) + Es
    Edz, size = _of_dz(u, dh, S, Es, dz, model)
    terms = T * B
    γ = gamma(terms, ε)
    h_size = np.abs(h_prev) + Eh_prev
    sums = {"dx": size @ np.abs(W), "dW": np.einsum("tbn,tbm->nm", size, np.abs(x)),
            "du": (size * h_size).sum((0, 1)), "db": size.sum((0, 1)), "dh0": np.abs(u) * size[0]}
    bounds = {
        "dx": Edz @ np.abs(W) + gamma(N, ε) * sums["dx"] + size @ _flushed(W, model) + 2 * N * η,
        "dW": (np.einsum("tbn,tbm->nm", Edz + γ * size, np.abs(x)) + np.einsum("tbn,tbm->nm", size, _flushed(x, model))
               + 2 * terms * η),
        "du": (Edz * h_size + np.abs(dz) * Eh_prev + γ * size * h_size + size * _flushed(h_prev, model)).sum((0, 1))
        + 2 * terms * η,
        "db": (Edz + γ * size).sum((0, 1)) + terms * η,
        "dh0": np.abs(u) * Edz[0] + ε * sums["dh0"] + _flushed(u, model) * size[0] + 2 * η,
    }
    # Beyond the largest number the model says nothing, and of what is no number either.
    return {name: np.where(sums[name] + bound < model.largest, bound, np.inf) for name, bound in bounds.items()}


def _of_dz(u: Array, dh: Array, S: Array, Es: Array, dz: Array, model: Rounding) -> tuple[Array, Array]:
    """Bound the error of dz, and the size of what an implementation has for it."""
    ε, η = model.unit, model.smallest
    D, underflow = np.abs(dz), 0 * u
    if model.scan:  # all terms at their full size
        D = _discounted(np.abs(dh), u, S)
        underflow = 2 * len(D) * η * (1 + D.max(axis=0))
    D_next, dz_next = (np.concatenate([part[1:], np.zeros_like(part[:1])]) for part in (D, dz))
    G = np.abs(dh) + np.abs(u) * D_next if model.scan else np.abs(dh + u * dz_next)
    Edz, carried, whole = np.empty_like(dz), np.zeros_like(dz[0]), np.zeros_like(dz[0])
    for t in reversed(range(len(dz))):
        reach = np.abs(dh[t]) + np.abs(u) * (D_next[t] + whole)
        lost = _flushed(dh[t], model) + _flushed(u, model) * (D_next[t] + whole)
        Eg = np.abs(u) * carried + gamma(3, ε) * reach + lost + 2 * η
        carried = S[t] * Eg + Es[t] * G[t] + 2 * ε * S[t] * (G[t] + Eg) + 2 * η + underflow
        whole = carried + (gamma(len(D) - 1 - t, ε) * (D[t] + carried) if model.scan else 0)
        carried, whole = np.where(np.maximum(reach, D[t] + whole) < model.largest, (carried, whole), np.inf)
        Edz[t] = whole
    return Edz, np.abs(dz) + Edz


def _discounted(terms: Array, u: Array, S: Array) -> Array:
    """D_t = S_t (terms_t + |u| D_{t+1}): what dz would be if nothing ever cancelled."""
    D, after = np.empty_like(terms), np.zeros_like(terms[0])
    for t in reversed(range(len(terms))):
        after = D[t] = S[t] * (terms[t] + np.abs(u) * after)
    return D


def _evaluation(activation: Activation, model: Rounding) -> tuple[int, int]:
    return EVALUATION.get(activation.name.partition("(")[0], model.smooth)


def _sup_slope(activation: Activation, z: Array, Ez: Array) -> Array:
    assert activation.sup_slope is not None, "every built-in activation has it"
    return activation.sup_slope(z - Ez, z + Ez)
