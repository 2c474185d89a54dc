"""The recurrence on a GPU: CuPy arrays in, kernels from the folder `kernels` on them, CuPy arrays out.

The kernels are a ladder, each rung to be read after the one before, and all after numbers, activations and step:

    plain       one thread a column of (B, N), as the specification has it
    prefetch    the same, bit for bit, with many steps of loads on their way at a time
    slices      parallel in time as well, for rows too short to fill a GPU: backward, and forward for ReLU and identity

Which one runs follows from direction, σ, dtype and shape (`fastest`); the engine "cuda_sequential" keeps to the loop's
order (`sequential`) and is equal to the specification in every bit of h, da and dh0 where σ is piecewise linear,
float32's subnormal numbers included. In `slices` what enters a slice of time is rounded otherwise, within what the
oracle allows a scan. `plain` is chosen by nobody: it is there to be read, and to hold the others against.

du and db are summed over t, then over B, each in one order: the same call gives the same bits. Kernels are compiled at
first use, for one dtype, activation and plan each, and kept by CuPy on disk. They run on the current stream of the
current device.

Memory, in bytes per element of (T, B, N) in float32 and float64, beyond what the caller holds: forward allocates h, 4
and 8, nothing where `out` is given; backward needs h, and a where σ is tanh or sigmoid, and allocates da, likewise.
Moved are 8 and 16 forward, 12 and 24 backward, where a is read 16 and 32.

Everything that a pointer could get wrong is checked here, for CuPy checks nothing: a kernel takes what it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from ..activations import Activation
from ..array_module import Array, is_cupy, require_cupy
from ..recurrence import RecurrenceGradients

# Predicted, not yet measured: `indrnn-np bench --device gpu --sweep` does.
CROSSOVER = 1 << 14       # columns up to which slices of time are the faster
SHORTEST = 64             # steps below which there is nothing to slice
NARROW = 4096             # columns below which blocks are narrow, so that there are enough of them
THREADS = 128             # of a block, where a thread is a column; 32 where that fills more of the GPU's processors
MOST_BLOCKS = 2**31 - 1   # along x, in CUDA
OPTIONS = ("-std=c++17", "-fmad=false")
ALWAYS = ("numbers.cuh", "activations.cuh", "step.cuh")
SMOOTH = ("tanh", "sigmoid", "softplus")


class Plan(NamedTuple):
    """Which kernel runs, and the sizes that are compiled into it; 0 where it has no such size."""

    kernel: str       # "plain", "prefetch" or "slices"
    ahead: int = 0    # prefetch: steps of loads on their way
    columns: int = 0  # slices: columns of a block,
    slices: int = 0   # slices of time of a block,
    steps: int = 0    # and steps of a slice

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes by the names that the kernels know them by."""
        return {name.upper(): size for name, size in self._asdict().items() if name != "kernel" and size}


def sequential(direction: str, activation: Activation, dtype: np.dtype[Any]) -> Plan:
    """Return the fastest plan that keeps to the loop's order: as many steps ahead as there are registers for."""
    if direction == "backward":
        return Plan("prefetch", ahead=48 if dtype == np.float32 else 24)
    if activation.name in SMOOTH:  # the chain of its steps takes so long that few loads keep up with it
        return Plan("prefetch", ahead=16)
    return Plan("prefetch", ahead=64 if dtype == np.float32 else 32)


