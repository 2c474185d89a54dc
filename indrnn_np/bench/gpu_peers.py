"""Peers on a GPU: PyTorch's loop and JAX's scan for the recurrence, cuDNN's LSTM for a whole layer of equal width.

Each is timed as its user waits for it, Python's part included, forward and backward together, and so are we. Peers in
float32 alone; what is not installed, or finds no GPU, is named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import engines, layer
from ..array_module import Array, to_cupy, to_numpy
from ..oracle import references
from ..oracle.inputs import Case
from ..oracle.report import judge
from .contenders import Given, draw, jax_scan, torch_loop
from .gpu_check import NEURONS, Checker
from .gpu_check import Given as Input
from .gpu_clock import Clock, Run, wall

LOOP, SCAN, LSTM = "PyTorch loop", "JAX scan", "cuDNN LSTM (torch.nn.LSTM)"
LENGTHS, BATCH, WIDTH = (256, 512, 1024), 128, 512  # of the layer
JUDGED = 16   # steps over which the layer is held against the oracle
REPEATS = 10  # at most: a loop over thousands of steps takes long

Shape = tuple[int, int, int]


class Peer(NamedTuple):
    """Seconds of both directions, sample by sample, of a peer and of ours; whether what came was right."""

    name: str
    subject: str  # "recurrence" or "layer"
    shape: Shape
    activation: str
    theirs: list[float]
    ours: list[float]
    right: bool
    ratio: float  # largest error ÷ allowed, of ours and, for the recurrence, of theirs


def peers(shapes: Sequence[Shape], activation: str, clock: Clock, device: str = "cuda",
          lengths: Sequence[int] = LENGTHS) -> tuple[list[Peer], dict[str, str]]:
    """Measure every peer that is here; return also which are left out, and why.

    Parameters
    ----------
    shapes : (T, B, N) of the recurrence
    activation : name
    clock : whose repeats are taken, up to a limit
    device : as PyTorch calls it
    lengths : numbers of steps of the layer
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes most of the memory, and keeps it
    found, left_out = [], {}
    repeats = min(clock.repeats, REPEATS)
    for name, of_one in {LOOP: _loop, SCAN: _scan, LSTM: _lstm}.items():
        try:
            theirs, wait = of_one(device)
            if name == LSTM:
                found += [_layers(theirs, wait, (T, BATCH, WIDTH), clock, repeats) for T in lengths]
            else:
                found += [_recurrences(name, theirs, wait, draw(shape, activation), clock, repeats) for shape in shapes]
        except ModuleNotFoundError as missing:
            left_out[name] = f"not installed: pip install 'indrnn-np[{missing.name}]'"
        except Exception as error:  # out of memory, or a library that does not fit this GPU: not our failure
            left_out[name] = f"{type(error).__name__}: {error}"
    return found, left_out


def _loop(device: str) -> tuple[Callable[[Given], Run], Run]:
    """Return what makes PyTorch's loop, and what waits for it."""
    torch = _torch(device)
    return partial(torch_loop, whole_layer=False, device=device), _waiting(torch, device)


def _scan(device: str) -> tuple[Callable[[Given], Run], Run]:
    """Return what makes JAX's scan; it waits itself."""
    import jax

    if device == "cuda" and jax.default_backend() != "gpu":
        raise RuntimeError(f"JAX is installed, but runs on {jax.default_backend()}: pip install 'jax[cuda13]'")

    def make(given: Given) -> Run:
        run = jax_scan(given, False)
        return lambda: run()[1]  # type: ignore[index]
    return make, lambda: None


def _lstm(device: str) -> tuple[Callable[[Given], Run], Run]:
    """Return what makes an LSTM layer, forward and backward, as wide as it is deep."""
    torch = _torch(device)

    def make(given: Given) -> Run:
        N = len(given.u)
        lstm = torch.nn.LSTM(N, N).to(device)
        x, cotangent = (torch.from_numpy(v.copy()).to(device) for v in (given.x, given.dh))
        x.requires_grad_()

        def run() -> None:
            x.grad = None
            lstm.zero_grad()
            lstm(x)[0].backward(cotangent)
        return run
    return make, _waiting(torch, device)


def _torch(device: str) -> Any:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} is installed, but finds no GPU")
    return torch


def _waiting(torch: Any, device: str) -> Run:
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def _recurrences(name: str, make: Callable[[Given], Run], wait: Run, given: Given, clock: Clock,
                 repeats: int) -> Peer:
    """Compare the recurrence alone, forward and backward, from h_0 = 0."""
    σ = given.activation
    checker = Checker(Input(given.a, given.u, np.zeros_like(given.a[0]), given.dh, σ))
    run = make(given)
    da, du = (np.asarray(each.cpu() if hasattr(each, "cpu") else each) for each in run())  # type: ignore[attr-defined]
    theirs = checker.on_own_states(da, du)
    a, u, dh = map(to_cupy, (given.a, given.u, given.dh))
    needed = a if checker.σ.needs_z else None

    def both() -> Any:
        h = engines.recurrent_forward(a, u, activation=σ)
        return engines.recurrent_backward(dh, h, needed, u, activation=σ)
    ours = checker.on_own_states(*map(to_numpy, both()[:2]))
    ratio = max(theirs, ours)
    return _peer(name, "recurrence", given, ratio, wall(run, wait, repeats), wall(both, _idle(clock), repeats))


def _layers(make: Callable[[Given], Run], wait: Run, shape: Shape, clock: Clock, repeats: int) -> Peer:
    """Compare whole layers of as many inputs as neurons: ours is judged on its first steps, theirs taken as it is."""
    given = draw(shape, "relu")
    x, W, u, b, dh = map(to_cupy, (given.x, given.W, given.u, given.b, given.dh))

    def both(steps: int = shape[0]) -> tuple[layer.Trace, layer.Gradients]:
        trace = layer.forward(x[:steps], W, u, b)
        return trace, layer.backward(dh[:steps], trace)
    ratio = _worst_of_layer(given, *both(min(JUDGED, shape[0])))
    return _peer(LSTM, "layer", given, ratio, wall(make(given), wait, repeats), wall(both, _idle(clock), repeats))


def _peer(name: str, subject: str, given: Given, ratio: float, theirs: list[float], ours: list[float]) -> Peer:
    right = ratio <= 1
    return Peer(name, subject, given.a.shape, given.activation, *((theirs, ours) if right else ([], [])), right, ratio)


def _worst_of_layer(given: Given, trace: layer.Trace, gradients: layer.Gradients) -> float:
    """Return the largest error ÷ allowed error of some neurons: h and all gradients that are theirs alone."""
    few = np.unique(np.linspace(0, len(given.u) - 1, NEURONS).round().astype(int))
    steps = len(trace.h)
    case = Case("", given.activation, given.x[:steps], given.W[few], given.u[few], given.b[few],
                np.zeros((given.x.shape[1], len(few)), given.x.dtype), given.dh[:steps][..., few], order="scan")
    h = to_numpy(trace.h)[..., few]
    got: dict[str, Array] = {"h": h, "dW": to_numpy(gradients.dW)[few], "dh0": to_numpy(gradients.dh0)[..., few],
                             "du": to_numpy(gradients.du)[few], "db": to_numpy(gradients.db)[few]}
    expected = references.specification(case, h)
    return max(judge("", "", given.activation, name, value, expected.value[name], expected.allowed[name]).ratio
               for name, value in got.items())


def _idle(clock: Clock) -> Run:
    return lambda: clock.cupy.cuda.get_current_stream().synchronize()
