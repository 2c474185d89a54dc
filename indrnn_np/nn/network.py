"""What all IndRNN networks share: their options, how they begin and end, and the door.

A network is a description: numbers and names, which can be stored as JSON. Its arrays are in the caller's hands:

    params, running = network.initial(rng, steps)
    y, backward, running = network(params, running, x, lengths, rng)
    dx, grads = backward(dy)

A network begins with an embedding where it reads tokens; a map (affine, or a convolution over the features) brings
that to the width of its first layer; it ends with a readout, of the last step or of every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import analysis
from ..activations import resolve
from ..array_module import Array
from . import _door, parts
from .stages import Draw, Named, Sequence, Stage, Tree, run

CHOICES = {"readout": ("last", "every"), "batch_norm": ("none", "before", "after"), "statistics": ("sequence", "step")}
STARTS = ("uniform", "long-term", "normal")


@dataclass(frozen=True, kw_only=True)
class Network:
    """The options of every IndRNN network.

    Parameters
    ----------
    inputs : features of x; where tokens are read, those of their embedding
    outputs : features of y; where tokens are read and the readout is tied, the number of tokens
    readout : "last", y (B, outputs) after each sequence's last step, or "every", y (T, B, outputs)
    activation : name
    batch_norm : "none", "before" the recurrence and its activation, or "after" it
    statistics : over the whole "sequence", or per "step"
    dropout : probability, behind every recurrence; one mask for all steps
    input_dropout : probability, of the inputs
    bidirectional : whether half of each layer's neurons run from the last step to the first
    tokens : how many there are, where x is (T, B) whole numbers; 0 where it is real
    tied : whether the embedding is the readout's weight; where the last layer is not as wide as the embedding, a map
        that has no other purpose stands between them, its parameters below "projection"
    convolution : (channels, outputs, kernel[, stride[, padding]]): the first map is a convolution over the features,
        inputs = channels · L, and the first layer has outputs · places neurons; None: it is affine
    u : where recurrent weights start: "uniform", "long-term", "normal" or a number, see `parts.Recurrence`
    last_u : the last layer's; None: "long-term" where the readout is "last", else as u
    gamma, epsilon : the largest gradient tolerated and the smallest that counts, over T steps
    """

    inputs: int
    outputs: int
    readout: str = "last"
    activation: str = "relu"
    batch_norm: str = "none"
    statistics: str = "sequence"
    dropout: float = 0.0
    input_dropout: float = 0.0
    bidirectional: bool = False
    tokens: int = 0
    tied: bool = False
    convolution: tuple[int, ...] | None = None
    u: str | float = "uniform"
    last_u: str | float | None = None
    gamma: float = 2.0
    epsilon: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):  # a list, as JSON has it, is a tuple
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        for name, names in CHOICES.items():
            if getattr(self, name) not in names:
                raise ValueError(f"{name}: expected one of {', '.join(names)}; got {getattr(self, name)!r}.")
        for name, least in (("inputs", 1), ("outputs", 1), ("tokens", 0)):
            _door.at_least(name, getattr(self, name), least)
        for name in ("dropout", "input_dropout"):
            _door.probability(name, getattr(self, name))
        for name in ("u", "last_u"):
            value = getattr(self, name)
            if isinstance(value, str) and value not in STARTS:
                raise ValueError(f"{name}: expected one of {', '.join(STARTS)}, or a number; got {value!r}.")
        resolve(self.activation)
        self._check_tied()
        self._check_convolution()

    def initial(self, rng: np.random.Generator, steps: int, dtype: Any = "float32",
                xp: Any = np) -> tuple[Tree, Tree]:
        """Draw the first parameters.

        Parameters
        ----------
        rng : np.random.Generator; the same one draws the same parameters on every library
        steps : T, which the range of u is for, and how many steps have statistics of their own where they are per step
        dtype : float32 or float64
        xp : numpy or cupy

        Returns
        -------
        params, running : trees of arrays
        """
        _door.at_least("steps", steps, 1)
        return self._whole().initial(Draw(_door.generator(rng), steps, np.dtype(dtype), xp))

    def limits(self, steps: int) -> dict[str, float]:
        """Return the largest |u| of each recurrent weight, γ^{1/T}, by its flattened name (paper, §3.1)."""
        slope = resolve(self.activation).max_slope
        _, high = analysis.recurrent_weight_range(steps, 0.0, self.gamma, slope)
        return dict.fromkeys(self._whole().recurrent_weights(), float(high))

    def __call__(self, params: Tree, running: Tree, x: Array, lengths: Any = None,
                 rng: np.random.Generator | None = None,
                 ) -> tuple[Array, Callable[[Array], tuple[Array | None, Tree]], Tree]:
        """Run the network over a batch of sequences.

        Parameters
        ----------
        params, running : as `initial` returned them, or as later updates left them
        x : (T, B, inputs), or (T, B) whole numbers where tokens are read
        lengths : (B,) whole numbers from 1 to T; None: all are T. What stands behind a sequence's end has no influence
        rng : of dropout, in training; None: evaluation

        Returns
        -------
        y : (B, outputs), or (T, B, outputs) with zeros in the padding
        backward : dy to dx (None for tokens) and the tree of gradients
        running : the new statistics of batch normalisation

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type, dtype, device or shape; the message names it.
        """
        return run(self._whole(), self.inputs, self.tokens, params, running, x, lengths, rng)

    def _body(self) -> tuple[tuple[Stage, ...], int]:
        """Return the stages between the input and the readout, and how many features the last of them has."""
        raise NotImplementedError

    def _whole(self) -> Sequence:
        """Return the network as one stage."""
        front: tuple[Stage, ...] = (parts.Embedding(self.tokens, self.inputs),) if self.tokens else ()
        body, width = self._body()
        return Sequence((*front, *self._dropped(self.input_dropout), *body, *self._readout(width)))

    def _readout(self, width: int) -> tuple[Stage, ...]:
        if not self.tied:
            weight: tuple[Stage, ...] = (Named("readout", parts.GlorotMap(width, self.outputs)),)
        elif width == self.inputs:
            weight = (parts.TiedReadout(self.tokens),)
        else:
            weight = Named("projection", parts.GlorotMap(width, self.inputs)), parts.TiedReadout(self.tokens)
        if self.readout == "last":
            return parts.LastStep(self.bidirectional), *weight
        return *weight, parts.RealSteps()

    def _first_map(self, width: int, std: float | None = None) -> tuple[Stage, int]:
        """Return the map from the inputs to the first layer, and its width: `width`, if it is affine."""
        bias = self.batch_norm != "before"
        if self.convolution is None:
            return parts.Map(self.inputs, width, bias, std), width
        stage = parts.Convolution(self.inputs, *self.convolution, bias=bias, std=std)
        return stage, stage.width

    def _recurrence(self, neurons: int, last: bool = False, overwrite: bool = True) -> tuple[Stage, ...]:
        """Return the recurrence with what stands around it: normalisation before or after, and dropout."""
        start = self.u
        if self.bidirectional and neurons % 2:
            raise ValueError("bidirectional: expected an even number of neurons in every layer, half of which run from "
                             f"the last step to the first; got {neurons}.")
        if last:
            start = self.last_u if self.last_u is not None else "long-term" if self.readout == "last" else self.u
        cell = parts.Recurrence(neurons, self.activation, start, self.gamma, self.epsilon, self.bidirectional,
                                overwrite or self.batch_norm == "before")
        norm = parts.Norm(neurons, self.statistics)
        return (*((norm,) if self.batch_norm == "before" else ()), cell,
                *((norm,) if self.batch_norm == "after" else ()), *self._dropped(self.dropout))

    def _unit(self, width: int, outputs: int, inner: bool) -> Stage:
        """Return a recurrence and the weight behind it; `inner`: nobody else reads its input."""
        weight = parts.Map(width, outputs, self.batch_norm != "before")
        return Sequence((*self._recurrence(width, overwrite=inner), weight))

    def _dropped(self, probability: float) -> tuple[Stage, ...]:
        return (parts.Dropout(probability),) if probability else ()

    def _check_tied(self) -> None:
        if not self.tied:
            return
        if not self.tokens or self.outputs != self.tokens:
            raise ValueError(f"tied: expected tokens, and as many outputs; got {self.tokens} tokens and "
                             f"{self.outputs} outputs.")

    def _check_convolution(self) -> None:
        if self.convolution is None:
            return
        if not isinstance(self.convolution, tuple) or not 3 <= len(self.convolution) <= 5:
            raise ValueError("convolution: expected (channels, outputs, kernel[, stride[, padding]]); "
                             f"got {self.convolution!r}.")
        for value, least in zip(self.convolution, (1, 1, 1, 1, 0), strict=False):
            _door.at_least("convolution", value, least)
        if self.inputs % self.convolution[0]:
            raise ValueError(f"convolution: expected channels that divide the {self.inputs} inputs; "
                             f"got {self.convolution[0]}.")
        if parts.Convolution(self.inputs, *self.convolution).width < 1:
            raise ValueError(f"convolution: expected a kernel that fits into {self.inputs // self.convolution[0]} "
                             f"places; got {self.convolution}.")
