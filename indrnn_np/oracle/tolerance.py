"""How far may a right implementation be from the exact result? A bound for every element, derived.

Model. Every operation of an implementation satisfies fl(x ∘ y) = (x ∘ y)(1 + δ) + η' with |δ| ≤ ε, the unit
roundoff of its precision, and |η'| ≤ η, its smallest normal number (underflow, flushed to zero or not). A sum
of n products then errs by at most γ_n Σ|x_i y_i| + 2nη in any order of summation, with or without FMA, where
γ_n = nε / (1 − nε). An activation is evaluated with a relative error kε and an absolute one cε (EVALUATION).

Theorem. Let h, z be exact and ĥ, ẑ an implementation's. With A_t = |W||x_t| + |b| and M inputs,

    |ẑ_t − z_t| ≤ Ez_t = |u| Eh_{t−1} + γ_{M+2} (A_t + |u| (|h_{t−1}| + Eh_{t−1})) + 2(M+2)η
    |ĥ_t − h_t| ≤ Eh_t = c_t + kε (|h_t| + c_t) + cε + 2η,     c_t = Ez_t · sup |σ'| over [z_t − Ez_t, z_t + Ez_t]

(c_t is at most σ(z_t + Ez_t) − σ(z_t − Ez_t), since σ is monotone; a leaky ReLU has 2ε (|z_t| + Ez_t) more, for those
who write it with |z|). No argument is flushed to zero on the way in. With s_t the slope, Es_t what it may be off
by (`of_slopes`, `of_slopes_by_state`), S_t = |s_t| + Es_t, and g_t = dh_t + u ⊙ dz_{t+1},

    Eg_t  = |u| Edz_{t+1} + γ_3 (|dh_t| + |u| (|dz_{t+1}| + Edz_{t+1})) + 2η
    Edz_t = S_t Eg_t + Es_t |g_t| + 2ε S_t (|g_t| + Eg_t) + 2η

Proof. Induction on t: the first term of each line carries the error of the step before, and the others are
the rounding of this step's operations, taken at magnitudes |exact| + E, which bound the implementation's own.
Two roundings are counted as γ_3 and one as 2ε, which pays for their products. ∎  The gradients are sums of products
with dz, which the model covers.

The specification judges gradients on the implementation's own h: its slopes and its h_{t−1} are inputs of backward.
This tells a wrong backward from a wrong forward, and what rounding did to h is not counted again. Where z lies
within Ez of a kink, the slopes of both sides are allowed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..activations import Activation
from ..array_module import Array

# What the library functions behind σ may be off by: k units of roundoff relative, c absolute. Vendors document up
# to 4 ulp, that is k = 8; formulas such as (1 − e) / (1 + e) lose a few units absolutely. A leaky slope such as
# 0.01 is itself rounded, and multiplied once: (1 + ε)² < 1 + 3ε.
EVALUATION = {"identity": (0, 0), "relu": (0, 0), "leaky_relu": (3, 0)}
_SMOOTH = (8, 4)


class Rounding(NamedTuple):
    """The arithmetic of an implementation: unit roundoff ε, smallest normal η, largest finite number."""

    unit: Any
    smallest: Any
    largest: Any


def rounding(dtype: Any) -> Rounding:
    """Return the rounding model of a dtype, with the reference's own rounding on top.

    The reference is computed in `longdouble`, whose error obeys the same bounds with its own ε; a factor 4 covers
    the complex step, which takes up to four real operations where an implementation takes one.
    """
    info, reference = np.finfo(dtype), np.finfo(np.longdouble)
    unit = (np.longdouble(info.eps) + 4 * reference.eps) / 2
    return Rounding(unit, np.longdouble(info.tiny), np.longdouble(info.max))


def gamma(n: int, unit: Any) -> Any:
    """γ_n = nε / (1 − nε), the relative error of n roundings; infinite where the model says nothing."""
    return n * unit / (1 - n * unit) if n * unit < 1 else np.longdouble(np.inf)


class StateErrors(NamedTuple):
    """Bounds of |ẑ − z| and |ĥ − h|, each (T, B, N)."""

    z: Array
    h: Array


def of_states(drive_size: Array, inputs: int, u: Array, h0: Array, h: Array, z: Array, activation: Activation,
              model: Rounding) -> StateErrors:
    """Bound the forward errors, first part of the theorem.

    Parameters
    ----------
    drive_size : (T, B, N) A_t = |W||x_t| + |b|
    inputs : M
    u, h0, h, z : the exact values, in the reference's precision
    activation : with its bound sup_slope
    model : the rounding of the implementation

    Returns
    -------
    StateErrors
    """
    with np.errstate(all="ignore"):
        bounds = _of_states(drive_size, inputs, u, h0, h, z, activation, model)
        overflows = np.abs(h) + bounds.h >= model.largest  # beyond the largest number the model says nothing
    return StateErrors(bounds.z, np.where(np.isnan(bounds.h) | overflows, np.inf, bounds.h))


def _of_states(drive_size: Array, inputs: int, u: Array, h0: Array, h: Array, z: Array, activation: Activation,
               model: Rounding) -> StateErrors:
    ε, η, _ = model
    γ = gamma(inputs + 2, ε)
    k, c = _evaluation(activation)
    leaky = activation.alpha not in (None, 0.0)  # ½(1 + α)z + ½(1 − α)|z| is right too, to an error relative to z
    Ez, Eh = np.empty_like(z), np.empty_like(z)
    carried, size = np.zeros_like(h0), np.abs(h0)
    for t in range(len(z)):
        Ez[t] = np.abs(u) * carried + γ * (drive_size[t] + np.abs(u) * (size + carried)) + 2 * (inputs + 2) * η
        moved = np.minimum(Ez[t] * _sup_slope(activation, z[t], Ez[t]),
                           activation(z[t] + Ez[t]) - activation(z[t] - Ez[t]))  # σ is monotone
        formula = 2 * ε * (np.abs(z[t]) + Ez[t]) if leaky else 0
        carried = Eh[t] = moved + (k * ε * (np.abs(h[t]) + moved) if k else 0) + c * ε + formula + 2 * η
        size = np.abs(h[t])
    return StateErrors(Ez, Eh)


def local_z_error(drive_size: Array, inputs: int, u: Array, h_prev: Array, model: Rounding) -> Array:
    """Bound |ẑ_t − z_t| where z_t is formed from the implementation's own h_{t−1}: one step's rounding."""
    ε, η, _ = model
    size = drive_size + np.abs(u) * np.abs(h_prev)
    return np.where(size > 0, gamma(inputs + 2, ε) * size + 2 * (inputs + 2) * η, 0)  # zeros add up exactly


def of_slopes(activation: Activation, z: Array, slope: Array, Ez: Array, model: Rounding) -> Array:
    """Bound how far the slope that an implementation uses may be from σ'(z), if its ẑ is within Ez of z."""
    assert activation.sup_curvature is not None, "every built-in activation has it"
    moved = np.minimum(Ez * activation.sup_curvature(z - Ez, z + Ez), activation.max_slope)
    return np.asarray(moved + of_slopes_by_state(activation, z, slope, Ez, model))


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
    k, c = _evaluation(activation)
    anew = np.minimum(2 * Ez * activation.sup_curvature(z - Ez, z + Ez), activation.max_slope)
    return np.asarray(anew + ((2 * k + 2 * c + 3) * ε if (k or c) else 0))


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
    with np.errstate(all="ignore"):
        bounds = _of_gradients(x, W, u, dh, h_prev, Eh_prev, slope, Es, dz, model)
    return {name: np.where(np.isnan(bound), np.inf, bound) for name, bound in bounds.items()}


