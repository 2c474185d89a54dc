"""The four baselines: layers of one kind, one on the other, and an affine readout.

    [embedding →] layer 0 → layer 1 → … → (the last state, or every state) → readout → y

As the networks of this room they are descriptions, plain data, and are put together from stages. They differ in the
cell of their layers, and in how its weights begin (`layers.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...analysis import _checks
from ...array_module import Array
from .. import _door, parts
from ..stages import Draw, Named, Sequence, Stage, run
from ..trees import Tree
from .layers import GRULayer, IRNNLayer, LSTMLayer, RNNLayer


@dataclass(frozen=True, kw_only=True)
class Baseline(ABC):
    """What the four have in common.

    Parameters
    ----------
    inputs : features of x; where tokens are read, those of their embedding
    outputs : features of y
    hidden : neurons of each layer
    layers : how many
    readout : "last", y (B, outputs) after each sequence's last step, or "every", y (T, B, outputs)
    tokens : how many there are, where x is (T, B) whole numbers; 0 where it is real
    """

    inputs: int
    outputs: int
    hidden: int = 128
    layers: int = 1
    readout: str = "last"
    tokens: int = 0

    def __post_init__(self) -> None:
        for name, least in (("inputs", 1), ("outputs", 1), ("hidden", 1), ("layers", 1), ("tokens", 0)):
            _door.at_least(name, getattr(self, name), least)
        _checks.one_of("readout", self.readout, ("last", "every"))

    @abstractmethod
    def _layer(self, inputs: int) -> Stage:
        """Return one layer."""

    def initial(self, rng: np.random.Generator, steps: int, dtype: Any = "float32", xp: Any = np) -> tuple[Tree, Tree]:
        """Draw the first parameters.

        Parameters
        ----------
        rng : np.random.Generator; the same one draws the same parameters on every library
        steps : T, the length of the sequences, which chrono biases are for
        dtype : float32 or float64
        xp : numpy or cupy

        Returns
        -------
        params : {"layers": {"0": …, …}, "readout": {"W", "b"}}, and {"embedding": {"E"}} where tokens are read
        running : {}, since a baseline has no running statistics

        Raises
        ------
        TypeError, ValueError
            An argument is no such thing; the message names it.
        """
        _door.at_least("steps", steps, 1)
        return self._whole().initial(Draw(_door.generator(rng), steps, _checks.real_dtype(dtype), xp))

    def __call__(self, params: Tree, running: Tree, x: Array, lengths: Any = None,
                 rng: np.random.Generator | None = None,
                 ) -> tuple[Array, Callable[[Array], tuple[Array | None, Tree]], Tree]:
        """Run the model over a batch of sequences.

        Parameters
        ----------
        params, running : as `initial` returned them, or as later updates left them
        x : (T, B, inputs), or (T, B) whole numbers where tokens are read
        lengths : (B,) whole numbers from 1 to T; None: all are T. What stands behind a sequence's end has no influence
        rng : there for the networks' sake: a baseline draws nothing when it runs

        Returns
        -------
        y : (B, outputs), or (T, B, outputs) with zeros in the padding
        backward : dy to dx (None for tokens) and the tree of gradients
        running : {}

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type, dtype, device or shape; the message names it.
        """
        return run(self._whole(), self.inputs, self.tokens, params, {}, x, lengths)

    def limits(self, steps: int) -> dict[str, float]:
        """Return {}: no recurrent weight of a baseline is held in a range."""
        _door.at_least("steps", steps, 1)
        return {}

    def _whole(self) -> Sequence:
        """Return the model as one stage."""
        widths = [self.inputs] + [self.hidden] * (self.layers - 1)
        front = (parts.Embedding(self.tokens, self.inputs),) if self.tokens else ()
        body = Sequence(tuple(Named(str(n), self._layer(width)) for n, width in enumerate(widths)))
        readout = Named("readout", parts.GlorotMap(self.hidden, self.outputs))
        end = (parts.LastStep(), readout) if self.readout == "last" else (readout, parts.RealSteps())
        return Sequence((*front, Named("layers", body), *end))


@dataclass(frozen=True, kw_only=True)
class RNN(Baseline):
    """An RNN with tanh that begins with orthogonal recurrent matrices (Li et al. 2018, Eq. 1 and §5.1).

    Parameters
    ----------
    those of `Baseline`
    """

    def _layer(self, inputs: int) -> Stage:
        return RNNLayer(inputs, self.hidden)


@dataclass(frozen=True, kw_only=True)
class IRNN(Baseline):
    """An RNN with ReLU that begins with U = I (Le, Jaitly & Hinton 2015).

    Parameters
    ----------
    those of `Baseline`
    """

    def _layer(self, inputs: int) -> Stage:
        return IRNNLayer(inputs, self.hidden)


@dataclass(frozen=True, kw_only=True)
class LSTM(Baseline):
    """An LSTM. How its gates begin decides what it can learn over many steps: say it whenever you compare.

    Parameters
    ----------
    chrono : whether the biases of the forget and input gates are drawn for the length of the sequences (Tallec &
        Ollivier 2018); else the forget gate's are 1 (Jozefowicz et al. 2015) and the others 0
    and those of `Baseline`
    """

    chrono: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.flag("chrono", self.chrono)

    def _layer(self, inputs: int) -> Stage:
        return LSTMLayer(inputs, self.hidden, self.chrono)


@dataclass(frozen=True, kw_only=True)
class GRU(Baseline):
    """A GRU, its reset gate behind the recurrent matrix.

    Parameters
    ----------
    those of `Baseline`
    """

    def _layer(self, inputs: int) -> Stage:
        return GRULayer(inputs, self.hidden)
