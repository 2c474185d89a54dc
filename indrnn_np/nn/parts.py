"""The pieces as stages: what each draws first, and which leaves of the parameters it reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .. import analysis
from ..activations import resolve
from ..array_module import Array
from . import sequences
from .affine import affine
from .batch_norm import batch_norm, initial_batch_norm
from .convolution import convolution, places
from .dropout import dropout
from .embedding import embedding, tied_readout
from .readout import last_step
from .recurrent import recurrent
from .stages import Draw, Pass, Pull, Tree


class _Part:
    """A stage without parameters, unless it says otherwise."""

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw nothing."""
        return {}, {}

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name none."""
        return ()


@dataclass(frozen=True)
class Map(_Part):
    """W x + b; W ~ N(0, std²), where None takes 1 / √inputs, and b = 0."""

    inputs: int
    outputs: int
    bias: bool = True
    std: float | None = None

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W and b."""
        std = 1 / math.sqrt(self.inputs) if self.std is None else self.std
        params = {"W": draw.array(draw.rng.normal(0, std, (self.outputs, self.inputs)))}
        return params | ({"b": draw.array(np.zeros(self.outputs))} if self.bias else {}), {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Map x."""
        return *affine(params, x), {}


@dataclass(frozen=True)
class GlorotMap(Map):
    """W x + b; W ~ U(−r, r) with r = √(6 / (inputs + outputs)) (Glorot & Bengio 2010), and b = 0."""

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W and b."""
        r = math.sqrt(6 / (self.inputs + self.outputs))
        return {"W": draw.array(draw.rng.uniform(-r, r, (self.outputs, self.inputs))),
                "b": draw.array(np.zeros(self.outputs))}, {}


@dataclass(frozen=True)
class Convolution(_Part):
    """W ∗ x + b over the features of x (T, B, channels · L); std as in `Map`, over the weights of one output."""

    inputs: int
    channels: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = field(default=True, kw_only=True)
    std: float | None = field(default=None, kw_only=True)

    @property
    def width(self) -> int:
        """The number of features of y: outputs times places."""
        return self.outputs * places(self.inputs // self.channels, self.kernel, self.stride, self.padding)

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W and b."""
        shape = (self.outputs, self.channels, self.kernel)
        std = 1 / math.sqrt(self.channels * self.kernel) if self.std is None else self.std
        params = {"W": draw.array(draw.rng.normal(0, std, shape))}
        return params | ({"b": draw.array(np.zeros(self.outputs))} if self.bias else {}), {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Convolve x."""
        T, B, M = x.shape
        y, pull = convolution(params, x.reshape(T, B, self.channels, -1), self.stride, self.padding)

        def backward(dy: Array) -> tuple[Array, Tree]:
            dx, grads = pull(dy.reshape(y.shape))
            return dx.reshape(T, B, M), grads

        return y.reshape(T, B, -1), backward, {}


@dataclass(frozen=True)
class Norm(_Part):
    """Batch normalisation, its leaves below "batch_norm"; statistics "sequence" or "step"."""

    features: int
    statistics: str = "sequence"

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Return scale 1 and shift 0, and running statistics of mean 0 and variance 1."""
        steps = draw.steps if self.statistics == "step" else None
        params, running = initial_batch_norm(self.features, steps, draw.dtype, draw.xp)
        return {"batch_norm": params}, {"batch_norm": running}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Normalise x."""
        y, pull, after = batch_norm(params.get("batch_norm", {}), running.get("batch_norm", {}), x, this.training,
                                    this.mask)

        def backward(dy: Array) -> tuple[Array, Tree]:
            dx, grads = pull(dy)
            return dx, {"batch_norm": grads}

        return y, backward, {"batch_norm": after}


@dataclass(frozen=True)
class Recurrence(_Part):
    """The recurrence; `u` says where its weight starts.

    "uniform": U[0, γ^{1/T}] (follow-up, in general); "long-term": U[ε^{1/T}, γ^{1/T}] (its last layer, where the last
    output alone is used); "normal": N(.4, .2²) (the paper's words); a number: that number. For an activation whose
    steepest slope is s, |s u| has these bounds.
    """

    neurons: int
    activation: str = "relu"
    u: str | float = "uniform"
    gamma: float = 2.0
    epsilon: float = 0.5
    bidirectional: bool = False
    overwrite: bool = False

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw u."""
        slope = resolve(self.activation).max_slope
        if self.u == "uniform":
            u = analysis.uniform_weight(self.neurons, draw.steps, self.gamma, slope=slope, rng=draw.rng,
                                        dtype=draw.dtype)
        elif self.u == "long-term":
            u = analysis.long_term_weight(self.neurons, draw.steps, self.epsilon, self.gamma, slope=slope,
                                          rng=draw.rng, dtype=draw.dtype)
        elif self.u == "normal":
            u = analysis.normal_weight(self.neurons, rng=draw.rng, dtype=draw.dtype)
        else:
            u = analysis.constant_weight(self.neurons, float(self.u), dtype=draw.dtype)
        return {"u": draw.xp.asarray(u)}, {}

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name u."""
        return ("u",)

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run the recurrence over the drive x."""
        return *recurrent(params, x, self.activation, this.mask, self.bidirectional, self.overwrite), {}


@dataclass(frozen=True)
class Dropout(_Part):
    """Dropout, in training alone."""

    probability: float

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Drop features of whole sequences."""
        y, pull = dropout(x, self.probability, this.rng)
        return y, lambda dy: (pull(dy), {}), {}


@dataclass(frozen=True)
class Embedding(_Part):
    """E_token, E ~ N(0, 1 / features), its leaf below "embedding"."""

    tokens: int
    features: int

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw E."""
        E = draw.rng.normal(0, 1 / math.sqrt(self.features), (self.tokens, self.features))
        return {"embedding": {"E": draw.array(E)}}, {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Look the tokens up."""
        y, pull = embedding(params.get("embedding", {}), x)

        def backward(dy: Array) -> tuple[None, Tree]:
            dx, grads = pull(dy)
            return dx, {"embedding": grads}

        return y, backward, {}


@dataclass(frozen=True)
class TiedReadout(_Part):
    """E h + b with the E below "embedding" and a b = 0 of its own below "readout"."""

    tokens: int

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw b alone."""
        return {"readout": {"b": draw.array(np.zeros(self.tokens))}}, {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Score the tokens."""
        y, pull = tied_readout(params.get("embedding", {}) | params.get("readout", {}), x)

        def backward(dy: Array) -> tuple[Array, Tree]:
            dx, grads = pull(dy)
            return dx, {"embedding": {"E": grads["E"]}, "readout": {"b": grads["b"]}}

        return y, backward, {}


@dataclass(frozen=True)
class LastStep(_Part):
    """The state after each sequence's own last step."""

    bidirectional: bool = False

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Take it."""
        y, pull = last_step(x, this.mask, self.bidirectional)
        return y, lambda dy: (pull(dy), {}), {}


@dataclass(frozen=True)
class RealSteps(_Part):
    """Zeros in the padding."""

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Put them there."""
        return sequences.keep(this.mask, x), lambda dy: (sequences.keep(this.mask, dy), {}), {}
