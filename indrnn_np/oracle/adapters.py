"""Implementations in PyTorch and JAX as candidates: you write the forward pass, the library differentiates it.

Neither library is imported before one of these functions is called.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from ..array_module import Array
from .verification import Candidate

INPUTS = ("x", "W", "u", "b", "h0")


def from_torch(function: Callable[..., Any], batch_first: bool = False) -> Candidate:
    """Return a candidate for `verify` around a forward pass in PyTorch; its gradients are autograd's.

    Parameters
    ----------
    function : callable
        `function(x, W, u, b, h0, activation)`, called with tensors by position, returns h, a tensor. A module is
        wrapped in such a function, which loads W, u and b into it; a `torch.autograd.Function` is called in one.
    batch_first : bool
        Whether function takes x as (B, T, M) and returns h as (B, T, N); h0 is (B, N) in either case.

    Raises
    ------
    TypeError
        function cannot be called.
    ModuleNotFoundError
        PyTorch is not installed; the message names the extra that installs it.
    """
    torch = _library("torch", function)

    def candidate(dh: Array, activation: str, **arrays: Array) -> dict[str, Array]:
        tensors = [torch.from_numpy(arrays[name].copy()).requires_grad_() for name in INPUTS]
        x, *others = tensors
        h = function(x.transpose(0, 1) if batch_first else x, *others, activation)
        h = h.transpose(0, 1) if batch_first else h
        gradients = torch.autograd.grad(h, tensors, torch.from_numpy(dh), allow_unused=True)
        return {"h": h.detach().numpy(), **{"d" + name: np.zeros_like(arrays[name]) if gradient is None else
                                            gradient.numpy() for name, gradient in zip(INPUTS, gradients, strict=True)}}
    return candidate


def from_jax(function: Callable[..., Any], batch_first: bool = False) -> Candidate:
    """Return a candidate for `verify` around a forward pass in JAX; its gradients are `jax.vjp`'s.

    JAX's 64-bit mode is turned on, without which float64 would be float32.

    Parameters
    ----------
    function : callable
        `function(x, W, u, b, h0, activation)`, called with arrays by position, returns h. It may be jitted, with
        activation static.
    batch_first : bool
        Whether function takes x as (B, T, M) and returns h as (B, T, N); h0 is (B, N) in either case.

    Raises
    ------
    TypeError
        function cannot be called.
    ModuleNotFoundError
        JAX is not installed; the message names the extra that installs it.
    """
    jax = _library("jax", function)
    jax.config.update("jax_enable_x64", True)

    def candidate(dh: Array, activation: str, **arrays: Array) -> dict[str, Array]:
        def forward(x: Any, *others: Any) -> Any:
            h = function(x.swapaxes(0, 1) if batch_first else x, *others, activation)
            return h.swapaxes(0, 1) if batch_first else h

        h, pull = jax.vjp(forward, *(jax.numpy.asarray(arrays[name]) for name in INPUTS))
        gradients = pull(jax.numpy.asarray(dh))
        return {"h": np.asarray(h), **{"d" + name: np.asarray(gradient)
                                       for name, gradient in zip(INPUTS, gradients, strict=True)}}
    return candidate


def _library(name: str, function: object) -> ModuleType:
    if not callable(function):
        raise TypeError(f"function: expected a callable; got {type(function).__name__}.")
    if find_spec(name) is None:
        title = {"torch": "PyTorch", "jax": "JAX"}[name]
        raise ModuleNotFoundError(f"{title} is not installed: pip install 'indrnn-np[{name}]'.")
    return import_module(name)
