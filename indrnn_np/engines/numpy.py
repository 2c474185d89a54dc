"""The recurrence on NumPy, without waste: as `recurrence.py` has it, several times faster.

h, da and dh0 are equal to the specification's in every bit where σ is piecewise linear, and within rounding elsewhere.

Forward works in place: for ReLU a step is three ufuncs, the last of which overwrites z where h must end up, which may
be a itself. u is broadcast to (B, N) once, and ReLU compares with an array of zeros, since a scalar operand would be
converted anew at every call.

Backward, all of h is known before the first step. So the slopes are computed for a block of steps at once,
and du is summed by blocks too; what remains one step after the other is the recurrence in dz alone.
For ReLU the "slope" is a mask of bits, so that dz is selected by `&` and no 0 · inf arises.

Memory, in bytes per element of (T, B, N) in float32 and float64, beyond what the caller holds: forward allocates h, 4
and 8, nothing where `out` is given; backward needs h, and a where σ is tanh or sigmoid, and allocates da, likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..activations import Activation
from ..array_module import Array
from ..recurrence import RecurrenceGradients

BLOCK_BYTES = 1 << 18  # of h in a block of steps: large enough to hide NumPy's overhead, small enough for the caches


@np.errstate(all="ignore")
def forward(a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None) -> Array:
    """Return h (T, B, N), in `out` if given, which may be a itself; arguments as in `recurrence.forward`, validated."""
    h = np.empty(a.shape, a.dtype) if out is None else out
    u_rows = np.broadcast_to(u, h0.shape).copy()
    carried = np.empty_like(u_rows)
    apply = _in_place(activation, h0)
    multiply, add = np.multiply, np.add
    h_prev = h0
    for a_t, h_t in zip(a, h, strict=True):
        multiply(u_rows, h_prev, carried)
        add(a_t, carried, h_t)
        apply(h_t)
        h_prev = h_t
    return h


@np.errstate(all="ignore")
def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array,
             activation: Activation, out: Array | None = None, db: Array | None = None) -> RecurrenceGradients:
    """Return (da, du, dh0), da in `out` if given, which may be dh itself; db (N,), if given, gets Σ_t Σ_b da."""
    T, B, N = h.shape
    da = np.empty(h.shape, h.dtype) if out is None else out
    u_rows = np.broadcast_to(u, h0.shape).copy()
    carried = np.empty_like(u_rows)
    du_rows, db_rows, dz = np.zeros((3, B, N), h.dtype)
    steps = min(T, max(1, BLOCK_BYTES // (h.itemsize * B * N)))
    scratch, bits = np.empty((steps, B, N), h.dtype), np.empty((steps, B, N), np.int32 if h.itemsize == 4 else np.int64)
    multiply, add = np.multiply, np.add

    for start in reversed(range(0, T, steps)):
        block = slice(start, min(start + steps, T))
        h_prev = h[start - 1:block.stop - 1] if start > 0 else np.concatenate([h0[None], h[:block.stop - 1]])
        z = a[block] + u_rows * h_prev if activation.needs_z and a is not None else None
        pull = _pull_block(activation, z, h[block], bits)
        for k in reversed(range(block.stop - start)):
            dz_next, dz = dz, da[start + k]
            multiply(u_rows, dz_next, carried)
            add(dh[start + k], carried, dz)
            pull(k, dz)
        _add_up(multiply(da[block], h_prev, scratch[:len(h_prev)]), du_rows)
        if db is not None:
            _add_up(da[block], db_rows)
    if db is not None:
        db_rows.sum(axis=0, out=db)
    return RecurrenceGradients(da, du_rows.sum(axis=0), u_rows * dz)


def _add_up(block: Array, rows: Array) -> None:
    """Add all steps of a block to rows (B, N)."""
    rows += block[0] if len(block) == 1 else np.add.reduce(block, axis=0)


def _in_place(activation: Activation, like: Array) -> Callable[[Array], object]:
    """Return the function that overwrites a step's z with σ(z)."""
    if activation.name == "identity":
        return lambda z: None
    if activation.name == "tanh":
        return lambda z: np.tanh(z, z)
    scratch = np.zeros(like.shape, like.dtype)
    if activation.name == "relu":
        return lambda z: np.maximum(z, scratch, out=z)
    if activation.alpha is not None:
        alpha = np.full(like.shape, activation.alpha, like.dtype)
        larger = np.maximum if activation.alpha <= 1 else np.minimum
        return lambda z: larger(z, np.multiply(alpha, z, scratch), out=z)  # α·z and z cross at the kink
    ones = np.ones(like.shape, like.dtype)
    return _sigmoid_in_place(ones) if activation.name == "sigmoid" else _softplus_in_place(scratch)


def _sigmoid_in_place(ones: Array) -> Callable[[Array], object]:
    def sigmoid(z: Array) -> None:  # 1 / (1 + exp(−z)): where exp overflows, the quotient is 0, as it should be
        np.negative(z, out=z)
        np.exp(z, out=z)
        np.add(z, ones, out=z)
        np.divide(ones, z, out=z)
    return sigmoid


def _softplus_in_place(zeros: Array) -> Callable[[Array], object]:
    tail = np.empty_like(zeros)

    def softplus(z: Array) -> None:  # max(z, 0) + log1p(exp(−|z|))
        np.absolute(z, out=tail)
        np.negative(tail, out=tail)
        np.exp(tail, out=tail)
        np.log1p(tail, out=tail)
        np.maximum(z, zeros, out=z)
        np.add(z, tail, out=z)
    return softplus


def _pull_block(activation: Activation, z: Array | None, h: Array, bits: Array) -> Callable[[int, Array], object]:
    """Return the function that overwrites v, step k of this block, with σ'(z_k) ⊙ v; it may use `bits`, integers."""
    if activation.name == "identity":
        return lambda k, v: None
    if activation.alpha is not None and math.isnan(h.max()):  # no mask of bits can say NaN
        return lambda k, v: np.copyto(v, activation.pull(v, None, h[k]))
    if activation.name == "relu":
        mask = np.negative((h > 0).view(np.int8), out=bits[:len(h)], dtype=bits.dtype)  # −1 has all bits set
        return lambda k, v: np.bitwise_and(v.view(bits.dtype), mask[k], v.view(bits.dtype))
    if activation.alpha is not None:
        slopes = np.maximum((h > 0).astype(h.dtype), (h <= 0) * h.dtype.type(activation.alpha))
    else:
        slopes = activation.pull(np.ones_like(h), z, h)
    return lambda k, v: np.multiply(slopes[k], v, v)
