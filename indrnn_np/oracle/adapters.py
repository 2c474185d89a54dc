"""Implementations in PyTorch and JAX as candidates: you write the forward pass, the library differentiates it.

Neither library is imported before one of these functions is called. A module, which holds weights of its own, is for
`torch_modules`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from ..array_module import Array
from .answers import Candidate, Unfit

INPUTS = ("x", "W", "u", "b", "h0")


def from_torch(function: Callable[..., Any], batch_first: bool = False) -> Candidate:
    """Return a candidate for `verify` around a forward pass in PyTorch; its gradients are autograd's.

    Parameters
    ----------
    function : callable
        `function(x, W, u, b, h0, activation)`, called with tensors by position, returns h, a tensor; b or h0 is None
        where `verify` is told that it is not there. A
        `torch.autograd.Function` is called in such a function, and its own backward is then what is verified. A module
        with parameters of its own is for `from_torch_module`.
    batch_first : bool
        Whether function takes x as (B, T, M) and returns h as (B, T, N); h0 is (B, N) in either case.

    Raises
    ------
    TypeError
        function cannot be called, or is a module with parameters, or a module's class.
    ModuleNotFoundError
        PyTorch is not installed; the message names the extra that installs it.
    """
    torch = library("torch", "function", function)
    if _holds_weights(torch, function):
        raise TypeError("function: expected a forward pass f(x, W, u, b, h0, activation); got a module, which has "
                        "weights of its own. Use from_torch_module(lambda M, N, activation: …), which builds it.")

    def candidate(dh: Array, activation: str, **arrays: Array) -> dict[str, Array]:
        tensors = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in arrays.items()}
        x, *others = (tensors.get(name) for name in INPUTS)
        h = time_first(function(_swapped(x, batch_first), *others, activation), batch_first, dh.shape)
        h = h.float() if h.dtype == torch.bfloat16 else h  # which NumPy does not have
        if h.shape != dh.shape:
            return {"h": h.detach().numpy()}
        gradients = torch.autograd.grad(h, list(tensors.values()), torch.from_numpy(dh), allow_unused=True)
        return {"h": h.detach().numpy(), **{"d" + name: np.zeros_like(arrays[name]) if gradient is None else
                                            gradient.numpy()
                                            for name, gradient in zip(tensors, gradients, strict=True)}}
    return marked(candidate, batch_first)


def from_jax(function: Callable[..., Any], batch_first: bool = False) -> Candidate:
    """Return a candidate for `verify` around a forward pass in JAX; its gradients are `jax.vjp`'s.

    JAX's 64-bit mode is turned on, without which float64 would be float32.

    Parameters
    ----------
    function : callable
        `function(x, W, u, b, h0, activation)`, called with arrays by position, returns h; b or h0 is None where
        `verify` is told that it is not there. It may be jitted, with activation static. One that takes a dict of
        parameters is called in such a function: `apply(from_ours(W, u, b, "keras"), x, h0)`.
    batch_first : bool
        Whether function takes x as (B, T, M) and returns h as (B, T, N); h0 is (B, N) in either case.

    Raises
    ------
    TypeError
        function cannot be called.
    ModuleNotFoundError
        JAX is not installed; the message names the extra that installs it.
    """
    jax = library("jax", "function", function)
    jax.config.update("jax_enable_x64", True)

    def candidate(dh: Array, activation: str, **arrays: Array) -> dict[str, Array]:
        def forward(given: dict[str, Any]) -> Any:
            x, *others = (given.get(name) for name in INPUTS)
            return time_first(function(_swapped(x, batch_first), *others, activation), batch_first, dh.shape)

        h, pull = jax.vjp(forward, {name: jax.numpy.asarray(array) for name, array in arrays.items()})
        if h.shape != dh.shape:
            return {"h": np.asarray(h)}
        (gradients,) = pull(jax.numpy.asarray(dh))
        return {"h": np.asarray(h), **{"d" + name: np.asarray(gradient) for name, gradient in gradients.items()}}
    return marked(candidate, batch_first)


def library(name: str, argument: str, function: object) -> ModuleType:
    """Import PyTorch or JAX, once it is sure that there is something to be called; raises as `from_torch`."""
    if not callable(function):
        raise TypeError(f"{argument}: expected a callable; got {type(function).__name__}.")
    if find_spec(name) is None:
        title = {"torch": "PyTorch", "jax": "JAX"}[name]
        raise ModuleNotFoundError(f"{title} is not installed: pip install 'indrnn-np[{name}]'.")
    return import_module(name)


def _swapped(x: Any, batch_first: bool) -> Any:
    return x.swapaxes(0, 1) if batch_first else x


def time_first(h: Any, batch_first: bool, shape: tuple[int, ...]) -> Any:
    """Return h with time first, or say that it is no array, or has not that shape once batch and time are swapped."""
    if not hasattr(h, "shape"):
        raise Unfit("crashed", f"TypeError: expected h, one array of all states; got {type(h).__name__}")
    if not batch_first:
        return h
    T, B, N = shape
    if tuple(h.shape) != (B, T, N):
        raise Unfit("wrong shape or dtype", f"expected shape {(B, T, N)}, batch first; got {tuple(h.shape)}", "h")
    return h.swapaxes(0, 1)


def marked(candidate: Candidate, batch_first: bool) -> Candidate:
    """Let a candidate tell whether it is said to be batch-first, in an attribute of that name."""
    vars(candidate)["batch_first"] = batch_first
    return candidate


def _holds_weights(torch: Any, function: Any) -> bool:
    if isinstance(function, type):
        return issubclass(function, torch.nn.Module)
    return isinstance(function, torch.nn.Module) and any(True for _ in function.parameters())
