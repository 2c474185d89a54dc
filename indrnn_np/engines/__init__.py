"""The same recurrence, faster. An engine is a module with `forward` and `backward` as `recurrence` has them.

It also writes into the caller's buffers. The specification itself is the engine "reference"; "numba" is there where
Numba is installed; "cuda" and "cuda_sequential", which run CuPy arrays, where a GPU answers. `choose` is the one place
that decides which engine runs; `recurrent_forward` and `recurrent_backward` are the recurrence alone, on an engine,
behind the door.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, cast

from .. import checks
from ..activations import Activation, is_builtin, resolve
from ..array_module import Array, is_cupy, require_cupy
from ..recurrence import RecurrenceGradients


class Engine(Protocol):
    """What an engine's module offers; arguments reach it validated, and inf and NaN flow through it in silence."""

    def forward(self, a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None) -> Array:
        """Return h (T, B, N): `out`, which may be a itself, or a new C-contiguous array."""

    def backward(self, dh: Array, h: Array, a: Array | None, u: Array, h0: Array, activation: Activation,
                 out: Array | None = None, db: Array | None = None) -> RecurrenceGradients:
        """Return da (T, B, N), du (N,) and dh0 (B, N): `out`, which may be dh itself, and new arrays.

        Where db (N,) is given, Σ_t Σ_b da is written into it.
        """


ON_THE_CPU = ("reference", "numpy", "numba")  # from the specification to the fastest
ON_A_GPU = ("cuda_sequential", "cuda")


def available() -> tuple[str, ...]:
    """Name the engines that run on this machine: the specification, then the CPU's, then the GPU's, fastest last."""
    return on_the_cpu() + (ON_A_GPU if _gpu_answers() else ())


def on_the_cpu() -> tuple[str, ...]:
    """Name the engines that run NumPy arrays on this machine, the fastest last."""
    return ON_THE_CPU if _numba_works() else ON_THE_CPU[:-1]


@cache
def _numba_works() -> bool:
    """Whether Numba is installed and imports: it refuses a NumPy that is newer than it knows."""
    if find_spec("numba") is None:
        return False
    try:
        get("numba")
    except Exception:  # then it is as if it were not there
        return False
    return True


@cache
def _gpu_answers() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    if find_spec("cupy") is None:
        return False
    try:
        require_cupy()
    except Exception:  # no driver, or one that is too old: then there is no GPU
        return False
    return True


def choose(engine: str | None, array: Array, activation: Activation) -> str:
    """Decide which engine runs arrays like this one through this activation.

    None chooses: complex numbers and a user's own activation run on the specification, CuPy arrays on "cuda", all else
    on the fastest engine for the CPU that is installed.

    Raises
    ------
    ValueError
        There is no such engine, or it cannot run these arrays or this activation.
    TypeError
        The engine is not a name.
    ModuleNotFoundError, RuntimeError
        It is one for a GPU, and there is no CuPy, or no GPU answers.
    """
    obstacle = _beyond_the_fast(array, activation)
    if engine is None:
        return "reference" if obstacle else "cuda" if is_cupy(array) else on_the_cpu()[-1]
    if not isinstance(engine, str):
        raise TypeError(f"engine: expected a name or None; got {type(engine).__name__}.")
    if engine == "numba" and not _numba_works():
        raise ValueError("engine: 'numba' needs Numba: pip install 'indrnn-np[fast]'. None chooses what is there.")
    if engine not in ON_THE_CPU + ON_A_GPU:
        near = get_close_matches(engine, available(), n=1)
        raise ValueError(f"engine: expected one of {', '.join(available())}, or None to choose; got {engine!r}."
                         + (f" Did you mean {near[0]!r}?" if near else ""))
    if engine != "reference":
        if obstacle:
            raise ValueError(f"engine: {engine!r} does not run {obstacle}; use 'reference', or None to choose.")
        if is_cupy(array) and engine in ON_THE_CPU:
            raise ValueError(f"engine: {engine!r} does not run CuPy arrays; use 'cuda', or None to choose.")
        if engine in ON_A_GPU and not is_cupy(array):
            require_cupy()
            raise ValueError(f"engine: {engine!r} runs CuPy arrays; got NumPy's. Move them: cupy.asarray(x); or None "
                             "to choose.")
    return engine


