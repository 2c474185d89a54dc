"""How large states and gradients can be before any run, whatever the input: the bounds for any σ.

The paper's range bounds ∂h_T/∂h_t alone (Eq. 4). With |σ'| ≤ L, |σ(0)| ≤ c, r = L|u|, E = c + LA and

    A ≥ |b| + |W||x_t|,    D ≥ |dh_t|,    X ≥ |x_t|,    H0 ≥ |h_0|

per neuron and sequence, for all t; G_n = Σ_{j<n} r^j, S_n = G_1 + … + G_n, and ′ for d/dr:

                loss at the last step alone               loss at every step
    |h_t|     ≤ E G_t + r^t H0                            the same
    |dz_t|    ≤ L D r^{T−t}                               L D G_{T−t+1}
    |dh_0|    ≤ D r^T                                     D r G_T
    |db|      ≤ L D G_T                                   L D S_T
    |dW|      ≤ L D X G_T                                 L D X S_T
    |du|      ≤ L D (E G′_T + T r^{T−1} H0)               L D (E S′_T + H0 G′_{T+1})
    |dx_t,m|  ≤ Σ_n |W_nm| · the bound of dz_t,n          the same

Proof. |h_t| ≤ c + L|z_t| ≤ c + L(A + |u||h_{t−1}|) = E + r|h_{t−1}|, and unrolled. One cotangent, at step k, gives
|dz_t| ≤ L D r^{k−t} for t ≤ k by Eq. 4. db, dW, dh_0 and dx sum it; du = Σ_t dz_t h_{t−1} is at most
L D Σ_t r^{k−t} (E G_{t−1} + r^{t−1} H0), in which each r^{j−1} E, j < k, appears j times. That is column one, with k
for T; column two is its sum over k = 1 … T. ∎

Attained, by all but dx at once, for u ≥ 0, σ(z) = c + Lz where z goes, and x, W, b, h_0, dh positive and largest; dx
needs all neurons so. For u < 0 and for saturating σ some are milder: see `piecewise_linear` and `saturating`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..array_module import Array, namespace
from . import _checks

LOSSES = ("last", "every")


class Bounds(NamedTuple):
    """Upper bounds per neuron and for one sequence; of B sequences db, dW and du are up to B times as large.

    Attributes
    ----------
    h : (T, …) of |h_t|, t = 1 … T; the rest of the shape is what the arguments broadcast to
    dz : (T, …) of |dz_t|, the gradient by the pre-activation z_t and by the drive a_t
    dh0, db, dW, du : (…)
    """

    h: Array
    dz: Array
    dh0: Array
    db: Array
    dW: Array
    du: Array


class GeometricSums(NamedTuple):
    """G_n = Σ_{j<n} r^j, S_n = G_1 + … + G_n and their derivatives by r, each of r's shape."""

    G: Array
    S: Array
    dG: Array
    dS: Array


def geometric_sums(n: int, r: Any) -> GeometricSums:
    """Return G_n, S_n, G′_n and S′_n for r ≥ 0.

    They are summed as they are defined, from positive terms alone: G = Σ r^j, G′ = Σ j r^{j−1}, S = Σ (n − j) r^j,
    S′ = Σ (n − j) j r^{j−1}. Near r = 1, which is where u = 2^{1/T} lies, the textbook's quotients lose half of their
    digits (G = (r^n − 1) / (r − 1)) or all of them (the others). A sum beyond the largest float is inf.

    Parameters
    ----------
    n : whole number above 0
    r : number or array, of at least 0

    Returns
    -------
    GeometricSums : float64

    Raises
    ------
    TypeError, ValueError
        n is no whole number above 0, or r is not real, is below 0, or is not finite.
    """
    n, r = _checks.whole("n", n), _checks.reals("r", r)
    j, powers = _powers(n, r)
    with np.errstate(over="ignore"):
        return GeometricSums(powers.sum(axis=-1), ((n - j) * powers).sum(axis=-1),
                             (j[1:] * powers[..., :-1]).sum(axis=-1),
                             ((n - j[1:]) * j[1:] * powers[..., :-1]).sum(axis=-1))


