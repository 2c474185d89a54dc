"""Identity, ReLU and leaky ReLU: the bounds that mind the sign of u.

For u ≥ 0 the bounds of `bounds` are attained. For u = −v < 0 successive terms have opposite signs, which some
cotangents and inputs can undo (dz, dh_0, dW, dx, and all of them for the identity's h and du are as large as before)
and others cannot. With slope α below the kink and 1 above, L = max(1, α), l = min(1, α), r = Lv and the letters of
`bounds`:

h. Let P_t ≥ h_t and N_t ≥ −h_t. Since z_t = a_t − v h_{t−1} lies between −(A + v P_{t−1}) and A + v N_{t−1},

    P_t = A + v N_{t−1},      N_t = α (A + v P_{t−1}),      P_0 = N_0 = H0      (N_0 = 0 where h_0 ≥ 0)

attained by a_t = ±A in turn. ReLU: h_t ≤ A. Identity: A G_t + r^t H0 again.

du. p_t = ∂h_t/∂u = σ'(z_t) (h_{t−1} − v p_{t−1}). Let U± and D± bound p_t and −p_t where z_t is above 0 (+) or not (−).
Where h_{t−1} and z_t have one sign, v |h_{t−1}| < A, or a_t could not have undone it. So, of step t − 1 on the right,

    U⁺_t = max(min(P, A/v) + v D⁺, v D⁻)          U⁻_t = α max(P + v D⁺, v D⁻)
    D⁺_t = max(v U⁺, N + v U⁻)                    D⁻_t = α max(v U⁺, min(N, A/v) + v U⁻)

from 0, and |p_t| ≤ p̂_t, the largest of the four. |du| ≤ D p̂_T, or D Σ_t p̂_t for a loss at every step. Both are
attained by the identity, where p̂_T = A G′_T + T r^{T−1} H0. ReLU comes near to the first: there N = U⁻ = D⁻ = 0, so
p̂_T is a sum of v^j min(A, A/v) over every other lag j, and states A, 0+, A, 0+, …, all of them active, leave no gap.

ReLU's |p_t| are not all as large at once, since h_t ≤ A − v h_{t−1}. With P̂ = min(P, A/v), two neighbours have

    |p_t| + |p_{t+1}| ≤ max{ (1 + v) U_t,  (1 + v) D_t + P̂_t,  A + (1 − 2v)⁺ P̂_{t−1} + v (1 − v)⁺ D_{t−1} }

for p_{t+1} = h_t − v p_t (or 0) has, in this order, p_t ≥ 0 and p_{t+1} ≤ 0; or p_t < 0; or both ≥ 0, and then the sum
is h_t + (1 − v) p_t with p_t ≤ h_{t−1} + v D_{t−1}. |du| ≤ D Σ over pairs, of the better phase. Where v ≥ ½ or so the
first two are the largest, and the same states come near.

db. q_t = σ'(z_t) (1 − v q_{t−1}), σ' being l or L at will (small states do it), so the largest and the smallest q_t
come from those of q_{t−1}; the identity keeps the sign: |db| ≤ D |G_T(u)|. For a loss at every step

    |db| ≤ D L Σ_t |G_t(−r)|

attained by σ' = L throughout. Proof. Σ|q_t| is convex in each slope s_i ∈ [0, L] alone, hence largest at 0 or L. A
slope of 0 sets q to 0 and starts again; the runs between, of k steps, give L|G_1(−r)| + … + L|G_k(−r)|. One run of
T steps gives most: where a run of i ended with q = 0, going on gives |G_{i+1}|, …, |G_{i+n+1}| instead of 0 and |G_1| …
|G_n|, and (1 + r)|G_k| is 1 + r^k for odd k, |1 − r^k| for even k. If r ≥ 1 these grow from k to k + 2, so n of the
n + 1 terms, of the right parity, suffice. If r < 1, all q are in [0, L], and a start from q = L G_i in place of 0 loses
at most r q later, having gained q now. ∎ It serves every σ with slopes in [0, L] (`saturating`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import Activation, resolve
from ..array_module import Array, namespace
from . import _checks
from .bounds import Bounds, a_priori_bounds, times


def piecewise_linear_bounds(steps: int, u: Any, activation: str | Activation = "relu", A: Any = 1.0, D: Any = 1.0,
                            X: Any = 1.0, H0: Any = 0.0, loss: str = "every", nonnegative: bool = False) -> Bounds:
    """Bound states and gradients for identity, ReLU or a leaky ReLU and either sign of u.

    Parameters
    ----------
    steps, u, A, D, X, H0, loss : as in `a_priori_bounds`
    activation : "identity", "relu", "leaky_relu", or a leaky ReLU of another slope
    nonnegative : True where h_0 ≥ 0 is known, as it is where a ReLU's own state is carried on

    Returns
    -------
    Bounds : float64

    Raises
    ------
    TypeError, ValueError
        As `a_priori_bounds`; or the activation is not piecewise linear.
    """
    σ = resolve(activation)
    α = 1.0 if σ.name == "identity" else σ.alpha
    if α is None:
        raise ValueError(f"activation: expected identity, relu or a leaky ReLU; got {σ.name}. "
                         "For tanh and sigmoid there is saturating_bounds, for others a_priori_bounds.")
    L, nonnegative = max(1.0, α), _checks.flag("nonnegative", nonnegative)
    general = a_priori_bounds(steps, u, A, D, X, H0, slope=L, loss=loss)
    xp = namespace(general.db)
    u, A, D, H0 = xp.broadcast_arrays(*(xp.asarray(value, np.float64) for value in (u, A, D, H0)))
    v = xp.where(u < 0, -u, 0)
    h, p = _states_and_sensitivities(int(steps), v, α, A, H0, nonnegative)
    db = times(D, largest_db(int(steps), v, min(1.0, α), L, loss))
    du = times(D, p[-1] if loss == "last" else _relu_sum(p, v, A, H0, nonnegative) if α == 0 else p.sum(axis=0))
    return general._replace(h=xp.where(u < 0, h, general.h), db=xp.where(u < 0, db, general.db),
                            du=xp.where(u < 0, du, general.du))


def _states_and_sensitivities(T: int, v: Array, α: float, A: Array, H0: Array,
                              nonnegative: bool) -> tuple[Array, Array]:
    """Return the bounds of |h_t| and of |p_t|, each (T, …), for u = −v ≤ 0."""
    xp = namespace(v)
    h, p = xp.empty((T, *v.shape)), xp.empty((T, *v.shape))
    P, N = H0, xp.zeros_like(H0) if nonnegative else H0
    U_above = U_below = D_above = D_below = xp.zeros_like(v)
    with np.errstate(all="ignore"):
        undone = xp.where(v > 0, A / v, np.inf)
        for t in range(T):
            above = xp.maximum(xp.minimum(P, undone) + v * D_above, v * D_below)
            below = times(xp.asarray(α), xp.maximum(P + v * D_above, v * D_below))
            minus_above = xp.maximum(v * U_above, N + v * U_below)
            minus_below = times(xp.asarray(α), xp.maximum(v * U_above, xp.minimum(N, undone) + v * U_below))
            U_above, U_below, D_above, D_below = above, below, minus_above, minus_below
            P, N = A + v * N, times(xp.asarray(α), A + v * P)
            h[t] = xp.maximum(P, N)
            p[t] = xp.maximum(xp.maximum(U_above, U_below), xp.maximum(D_above, D_below))
    return h, p


def _relu_sum(p: Array, v: Array, A: Array, H0: Array, nonnegative: bool) -> Array:
    """Bound Σ_t |p_t| of a ReLU from the bounds p of each and those of neighbouring pairs."""
    xp, T = namespace(v), len(p)
    pairs = xp.empty((T, *v.shape))
    U = D = xp.zeros_like(v)
    with np.errstate(all="ignore"):
        undone = xp.where(v > 0, A / v, np.inf)
        P, N = xp.minimum(H0, undone), xp.zeros_like(H0) if nonnegative else H0
        for t in range(T):
            both = A + times(xp.maximum(1 - 2 * v, 0), P) + times(v * xp.maximum(1 - v, 0), D)
            U, D = P + v * D, N + v * U
            P, N = xp.minimum(A + v * N, undone), xp.zeros_like(N)
            pairs[t] = xp.maximum(both, xp.maximum((1 + v) * U, (1 + v) * D + P))
        from_first = pairs[:T - 1:2].sum(axis=0) + (p[-1] if T % 2 else 0)
        from_second = p[0] + pairs[1:T - 1:2].sum(axis=0) + (p[-1] if T % 2 == 0 else 0)
        return xp.minimum(p.sum(axis=0), xp.minimum(from_first, from_second))


def largest_db(T: int, v: Array, low: float, high: float, loss: str) -> Array:
    """Return the largest |db| for cotangents up to 1, u = −v ≤ 0, and slopes free in [low, high]."""
    xp = namespace(v)
    runs = high * alternating_sums(T, high * v)
    if loss == "every":
        return runs.sum(axis=0)
    if low == high:
        return runs[-1]
    most = least = xp.zeros_like(v)
    with np.errstate(over="ignore"):
        for _ in range(T):
            down = 1 - v * most
            most = high * (1 - v * least)  # not below 0: least > 0 only where v · most < 1, and least ≤ most
            least = xp.where(down > 0, low, high) * down
    return xp.maximum(most, -least)


def alternating_sums(T: int, r: Array) -> Array:
    """Return |G_t(−r)| = |1 − (−r)^t| / (1 + r) for t = 1 … T, (T, …), without cancellation near r = 1."""
    xp = namespace(r)
    t = xp.arange(1, T + 1, dtype=np.float64).reshape(-1, *(1 for _ in r.shape))
    with np.errstate(all="ignore"):
        return xp.where(t % 2 == 1, 1 + r**t, xp.abs(xp.expm1(t * xp.log(r)))) / (1 + r)
