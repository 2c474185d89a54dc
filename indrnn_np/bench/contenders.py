"""Who is timed: the recurrence alone, or a whole layer with its matrix products, forward and backward in float32.

Each contender is a function without arguments; what it needs lies ready. Those named "…, both" return the gradients of
what `inputs` lists, so that `right` can judge them. Peers that are not installed are named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import engines, layer
from ..activations import resolve
from ..array_module import Array

SUBJECTS = ("recurrence", "layer")
COPY = "copy of h, new memory"
COPY_REUSED = "copy of h, same memory"
FOOTPRINT = "footprint, new memory"  # a to h, dh and h to da: the five streams that both directions cannot do without
COLUMN = "one column alone"  # T steps, each waiting for the one before it: the latency of a chain
BUFFERS = "into buffers, both"
LOOP, RNN, SCAN = PEERS = ("PyTorch loop, both", "torch.nn.RNN, both", "JAX scan, both")

Run = Callable[[], object]


class Given(NamedTuple):
    """Float32 arrays: x (T, B, N), W (N, N), u and b (N,), a and dh (T, B, N); the paper's |u|^T ≤ 2."""

    x: Array
    W: Array
    u: Array
    b: Array
    a: Array
    dh: Array
    activation: str


def draw(shape: tuple[int, int, int], activation: str) -> Given:
    """Draw what is computed on."""
    rng = np.random.default_rng(0)
    T, B, N = shape
    x, dh = (rng.standard_normal((T, B, N), np.float32) for _ in range(2))
    W = rng.standard_normal((N, N), np.float32) / np.float32(N**0.5)
    u = rng.uniform(-1, 1, N).astype(np.float32) * np.float32(2 ** (1 / T))
    return Given(x, W, u, np.zeros(N, np.float32), x, dh, activation)


def contenders(subject: str, given: Given) -> tuple[dict[str, Run], dict[str, str]]:
    """Return who runs here, by name, and who is left out and why."""
    found = {**ours(subject, given), **_limits(given)}
    left_out = {}
    makers: dict[str, Callable[[Given, bool], Run]] = {LOOP: torch_loop, RNN: _torch_rnn, SCAN: jax_scan}
    for name, maker in makers.items():
        if name == RNN and (subject != "layer" or given.activation not in ("relu", "tanh")):
            continue  # it cannot do without the products
        try:
            found[name] = maker(given, subject == "layer")
        except ModuleNotFoundError as missing:
            left_out[name.removesuffix(", both")] = f"not installed: pip install 'indrnn-np[{missing.name}]'"
    return found, left_out


def ours(subject: str, given: Given) -> dict[str, Run]:
    """Return our engines, each direction by itself, and both into the caller's buffers."""
    return _recurrence(given) if subject == "recurrence" else _layer(given)


def timed(given: Given) -> list[str]:
    """Name the engines that are timed: the specification only where it is done in a moment."""
    return [engine for engine in engines.on_the_cpu() if engine != "reference" or given.a.size <= 1 << 20]


def heavy(shape: tuple[int, ...]) -> bool:
    """Whether the products of a layer with as many inputs as neurons take seconds: then only what matters is timed."""
    return prod(shape) * shape[-1] > 1e10


def _limits(given: Given) -> dict[str, Run]:
    again = np.empty_like(given.a)

    def footprint() -> None:
        h = given.a.copy()
        np.add(given.dh, h)
    return {COPY: given.a.copy, COPY_REUSED: lambda: np.copyto(again, given.a), FOOTPRINT: footprint}


def _recurrence(given: Given) -> dict[str, Run]:
    a, u, dh, activation = given.a, given.u, given.dh, given.activation
    h = engines.recurrent_forward(a, u, activation=activation)
    drive = a if resolve(activation).needs_z else None
    found: dict[str, Run] = {}
    for engine in timed(given):
        how: dict[str, Any] = {"activation": activation, "engine": engine}
        found[f"{engine}, forward"] = partial(engines.recurrent_forward, a, u, **how)
        found[f"{engine}, backward"] = partial(engines.recurrent_backward, dh, h, drive, u, **how)

        found[f"{engine}, both"] = partial(_both, a, u, dh, drive, **how)
    fastest = engines.on_the_cpu()[-1]
    found[f"{fastest} {BUFFERS}"] = partial(_both, a, u, dh, drive, activation, fastest,
                                            (np.empty_like(a), np.empty_like(a)))
    column = [np.ascontiguousarray(v[:, :1, :1]) for v in (a, dh)]
    found[COLUMN] = partial(_both, column[0], u[:1], column[1], column[0], activation, fastest)
    return found


