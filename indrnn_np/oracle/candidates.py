"""Implementations in the form that `verify` takes: this package's own engines, and PyTorch's RNN as a peer.

`torch.nn.RNN` with its recurrent matrix set to diag(u) *is* an IndRNN, written and trusted by others; the
diagonal of its recurrent gradient is du.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from .. import engines, layer
from ..activations import resolve
from ..array_module import Array, to_cupy, to_numpy
from .answers import Candidate, Unfit, no_such_result, require_mapping

RESULTS = ("h", "da", "du", "dh0")  # of a recurrence alone
TORCH_ACTIVATIONS = ("relu", "tanh")  # the two that torch.nn.RNN has


def from_engine(name: str) -> Candidate:
    """Return one layer of this package on the engine of that name, on a GPU if that is where it runs."""
    move = to_cupy if name in engines.ON_A_GPU else to_numpy

    def candidate(x: Array, W: Array, u: Array, dh: Array, activation: str, b: Array | None = None,
                  h0: Array | None = None) -> dict[str, Array]:
        x, W, u, dh = map(move, (x, W, u, dh))
        b, h0 = (None if each is None else move(each) for each in (b, h0))
        trace = layer.forward(x, W, u, b, h0, activation, engine=name)
        return {"h": to_numpy(trace.h)} | {
            name: to_numpy(gradient) for name, gradient in layer.backward(dh, trace)._asdict().items()}
    return candidate


def from_recurrence(function: Callable[..., Mapping[str, Array]]) -> Candidate:
    """Return a candidate for `verify` around the recurrence alone, which is what a fused kernel computes.

    The affine map around it is NumPy's, so dx, dW and db show da: dx = da W, dW = Σ da xᵀ, db = Σ da.

    Parameters
    ----------
    function : callable
        `function(a, u, h0, dh, activation)`, called by keyword, returns a mapping with h, da (T, B, N), du (N,) and
        dh0 (B, N), or some of them and nothing else, as NumPy or CuPy arrays.

    Raises
    ------
    TypeError
        function cannot be called.
    """
    if not callable(function):
        raise TypeError(f"function: expected a callable; got {type(function).__name__}.")

    def candidate(x: Array, W: Array, u: Array, dh: Array, activation: str, b: Array | None = None,
                  **h0: Array) -> dict[str, Array]:
        a = x @ W.T if b is None else x @ W.T + b
        returned = function(a=a, u=u, **h0, dh=dh, activation=activation)
        require_mapping(returned, RESULTS)
        result = dict(returned)
        for name in result:
            if name not in RESULTS:
                raise Unfit("no such result", no_such_result(str(name), RESULTS), str(name))
        if "da" in result and np.shape(result["da"]) != dh.shape:
            raise Unfit("wrong shape or dtype", f"expected shape {dh.shape}; got {np.shape(result['da'])}", "da")
        if "da" in result:
            da = np.asarray(to_numpy(result.pop("da")))
            rows = da.reshape(-1, len(u))
            result |= {"dx": da @ W, "dW": rows.T @ x.reshape(len(rows), -1), "db": rows.sum(axis=0)}
        return result
    return candidate


def from_engine_module(module: engines.Engine) -> Candidate:
    """Return a candidate around a module with `forward` and `backward` as an engine has them."""
    def function(a: Array, u: Array, h0: Array, dh: Array, activation: str) -> dict[str, Array]:
        σ = resolve(activation)
        h = module.forward(a, u, h0, σ)
        return {"h": h, **module.backward(dh, h, a, u, h0, σ)._asdict()}
    return from_recurrence(function)


def torch_installed() -> bool:
    """Whether PyTorch can be imported."""
    return find_spec("torch") is not None


def torch_rnn() -> Candidate:
    """Return `torch.nn.RNN` with a diagonal recurrent matrix; it knows the TORCH_ACTIVATIONS.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed; the message names the extra that installs it.
    """
    if not torch_installed():
        raise ModuleNotFoundError("PyTorch is not installed: pip install 'indrnn-np[torch]'.")
    import torch

    def candidate(x: Array, W: Array, u: Array, b: Array, h0: Array, dh: Array, activation: str) -> dict[str, Array]:
        N, M = W.shape
        rnn = torch.nn.RNN(M, N, nonlinearity=activation).to(getattr(torch, x.dtype.name))
        given: dict[str, Any] = {name: torch.from_numpy(array) for name, array in
                                 {"x": x, "W": W, "u": u, "b": b, "h0": h0}.items()}
        with torch.no_grad():
            rnn.weight_ih_l0.copy_(given["W"])
            rnn.weight_hh_l0.copy_(torch.diag(given["u"]))
            rnn.bias_ih_l0.copy_(given["b"])
            rnn.bias_hh_l0.zero_()
        inputs, state = given["x"].requires_grad_(), given["h0"][None].clone().requires_grad_()
        h, _ = rnn(inputs, state)
        h.backward(torch.from_numpy(dh))
        gradients = {"dx": inputs.grad, "dW": rnn.weight_ih_l0.grad, "du": rnn.weight_hh_l0.grad.diagonal(),
                     "db": rnn.bias_ih_l0.grad, "dh0": state.grad[0]}
        return {"h": h.detach().numpy(), **{name: value.numpy() for name, value in gradients.items()}}
    return candidate
