"""The door for matrices and stacks of layers: shapes, dtypes and libraries, checked by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..array_module import Array
from ._checks import all_finite


def stack(W: Sequence[Array], u: Sequence[Array], slopes: Sequence[Array] | None, residual: bool) -> Any:
    """Check the layers of a stack, first to last; return their array namespace."""
    layers = _layers("W", W)
    for name, given in (("u", u), ("slopes", slopes)):
        if given is not None and _layers(name, given) != layers:
            raise ValueError(f"{name}: expected {layers} arrays, one per layer as W has them; got {len(given)}.")
    named = {f"{name}[{i}]": array for name, given in (("W", W), ("u", u), ("slopes", slopes))
             if given is not None for i, array in enumerate(given)}
    xp = checks._one_kind(checks.REAL, (), **named)
    for i, (w, v) in enumerate(zip(W, u, strict=True)):
        if w.ndim != 2 or 0 in w.shape:
            raise ValueError(f"W[{i}]: expected shape (N, M), a row per neuron and a column per input; got {w.shape}.")
        below = w.shape[1] if i == 0 else len(u[i - 1])
        if w.shape[1] != below:
            raise ValueError(f"W[{i}]: expected shape (N, {below}), a row per neuron and a column per "
                             f"neuron of W[{i - 1}]; got {w.shape}.")
        if residual and w.shape[0] != w.shape[1]:
            raise ValueError(f"W[{i}]: expected a square matrix, since a residual layer adds to its input; "
                             f"got {w.shape}.")
        checks._recurrent_weight(v, len(w), f"W[{i}] {w.shape}")
    if slopes is not None:
        time_major(u, slopes)
    for name, array in named.items():
        all_finite(name, array)
    return xp


def spectrum(u: Sequence[Array], slopes: Sequence[Array]) -> Any:
    """Check recurrent weights and slopes, layer by layer; return their array namespace."""
    if _layers("slopes", slopes) != _layers("u", u):
        raise ValueError(f"slopes: expected {len(u)} arrays, one per layer as u has them; got {len(slopes)}.")
    named = {f"{name}[{i}]": array for name, given in (("u", u), ("slopes", slopes)) for i, array in enumerate(given)}
    xp = checks._one_kind(checks.REAL, (), **named)
    for i, v in enumerate(u):
        if v.ndim != 1 or len(v) == 0:
            raise ValueError(f"u[{i}]: expected shape (N,), one recurrent weight per neuron; got {v.shape}.")
    time_major(u, slopes)
    for name, array in named.items():
        all_finite(name, array)
    return xp


def time_major(u: Sequence[Array], slopes: Sequence[Array]) -> None:
    """Check that every layer has its slopes at the same steps and sequences."""
    checks._time_major("slopes[0]", slopes[0], "(T, B, N)")
    T, B, _ = slopes[0].shape
    for i, (s, v) in enumerate(zip(slopes, u, strict=True)):
        checks._expect(f"slopes[{i}]", s, (T, B, len(v)), "a slope per step, sequence and neuron of the layer")


def square(name: str, array: Array, letters: str = "(N, N)") -> Any:
    """Check a square matrix, or a stack of them where `letters` has more than two; return its array namespace."""
    xp = checks._one_kind(checks.REAL + checks.COMPLEX, (), **{name: array})
    if array.ndim != letters.count(",") + 1 or 0 in array.shape or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{name}: expected shape {letters}; got {array.shape}.")
    all_finite(name, array)
    return xp


def rnn(W: Any, U: Any) -> None:
    """Insist on the weights of a linear RNN: W (N, M) and U (N, N), of one dtype."""
    numpy_square("U", U)
    _finite("W", W, 2)
    N = len(U)
    if W.shape[0] != N or W.shape[1] == 0:
        raise ValueError(f"W: expected shape ({N}, M), a row for each of U {U.shape}; got {W.shape}.")
    if W.dtype != U.dtype:
        raise TypeError(f"W: expected dtype {U.dtype}, as U has it; got {W.dtype}.")


def two_layers(W_f: Any, u_f: Any, W_s: Any) -> None:
    """Insist on two linear IndRNN layers: W_f (N, M), u_f (N,) and W_s (N, N)."""
    numpy_square("W_s", W_s)
    _finite("W_f", W_f, 2)
    _finite("u_f", u_f, 1)
    N = len(W_s)
    if W_f.shape[0] != N or W_f.shape[1] == 0:
        raise ValueError(f"W_f: expected shape ({N}, M), a row for each of W_s {W_s.shape}; got {W_f.shape}.")
    if u_f.shape != (N,):
        raise ValueError(f"u_f: expected shape ({N},), a recurrent weight for each row of W_s {W_s.shape}; "
                         f"got {u_f.shape}.")


def input_and_state(x: Any, h0: Any, shape: tuple[int, ...]) -> None:
    """Insist on an input (T, B, M) and an initial state (B, N) or None, for an input weight of `shape` (N, M)."""
    N, M = shape
    _floating("x", x)
    if x.ndim != 3 or 0 in x.shape or x.shape[2] != M:
        raise ValueError(f"x: expected shape (T, B, {M}), time-major, for an input weight {shape}; got {x.shape}.")
    if h0 is not None:
        _floating("h0", h0)
        if h0.shape != (x.shape[1], N):
            raise ValueError(f"h0: expected shape ({x.shape[1]}, {N}), an initial state per sequence; got {h0.shape}.")


def numpy_square(name: str, value: Any) -> None:
    """Insist on a square matrix of finite floating-point numbers."""
    _finite(name, value, 2)
    if value.shape[0] != value.shape[1] or len(value) == 0:
        raise ValueError(f"{name}: expected a square matrix (N, N); got shape {value.shape}.")


def _layers(name: str, given: object) -> int:
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list of arrays, one per layer; got {type(given).__name__}.")
    if not given:
        raise ValueError(f"{name}: expected at least one layer; got none.")
    return len(given)


def _finite(name: str, value: Any, dimensions: int) -> None:
    _floating(name, value)
    if value.ndim != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimension{'s' * (dimensions > 1)}; got shape {value.shape}.")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: expected finite numbers; got {value[~np.isfinite(value)].flat[0]}.")


def _floating(name: str, value: Any) -> None:
    if type(value) is not np.ndarray:
        raise TypeError(f"{name}: expected a NumPy array; got {type(value).__name__}. Move it: to_numpy({name}).")
    if value.dtype.name not in checks.REAL + checks.COMPLEX:
        raise TypeError(f"{name}: expected dtype {' or '.join(checks.REAL + checks.COMPLEX)}; got {value.dtype}.")
