"""The residual network: IndRNN units with an identity around every two of them (Li et al. 2018, §4.1 and Fig. 1b).

    unit:     [batch norm] → recurrence with its activation → [batch norm] → [dropout] → weight
    block:    x + unit(unit(x))
    network:  weight, blocks, and a last recurrence with its normalisation

A unit normalises and activates before its weight, and nothing stands in the way of the identity, so that a gradient
passes through any number of blocks unchanged ("pre-activation", He et al. 2016). After the blocks their sum is
normalised and passed through one recurrence more, as a layer before the readout must be: 2 · blocks + 1 in all.

Where the batch is normalised before each recurrence, every reader of the sum subtracts its mean. No bias but the
readout's would then change anything, and there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _door
from .network import Network
from .stages import Named, PlusIdentity, Sequence, Stage


@dataclass(frozen=True, kw_only=True)
class Residual(Network):
    """Residual blocks; parameters "input/W", "blocks/0/0/u", "blocks/0/1/W", …, "last/u", "readout/W".

    Parameters
    ----------
    hidden : neurons of each recurrence
    blocks : how many, of two recurrences each
    batch_norm : "before" each recurrence, as in Fig. 1b, "none", or "after" it
    and those of `Network`
    """

    hidden: int = 128
    blocks: int = 5
    batch_norm: str = "before"

    def __post_init__(self) -> None:
        super().__post_init__()
        _door.at_least("hidden", self.hidden, 1)
        _door.at_least("blocks", self.blocks, 1)
        self._body()  # refuses widths that do not fit

    @property
    def layers(self) -> int:
        """The number of recurrences on top of each other."""
        return 2 * self.blocks + 1

    def _body(self) -> tuple[tuple[Stage, ...], int]:
        weight, width = self._first_map(self.hidden)
        block = PlusIdentity(Sequence((Named("0", self._unit(width, width, inner=False)),
                                       Named("1", self._unit(width, width, inner=True)))))
        blocks = Sequence(tuple(Named(str(n), block) for n in range(self.blocks)))
        last = Sequence(self._recurrence(width, last=True))
        return (Named("input", weight), Named("blocks", blocks), Named("last", last)), width
