"""Derivatives of pieces and networks by the complex step, and how far a right backward may be from them.

Both sides are computed in float64 and are sums of products along the paths from an argument to J = Σ dy ⊙ y. A sum of
products, each with at most n roundings on it, is off by at most n eps times the same sum in absolute values. For one
argument θ and all its entries that sum is at most max Σ |dy| |∂y/∂θ|, which the complex step gives, but for what
cancels within ∂y/∂θ; `n` counts the roundings of every path of the whole program, and so pays for that too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from indrnn_np.oracle.numerical import complex_step

EPS = np.finfo(np.float64).eps
Tree = dict[str, Any]


def leaves(tree: Tree, before: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by their names with "/"."""
    found = {}
    for name, value in tree.items():
        found |= leaves(value, f"{before}{name}/") if isinstance(value, dict) else {before + name: value}
    return found


def mapped(f: Callable[[str, Any], Any], tree: Tree, before: str = "") -> Tree:
    """Return the tree of f(name, leaf)."""
    return {name: mapped(f, value, f"{before}{name}/") if isinstance(value, dict) else f(before + name, value)
            for name, value in tree.items()}


def ratios(f: Callable[..., tuple[Any, Any]], arguments: dict[str, Any], dy: np.ndarray,
           gradients: dict[str, Any], n: int) -> dict[str, float]:
    """Return, for each argument, the largest error ÷ allowed error of a gradient against the complex step.

    f(**arguments) returns y, or a tuple that begins with it, for complex arguments as well.
    """
    found = {}
    for name, value in arguments.items():
        def y(v: np.ndarray, name: str = name) -> np.ndarray:
            given = {other: array.astype(complex) for other, array in arguments.items()} | {name: v}
            return f(**given)[0]
        J = complex_step(y, value)
        want, size = np.tensordot(dy, J, dy.ndim), np.tensordot(abs(dy), abs(J), dy.ndim)
        got = gradients[name]
        assert got.shape == value.shape
        assert got.dtype == value.dtype
        assert size.max() > 0, f"nothing depends on {name} here"
        found[name] = float((abs(got - want) / (n * EPS * size.max())).max())
    return found


def of_network(model: Any, steps: int, batch: int, seed: int = 0, lengths: Any = None, training: bool = True,
               n: int = 2000) -> dict[str, float]:
    """Return the ratios of all gradients of a network at random parameters: `n` as in `ratios`."""
    rng = np.random.default_rng(seed)
    params, running = model.initial(rng, steps, "float64")
    params = mapped(lambda name, v: v + 0.3 * rng.standard_normal(v.shape), params)  # no bias of 0, at which kinks wait
    running = mapped(lambda name, v: v + 0.3 * rng.random(v.shape), running)
    x = rng.integers(0, model.tokens, (steps, batch)) if model.tokens else rng.standard_normal(
        (steps, batch, model.inputs))

    def f(**given: np.ndarray) -> tuple[Any, Any, Any]:
        tree = mapped(lambda name, _: given[name], params)
        return model(tree, running, given.get("x", x), lengths, np.random.default_rng(seed) if training else None)

    arguments = leaves(params) | ({} if model.tokens else {"x": x})
    y, backward, _ = f(**arguments)
    dy = rng.standard_normal(y.shape)
    dx, grads = backward(dy)
    gradients = leaves(grads) | ({} if model.tokens else {"x": dx})
    assert list(leaves(grads)) == list(leaves(params))
    return ratios(f, arguments, dy, gradients, n)
