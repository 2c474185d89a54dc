"""How far may rounding carry a scan? A bound for every element of h and dz, for a tree of compositions of any shape.

Model, as for the loop: fl(x ∘ y) = (x ∘ y)(1 + δ) + η', |δ| ≤ ε, |η'| ≤ η, the smallest normal number. Products s
are kept in a precision ε_s, the rest in ε: the same one, or a lower one in which what is stored is rounded once more,
from results formed in the higher (as `scan` does with float32). With ε_c = 0 in the first case, ε in the second, let

    ρ = (1 + ε_s)(1 + ε_c)        a combine's own roundings: one addition, one store

One combine forms s_g s_f, a product, and s_g y + c_g for y = c_f, lo_f, hi_f: a product and an addition each. A term
is on the earlier side of it (in y) or on the later (in c_g). Let m be the number of combines that it passes.

Lemma. In ĉ of a block that ends at step e, the term of a_j is u^{e−j} a_j times (1 + θ), with
|θ| ≤ (1 + ε_s)^{e−j} ρ^m − 1. Proof. ŝ of n steps is u^n with n − 1 roundings, in whatever order it was multiplied.
Induction on the tree: on the later side, the term is rounded by the addition and the store: a factor ρ. On the earlier
it is multiplied by an ŝ_g of n steps, n − 1 roundings and one for that product, then added and stored: (1 + ε_s)^n ρ,
and e − j grows by n. ∎  Applying the map to h0 is one combine more, with h0 as the earlier side.

So a scan's term has e − j roundings for its products, as many as the loop makes, and ⌈log2 T⌉ + 1 for additions, where
the loop has up to T. But the loop rounds relative to |h_t|, after terms have cancelled or a ReLU has cut them off; a
scan rounds them before. This is why H below takes the place of |h|.

Theorem (forward). Let Λ be the largest finite |end| of the activation's clamp (0 for identity and ReLU), m_t the
combines that an element passes into prefix t and one more for h0, and

    H_t = P_t + A_t      A_t = |u| A_{t−1} + |a_t|,   P_t = max(Λ, |u| P_{t−1}),      A_0 = 0,  P_0 = |h0|
    Δ_t = |u| (Δ_{t−1} + ε_s (H_{t−1} + Δ_{t−1}))                                     Δ_0 = 0
    |ĥ_t − h_t| ≤ E_t = Δ_t + (ρ^{m_t} − 1)(H_t + Δ_t) + underflow

(for identity and ReLU, H_t = |u| H_{t−1} + |a_t| with H_0 = |h0|). Proof. Affine maps commute with clamping, so h_t is
some nesting of min and max over *paths* p_j = u^{t−j} λ_j + Σ_{k>j} u^{t−k} a_k, one from h0 and one from each finite
end λ_j at each step j. Rounding is monotone, so it commutes with min and max as well: ĥ_t is the same nesting over the
p̂_j, each rounded as in the lemma. A nesting moves by no more than the largest |p̂_j − p_j|, which is at most
Σ ((1 + ε_s)^{t−k} ρ^m − 1) |term|. On every path Σ |term| is at most H_t, and Σ ((1 + ε_s)^{t−k} − 1) |term| at most
Δ_t, kept apart so that nothing cancels. ∎  (An end at ∞ never binds; where s_g underflows to 0 it seems to, at c_g,
which is off by what s_g would have made of a state: an underflow like any other.)

Theorem (backward). The same, with s_t = σ'_t u and c_t = σ'_t dh_t, which cost a rounding each (φ_t = ε; none where
σ'_t is 0 or 1), slopes off by up to Es_t, S_t = (|σ'_t| + Es_t)(1 + φ_t), no clamp and no h0:

    D_t = |σ'_t| (|dh_t| + |u| D_{t+1})
    Δ_t = |σ'_t u| (Δ_{t+1} + ε_s (D_{t+1} + Δ_{t+1})) + (S_t − |σ'_t|)(|dh_t| + (1 + ε_s)|u| (D_{t+1} + Δ_{t+1}))
    |d̂z_t − dz_t| ≤ Δ_t + (ρ^{m_t} − 1)(D_t + Δ_t) + underflow

Underflow. A prefix of t has at most t combines, each adding 3η to a c and η_s to an s, and t pairs that are formed (η,
η_s). An error of a c reaches the result times at most Q = ∏ max(1, S|u|), that of an s times Q · max_{k<t} (H + Δ)_k;
second-order terms and (1 + ε)^n are less than as much again, times ρ^m. So it is at most 4tQ ρ^m (2η + η_s max(H + Δ)).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..activations import Activation
from ..array_module import Array, is_cupy, to_numpy
from . import _checks, scan


class Precision(NamedTuple):
    """ε and η of what is stored, ε_s and η_s of the products, and the largest number that can be stored."""

    unit: Any
    smallest: Any
    product_unit: Any
    product_smallest: Any
    largest: Any

    @property
    def combine(self) -> Any:
        """log ρ: the logarithm of a combine's own roundings."""
        stored = self.unit if self.product_unit < self.unit else 0
        return np.log1p(self.product_unit) + np.log1p(stored)


