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


def derivatives(f: Callable[..., Any], arguments: dict[str, Any], dy: Any) -> dict[str, tuple[Any, float]]:
    """Return, for each argument θ, Σ dy ∂y/∂θ by the complex step, and max Σ |dy| |∂y/∂θ|.

    f(**arguments) returns a tuple that begins with y, for complex arguments as well.
    """
    found = {}
    for name, value in arguments.items():
        def y(v: np.ndarray, name: str = name) -> np.ndarray:
            given = {other: array.astype(complex) for other, array in arguments.items()} | {name: v}
            return f(**given)[0]
        J = complex_step(y, value)
        size = np.tensordot(abs(dy), abs(J), dy.ndim).max()
        assert size > 0, f"nothing depends on {name} here"
        found[name] = np.tensordot(dy, J, dy.ndim), float(size)
    return found


def against(exact: dict[str, tuple[Any, float]], gradients: dict[str, Any], n: int) -> dict[str, float]:
    """Return, for each argument, the largest error ÷ allowed error of its gradient."""
    found = {}
    for name, (want, size) in exact.items():
        got = gradients[name]
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        found[name] = float((abs(got - want) / (n * EPS * size)).max())
    return found


def ratios(f: Callable[..., Any], arguments: dict[str, Any], dy: Any, gradients: dict[str, Any],
           n: int) -> dict[str, float]:
    """Return the same against the derivatives of f."""
    return against(derivatives(f, arguments, dy), gradients, n)


class Problem:
    """A network at random parameters, and an input for it.

    Parameters
    ----------
    model : the network
    steps, batch, seed, lengths : of the input
    training : whether dropout and the batch's statistics are in force
    """

    def __init__(self, model: Any, steps: int, batch: int, seed: int = 0, lengths: Any = None,
                 training: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.model, self.lengths, self.seed, self.training = model, lengths, seed, training
        params, running = model.initial(rng, 2 * steps, "float64")
        self.params = mapped(lambda name, v: v + 0.3 * rng.standard_normal(v.shape), params)  # no kink at a bias of 0
        self.running = mapped(lambda name, v: v + 0.3 * rng.random(v.shape), running)
        self.x = (rng.integers(0, model.tokens, (steps, batch)) if model.tokens
                  else rng.standard_normal((steps, batch, model.inputs)))
        self.arguments = leaves(self.params) | ({} if model.tokens else {"x": self.x})
        self.dy = rng.standard_normal(self.run(**self.arguments)[0].shape)

    def run(self, **given: Any) -> Any:
        """Run the network at these arguments, always with the same dropout masks."""
        tree = mapped(lambda name, _: given[name], self.params)
        return self.model(tree, self.running, given.get("x", self.x), self.lengths,
                          np.random.default_rng(self.seed) if self.training else None)

    def gradients(self) -> dict[str, Any]:
        """Return the gradients by the network's own backward."""
        dx, grads = self.run(**self.arguments)[1](self.dy)
        assert list(leaves(grads)) == list(leaves(self.params))
        return leaves(grads) | ({} if self.model.tokens else {"x": dx})


def of_network(model: Any, steps: int, batch: int, n: int = 2000, **how: Any) -> dict[str, float]:
    """Return the ratios of all gradients of a network: `how` as in `Problem`, `n` as above."""
    problem = Problem(model, steps, batch, **how)
    return ratios(problem.run, problem.arguments, problem.dy, problem.gradients(), n)
