"""Verify this installation: every engine, and PyTorch's RNN as a peer, through the same door as a stranger's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import engines
from ..activations import ACTIVATIONS
from . import candidates
from .report import Report
from .verification import Candidate, verify

NAMES = (*ACTIVATIONS, "leaky_relu(0.125)")  # the last has exact vectors, which a slope of 0.01 cannot have
DTYPES = ("float32", "float64")
PEER = "torch.nn.RNN"


class Row(NamedTuple):
    """One implementation, activation and dtype to be verified."""

    implementation: str
    activation: str
    dtype: str
    candidate: Candidate

    def verify(self) -> Report:
        """Verify it."""
        return verify(self.candidate, (self.activation,), (self.dtype,))


def rows() -> Iterator[Row]:
    """Yield what there is to verify here."""
    found = {name: (candidates.from_engine(name), NAMES) for name in engines.available()}
    if candidates.torch_installed():
        found[PEER] = (candidates.torch_rnn(), candidates.TORCH_ACTIVATIONS)
    for implementation, (candidate, names) in found.items():
        for activation in names:
            for dtype in DTYPES:
                yield Row(implementation, activation, dtype, candidate)
