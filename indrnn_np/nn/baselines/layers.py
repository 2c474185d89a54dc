"""The cells as layers: how the weights of each begin, and which cell reads them.

Where a matrix has a block of rows for each gate, each block is drawn by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array_module import Array
from ..stages import Draw, Pass, Pull, Tree
from .gru import gru
from .initialisation import Drawn, chrono, glorot, orthogonal
from .lstm import lstm
from .rnn import rnn


@dataclass(frozen=True)
class Layer:
    """What the four have in common: none has a recurrent weight that is held in a range, none has statistics."""

    inputs: int
    neurons: int

    def recurrent_weights(self) -> tuple[str, ...]:
        """Name none."""
        return ()

    def _matrices(self, rng: np.random.Generator, gates: int) -> dict[str, Drawn]:
        """Draw W and an orthogonal U."""
        return {"W": np.concatenate([glorot(rng, self.neurons, self.inputs) for _ in range(gates)]),
                "U": np.concatenate([orthogonal(rng, self.neurons) for _ in range(gates)])}


class RNNLayer(Layer):
    """An RNN with tanh and an orthogonal U."""

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W, U and b = 0."""
        return _kept(draw, **self._matrices(draw.rng, 1), b=np.zeros(self.neurons)), {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run it."""
        return *rnn(params, x, "tanh", this.mask), {}


class IRNNLayer(Layer):
    """An RNN with ReLU and U = I."""

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W, U = I and b = 0."""
        W = glorot(draw.rng, self.neurons, self.inputs)
        return _kept(draw, W=W, U=np.eye(self.neurons), b=np.zeros(self.neurons)), {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run it."""
        return *rnn(params, x, "relu", this.mask), {}


@dataclass(frozen=True)
class LSTMLayer(Layer):
    """An LSTM; `chrono`: with gate biases for the length of the sequences, else with forget bias 1."""

    chrono: bool = False

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W, U and b."""
        N, zeros = self.neurons, np.zeros(self.neurons)
        matrices = self._matrices(draw.rng, 4)
        b_i, b_f = chrono(draw.rng, N, draw.steps) if self.chrono else (zeros, np.ones(N))
        return _kept(draw, **matrices, b=np.concatenate([b_i, b_f, zeros, zeros])), {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run it."""
        return *lstm(params, x, this.mask), {}


class GRULayer(Layer):
    """A GRU, with biases 0."""

    def initial(self, draw: Draw) -> tuple[Tree, Tree]:
        """Draw W, U, b = 0 and b_n = 0."""
        N = self.neurons
        return _kept(draw, **self._matrices(draw.rng, 3), b=np.zeros(3 * N), b_n=np.zeros(N)), {}

    def __call__(self, params: Tree, running: Tree, x: Array, this: Pass) -> tuple[Array, Pull, Tree]:
        """Run it."""
        return *gru(params, x, this.mask), {}


def _kept(draw: Draw, **drawn: Any) -> Tree:
    """Turn what was drawn into arrays of the model's dtype and library."""
    return {name: draw.array(value) for name, value in drawn.items()}
