"""The recurrence as an associative scan: T steps in ⌈log2 T⌉ rounds, for whatever computes in parallel.

One step of ReLU or identity is a map of the state before it, and such maps are closed under composition: all are

    f(h) = min(hi, max(lo, s·h + c)),      lo ≤ hi                                              (i)

with s = u, c = a_t and the ends (0, ∞) for ReLU, (−∞, ∞) for identity; (−1, 1) and (0, 6) make hard tanh and ReLU6.
Proof of closure: s·min(hi, max(lo, y)) + c clamps s·y + c between s·lo + c and s·hi + c, which trade places where
s < 0; and clamping to [l, h], then to [L, H], clamps to [l, h] clamped to [L, H]. So, with g after f,

    s = s_g s_f    c = s_g c_f + c_g    lo, hi = s_g lo_f + c_g, s_g hi_f + c_g in order, clamped to [lo_g, hi_g]  (ii)

where 0 · ∞ = 0: a map with s = 0 is constant, whatever comes, and (ii) writes it with lo = hi. Composition of maps is
associative, and by this rule the four numbers are too: [lo, hi] is what the map makes of the [lo, hi] before it. The
identity element is (1, 0, −∞, ∞).

A leaky ReLU does not close. Each step bends the map once more, at the h where z_t = 0: n steps give up to n + 1
linear pieces, and no fixed number of parameters holds them for all n. Tanh and its like have no such form at all.

Backward needs no clamp. The slopes are known from forward, and (iii) and (iv) of `recurrence` are affine in the carry,

    dz_t = s_t dz_{t+1} + c_t,      s_t = σ'(z_t) u,      c_t = σ'(z_t) dh_t                    (iii)

for every activation. How far rounding may carry a scan, which is further than a loop: `scan_rounding`.

A loop that stays finite can have a scan that does not: the product s of many steps overflows though something later
would have clamped or cancelled it, and meets 0 or −∞. So the scan runs where no partial result can overflow (|u| in
the paper's range cannot, for drives of sane size); other neurons are run by the loop. A product that underflows is
harmless: what it would have carried is as small. s is kept in float64 also for float32, for its rounding is one-sided:
u^{2n} is the square of a u^n that is off already, so a float32 product goes astray in proportion to T. Li et al. 2018
have no scan; the affine one is Blelloch's (1990).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from .. import array_module, checks, recurrence
from ..activations import Activation, identity, relu, resolve
from ..array_module import Array, namespace
from ..recurrence import RecurrenceGradients
from . import _checks


class Affine(NamedTuple):
    """Maps h → s·h + c, elementwise; the arrays need only broadcast with each other. The identity is (1, 0)."""

    s: Array
    c: Array

    def __call__(self, h: Array) -> Array:
        """Apply the maps to h."""
        return self.s * h + self.c

    def after(self, earlier: Affine) -> Affine:
        """Compose: the map that applies `earlier`, then this one."""
        return Affine(self.s * earlier.s, self.s * earlier.c + self.c)


class Clamp(NamedTuple):
    """Maps h → min(hi, max(lo, s·h + c)), elementwise, lo ≤ hi: equation (i). The identity is (1, 0, −∞, ∞)."""

    s: Array
    c: Array
    lo: Array
    hi: Array

    def __call__(self, h: Array) -> Array:
        """Apply the maps to h."""
        return self._clamp(self.s * h + self.c)

    def after(self, earlier: Clamp) -> Clamp:
        """Compose: the map that applies `earlier`, then this one. Equation (ii)."""
        xp = namespace(self.c)
        one, other = (self.s * xp.where(self.s == 0, 0, end) + self.c for end in (earlier.lo, earlier.hi))
        return Clamp(self.s * earlier.s, self.s * earlier.c + self.c,
                     self._clamp(xp.minimum(one, other)), self._clamp(xp.maximum(one, other)))

    def _clamp(self, y: Array) -> Array:
        xp = namespace(y)
        return xp.minimum(xp.maximum(y, self.lo), self.hi)


class Maps(Protocol):
    """What can be scanned: a NamedTuple of arrays with the same first axis, one map a row, and `after`."""

    def after(self, earlier: Self) -> Self:
        """Compose row by row: `earlier` first."""

    def __iter__(self) -> Any:
        """Its arrays."""


M = TypeVar("M", bound=Maps)


def inclusive_scan(maps: M) -> M:
    """Compose every prefix: row t of the result is map t after map t − 1 after … after map 0 (Hillis, Steele 1986).

    Before round k = 0, 1, … row t holds the last min(2^k, t + 1) maps up to t; it takes in as many again, all rows at
    once. Any T, in ⌈log2 T⌉ rounds; map 0 passes ⌈log2(t + 1)⌉ combines on its way to row t (`combines`).

    Parameters
    ----------
    maps : Affine, Clamp, or the like: arrays with the same first axis, of length T. Each keeps its dtype: a combine
        computes in the widest and rounds what it stores

    Returns
    -------
    Of the same type : new arrays

    Raises
    ------
    TypeError, ValueError
        maps is no such tuple of arrays with at least one row.
    """
    if not isinstance(maps, tuple) or not maps or not hasattr(maps, "after"):
        raise TypeError(f"maps: expected Affine, Clamp, or the like; got {type(maps).__name__}.")
    array_module.of(**{f"maps[{i}]": array for i, array in enumerate(maps)})
    if len({array.shape[:1] for array in maps}) != 1 or maps[0].shape[:1] in ((), (0,)):
        raise ValueError("maps: expected arrays with the same first axis, of one row or more; got shapes "
                         f"{', '.join(str(array.shape) for array in maps)}.")
    def rows(start: int | None, stop: int | None) -> M:
        return type(maps)(*(array[start:stop] for array in prefixes))

    prefixes = [array.copy() for array in maps]
    width = 1
    while width < len(prefixes[0]):
        made = rows(width, None).after(rows(None, -width))
        for array, new in zip(prefixes, made, strict=True):
            array[width:] = new
        width *= 2
    return type(maps)(*prefixes)


def combines(steps: int, chunk: int = 1) -> Array:
    """Count the compositions that an element passes, at most, on its way into each prefix of a scan.

    It is ⌈log2 t⌉ for the prefix of t elements in `inclusive_scan`. In a scan by chunks of L elements (one after the
    other within a chunk, then a scan of the K chunks' totals, then one more composition with the total before), an
    element passes up to L − 1 within its chunk, ⌈log2 K⌉ among the totals before, and 1. In a composition tree of any
    shape it is t − 1 at most: `numpy.arange(steps)` has those.

    Parameters
    ----------
    steps : T
    chunk : L; 1 has no chunks

    Returns
    -------
    (T,) whole numbers : entry t − 1 is for the prefix of t elements

    Raises
    ------
    TypeError, ValueError
        Either is no whole number above 0.
    """
    T, L = _checks.whole("steps", steps), _checks.whole("chunk", chunk)
    prefix = np.arange(1, T + 1)
    if L == 1:
        return _log2_up(prefix)
    before = (prefix - 1) // L  # whole chunks before this one
    return np.where(before == 0, prefix - 1, L - 1 + _log2_up(np.maximum(before, 1)) + 1)


def _log2_up(n: Array) -> Array:
    """⌈log2 n⌉ of whole numbers from 1, exactly: the exponent of n − 1, which frexp reads off."""
    return np.frexp(n - 1)[1]


def _bounded(name: str, low: float, high: float) -> Activation:
    """Make min(high, max(low, z)); its slope at a kink is the one below it."""
    def slope(z: Array) -> Array:
        xp = namespace(z)
        return xp.where(z != z, z, xp.where((z > low) & (z <= high), 1, 0))  # a NaN is neither: it stays NaN

    return Activation(name, value=lambda z: namespace(z).minimum(namespace(z).maximum(z, low), high), slope=slope,
                      max_slope=1.0)


hard_tanh, relu6 = _bounded("hard_tanh", -1.0, 1.0), _bounded("relu6", 0.0, 6.0)

ENDS = {identity: (-math.inf, math.inf), relu: (0.0, math.inf), hard_tanh: (-1.0, 1.0), relu6: (0.0, 6.0)}


def resolve_clamp(activation: str | Activation) -> Activation:
    """Return identity, relu, hard_tanh or relu6, which a scan runs forward.

    Raises
    ------
    TypeError, ValueError
        It is none of them; the message says why.
    """
    σ = _resolve(activation)
    if σ not in ENDS:
        raise ValueError(f"activation: expected one whose steps compose to a clamp, {', '.join(σ.name for σ in ENDS)}; "
                         f"got {σ.name!r}. Only its backward is a scan.")
    return σ


def _resolve(activation: str | Activation) -> Activation:
    ours = {σ.name: σ for σ in (hard_tanh, relu6)}
    return ours[activation] if isinstance(activation, str) and activation in ours else resolve(activation)


def scan_forward(a: Array, u: Array, h0: Array, activation: str | Activation = "relu") -> Array:
    """Run the recurrence as a scan, equations (i) and (ii); the loop runs neurons for which it could overflow.

    Parameters
    ----------
    a, u, h0 : (T, B, N), (N,), (B, N) as in `recurrence.forward`; complex only for identity
    activation : "identity", "relu", "hard_tanh" or "relu6", or one of these as an Activation

    Returns
    -------
    h : (T, B, N) states; where the scan ran, within `scan_rounding.scan_forward_error` of the exact ones

    Raises
    ------
    TypeError, ValueError
        As `recurrence.forward`; also where the activation is not such a one.
    """
    xp = checks.recurrence(u, h0, a=a)
    σ = resolve_clamp(activation)
    low, high = ENDS[σ]
    if a.dtype.kind == "c" and σ is not identity:
        raise TypeError(f"a: expected real numbers, since a clamp orders them; got {a.dtype}.")
    T, _, N = a.shape
    with np.errstate(all="ignore"):  # inf and NaN flow through in silence, as in the loop
        s = xp.broadcast_to(u.astype(wide(a.dtype)), (T, 1, N))
        maps = Affine(s, a) if σ is identity else Clamp(s, a, xp.full_like(a, low), xp.full_like(a, high))
        h = inclusive_scan(maps)(h0).astype(a.dtype)
        start = xp.maximum(xp.abs(h0).max(axis=0), max((abs(end) for end in (low, high) if math.isfinite(end)),
                                                       default=0.0))
        loop = _may_overflow(s, a, start)
        if loop.any():
            h[..., loop] = recurrence.forward(a[..., loop], u[loop], h0[:, loop], σ)
    return h


def scan_backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array,
                  activation: str | Activation = "relu") -> RecurrenceGradients:
    """Backpropagate through time as a scan, equation (iii); the loop runs neurons for which it could overflow.

    Parameters
    ----------
    dh, h, a, u, h0 : as in `recurrence.backward`, complex too
    activation : name or Activation, any; also "hard_tanh" and "relu6"

    Returns
    -------
    RecurrenceGradients : da (T, B, N), du (N,), dh0 (B, N); where the scan ran, da is within
        `scan_rounding.scan_backward_error` of the exact one

    Raises
    ------
    TypeError, ValueError
        As `recurrence.backward`.
    """
    xp = checks.recurrence(u, h0, h=h, dh=dh, a=a, optional=("a",))
    σ = _resolve(activation)
    checks.drive(a, σ)
    with np.errstate(all="ignore"):
        h_prev = xp.concatenate([h0[None], h[:-1]])
        z = a + u * h_prev if σ.needs_z and a is not None else None
        u_rows = xp.broadcast_to(u.astype(wide(h.dtype)), h.shape)
        # σ' pulls both factors, so where it selects no 0 · inf arises; the last step comes first.
        s, c = (σ.pull(factor, z, h).astype(dtype)[::-1] for factor, dtype in ((u_rows, u_rows.dtype), (dh, h.dtype)))
        da = inclusive_scan(Affine(s, c)).c[::-1].copy()  # applied to dz_{T+1} = 0, where only c is left
        loop = _may_overflow(s, c, xp.zeros(u.shape, u.real.dtype))
        if loop.any():
            da[..., loop] = recurrence.backward(dh[..., loop], h[..., loop], None if a is None else a[..., loop],
                                                u[loop], h0[:, loop], σ).da
        return RecurrenceGradients(da, (da * h_prev).sum(axis=(0, 1)), u * da[0])


def wide(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in which the running product s is kept: float64 for float32."""
    return np.result_type(dtype, np.float64)


def _may_overflow(s: Array, c: Array, start: Array) -> Array:
    """Tell which neurons have a partial result that could overflow: (N,) of bool, True also where anything is NaN.

    No partial s exceeds max(1, max|s_t|)^T, and no c, lo, hi or state that times (start + T max|c_t|); two bits are for
    rounding and for the parts of a complex product.
    """
    xp = namespace(c)
    growth = len(c) * xp.log2(xp.maximum(xp.abs(s).max(axis=(0, 1)), 1).astype(np.float64))
    size = start.astype(np.float64) + len(c) * xp.abs(c).max(axis=(0, 1)).astype(np.float64)
    fits = (growth + 2 < np.finfo(s.dtype).maxexp) & (growth + xp.log2(size) + 2 < np.finfo(c.dtype).maxexp)
    return ~fits
