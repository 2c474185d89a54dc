"""The densely connected network: every layer reads what all layers of its block have added (arXiv 1910.06251).

    unit:        [batch norm] → recurrence with its activation → [batch norm] → [dropout] → weight
    layer:       [x, unit(unit(x))]: a first unit narrows x to bottleneck · growth features, a second adds `growth` more
    block:       layers, the features growing by `growth` with each
    transition:  a unit between two blocks, which keeps the part `compression` of the features
    network:     weight, blocks with transitions between them, and a last recurrence with its normalisation

Units are those of the residual network (see `residual`); there the sum hands gradients on, here the concatenation.
With bottleneck 0 a layer is one unit, from x to `growth` features.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _door
from .network import Network
from .stages import BesideInput, Named, Sequence, Stage


@dataclass(frozen=True, kw_only=True)
class Dense(Network):
    """Dense blocks; parameters "input/W", "blocks/0/layers/0/0/u", …, "blocks/0/transition/W", "last/u", "readout/W".

    Parameters
    ----------
    hidden : features that the first weight makes
    growth : features that a layer adds
    blocks : the number of layers of each block
    bottleneck : width of a layer's second recurrence, in multiples of growth; 0: a layer has one recurrence
    compression : the part of the features that a transition keeps, above 0 and at most 1
    batch_norm : "before" each recurrence, "none", or "after" it
    and those of `Network`
    """

    hidden: int = 32
    growth: int = 16
    blocks: tuple[int, ...] = (3, 3)
    bottleneck: int = 4
    compression: float = 0.5
    batch_norm: str = "before"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("hidden", 1), ("growth", 1), ("bottleneck", 0)):
            _door.at_least(name, getattr(self, name), least)
        if not isinstance(self.blocks, tuple) or not self.blocks:
            raise ValueError(f"blocks: expected the number of layers of each block, such as (3, 3); "
                             f"got {self.blocks!r}.")
        for layers in self.blocks:
            _door.at_least("blocks", layers, 1)
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression: expected a number above 0 and at most 1; got {self.compression}.")
        self._body()  # refuses widths that do not fit

    @property
    def layers(self) -> int:
        """The number of recurrences on top of each other."""
        return sum(self.blocks) * (2 if self.bottleneck else 1) + len(self.blocks)

    def _body(self) -> tuple[tuple[Stage, ...], int]:
        weight, width = self._first_map(self.hidden)
        blocks: list[Stage] = []
        for number, layers in enumerate(self.blocks):
            grown = []
            for n in range(layers):
                grown.append(Named(str(n), BesideInput(self._layer(width))))
                width += self.growth
            block: tuple[Stage, ...] = (Named("layers", Sequence(tuple(grown))),)
            if number < len(self.blocks) - 1:
                kept = max(1, int(self.compression * width))
                block = (*block, Named("transition", self._unit(width, kept, inner=False)))
                width = kept
            blocks.append(Named(str(number), Sequence(block)))
        last = Sequence(self._recurrence(width, last=True))
        return (Named("input", weight), Named("blocks", Sequence(tuple(blocks))), Named("last", last)), width

    def _layer(self, width: int) -> Stage:
        """Return what a layer adds to its x."""
        if not self.bottleneck:
            return Named("0", self._unit(width, self.growth, inner=False))
        narrow = self.bottleneck * self.growth
        return Sequence((Named("0", self._unit(width, narrow, inner=False)),
                         Named("1", self._unit(narrow, self.growth, inner=True))))
