"""The plain network: IndRNN layers on top of each other (Li et al. 2018, Eq. 2 and Fig. 1a).

    layer: weight → [batch norm] → recurrence with its activation → [batch norm] → [dropout]

What is in brackets may be left out, and batch norm stands in one of the two places or in none (see `Network`); where it
stands right behind the weight, its shift takes the place of b.

In the paper, two such layers solve the adding problem and six of them sequential MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _door, parts
from .network import Network
from .stages import Named, Sequence, Stage


@dataclass(frozen=True, kw_only=True)
class Plain(Network):
    """Layers on top of each other; parameters "layers/0/W", "/b", "/u", …, "readout/W", "/b".

    Parameters
    ----------
    hidden : neurons of each layer
    layers : how many
    weight_std : standard deviation of the first W's, one number or one per layer; None takes 1 / √inputs of each
    and those of `Network`
    """

    hidden: int = 128
    layers: int = 2
    weight_std: float | tuple[float | None, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _door.at_least("hidden", self.hidden, 1)
        _door.at_least("layers", self.layers, 1)
        if isinstance(self.weight_std, tuple) and len(self.weight_std) != self.layers:
            raise ValueError(f"weight_std: expected one number for each of the {self.layers} layers; "
                             f"got {len(self.weight_std)}.")
        self._body()  # refuses widths that do not fit

    def _body(self) -> tuple[tuple[Stage, ...], int]:
        stds = self.weight_std if isinstance(self.weight_std, tuple) else (self.weight_std,) * self.layers
        stacked: list[Stage] = []
        width = self.inputs
        for n in range(self.layers):
            if n == 0:
                weight, width = self._first_map(self.hidden, stds[n])
            else:
                weight, width = parts.Map(width, self.hidden, self.batch_norm != "before", stds[n]), self.hidden
            stacked.append(Named(str(n), Sequence((weight, *self._recurrence(width, last=n == self.layers - 1)))))
        return (Named("layers", Sequence(tuple(stacked))),), width