def _both(a: Array, u: Array, dh: Array, drive: Array | None, activation: str, engine: str,
          buffers: tuple[Array | None, Array | None] = (None, None)) -> list[Array]:
    """Run forward, then backward while h is held, as training does."""
    h = engines.recurrent_forward(a, u, activation=activation, engine=engine, out=buffers[0])
    gradients = engines.recurrent_backward(dh, h, drive, u, activation=activation, engine=engine, out=buffers[1])
    return [gradients.da, gradients.du]


def _layer(given: Given) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for engine in timed(given):
        forward = partial(layer.forward, given.x, given.W, given.u, given.b, activation=given.activation, engine=engine)
        if not heavy(given.a.shape):
            found[f"{engine}, forward"] = forward
            found[f"{engine}, backward"] = partial(layer.backward, given.dh, forward())
        found[f"{engine}, both"] = partial(_whole_layer, forward, given.dh)
    return found


def _whole_layer(forward: Callable[[], layer.Trace], dh: Array) -> list[Array]:
    gradients = layer.backward(dh, forward())
    return [gradients.dx, gradients.du, gradients.dW, gradients.db]


def torch_loop(given: Given, whole_layer: bool, device: str = "cpu") -> Run:
    """Write it as one does in PyTorch, with a loop over torch.unbind, differentiated by its autograd."""
    import torch

    leaves = [torch.from_numpy(v.copy()).to(device).requires_grad_() for v in inputs(given, whole_layer)]
    cotangent, σ = torch.from_numpy(given.dh).to(device), _torch_activation(torch, given.activation)

    def run() -> list[Any]:
        for leaf in leaves:
            leaf.grad = None
        first, u, *affine = leaves
        drive = torch.nn.functional.linear(first, *affine) if affine else first
        h_prev, states = torch.zeros(given.a.shape[1:], device=device), []
        for a_t in torch.unbind(drive):
            h_prev = σ(a_t + u * h_prev)
            states.append(h_prev)
        torch.stack(states).backward(cotangent)
        return [leaf.grad for leaf in leaves]
    return run


def _torch_activation(torch: Any, name: str) -> Callable[[Any], Any]:
    if name.startswith("leaky_relu"):
        return partial(torch.nn.functional.leaky_relu, negative_slope=resolve(name).alpha)
    found = {"identity": lambda z: z, "softplus": torch.nn.functional.softplus}
    return found.get(name) or getattr(torch, name)


def _torch_rnn(given: Given, whole_layer: bool) -> Run:
    """PyTorch's own RNN in C++, with diag(u) for its recurrent matrix."""
    import torch

    N = len(given.u)
    rnn = torch.nn.RNN(N, N, nonlinearity=given.activation)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(torch.from_numpy(given.W))
        rnn.weight_hh_l0.copy_(torch.diag(torch.from_numpy(given.u)))
        rnn.bias_ih_l0.copy_(torch.from_numpy(given.b))
        rnn.bias_hh_l0.zero_()
    x, cotangent = torch.from_numpy(given.x.copy()).requires_grad_(), torch.from_numpy(given.dh)

    def run() -> list[Any]:
        x.grad = None
        rnn.zero_grad()
        rnn(x)[0].backward(cotangent)
        return [x.grad, rnn.weight_hh_l0.grad.diagonal(), rnn.weight_ih_l0.grad, rnn.bias_ih_l0.grad]
    return run


def jax_scan(given: Given, whole_layer: bool) -> Run:
    """Write it as one does in JAX, a scan compiled by jit."""
    import jax

    σ = {"identity": lambda z: z, "tanh": jax.numpy.tanh}.get(given.activation)
    if given.activation.startswith("leaky_relu"):
        σ = partial(jax.nn.leaky_relu, negative_slope=resolve(given.activation).alpha)
    σ = σ or getattr(jax.nn, given.activation)

    def states(first: Any, u: Any, *affine: Any) -> Any:
        a = first @ affine[0].T + affine[1] if affine else first

        def step(h_prev: Any, a_t: Any) -> tuple[Any, Any]:
            h = σ(a_t + u * h_prev)
            return h, h
        return jax.lax.scan(step, jax.numpy.zeros(a.shape[1:], a.dtype), a)[1]

    def both(dh: Any, *inputs: Any) -> Any:
        h, pull = jax.vjp(states, *inputs)
        return h, pull(dh)

    arrays = [jax.numpy.asarray(v) for v in (given.dh, *inputs(given, whole_layer))]
    compiled = jax.jit(both)
    return lambda: jax.block_until_ready(compiled(*arrays))


def inputs(given: Given, whole_layer: bool) -> list[Array]:
    """Return what gradients are taken by: x, u, W and b of a layer, or a and u."""
    return [given.x, given.u, given.W, given.b] if whole_layer else [given.a, given.u]
