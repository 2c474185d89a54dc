"""tanh and sigmoid: bounds for free drive, where the state cannot be large and steep at once.

At z = 0 the slope is at its largest, L = 1 or ¼, and a drive free to hold z there attains the bounds of `bounds` for
dz, dh_0, dW and dx, and for db where u ≥ 0; for u < 0, slopes are free in (0, L], which is the case of db in
`piecewise_linear`. But |h| is near 1 only where σ' is near 0, so du stays far below the naive bound, which takes both
at their largest. What is sharp is found by looking at

    w_t = h_t + u p_t,     so that     p_t = ∂h_t/∂u = σ'(z_t) w_{t−1},     w_0 = h_0.

Proof. A free drive chooses h_t, and σ' is a function of h_t. Each choice enlarges |w_t| the more, the larger |w_{t−1}|
is: so the largest is found step by step, with M_1 = H0 and M_{t+1} the largest |w_t|; last, σ' = L gives |p_T| = L M_T.
Which h_t that is follows for each σ. ∎

tanh, σ' = 1 − h². With m = |u| M_t, the largest h + m (1 − h²) on [−1, 1] is at h = 1/(2m):

    M_{t+1} = m + 1/(4m)  if m ≥ ½,  else 1                                                     (either sign of u)

Its square grows by ½ + 1/(16 m²) where |u| = 1, so that ∂h_T/∂u grows as √(T/2), and not as T.

sigmoid, σ' = h (1 − h). With m = |u| M_t, h (1 + m (1 − h)) on [0, 1] is largest at h = (1 + m)/(2m):

    M_{t+1} = f(m) = (1 + m)²/(4m)  if m ≥ 1,  else 1                                           (u > 0)

For u < 0 the sign of w counts: w ≤ P and −w ≤ N with P_1 = N_1 = H0, and h (1 − m (1 − h)), m = |u| P, is least at
h = (m − 1)/(2m):

    P_{t+1} = f(|u| N_t),      N_{t+1} = (m − 1)²/(4m) with m = |u| P_t > 1,  else 0             (u < 0)

and |p_T| ≤ max(P_T, N_T)/4. Where m < ½ (or 1) the supremum is approached, as h → 1; else it is attained. For a loss at
every step the sum of these bounds holds but is not attained, since σ' = L at every step leaves no h.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import Activation, resolve
from ..array_module import Array, namespace
from . import _checks
from .bounds import Bounds, a_priori_bounds, times
from .piecewise_linear import largest_db


def largest_sensitivity(steps: int, u: Any, activation: str | Activation = "tanh", H0: Any = 0.0) -> Array:
    """Return sup |∂h_t/∂u| over every drive and every |h_0| ≤ H0, for t = 1 … T.

    Parameters
    ----------
    steps : T
    u : recurrent weight, of either sign
    activation : "tanh" or "sigmoid"
    H0 : bound of |h_0|

    Returns
    -------
    (T, …) float64 : entry t − 1 is L M_t; sharp

    Raises
    ------
    TypeError, ValueError
        steps is no whole number above 0, u or H0 is not real and finite, H0 is below 0, or the activation is another.
    """
    T, xp = _checks.whole("steps", steps), _checks.library(u=u, H0=H0)
    u, H0 = _checks.reals("u", u, signed=True, xp=xp), _checks.reals("H0", H0, xp=xp)
    L, grow = _saturating(activation).max_slope, _GROWTH[resolve(activation).name]
    _checks.together(u=u, H0=H0)
    u, M = xp.broadcast_arrays(u, H0)
    sup, least = xp.empty((T, *u.shape)), M
    with np.errstate(all="ignore"):
        for t in range(T):
            sup[t] = L * xp.maximum(M, least)
            M, least = grow(u, M, least)
    return sup


def saturating_bounds(steps: int, u: Any, activation: str | Activation = "tanh", D: Any = 1.0, X: Any = 1.0,
                      H0: Any = 0.0, loss: str = "every") -> Bounds:
    """Bound states and gradients for tanh or sigmoid, either sign of u and any drive whatever.

    Parameters
    ----------
    steps, u, D, X, H0, loss : as in `a_priori_bounds`
    activation : "tanh" or "sigmoid"

    Returns
    -------
    Bounds : float64; h is 1, the supremum of |σ|

    Raises
    ------
    TypeError, ValueError
        As `a_priori_bounds`; or the activation is another.
    """
    σ = _saturating(activation)
    general = a_priori_bounds(steps, u, 0.0, D, X, H0, slope=σ.max_slope, loss=loss)
    xp = namespace(general.db)
    u, D, H0 = (xp.asarray(value, np.float64) for value in (u, D, H0))
    sensitivity = largest_sensitivity(steps, u, σ, H0)
    du = times(D, sensitivity[-1] if loss == "last" else sensitivity.sum(axis=0))
    db = times(D, largest_db(int(steps), xp.where(u < 0, -u, 0), 0.0, σ.max_slope, loss))
    return general._replace(h=xp.ones_like(general.h), db=xp.where(u < 0, db, general.db), du=du + 0 * general.dh0)


def _tanh_growth(u: Array, M: Array, least: Array) -> tuple[Array, Array]:
    xp = namespace(u)
    m = xp.abs(u) * M
    M = xp.where(m >= 0.5, m + 0.25 / m, 1.0)
    return M, M


def _sigmoid_growth(u: Array, M: Array, least: Array) -> tuple[Array, Array]:
    xp = namespace(u)
    m, rises = xp.abs(u) * M, xp.abs(u) * xp.where(u < 0, least, M)
    most = xp.where(rises >= 1, (1 + rises) ** 2 / (4 * rises), 1.0)
    return most, xp.where(u < 0, xp.where(m > 1, (m - 1) ** 2 / (4 * m), 0.0), most)


_GROWTH = {"tanh": _tanh_growth, "sigmoid": _sigmoid_growth}


def _saturating(activation: str | Activation) -> Activation:
    σ = resolve(activation)
    if σ.name not in _GROWTH:
        raise ValueError(f"activation: expected tanh or sigmoid; got {σ.name}. "
                         "For others there are piecewise_linear_bounds and a_priori_bounds.")
    return σ