def precision(dtype: Any, product_dtype: Any = None) -> Precision:
    """Return the model for values stored in `dtype` and products in `product_dtype` (None: as `scan` keeps them).

    Raises
    ------
    ValueError
        The products' precision is below the values'.
    """
    stored, products = np.finfo(dtype), np.finfo(scan.wide(dtype) if product_dtype is None else product_dtype)
    if products.eps > stored.eps:
        raise ValueError(f"product_dtype: expected at least the precision of {stored.dtype}; got {products.dtype}.")
    ε, η, ε_s, η_s, largest = (np.longdouble(v) for v in (stored.eps / 2, stored.tiny, products.eps / 2, products.tiny,
                                                          stored.max))
    return Precision(ε, η, ε_s, η_s, largest)


def scan_forward_error(a: Array, u: Array, h0: Array, activation: str | Activation = "relu",
                       passed: Array | None = None, model: Precision | None = None) -> Array:
    """Bound |ĥ − h| of a scan, the theorem's first part.

    Parameters
    ----------
    a, u, h0, activation : as in `scan.scan_forward`, real
    passed : (T,) combines that an element passes into each prefix, h0 apart; None: those of `inclusive_scan`
    model : the scan's precision, from `scan_rounding.precision`; None: that of `scan_forward` for these arrays

    Returns
    -------
    E : (T, B, N) longdouble, NumPy's also for CuPy arrays, which are copied; inf where a result might leave the range
        of numbers, so that nothing is bounded

    Raises
    ------
    TypeError, ValueError
        As `scan.scan_forward`; also where `passed` is not of shape (T,).
    """
    checks.recurrence(u, h0, a=a, dtypes=checks.REAL)
    low, high = scan.ENDS[scan.resolve_clamp(activation)]
    Λ = max((abs(end) for end in (low, high) if math.isfinite(end)), default=0.0)
    model = _model(model, a.dtype)
    with np.errstate(all="ignore"):
        a, w, h0 = (np.abs(_long(v)) for v in (a, u, h0))
        growth = np.broadcast_to(np.maximum(1, w), a.shape)
        H, Δ = np.empty_like(a), np.empty_like(a)
        A, P, before, extra = np.zeros_like(h0), h0, h0, np.zeros_like(h0)
        for t in range(len(a)):
            extra = Δ[t] = w * (extra + model.product_unit * (before + extra))
            A, P = w * A + a[t], np.maximum(w * P, Λ)
            before = H[t] = A + P
        E = _total(H, Δ, _passed(passed, len(a)) + 1, growth, np.maximum(h0, Λ), model)
        return np.where(np.isinf(E), E, np.minimum(E, np.longdouble(high) - low))  # both are in the clamp's range


