"""The recurrence compiled by Numba: near the speed of memory, equal to `recurrence.py` as the NumPy engine is.

h, da and dh0 are equal to the specification's in every bit where σ is piecewise linear (nothing is contracted to FMA).
No neuron sees another and no sequence sees another, so (B, N) is one row of columns here, each a recurrence of its own.
A kernel runs the columns from `low` to `high`: some steps at a time, and of these a block of columns through all steps
before the next block, one row after the other, as memory lies. Neither blocks nor several kernels at the same time
change a bit: a column is summed over t in one order, and over B at the end.

Kernels are compiled at first use, one for each direction, activation and dtype, and kept on disk, beside this file or
where Numba's own settings say. All that they call stands in this file, whose date tells Numba that one is stale.

Memory, in bytes per element of (T, B, N) in float32 and float64, beyond what the caller holds: forward allocates h, 4
and 8, nothing where `out` is given; backward needs h, and a where σ is tanh or sigmoid, and allocates da, likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from ..activations import Activation
from ..array_module import Array
from ..recurrence import RecurrenceGradients
from .columns import run
from .compiled_cache import CompiledCache

KINDS = {"identity": 0, "relu": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4, "softplus": 5}
RELU, LEAKY_RELU, TANH, SIGMOID, SOFTPLUS = range(1, 6)  # compared with constants, so that one branch is compiled

_inlined = numba.njit(nogil=True, error_model="numpy", forceinline=True)


def _of_rows_apart(step: Callable[..., None]) -> Callable[..., None]:
    """Compile a step, and promise that no row it writes to is another of its rows, nor overlaps one.

    Without the promise the compiler compares all addresses before each step, which takes longer than 64 columns do, and
    where there are fewer it computes one column after the other. Numba makes it for its own parallel loops.
    """
    compiled = _inlined(step)
    if not numba.config.DISABLE_JIT:
        flags_of = compiled._compiler._customize_flags

        def with_the_promise(flags: Any) -> Any:
            flags = flags_of(flags)
            flags.noalias = True
            return flags
        compiled._compiler._customize_flags = with_the_promise
    return compiled  # type: ignore[no-any-return]


def forward(a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None) -> Array:
    """Return h (T, B, N), in `out` if given, which may be a itself; arguments as in `recurrence.forward`, validated."""
    h = np.empty(a.shape, a.dtype) if out is None else out
    kernel = _kernel(_forward, activation.name.partition("(")[0], a.dtype.char, in_place=h is a)
    run(kernel, _rows(a), _row(u, h0.shape), _row(h0, h0.shape), _rows(h), _slope_below(activation, a))
    return h


def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array, activation: Activation,
             out: Array | None = None, db: Array | None = None) -> RecurrenceGradients:
    """Return (da, du, dh0), da in `out` if given, which may be dh itself; db (N,), if given, gets Σ_t Σ_b da."""
    da = np.empty(h.shape, h.dtype) if out is None else out
    kernel = _kernel(_backward, activation.name.partition("(")[0], h.dtype.char, in_place=da is dh)
    zeros, du_row, db_row = np.zeros((3, h0.size), h.dtype)
    run(kernel, _rows(dh), _rows(h), _rows(h if a is None else a), _row(u, h0.shape), _row(h0, h0.shape),
        _rows(da), zeros, du_row, db_row, _slope_below(activation, h))
    if db is not None:
        np.add.reduce(db_row.reshape(h0.shape), axis=0, out=db)
    return RecurrenceGradients(da, np.add.reduce(du_row.reshape(h0.shape), axis=0), u * da[0])


def _rows(array: Array) -> Array:
    """Return (T, B, N) as rows (T, B·N): a view where they lie one behind the other, else a copy in which they do."""
    if type(array) is not np.ndarray or not (array.flags.c_contiguous and array.flags.aligned):
        array = np.array(array, order="C")
    return array.reshape(len(array), -1)


def _row(array: Array, shape: tuple[int, ...]) -> Array:
    """Return u or h0 as one row (B·N,)."""
    if array.shape == shape and array.flags.c_contiguous and array.flags.aligned:
        return array.reshape(-1)
    row = np.empty(shape, array.dtype)
    row[...] = array
    return row.reshape(-1)


def _slope_below(activation: Activation, like: Array) -> Any:
    """Return α where σ has one, as a number of the arrays' dtype."""
    return like.dtype.type(activation.alpha or 0)