@cache
def get(name: str) -> Engine:
    """Return the module of an available engine."""
    return cast(Engine, import_module(f"{__name__}.{name}"))


def recurrent_forward(a: Array, u: Array, h0: Array | None = None, activation: str | Activation = "relu",
                      engine: str | None = None, out: Array | None = None) -> Array:
    """Run h_t = σ(a_t + u ⊙ h_{t−1}) alone, which is what a fused kernel computes (Li et al. 2018, Eq. 2).

    Parameters
    ----------
    a : (T, B, N) drive, W x_t + b
    u : (N,) recurrent weight
    h0 : (B, N) initial state; zeros where None
    activation : name or Activation
    engine : name of an engine; None chooses the fastest that can
    out : (T, B, N) where to write h, in C order; it may be a itself, but may share no memory with anything else given

    Returns
    -------
    h : (T, B, N) states; `out` if it was given

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is unknown; the message names it.
    """
    xp = _check_forward(a, u, h0)
    σ = resolve(activation)
    chosen = get(choose(engine, a, σ))
    if out is not None:
        checks.out(out, reusable="a", a=a, u=u, h0=h0)
    return chosen.forward(a, u, xp.zeros(a.shape[1:], a.dtype) if h0 is None else h0, σ, out)


def recurrent_backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array | None = None,
                       activation: str | Activation = "relu", engine: str | None = None,
                       out: Array | None = None) -> RecurrenceGradients:
    """Backpropagate through the recurrence alone (Li et al. 2018, Eq. 4, for any loss).

    Parameters
    ----------
    dh : (T, B, N) partial derivative of J by each h_t, not through later steps
    h : (T, B, N) what `recurrent_forward` returned
    a : (T, B, N) drive; None will do for identity, relu, leaky_relu and softplus
    u, h0, activation, engine : as in `recurrent_forward`
    out : (T, B, N) where to write da, in C order; it may be dh itself, but may share no memory with anything else given

    Returns
    -------
    RecurrenceGradients : da (T, B, N), du (N,), dh0 (B, N); da is `out` if it was given

    Raises
    ------
    TypeError, ValueError
        As `recurrent_forward`; also where a is None and the activation needs it.
    """
    xp = _check_backward(dh, h, a, u, h0)
    σ = resolve(activation)
    checks.drive(a, σ)
    chosen = get(choose(engine, h, σ))
    if out is not None:
        checks.out(out, reusable="dh", dh=dh, h=h, a=a, u=u, h0=h0)
    return chosen.backward(dh, h, a, u, xp.zeros(h.shape[1:], h.dtype) if h0 is None else h0, σ, out)


@checks.once_per_kind
def _check_forward(a: Array, u: Array, h0: Array | None) -> Any:
    """Check the arrays of `recurrent_forward`, `out` apart; return their namespace."""
    return checks.recurrence(u, h0, a=a, optional=("h0",), dtypes=checks.REAL + checks.COMPLEX)


@checks.once_per_kind
def _check_backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array | None) -> Any:
    """Check the arrays of `recurrent_backward`, `out` apart; return their namespace."""
    return checks.recurrence(u, h0, h=h, dh=dh, a=a, optional=("a", "h0"), dtypes=checks.REAL + checks.COMPLEX)


def _beyond_the_fast(array: Array, activation: Activation) -> str:
    """Say what the fast engines cannot run here; empty where they can."""
    if array.dtype.char not in ("f", "d"):
        return f"{array.dtype.name} arrays"
    if not is_builtin(activation):
        return f"the activation {activation.name!r}, which is not built in"
    return ""