def scan_backward_error(dh: Array, slopes: Array, u: Array, slope_error: Array | float = 0.0,
                        passed: Array | None = None, model: Precision | None = None) -> Array:
    """Bound |d̂z − dz| of a scan, the theorem's second part.

    Parameters
    ----------
    dh, u : as in `scan.scan_backward`, real
    slopes : (T, B, N) σ'(z)
    slope_error : what the slopes that the scan uses may be off by, of their shape or one number
    passed : (T,) combines that an element passes into each prefix, the last step's first; None: `inclusive_scan`'s
    model : the scan's precision, from `scan_rounding.precision`; None: that of `scan_backward` for these arrays

    Returns
    -------
    E : (T, B, N) longdouble, NumPy's also for CuPy arrays, which are copied; inf where nothing is bounded

    Raises
    ------
    TypeError, ValueError
        Wrong shapes or dtypes; the message names the argument.
    """
    checks.recurrence(u, None, dh=dh, slopes=slopes, dtypes=checks.REAL, optional=("h0",))
    slope_error = to_numpy(slope_error) if is_cupy(slope_error) else slope_error  # type: ignore[arg-type]
    off = slope_error if isinstance(slope_error, np.ndarray) else np.asarray(_checks.number("slope_error", slope_error))
    if off.dtype.kind != "f" or off.shape not in ((), slopes.shape) or not (off >= 0).all():
        raise ValueError("slope_error: expected one number of at least 0, or an array of them of the shape of slopes; "
                         f"got {off.dtype} {off.shape}.")
    model = _model(model, dh.dtype)
    with np.errstate(all="ignore"):
        dh, w, s, Es = (np.abs(_long(v)) for v in (dh, u, slopes, off))
        exact = ((s == 0) | (s == 1)) & (Es == 0)
        S = (s + Es) * (1 + np.where(exact, 0, model.unit))
        D, Δ = np.empty_like(dh), np.empty_like(dh)
        after, extra = np.zeros_like(dh[0]), np.zeros_like(dh[0])
        for t in reversed(range(len(dh))):
            carried = (1 + model.product_unit) * w * (after + extra)
            off = s[t] * w * (extra + model.product_unit * (after + extra))
            extra = Δ[t] = off + (S[t] - s[t]) * (dh[t] + carried)
            after = D[t] = s[t] * (dh[t] + w * after)
        growth = np.maximum(1, S * w)[::-1]
        return _total(D[::-1], Δ[::-1], _passed(passed, len(dh)), growth, np.zeros_like(after), model)[::-1]


def _total(H: Array, Δ: Array, m: Array, growth: Array, start: Array, model: Precision) -> Array:
    """E_t = Δ_t + (ρ^m − 1)(H_t + Δ_t) + underflow; rows in the order in which they are composed."""
    t = np.arange(1, len(H) + 1)[:, None, None]
    combined = np.expm1(m[:, None, None] * model.combine)
    size = H + Δ
    largest = np.maximum.accumulate(np.concatenate([start[None], size[:-1]]))
    amplified = 4 * t * np.cumprod(growth, axis=0) * (1 + combined)
    E = Δ + combined * size + amplified * (2 * model.smallest + model.product_smallest * largest)
    return np.where(np.isnan(E) | (size + E >= model.largest), np.inf, E)


def _passed(passed: Array | None, steps: int) -> Array:
    if passed is None:
        return scan.combines(steps)
    passed = to_numpy(passed)
    if not isinstance(passed, np.ndarray) or passed.shape != (steps,) or passed.dtype.kind not in "iu":
        came = f"{passed.dtype} {passed.shape}" if isinstance(passed, np.ndarray) else type(passed).__name__
        raise ValueError(f"passed: expected ({steps},) whole numbers, one for the prefix that ends at each step; "
                         f"got {came}.")
    return passed


def _model(model: Precision | None, dtype: Any) -> Precision:
    if not isinstance(model, Precision | None):
        raise TypeError(f"model: expected what scan_rounding.precision returns, or None; got {type(model).__name__}.")
    return model or precision(dtype)


def _long(array: Array) -> Array:
    return to_numpy(array).astype(np.longdouble)