# The loops. Each step is one pass over rows; `in_place` says that a is h, or dh is da.


def _forward(kind: int, in_place: bool) -> Callable[..., None]:
    def forward(a, u, h0, h, alpha, low, high, width, depth):  # type: ignore[no-untyped-def]
        T = len(h)
        for first in range(0, T, depth):
            for left in range(low, high, width):
                right = min(left + width, high)
                u_here = u[left:right]
                for t in range(first, min(first + depth, T)):
                    h_prev = h[t - 1, left:right] if t > 0 else h0[left:right]
                    _step(kind, in_place, alpha, a[t, left:right], u_here, h_prev, h[t, left:right])
    return forward


@_of_rows_apart
def _step(kind, in_place, alpha, a, u, h_prev, h):  # type: ignore[no-untyped-def]
    for c in range(len(u)):
        z = (h[c] if in_place else a[c]) + u[c] * h_prev[c]         # (i)
        h[c] = _value(kind, alpha, z)                               # (ii)


def _backward(kind: int, in_place: bool) -> Callable[..., None]:
    def backward(dh, h, a, u, h0, da, zeros, du, db, alpha, low, high, width, depth):  # type: ignore[no-untyped-def]
        T = len(h)
        for end in range(T, 0, -depth):
            for left in range(low, high, width):
                right = min(left + width, high)
                u_here, du_here, db_here = u[left:right], du[left:right], db[left:right]
                for t in range(end - 1, max(end - depth, 0) - 1, -1):
                    h_prev = h[t - 1, left:right] if t > 0 else h0[left:right]
                    dz_next = da[t + 1, left:right] if t + 1 < T else zeros[left:right]
                    _step_back(kind, in_place, alpha, dh[t, left:right], h[t, left:right], a[t, left:right], u_here,
                               h_prev, dz_next, da[t, left:right], du_here, db_here)
    return backward


@_of_rows_apart
def _step_back(kind, in_place, alpha, dh, h, a, u, h_prev, dz_next, da, du, db):  # type: ignore[no-untyped-def]
    for c in range(len(u)):
        z = a[c] + u[c] * h_prev[c]
        g = (da[c] if in_place else dh[c]) + u[c] * dz_next[c]      # (iii)
        v = _pull(kind, alpha, g, z, h[c])                          # (iv)
        da[c] = v
        du[c] += v * h_prev[c]                                      # (v)
        db[c] += v


# The activations. `type(z)(…)` keeps a constant in the dtype of z, where Numba would compute in float64.


@_inlined
def _value(kind, alpha, z):  # type: ignore[no-untyped-def]
    """σ(z)."""
    real = type(z)
    if kind == RELU:
        return real(0) if z <= real(0) else z
    if kind == LEAKY_RELU:
        return alpha * z if z <= real(0) else z
    if kind == TANH:
        e = _expm1(real(-2) * abs(z))
        return e / (real(2) + e) if z < real(0) else -e / (real(2) + e)
    if kind == SIGMOID:
        e = _exp(-abs(z))
        return (e if z < real(0) else real(1)) / (real(1) + e)
    if kind == SOFTPLUS:
        return _log1p(_exp(-abs(z))) + (z if z > real(0) else real(0))
    return z


@_inlined
def _pull(kind, alpha, g, z, h):  # type: ignore[no-untyped-def]
    """σ'(z) ⊙ g: selected by h where σ is piecewise linear, so that 0 · inf cannot arise and a NaN stays one."""
    real = type(z)
    if kind == RELU:
        return g if h > real(0) else real(0) if h <= real(0) else h
    if kind == LEAKY_RELU:
        return g if h > real(0) else alpha * g if h <= real(0) else h
    if kind == TANH:
        return real(4) * _logistic_slope(real(2) * z) * g
    if kind == SIGMOID:
        return _logistic_slope(z) * g
    if kind == SOFTPLUS:
        return -_expm1(-h) * g
    return g


@_inlined
def _logistic_slope(z):  # type: ignore[no-untyped-def]
    e = _exp(-abs(z))
    one_more = type(z)(1) + e
    return e / (one_more * one_more)


