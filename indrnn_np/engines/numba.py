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
Arrays that do not lie in C order are copied first.
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
    """Compile a step, and promise that no row it writes to overlaps another that it reads or writes.

    Without the promise the compiler compares all addresses before each step, which takes longer than 64 columns do, and
    where there are fewer it computes one column after the other. Numba makes it for its own parallel loops.
    """
    compiled = _inlined(step)
    with suppress(AttributeError):  # a Numba that hides this from us, or is switched off: slower then, and as right
        flags_of = compiled._compiler._customize_flags

        def with_the_promise(flags: Any) -> Any:
            flags = flags_of(flags)
            flags.noalias = True
            return flags
        compiled._compiler._customize_flags = with_the_promise
    return compiled


def forward(a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None) -> Array:
    """Return h (T, B, N), in `out` if given, which may be a itself; arguments as in `recurrence.forward`, validated."""
    h = np.empty(a.shape, a.dtype) if out is None else out
    kernel = _kernel(_forward, activation.name.partition("(")[0], a.dtype.char, in_place=h is a)
    run(kernel, _in_order(a), _in_order(u), _in_order(h0), h, activation.alpha or 0.0)
    return h


def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array, activation: Activation,
             out: Array | None = None, db: Array | None = None) -> RecurrenceGradients:
    """Return (da, du, dh0), da in `out` if given, which may be dh itself; db (N,), if given, gets Σ_t Σ_b da."""
    da = np.empty(h.shape, h.dtype) if out is None else out
    kernel = _kernel(_backward, activation.name.partition("(")[0], h.dtype.char, in_place=da is dh)
    dh, h, u = _in_order(dh), _in_order(h), _in_order(u)
    dh0 = np.empty(h0.shape, h.dtype)
    sums_over_time, sums = np.zeros((2, *h0.shape), h.dtype), np.zeros((2, len(u)), h.dtype)  # of du, of db
    run(kernel, dh, h, h if a is None else _in_order(a), u, _in_order(h0), da, dh0, sums_over_time,
        activation.alpha or 0.0)
    _sum_of_sequences(h.dtype.char)(sums_over_time, sums)
    if db is not None:
        db[...] = sums[1]
    return RecurrenceGradients(da, sums[0], dh0)


def _in_order(array: Array) -> Array:
    """Return the array if its numbers lie one behind the other, as a plain one; else a copy in which they do."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array if type(array) is np.ndarray else array.view(np.ndarray)
    return np.array(array, order="C")


# The loops. What comes as (T, B, N) is seen as rows of columns, (T, B·N), under another name: a is the drive, h the
# states, dh the partial gradient, da the total one. Each step is one pass over rows. `in_place` says that a is h, or dh
# is da: then the step reads what it will write over by its own name, else its promise would not hold.


def _forward(kind: int, in_place: bool) -> Callable[..., None]:
    def forward(a, u, h0, h, alpha, low, high, width, depth):  # type: ignore[no-untyped-def]
        T = len(h)
        drive, states, state_0 = a.reshape(T, -1), h.reshape(T, -1), h0.reshape(-1)
        weight, slope = _by_column(u, low, high), u.dtype.type(alpha)
        for first in range(0, T, depth):
            for left in range(low, high, width):
                right = min(left + width, high)
                u_here = weight[left - low:right - low]
                for t in range(first, min(first + depth, T)):
                    h_prev = states[t - 1, left:right] if t > 0 else state_0[left:right]
                    _step(kind, in_place, slope, drive[t, left:right], u_here, h_prev, states[t, left:right])
    return forward


@_of_rows_apart
def _step(kind, in_place, alpha, a, u, h_prev, h):  # type: ignore[no-untyped-def]
    for c in range(len(u)):
        z = (h[c] if in_place else a[c]) + u[c] * h_prev[c]         # (i)
        h[c] = _value(kind, alpha, z)                               # (ii)


def _backward(kind: int, in_place: bool) -> Callable[..., None]:
    def backward(dh, h, a, u, h0, da, dh0, sums, alpha, low, high, width, depth):  # type: ignore[no-untyped-def]
        T = len(h)
        states, state_0, drive = h.reshape(T, -1), h0.reshape(-1), a.reshape(T, -1)
        partial, total, total_0 = dh.reshape(T, -1), da.reshape(T, -1), dh0.reshape(-1)
        du, db = sums[0].reshape(-1), sums[1].reshape(-1)
        weight, slope, zeros = _by_column(u, low, high), u.dtype.type(alpha), np.zeros(min(width, high - low), u.dtype)
        for end in range(T, 0, -depth):
            for left in range(low, high, width):
                right = min(left + width, high)
                u_here, du_here, db_here = weight[left - low:right - low], du[left:right], db[left:right]
                for t in range(end - 1, max(end - depth, 0) - 1, -1):
                    h_prev = states[t - 1, left:right] if t > 0 else state_0[left:right]
                    dz_next = total[t + 1, left:right] if t + 1 < T else zeros[:right - left]
                    _step_back(kind, in_place, slope, partial[t, left:right], states[t, left:right],
                               drive[t, left:right], u_here, h_prev, dz_next, total[t, left:right], du_here, db_here)
        _over_columns(weight, total[0, low:high], total_0[low:high])
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


@_of_rows_apart
def _over_columns(u, dz_1, dh0):  # type: ignore[no-untyped-def]
    for c in range(len(u)):
        dh0[c] = u[c] * dz_1[c]                                     # (v)


@_inlined
def _by_column(u, low, high):  # type: ignore[no-untyped-def]
    """Return the recurrent weight of each column from low to high."""
    weight = np.empty(high - low, u.dtype)
    n = low % len(u)
    for k in range(len(weight)):
        weight[k] = u[n]
        n = n + 1 if n + 1 < len(u) else 0
    return weight


def _over_sequences(sums_over_time, sums):  # type: ignore[no-untyped-def]
    """Add up over B what came of du and of db."""
    for k in range(len(sums)):
        for sequence in sums_over_time[k]:
            for n in range(len(sequence)):
                sums[k, n] += sequence[n]


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
    read, own = _array_types(dtype)
    arrays = ([read(3), read(1), read(2), own(3)] if direction is _forward else
              [read(3), read(3), read(3), read(1), read(2), own(3), own(2), own(3)])
    return _compiled(direction(KINDS[activation], in_place), *arrays, types.float64, *(types.intp,) * 4)


@cache
def _sum_of_sequences(dtype: str) -> Callable[..., None]:
    """Return the compiled sum over B."""
    read, own = _array_types(dtype)
    return _compiled(_over_sequences, read(3), own(2))


def _array_types(dtype: str) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """Return the types of arrays of so many dimensions that are only read, and of those that are written to."""
    real = types.float32 if dtype == "f" else types.float64
    return lambda rank: types.Array(real, rank, "C", readonly=True), lambda rank: types.Array(real, rank, "C")


def _compiled(loop: Callable[..., None], *arguments: Any) -> Callable[..., None]:
    if numba.config.DISABLE_JIT:  # Numba's own switch, for debugging: the same text as plain Python
        return np.errstate(all="ignore")(loop)
    kernel = numba.njit(nogil=True, error_model="numpy")(loop)
    with suppress(Exception):  # no folder can be written to: compile for this process alone
        kernel._cache = CompiledCache(kernel.py_func)
    kernel.compile(types.void(*arguments))
    kernel.disable_compile()  # else it would compile anew for arrays that may be written to
    return kernel