def sliced(direction: str, activation: Activation, dtype: np.dtype[Any], columns: int) -> Plan:
    """Return the plan of slices in blocks of so many columns, 8 at least: memory delivers no fewer float32 numbers."""
    reads_a = direction == "backward" and activation.needs_z
    return Plan("slices", columns=columns, slices=512 // columns, steps=4 if reads_a or dtype == np.float64 else 8)


def fastest(direction: str, activation: Activation, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Plan:
    """Return the plan for arrays of this shape (T, B, N)."""
    T, B, N = shape
    if not composes(direction, activation) or T < SHORTEST or B * N > CROSSOVER:
        return sequential(direction, activation, dtype)
    return sliced(direction, activation, dtype, 8 if B * N < NARROW else 32)


def composes(direction: str, activation: Activation) -> bool:
    """Whether runs of steps have a form of their own, so that time can be cut into slices."""
    return direction == "backward" or activation.name in ("identity", "relu")


def forward(a: Array, u: Array, h0: Array, activation: Activation, out: Array | None = None,
            plan: Plan | None = None) -> Array:
    """Return h (T, B, N), in `out` if given, which may be a itself; `plan` None: the fastest.

    Raises
    ------
    TypeError, ValueError
        An array is not one that a kernel can take; the message names it.
    RuntimeError
        There is no compiler, or it failed.
    """
    cupy = _check(a.dtype, {"a": (a, a.shape), "u": (u, a.shape[2:]), "h0": (h0, a.shape[1:]), "out": (out, a.shape)})
    h = cupy.empty(a.shape, a.dtype) if out is None else out
    plan = plan or fastest("forward", activation, a.dtype, a.shape)
    _launch("forward", plan, activation, a.shape, a, u, h0, h)
    return h


def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array, activation: Activation,
             out: Array | None = None, db: Array | None = None, plan: Plan | None = None) -> RecurrenceGradients:
    """Return (da, du, dh0), da in `out` if given, which may be dh itself; db (N,), if given, gets Σ_t Σ_b da.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `forward`.
    """
    N = h.shape[2:]
    cupy = _check(h.dtype, {"h": (h, h.shape), "dh": (dh, h.shape), "a": (a, h.shape), "u": (u, N),
                            "h0": (h0, h.shape[1:]), "out": (out, h.shape), "db": (db, N)})
    da = cupy.empty(h.shape, h.dtype) if out is None else out
    dh0, du_columns, db_columns = (cupy.empty(h0.shape, h.dtype) for _ in range(3))
    plan = plan or fastest("backward", activation, h.dtype, h.shape)
    drive = h if a is None else a  # where the slope follows from h, no kernel looks at it
    _launch("backward", plan, activation, h.shape, dh, h, drive, u, h0, da, dh0, du_columns, db_columns)
    if db is not None:
        _sum_sequences(db_columns, db)
    du = cupy.empty(u.shape, u.dtype)
    _sum_sequences(du_columns, du)
    return RecurrenceGradients(da, du, dh0)


def _launch(direction: str, plan: Plan, activation: Activation, shape: tuple[int, ...], *arrays: Array) -> None:
    """Run one direction over all columns."""
    T, B, N = shape
    columns = B * N
    block: tuple[int, ...] = (plan.columns, plan.slices)
    if plan.kernel != "slices":
        block = (THREADS if columns > 132 * THREADS else 32,)  # 132: the processors of an H100
    grid = _blocks(columns, block[0])
    dtype = arrays[0].dtype
    function = _function(f"{direction}_{plan.kernel}", plan, activation.name.partition("(")[0], dtype.name, _device())
    function(grid, block, (*arrays, np.int64(T), np.int64(columns), np.int64(N), dtype.type(activation.alpha or 0)))


def _sum_sequences(per_column: Array, per_neuron: Array) -> None:
    """Write Σ_b of (B, N) into (N,)."""
    B, N = per_column.shape
    function = _function("sum_sequences", Plan("sums"), "identity", per_column.dtype.name, _device())
    function(_blocks(N, THREADS), (THREADS,), (per_column, per_neuron, np.int64(B), np.int64(N)))


def _blocks(columns: int, width: int) -> tuple[int]:
    """Return the grid: as many blocks as it takes."""
    blocks = -(-columns // width)
    if blocks > MOST_BLOCKS:
        raise ValueError(f"B·N: expected at most {MOST_BLOCKS * width} columns, for CUDA launches no more than "
                         f"{MOST_BLOCKS} blocks; got {columns}.")
    return (blocks,)


def source(name: str, plan: Plan) -> str:
    """Return the text of one kernel: the chapters that it is made of, one after the other."""
    direction = name.partition("_")[0]
    chapters = {"plain": ("plain.cu",), "prefetch": (f"prefetch_{direction}.cu",), "sums": ("sums.cu",),
                "slices": ("maps.cuh", "slices.cuh", f"slices_{direction}.cu")}[plan.kernel]
    folder = files(__package__) / "kernels"
    return "\n".join((folder / chapter).read_text("utf-8") for chapter in ALWAYS + chapters)


def options(plan: Plan, activation: str, dtype: str) -> tuple[str, ...]:
    """Return what the compiler is told: which numbers, which activation, which sizes."""
    names = {"REAL": {"float32": "float", "float64": "double"}[dtype],
             "ACTIVATION": activation.title().replace("_", ""), **plan.sizes}  # leaky_relu is the struct LeakyRelu
    return OPTIONS + tuple(f"-D{name}={value}" for name, value in names.items())


@cache
def _function(name: str, plan: Plan, activation: str, dtype: str, device: int) -> Callable[..., None]:
    """Return a kernel, compiled for the current device, which is the one given."""
    cupy = require_cupy()
    module = cupy.RawModule(code=source(name, plan), options=options(plan, activation, dtype))
    try:
        return module.get_function(name)
    except Exception as error:  # CuPy raises several types here, by what is missing
        raise RuntimeError(f"engine: 'cuda' could not compile {name} for {activation}, {dtype}. CUDA's compiler, "
                           f"NVRTC, comes with pip install 'cupy-cuda13x[ctk]'. What it said: {error}") from error


def _device() -> int:
    """Return the number of the current device."""
    return int(require_cupy().cuda.runtime.getDevice())


def _check(dtype: np.dtype[Any], arrays: dict[str, tuple[Array | None, tuple[int, ...]]]) -> Any:
    """Insist on arrays of this dtype and these shapes, in C order, on the device that will run the kernel."""
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{next(iter(arrays))}: expected dtype float32 or float64; got {dtype.name}.")
    cupy, device = require_cupy(), _device()
    stream = cupy.cuda.get_current_stream()
    if stream.device_id not in (-1, device):
        raise ValueError(f"engine: 'cuda' expected the current stream on GPU {device}, the current device; it is on "
                         f"GPU {stream.device_id}. Make that current: with cupy.cuda.Device({stream.device_id}): …")
    for name, (array, shape) in arrays.items():
        if array is None:
            continue
        if not is_cupy(array):
            raise TypeError(f"{name}: expected a CuPy array; got {type(array).__name__}.")
        if array.dtype != dtype:
            raise TypeError(f"{name}: expected dtype {dtype.name}; got {array.dtype.name}.")
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}; got {array.shape}.")
        if not array.flags.c_contiguous:
            raise ValueError(f"{name}: expected an array in C order, for a kernel reads memory as it lies; got "
                             f"strides {array.strides}. Pass cupy.ascontiguousarray({name}).")
        if array.data.ptr % dtype.itemsize:  # type: ignore[attr-defined]
            raise ValueError(f"{name}: expected an aligned array, for a kernel that reads another ends the work of the "
                             f"whole process; got one that begins between two numbers. Pass {name}.copy().")
        if (home := array.device.id) != device:  # type: ignore[attr-defined]
            raise ValueError(f"{name}: expected an array on GPU {device}, the current device; got one on GPU {home}. "
                             f"Make that current: with {name}.device: …")
    return cupy