def _of_gradients(x: Array, W: Array, u: Array, dh: Array, h_prev: Array, Eh_prev: Array, slope: Array, Es: Array,
                  dz: Array, model: Rounding) -> dict[str, Array]:
    ε, η, _ = model
    T, B, N = dz.shape
    Edz = np.empty_like(dz)
    dz_next, carried = np.zeros_like(dz[0]), np.zeros_like(dz[0])
    for t in reversed(range(T)):
        g = dh[t] + u * dz_next
        Eg = np.abs(u) * carried + gamma(3, ε) * (np.abs(dh[t]) + np.abs(u) * (np.abs(dz_next) + carried)) + 2 * η
        S = np.abs(slope[t]) + Es[t]
        carried = Edz[t] = S * Eg + Es[t] * np.abs(g) + 2 * ε * S * (np.abs(g) + Eg) + 2 * η
        dz_next = dz[t]

    size, terms = np.abs(dz) + Edz, T * B
    γ = gamma(terms, ε)
    h_size = np.abs(h_prev) + Eh_prev
    return {
        "dx": Edz @ np.abs(W) + gamma(N, ε) * (size @ np.abs(W)) + 2 * N * η,
        "dW": np.einsum("tbn,tbm->nm", Edz + γ * size, np.abs(x)) + 2 * terms * η,
        "du": (Edz * h_size + np.abs(dz) * Eh_prev + γ * size * h_size).sum((0, 1)) + 2 * terms * η,
        "db": (Edz + γ * size).sum((0, 1)) + terms * η,
        "dh0": np.abs(u) * Edz[0] + ε * np.abs(u) * size[0] + 2 * η,
    }


def _evaluation(activation: Activation) -> tuple[int, int]:
    return EVALUATION.get(activation.name.partition("(")[0], _SMOOTH)


def _sup_slope(activation: Activation, z: Array, Ez: Array) -> Array:
    assert activation.sup_slope is not None, "every built-in activation has it"
    return activation.sup_slope(z - Ez, z + Ez)
