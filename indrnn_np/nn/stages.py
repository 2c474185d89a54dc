"""How a network is put together from pieces, and its derivative from theirs.

A stage is a part of a network: it draws its own parameters, and maps x to y. Two rules make all networks of this room:

    one after the other     y = f_2(f_1(x))          dx = f_1'(f_2'(dy))                    `Sequence`
    side by side            y = x + f(x)             dx = dy + f'(dy)                       `PlusIdentity`
                            y = [x, f(x)]            dx = dy_left + f'(dy_right)            `BesideInput`

where f' pulls a cotangent back through f. The stages of a sequence read one tree of parameters, each its own leaves,
`Named` those below a name; where two read the same leaf, its gradient is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..array_module import Array, namespace
from . import _door, sequences

Tree = dict[str, Any]
Pull = Callable[[Array], tuple[Any, Tree]]  # dy to dx and the gradients of what was read; dx is None for tokens


@dataclass(frozen=True, eq=False)
class Pass:
    """What all stages of one pass share: which positions are real (None: all), and what draws masks in training."""

    mask: Array | None = None
    rng: np.random.Generator | None = None

    @property
    def training(self) -> bool:
        """Whether masks are drawn and the batch's statistics taken."""
        return self.rng is not None


@dataclass(frozen=True, eq=False)
class Draw:
    """What all stages draw their first parameters with: for sequences of so many steps, on the library xp."""

    rng: np.random.Generator
    steps: int
    dtype: Any
    xp: Any

    def array(self, value: Array) -> Array:
        """Return numbers drawn in NumPy as an array of this draw's kind."""
        return self.xp.asarray(value.astype(self.dtype))


class Stage(Protocol):
    """A part of a network."""

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw the parameters; return them and the running statistics."""

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name the leaves that are recurrent weights, with their path: "layers/0/u"."""

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Return y, what pulls dy back to dx and the gradients of the leaves read, and the new running statistics."""


@dataclass(frozen=True)
class Sequence:
    """One stage after the other."""

    stages: tuple[Stage, ...]

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw the parameters of all."""
        params: Tree = {}
        running: Tree = {}
        for stage in self.stages:
            its_params, its_running = stage.initial(draw)
            params, running = _together(params, its_params), _together(running, its_running)
        return params, running

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name those of all."""
        return tuple(name for stage in self.stages for name in stage.recurrent_weights())

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run them from the first to the last."""
        pulls: list[Pull] = []
        after: Tree = {}
        for stage in self.stages:
            x, pull, its = stage(params, running, x, this)
            pulls.append(pull)
            after = _together(after, its)

        def backward(d: Array) -> tuple[Any, Tree]:
            grads: Tree = {}
            for pull in reversed(pulls):  # the chain rule, from the last stage back
                d, its = pull(d)
                grads = _together(its, grads)
            return d, grads

        return x, backward, after


@dataclass(frozen=True)
class Named:
    """A stage whose parameters stand below a name."""

    name: str
    stage: Stage

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw its parameters."""
        params, running = self.stage.initial(draw)
        return self._named(params), self._named(running)

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name its own."""
        return tuple(f"{self.name}/{name}" for name in self.stage.recurrent_weights())

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run it."""
        y, pull, after = self.stage(params.get(self.name, {}), running.get(self.name, {}), x, this)

        def backward(dy: Array) -> tuple[Any, Tree]:
            dx, grads = pull(dy)
            return dx, self._named(grads)

        return y, backward, self._named(after)

    def _named(self, tree: Tree) -> Tree:
        return {self.name: tree} if tree else {}


@dataclass(frozen=True)
class _Around:
    """A stage around another one, f, whose parameters it has and no others."""

    stage: Stage

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw the parameters of f."""
        return self.stage.initial(draw)

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name those of f."""
        return self.stage.recurrent_weights()


@dataclass(frozen=True)
class PlusIdentity(_Around):
    """y = x + f(x): the residual connection (He et al. 2016; follow-up to the paper, x_l = x_{l−1} + F(x_{l−1}))."""

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Add f(x) to x."""
        y, pull, after = self.stage(params, running, x, this)

        def backward(dy: Array) -> tuple[Any, Tree]:
            dx, grads = pull(dy)
            return dy + dx, grads

        return x + y, backward, after


@dataclass(frozen=True)
class BesideInput(_Around):
    """y = [x, f(x)], one behind the other along the features: the dense connection (Huang et al. 2017)."""

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Append f(x) to x."""
        y, pull, after = self.stage(params, running, x, this)
        width = x.shape[-1]

        def backward(dy: Array) -> tuple[Any, Tree]:
            dx, grads = pull(namespace(dy).ascontiguousarray(dy[..., width:]))
            return dy[..., :width] + dx, grads

        return namespace(x).concatenate([x, y], axis=-1), backward, after


def _together(left: Tree, right: Tree) -> Tree:
    """Return the leaves of both trees; the sum where both have one."""
    both = dict(left)
    for name, leaf in right.items():
        if name not in both:
            both[name] = leaf
        else:
            both[name] = _together(both[name], leaf) if isinstance(leaf, dict) else both[name] + leaf
    return both


def run(whole: Stage, inputs: int, tokens: int | None, params: Tree, running: Tree, x: Array, lengths: Any,
        rng: Any = None) -> tuple[Array, Callable[[Array], tuple[Array | None, Tree]], Tree]:
    """Run a whole network behind the door, padding left out; return y, what pulls dy back, and running statistics."""
    if tokens:
        _door.shape("x", x, (None, None), "a token for each step and sequence (T, B)")
    else:
        _door.alike(x=x)
        _door.features("x", x, inputs, dimensions=3)
    real = sequences.mask(lengths, x)
    this = Pass(real, None if rng is None else _door.generator(rng))
    with np.errstate(all="ignore"):  # inf and NaN flow through in silence, as IEEE says
        y, pull, after = whole(params, running, sequences.keep(real, x), this)

    def backward(dy: Array) -> tuple[Array | None, Tree]:
        _door.cotangent(dy, y.shape, y)
        with np.errstate(all="ignore"):
            return pull(dy)

    return y, backward, after
