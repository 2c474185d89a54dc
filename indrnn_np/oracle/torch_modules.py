"""A module of PyTorch, which holds its weights under names of its own, as a candidate.

For each case a module is built, W, u and b are loaded into its parameters, and the gradients are read out of them.
`layouts` knows the names; what the module lacks of bias, initial state and input weight is supplied from outside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..array_module import Array
from . import layouts
from .adapters import library, marked, time_first
from .answers import Candidate, Refusal
from .folding import fold
from .layouts import Layout

Build = Callable[[int, int, str], Any]
SIZES = (3, 5)  # M and N of the module that is built to see how it can be loaded


def from_torch_module(build: Build, layout: str | Layout | None = None,
                      call: Callable[[Any, Any, Any], Any] | None = None, batch_first: bool = False) -> Candidate:
    """Return a candidate for `verify` around a module of PyTorch that holds its weights.

    Where the module implements the recurrence alone, it is given W x_t; where it has no bias, or takes no h0, these
    come to it as further inputs (`folding`). So it is verified as what it is.

    Parameters
    ----------
    build : callable
        `build(M, N, activation)` returns a module of M inputs and N neurons, such as
        `lambda M, N, activation: MyIndRNN(M, N, nonlinearity=activation)`. Each case has sizes of its own.
    layout : name of one of the LAYOUTS, or a Layout
        The names and axes of its parameters; None finds the layout that fits.
    call : callable, optional
        `call(module, x, h0)` returns h. Without it the module is called as `module(x, h0)`, or as `module(x)` where it
        takes one argument. Where a tuple is returned, its first member is h.
    batch_first : bool
        Whether the module takes x as (B, T, M) and returns h as (B, T, N); h0 is (B, N) in either case.

    Raises
    ------
    TypeError, ValueError
        build or call cannot be called, build is a module rather than a function that builds one, or layout is unknown.
        `verify` raises ValueError before any case where a module that was built cannot be loaded: another name, shape
        or parameter. What it raises itself, and what is wrong with its numbers, becomes a finding.
    ModuleNotFoundError
        PyTorch is not installed; the message names the extra that installs it.
    """
    torch = library("torch", "build", build)
    if isinstance(build, torch.nn.Module):
        raise TypeError(f"build: expected a function that builds a module, such as lambda M, N, activation: …, since "
                        f"each case has sizes of its own; got a module, {type(build).__name__}, of fixed size.")
    if call is not None and not callable(call):
        raise TypeError(f"call: expected a callable or None; got {type(call).__name__}.")
    chosen = None if layout is None else layouts.resolve(layout)

    @cache
    def set_up(activation: str) -> tuple[_Layer, list[str]]:
        """Return the layer as a candidate, and what it lacks, once a module has shown that it can be loaded."""
        module = _built(torch, build, *SIZES, activation)
        style, keys = _fitted(dict(module.named_parameters()), chosen)
        takes_h0 = call is not None or _takes_two(module.forward)
        layer = _Layer(torch, build, style, call, takes_h0, batch_first)
        M, N = SIZES
        layer.load(module, W=np.zeros((N, M)), u=np.zeros(N), b=np.zeros(N))
        return layer, [*([] if "b" in keys else ["b"]), *([] if takes_h0 else ["h0"])]

    def candidate(W: Array, activation: str, **others: Array) -> dict[str, Array]:
        whole, lacking = set_up(activation)
        layer = fold([name for name in lacking if name in others], whole)
        N = len(W)
        zeros = {"b": np.zeros(N, W.dtype), "h0": np.zeros((others["x"].shape[1], N), W.dtype)}
        return dict(layer(W=W, activation=activation, **zeros | others))
    return marked(candidate, batch_first)


@dataclass(frozen=True)
class _Layer:
    """The module as a candidate, apart from what it lacks; the fields are as in `from_torch_module`."""

    torch: Any
    build: Build
    layout: Layout
    call: Callable[[Any, Any, Any], Any] | None
    takes_h0: bool
    batch_first: bool

    def __call__(self, x: Array, W: Array, u: Array, b: Array, h0: Array, dh: Array,
                 activation: str) -> dict[str, Array]:
        """Build, load, run and differentiate."""
        N, M = W.shape
        module = _built(self.torch, self.build, M, N, activation).to(getattr(self.torch, x.dtype.name))
        weights = self.load(module, W=W, u=u, b=b)
        drive = x if "W" in weights else x @ W.T
        leaf, state = (self.torch.from_numpy(array.copy()).requires_grad_() for array in (drive, h0))
        h = self.run(module, leaf, state, dh.shape)
        if h.shape != dh.shape:
            return {"h": h.detach().numpy()}
        h.backward(self.torch.from_numpy(dh))
        result = {"h": h.detach().numpy(), "dx": _gradient(leaf), "dh0": _gradient(state)}
        for letter, weight in weights.items():
            axes = self.layout.stored()[letter][1]
            result["d" + letter] = np.ascontiguousarray(layouts.ours_of(_gradient(weight), axes))
        if "W" not in weights:
            da = result["dx"]
            rows = da.reshape(-1, len(u))
            result |= {"dx": da @ W, "dW": rows.T @ x.reshape(len(rows), -1)}
        return result

    def load(self, module: Any, **values: Array) -> dict[str, Any]:
        """Load W, u and b into the module; return the parameters that hold them, by our letter."""
        parameters = dict(module.named_parameters())
        keys = layouts.find(parameters, self.layout)
        if others := [name for name in parameters if name not in keys.values()]:
            raise Refusal(f"build: expected a module with no other parameters than {', '.join(keys.values())}; got "
                          f"{', '.join(others)} too.")
        for letter, key in keys.items():
            value = np.ascontiguousarray(layouts.theirs_of(values[letter], self.layout.stored()[letter][1]))
            if tuple(parameters[key].shape) != value.shape:
                N, M = values["W"].shape
                raise Refusal(f"{key}: expected shape {value.shape} for M = {M} and N = {N}; got "
                              f"{tuple(parameters[key].shape)}.")
            with self.torch.no_grad():
                parameters[key].copy_(self.torch.from_numpy(value))
        return {letter: parameters[key] for letter, key in keys.items()}

    def run(self, module: Any, x: Any, h0: Any, shape: tuple[int, ...]) -> Any:
        """Return h, time first."""
        x = x.swapaxes(0, 1) if self.batch_first else x
        given = (x, h0) if self.takes_h0 else (x,)
        returned = module(*given) if self.call is None else self.call(module, *given)
        return time_first(returned[0] if isinstance(returned, tuple) else returned, self.batch_first, shape)


def _built(torch: Any, build: Build, M: int, N: int, activation: str) -> Any:
    module = build(M, N, activation)
    if not isinstance(module, torch.nn.Module):
        raise Refusal(f"build: expected it to return a torch.nn.Module; got {type(module).__name__}.")
    return module


def _fitted(parameters: Mapping[str, Any], layout: Layout | None) -> tuple[Layout, dict[str, str]]:
    """Return the layout of a module's parameters, and which of them hold W, u and b."""
    try:
        style = layout or layouts.LAYOUTS[layouts.guess_layout(parameters)]
        return style, layouts.find(parameters, style)
    except (TypeError, ValueError) as error:
        there = ", ".join(f"{name} {tuple(parameter.shape)}" for name, parameter in parameters.items()) or "none"
        known = (f"one of the layouts {', '.join(layouts.LAYOUTS)} fits the module's parameters" if layout is None else
                 str(error).removeprefix("arrays: ").rstrip("."))
        M, N = SIZES
        raise Refusal(f"layout: {'expected that ' if layout is None else ''}{known}. Its parameters, for M = {M} and "
                      f"N = {N}: {there}. Where they have other names, give layout=Layout(W=(\"name\", \"NM\"), "
                      "u=(\"name\", \"N\"), b=(\"name\", \"N\")): for each its name and axes, M inputs and N neurons; "
                      "W=None for the recurrence alone, b=None without bias.") from error


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether it can be called with two arguments by position."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


def _gradient(leaf: Any) -> Array:
    """Return the gradient of a leaf as an array, zeros where nothing depends on it."""
    return np.zeros(leaf.shape, str(leaf.dtype).rpartition(".")[2]) if leaf.grad is None else leaf.grad.numpy()
