"""The door: every public function names a bad argument before any work is done.

Each message says which argument, what was expected and what came. Shapes are those of the conventions:
x (T, B, M), W (N, M), u and b (N,), h0 (B, N), and a, h, dh (T, B, N).

Most checks look at dtypes and shapes alone. What one of these has found for one call holds for every call of its kind,
and `once_per_kind` remembers it: a training loop makes the same call a million times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from . import array_module
from .activations import Activation
from .array_module import Array

REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
# The specification computes in whatever precision it is given: the oracle takes its reference from here.
EXTENDED = tuple(dict.fromkeys((np.dtype(np.longdouble).name, np.dtype(np.clongdouble).name)))

KINDS = 4096  # how many kinds of call are remembered; then all are forgotten

P = ParamSpec("P")
R = TypeVar("R")


def once_per_kind(check: Callable[P, R]) -> Callable[P, R]:
    """Let a check run once for every kind of call: the dtypes and shapes of its arrays.

    It must look at nothing else. A call with anything but NumPy's own arrays and None is never remembered, nor is one
    that was refused.
    """
    found: dict[tuple[Any, ...], tuple[R]] = {}

    @wraps(check)
    def remembering(*given: P.args, **named: P.kwargs) -> R:
        kind: list[Any] = [tuple(named)]
        for value in (*given, *named.values()):
            if type(value) is np.ndarray:
                kind += value.dtype, value.shape
            elif value is None:
                kind.append(None)
            else:
                return check(*given, **named)
        key = tuple(kind)
        try:
            result = found.get(key)
        except TypeError:  # a dtype that cannot be looked up: the check will say what it thinks of it
            result = None
        if result is None:
            result = check(*given, **named),
            if len(found) >= KINDS:
                found.clear()
            found[key] = result
        return result[0]
    return remembering


@once_per_kind
def layer(x: Array, W: Array, u: Array, b: Array | None, h0: Array | None) -> Any:
    """Check the arguments of one layer, Eq. 2; return their array namespace."""
    if isinstance(b, str):
        raise TypeError(f"b: expected the bias (N,) or None; got the text {b!r}. An activation is given by its name: "
                        f"activation={b!r}.")
    xp = _one_kind(REAL + COMPLEX, ("b", "h0"), x=x, W=W, u=u, b=b, h0=h0)
    _time_major("x", x, "(T, B, M)")
    _, B, M = x.shape
    if W.ndim != 2 or W.shape[1] != M or W.shape[0] == 0:
        hint = " It looks transposed." if W.ndim == 2 and W.shape[0] == M else ""
        raise ValueError(f"W: expected shape (N, {M}), a row per neuron and a column per input of "
                         f"x {x.shape}; got {W.shape}.{hint}")
    N = len(W)
    _recurrent_weight(u, N, f"W {W.shape}")
    _expect("b", b, (N,), f"one bias per neuron of W {W.shape}")
    _expect("h0", h0, (B, N), f"an initial state per sequence of x {x.shape} and neuron of W {W.shape}")
    return xp


def recurrence(u: Array, h0: Array | None, *, dtypes: tuple[str, ...] = REAL + COMPLEX + EXTENDED,
               optional: tuple[str, ...] = (), tangents: dict[str, Array] | None = None,
               **drives: Array | None) -> Any:
    """Check the arguments of the recurrence alone; return their array namespace.

    `drives` are the arrays of shape (T, B, N) in the call (a, h, dh, …), the first of which sets T, B and N;
    `optional` names what may be None; `tangents` are those of u and h0, by name.
    """
    tangents = tangents or {}
    xp = _one_kind(dtypes, optional, **drives, u=u, h0=h0, **tangents)
    lead, first = next((name, array) for name, array in drives.items() if array is not None)
    _time_major(lead, first, "(T, B, N)")
    T, B, N = first.shape
    for name, array in drives.items():
        _expect(name, array, (T, B, N), f"as {lead} has it")
    _recurrent_weight(u, N, f"{lead} {first.shape}")
    _expect("h0", h0, (B, N), f"an initial state per sequence and neuron of {lead} {first.shape}")
    for name, array in tangents.items():
        _expect(name, array, (N,) if name.startswith("u") else (B, N), "the shape of what it is a tangent of")
    return xp


@once_per_kind
def cotangent(dh: Array, h: Array) -> None:
    """Check dh against the states h whose cotangent it is."""
    _one_kind(REAL + COMPLEX, (), h=h, dh=dh)
    _expect("dh", dh, h.shape, "one cotangent per state (T, B, N)")


def out(buffer: Array, reusable: str, **given: Array | None) -> None:
    """Check the array that a result is to be written into: like the first one given, and no part of any of them.

    It may be the array that `reusable` names, whose every number is read before its place is written to.
    """
    lead, first = next((name, array) for name, array in given.items() if array is not None)
    xp = _like(**{lead: first, "out": buffer})
    writeable = xp is not np or buffer.flags.writeable  # CuPy's flags know neither this nor alignment
    if not (buffer.flags.c_contiguous and writeable):
        raise ValueError("out: expected an array in C order that may be written to; got one that "
                         + ("is read-only." if buffer.flags.c_contiguous else f"has strides {buffer.strides}."))
    if xp is np and not buffer.flags.aligned:
        raise ValueError("out: expected an aligned array; got one that begins between two numbers.")
    for name, array in given.items():
        if array is not None and xp.may_share_memory(buffer, array) and not (name == reusable and buffer is array):
            raise ValueError(f"out: expected memory of its own, or {reusable} itself; got some that {name} uses.")


def drive(a: Array | None, activation: Activation) -> None:
    """Check that a is there where the slope must be taken at z = a + u ⊙ h."""
    if a is None and activation.needs_z:
        raise ValueError(f"a: expected the drive (T, B, N), since the slope of {activation.name} must be taken "
                         "at z; got None. It may be left out for identity, relu, leaky_relu and softplus.")


def _one_kind(dtypes: tuple[str, ...], optional: tuple[str, ...], **arrays: Any) -> Any:
    """Insist on one library, one device and one dtype out of `dtypes`; the optional ones may be None."""
    given = {name: array for name, array in arrays.items() if array is not None or name not in optional}
    xp = array_module.of(**given)
    first, dtype = "", ""
    came_as = {name: array.dtype.name if array.dtype.isnative else array.dtype.str for name, array in given.items()}
    for name, came in came_as.items():
        if came not in dtypes:
            others = next((other for other in came_as.values() if other in dtypes), "float32")
            raise TypeError(f"{name}: expected dtype {' or '.join(dtypes)}; got {came}. "
                            f"Convert it: {name}.astype({others!r}).")
        if dtype and came != dtype:
            raise TypeError(f"{name}: expected dtype {dtype}, as {first} has it; got {came}. "
                            "All arrays of a call share one dtype.")
        first, dtype = first or name, dtype or came
    return xp


@once_per_kind
def _like(**arrays: Array) -> Any:
    """Insist on two arrays of one kind and shape; return their array namespace."""
    xp = _one_kind(REAL + COMPLEX, (), **arrays)
    (lead, first), (name, array) = arrays.items()
    _expect(name, array, first.shape, f"as {lead} has it")
    return xp


def _time_major(name: str, array: Array, letters: str) -> None:
    if array.ndim != 3:
        raise ValueError(f"{name}: expected 3 dimensions, time-major {letters}; got shape {array.shape}.")
    if 0 in array.shape:
        raise ValueError(f"{name}: expected at least one of each of {letters}; got shape {array.shape}.")


def _recurrent_weight(u: Array, N: int, of: str) -> None:
    if u.shape == (N, N) and u.ndim == 2:
        raise ValueError(f"u: expected shape ({N},), one recurrent weight per neuron of {of}; got {u.shape}. "
                         "A full recurrent matrix is an RNN's: here each neuron sees only its own past.")
    _expect("u", u, (N,), f"one recurrent weight per neuron of {of}")


def _expect(name: str, array: Array | None, shape: tuple[int, ...], meaning: str) -> None:
    if array is not None and array.shape != shape:
        hint = ""
        if len(shape) == 3 and array.shape == (shape[1], shape[0], shape[2]):
            hint = f" It looks batch-first; time comes first: {name}.swapaxes(0, 1)."
        raise ValueError(f"{name}: expected shape {shape}, {meaning}; got {array.shape}.{hint}")
