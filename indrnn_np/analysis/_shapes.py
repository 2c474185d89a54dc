"""The door for matrices and stacks of layers: shapes, dtypes and libraries, checked by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import checks
from ..array_module import Array, is_cupy
from ._checks import all_finite, flag


def stack(W: Sequence[Array], u: Sequence[Array], slopes: Sequence[Array] | None, residual: bool,
          optional: tuple[str, ...] = ()) -> Any:
    """Check the layers of a stack, first to last; return their array namespace. `optional` says what may be None."""
    layers, residual = _layers("W", W), flag("residual", residual)
    for name, given in (("u", u), ("slopes", slopes)):
        if not (given is None and name in optional) and _layers(name, given) != layers:
            raise ValueError(f"{name}: expected {layers} arrays, one per layer as W has them; got {len(given or ())}.")
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
    """Insist on the weights of a linear RNN: W (N, M) and U (N, N), NumPy's and of one dtype."""
    square("U", U)
    checks._one_kind(checks.REAL + checks.COMPLEX, (), U=U, W=W)
    on_the_cpu(W=W, U=U)
    _input_weight("W", W, f"U {U.shape}", len(U))


def two_layers(W_f: Any, u_f: Any, W_s: Any) -> None:
    """Insist on two linear IndRNN layers, NumPy's: W_f (N, M), u_f (N,) and W_s (N, N)."""
    square("W_s", W_s)
    _each(W_f=W_f, u_f=u_f, W_s=W_s)
    _input_weight("W_f", W_f, f"W_s {W_s.shape}", len(W_s))
    checks._expect("u_f", u_f, (len(W_s),), f"a recurrent weight for each row of W_s {W_s.shape}")


def dense_stack(W: Any, u: Any, V: Any, Q: Any) -> None:
    """Insist on a dense stack of one-neuron layers, NumPy's: W (N, M), u (N,), V and Q (N, N)."""
    square("Q", Q)
    _each(W=W, u=u, V=V, Q=Q)
    _input_weight("W", W, f"Q {Q.shape}", len(Q))
    checks._expect("u", u, (len(Q),), f"a recurrent weight for each row of Q {Q.shape}")
    checks._expect("V", V, Q.shape, "as Q has it")


def input_and_state(x: Any, h0: Any, shape: tuple[int, ...]) -> None:
    """Insist on NumPy's x (T, B, M) and h0 (B, N) or None, for an input weight of `shape` (N, M)."""
    _each(finite=False, x=x, **({} if h0 is None else {"h0": h0}))
    if x.ndim != 3 or 0 in x.shape or x.shape[2] != shape[1]:
        raise ValueError(f"x: expected shape (T, B, {shape[1]}), time-major, for an input weight {shape}; "
                         f"got {x.shape}.")
    checks._expect("h0", h0, (x.shape[1], shape[0]), "an initial state per sequence")


def on_the_cpu(**arrays: Any) -> None:
    """Insist on NumPy's arrays, where the computation needs LAPACK's eigenvectors."""
    for name, array in arrays.items():
        if is_cupy(array):
            raise TypeError(f"{name}: expected a NumPy array; got one of CuPy's. Move it: to_numpy({name}).")


def _each(finite: bool = True, **arrays: Any) -> None:
    """Insist on NumPy's arrays, real or complex, of which each may have a dtype of its own."""
    for name, array in arrays.items():
        checks._one_kind(checks.REAL + checks.COMPLEX, (), **{name: array})
        if finite:
            all_finite(name, array)
    on_the_cpu(**arrays)


def _input_weight(name: str, W: Any, square: str, N: int) -> None:
    if W.ndim != 2 or W.shape[0] != N or W.shape[1] == 0:
        raise ValueError(f"{name}: expected shape ({N}, M), a row for each of {square}; got {W.shape}.")
    all_finite(name, W)


def _layers(name: str, given: object) -> int:
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name}: expected a list of arrays, one per layer; got {type(given).__name__}.")
    if not given:
        raise ValueError(f"{name}: expected at least one layer; got none.")
    return len(given)