# Three functions that the compiler can run on many columns at once, as it cannot run the C library's: y ≤ 0.

LOG2_E = 1.4426950408889634
LN2 = 355 / 512, -2.1219444005469058e-04  # their sum; the first has nine bits, so that n times it is exact
FACTORIALS = tuple(1 / f for f in (6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2))
ODD = tuple(1 / (2 * k + 1) for k in range(15, 0, -1))


@_inlined
def _reduced(y):  # type: ignore[no-untyped-def]
    """Return 2^n and exp(r) − 1 where y = n ln 2 + r and |r| ≤ ½ ln 2, by the Taylor series to r^13."""
    real = type(y)
    y = real(-1000) if y < real(-1000) else y
    n, power = _nearest(y * real(LOG2_E))
    r = (y - n * real(LN2[0])) - n * real(LN2[1])
    series = real(0)
    for k in range(5 if _is_single(y) else 0, 12):
        series = series * r + real(FACTORIALS[k])
    return power, r + r * r * series


@_inlined
def _exp(y):  # type: ignore[no-untyped-def]
    power, rest = _reduced(y)
    return power + power * rest


@_inlined
def _expm1(y):  # type: ignore[no-untyped-def]
    power, rest = _reduced(y)
    return power * rest + (power - type(y)(1))


@_inlined
def _log1p(e):  # type: ignore[no-untyped-def]
    """2 artanh(s) with s = e / (2 + e), by its series: s ≤ 1/3 where e ≤ 1."""
    real = type(e)
    s = e / (real(2) + e)
    series = real(0)
    for k in range(8 if _is_single(e) else 0, 15):
        series = (series + real(ODD[k])) * (s * s)
    return real(2) * (s + s * series)


@_inlined
def _is_single(x):  # type: ignore[no-untyped-def]
    """Whether x is a float32: known to the compiler, since both sides are constants."""
    real = type(x)
    return real(1) + real(1e-9) == real(1)


def _rounding(real: Any, bits: Any, digits: int, bias: int) -> Any:
    magic, one, lowest = real(1.5 * 2**digits), bias << digits, real(1 - bias)

    @_inlined
    def nearest(x):  # type: ignore[no-untyped-def]
        shifted = x + magic  # so large that n stands in its last bits
        n = shifted - magic
        return n, real(0) if n < lowest else bits((real(shifted).view(bits) << digits) + one).view(real)
    return nearest


_NEAREST = {"f": _rounding(np.float32, np.int32, 23, 127), "d": _rounding(np.float64, np.int64, 52, 1023)}


def _nearest(x: Any) -> Any:
    """Return the whole number n nearest to x, and 2^n, or 0 where that would be subnormal."""
    return _NEAREST[x.dtype.char](x)


@overload(_nearest, inline="always")
def _nearest_compiled(x):  # type: ignore[no-untyped-def]
    nearest = _NEAREST["f" if x == types.float32 else "d"]
    return lambda x: nearest(x)


# Compiling, once in the life of an installation.


@cache
def _kernel(direction: Callable[[int, bool], Callable[..., None]], activation: str, dtype: str,
            in_place: bool) -> Callable[..., None]:
    """Return a compiled loop, from the disk if it is there; every array that is only read may be read-only."""
    real = types.float32 if dtype == "f" else types.float64
    row, rows = (types.Array(real, rank, "C", readonly=True) for rank in (1, 2))
    own_row, own_rows = (types.Array(real, rank, "C") for rank in (1, 2))
    arrays = ([rows, row, row, own_rows] if direction is _forward else
              [rows, rows, rows, row, row, own_rows, own_row, own_row, own_row])
    loop = direction(KINDS[activation], in_place)
    if numba.config.DISABLE_JIT:  # Numba's own switch, for debugging: the same text as plain Python
        return loop
    kernel = numba.njit(nogil=True, error_model="numpy")(loop)
    with suppress(Exception):  # no folder can be written to: compile for this process alone
        kernel._cache = CompiledCache(kernel.py_func)
    kernel.compile(types.void(*arrays, real, *(types.intp,) * 4))
    kernel.disable_compile()  # else it would compile anew for arrays that may be written to
    return kernel
