"""Verify this installation: every engine, and PyTorch's RNN as a peer, through the same door as a stranger's."""

from __future__ import annotations

from typing import NamedTuple

from .. import engines
from ..activations import ACTIVATIONS, resolve
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

    def verify(self, case: str | None = None) -> Report:
        """Verify it, on all cases or on one."""
        return verify(self.candidate, (self.activation,), (self.dtype,), case)


def rows(engine: str | None = None, activation: str | None = None, dtype: str | None = None) -> list[Row]:
    """Return what there is to verify here, all of it or what the arguments leave.

    Raises
    ------
    ValueError
        There is no such engine or peer, or it does not know the activation.
    ModuleNotFoundError
        The peer is asked for by name and PyTorch is not installed.
    """
    here = (*engines.available(), *([PEER] if candidates.torch_installed() or engine == PEER else []))
    if engine not in (None, *here):
        raise ValueError(f"engine: expected one of {', '.join(here)}; got {engine!r}.")
    name = None if activation is None else resolve(activation).name
    found = []
    for implementation in here if engine is None else (engine,):
        candidate = candidates.torch_rnn() if implementation == PEER else candidates.from_engine(implementation)
        known = candidates.TORCH_ACTIVATIONS if implementation == PEER else (*NAMES, *([name] if name else []))
        found += [Row(implementation, each, precision, candidate) for each in dict.fromkeys(known)
                  for precision in DTYPES if name in (None, each) and dtype in (None, precision)]
    if not found:
        raise ValueError(f"activation: {engine} knows {', '.join(candidates.TORCH_ACTIVATIONS)}; got {activation!r}.")
    return found


def rows_of(candidate: Candidate, name: str, activation: str, dtype: str | None = None) -> list[Row]:
    """Return what there is to verify of somebody's own implementation: one activation, one dtype or both."""
    return [Row(name, resolve(activation).name, precision, candidate) for precision in DTYPES
            if dtype in (None, precision)]