def a_priori_bounds(steps: int, u: Any, A: Any = 1.0, D: Any = 1.0, X: Any = 1.0, H0: Any = 0.0,
                    slope: Any = 1.0, offset: Any = 0.0, loss: str = "every") -> Bounds:
    """Bound states and gradients for any σ with |σ'| ≤ slope and |σ(0)| ≤ offset: the table above.

    Parameters
    ----------
    steps : T
    u : recurrent weight, of either sign
    A : bound of the drive, max_t |b| + |W||x_t|
    D : bound of the cotangents |dh_t|
    X : bound of the input |x_t| that a column of W sees; for all of dW, give u and the others as (N, 1) and X as (M,)
    H0 : bound of |h_0|
    slope : L, the activation's `max_slope`
    offset : c = |σ(0)|: ½ for sigmoid, log 2 for softplus
    loss : "last" where only dh_T is not zero, "every" where all may be

    Returns
    -------
    Bounds : float64. A bound beyond the largest float is inf; rounding may move one by a few units in the last place.

    Raises
    ------
    TypeError, ValueError
        steps is no whole number above 0, loss is not one of the two, or another argument is not real, not finite,
        (u apart) below 0, or of a shape that does not broadcast with the others.
    """
    T = _checks.whole("steps", steps)
    _checks.one_of("loss", loss, LOSSES)
    given = {"slope": slope, "offset": offset, "u": u, "A": A, "D": D, "H0": H0, "X": X}
    xp = _checks.library(**given)
    L, c, u, A, D, H0, X = (_checks.reals(name, value, signed=name == "u", xp=xp) for name, value in given.items())
    _checks.together(u=u, A=A, D=D, X=X, H0=H0, slope=L, offset=c)
    E = c + L * A
    r, E, D, H0, L = xp.broadcast_arrays(L * xp.abs(u), E, D, H0, L)
    (G, S, dG, dS), powers = geometric_sums(T, r), _powers(T + 1, r)[1]
    with np.errstate(over="ignore"):
        by_steps = powers[..., :-1].cumsum(axis=-1)                       # G_1 … G_T
        h = xp.moveaxis(times(E[..., None], by_steps) + times(H0[..., None], powers[..., 1:]), -1, 0)
        if loss == "last":
            lag, first, total = powers[..., :-1], powers[..., -1], G
            du = times(E, dG) + times(H0, T * powers[..., -2])
        else:
            lag, first, total = by_steps, r * G, S
            du = times(E, dS) + times(H0, geometric_sums(T + 1, r).dG)
        dz = xp.moveaxis(times((L * D)[..., None], lag[..., ::-1]), -1, 0)
        db = times(L * D, total)
        return Bounds(h, dz, times(D, first), db, times(X, db), times(L * D, du))


def input_gradient_bound(dz: Any, W: Any) -> Array:
    """Bound |dx_t| ≤ |W|ᵀ · the bound of |dz_t|.

    Parameters
    ----------
    dz : (T, N) as in `Bounds`
    W : (N, M) input weight

    Returns
    -------
    (T, M)

    Raises
    ------
    TypeError, ValueError
        An argument is not real, or their shapes do not fit.
    """
    xp = _checks.library(dz=dz, W=W)
    dz, W = _checks.reals("dz", dz, xp=xp), _checks.reals("W", W, signed=True, xp=xp)
    if dz.ndim != 2:
        raise ValueError(f"dz: expected shape (T, N), a row per step and a column per neuron; got {dz.shape}.")
    if W.ndim != 2 or len(W) != dz.shape[1]:
        raise ValueError(f"W: expected shape ({dz.shape[1]}, M), a row per neuron of dz {dz.shape}; got {W.shape}.")
    return dz @ abs(W)


def times(x: Array, y: Array) -> Array:
    """x · y, where 0 · inf is 0: a bound of something that is not there does not overflow."""
    xp = namespace(x)
    with np.errstate(invalid="ignore"):
        return xp.where((x == 0) | (y == 0), 0.0, x * y)


def _powers(n: int, r: Array) -> tuple[Array, Array]:
    """Return j = 0 … n − 1 and r^j along a last axis."""
    j = namespace(r).arange(n, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return j, r[..., None] ** j


class OpenQuestions(NamedTuple):
    """What the paper's range leaves open, for a neuron that is always active (σ' = 1), with drive 1 and h_0 = 0.

    Attributes
    ----------
    u : γ^{1/T}, the end of the range: ∂h_T/∂h_0 = γ as promised
    h : h_T
    dh0_every : the gradient by h_0 of a loss with cotangent 1 at every step
    du_last, du_every : ∂h_T/∂u, and the gradient by u of a loss with cotangent 1 at every step
    condition : (u / h_T) ∂h_T/∂u, the relative change of h_T per relative change of u
    float32_step : how far one unit in the last place of a float32 u moves h_T, to first order
    curvature_u, curvature_W : Gauss-Newton curvatures 2 (∂h_T/∂u)² and 2 (∂h_T/∂w)² of the loss (h_T − y)² along u and
        along the weight w of a unit input; the inverses are what a learning rate must stay below
    """

    u: float
    h: float
    dh0_every: float
    du_last: float
    du_every: float
    condition: float
    float32_step: float
    curvature_u: float
    curvature_W: float


def what_the_range_leaves_open(steps: int, gamma: float = 2.0) -> OpenQuestions:
    """Return what the range |u| ≤ γ^{1/T}, which bounds ∂h_T/∂h_0 by γ, does not bound (the table above at A = D = 1).

    Parameters
    ----------
    steps : T
    gamma : γ, above 0

    Returns
    -------
    OpenQuestions : float64 numbers

    Raises
    ------
    TypeError, ValueError
        steps is no whole number above 0, or gamma is no finite number above 0.
    """
    T, γ = _checks.whole("steps", steps), _checks.number("gamma", gamma, above_zero=True)
    u = γ ** (1 / T)
    G, _, dG, dS = (float(value) for value in geometric_sums(T, u))
    return OpenQuestions(u=u, h=G, dh0_every=u * G, du_last=dG, du_every=dS, condition=u / G * dG,
                         float32_step=float(np.spacing(np.float32(u))) * dG, curvature_u=2 * dG**2,
                         curvature_W=2 * G**2)
