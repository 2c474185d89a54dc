"""Verify this installation: every engine, and PyTorch's RNN as a peer, through the same door as a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .. import engines
from ..activations import ACTIVATIONS, resolve
from ..array_module import require_cupy
from . import candidates
from .answers import Candidate
from .report import Report
from .verification import Progress, checked, plan, verify

NAMES = (*ACTIVATIONS, "leaky_relu(0.125)")  # the last has exact vectors, which a slope of 0.01 cannot have
DTYPES = ("float32", "float64")  # that engines compute in
PEER = "torch.nn.RNN"


class Row(NamedTuple):
    """One implementation, activation and precision to be verified; `how` are further arguments of `verify`."""

    implementation: str
    activation: str
    dtype: str
    candidate: Candidate
    how: Mapping[str, Any] = MappingProxyType({})

    def size(self, case: str | None = None) -> int:
        """Count what it is to be tried on."""
        _, (precision,), how = checked((self.activation,), (self.dtype,), **self.how)
        return len(plan(self.activation, precision, only=case, **how))

    def verify(self, case: str | None = None, progress: Progress | None = None) -> Report:
        """Verify it, on all cases or on one."""
        return verify(self.candidate, (self.activation,), (self.dtype,), case, progress=progress, **self.how)


def rows(engine: str | None = None, activation: str | None = None, dtype: str | None = None) -> list[Row]:
    """Return what there is to verify here, all of it or what the arguments leave.

    Raises
    ------
    ValueError
        There is no such engine or peer, or it does not know the activation.
    ModuleNotFoundError, NoGPU
        The peer is asked for by name and PyTorch is not installed; or an engine for a GPU, and there is none.
    """
    if engine in engines.ON_A_GPU:
        require_cupy()
    here = (*engines.available(), *([PEER] if candidates.torch_installed() or engine == PEER else []))
    if engine not in (None, *here):
        raise ValueError(f"engine: expected one of {', '.join(here)}; got {engine!r}.")
    name = None if activation is None else resolve(activation).name
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype: expected {' or '.join(DTYPES)}, in which engines compute; got {dtype!r}.")
    found = []
    for implementation in here if engine is None else (engine,):
        candidate = candidates.torch_rnn() if implementation == PEER else candidates.from_engine(implementation)
        known = candidates.TORCH_ACTIVATIONS if implementation == PEER else (*NAMES, *([name] if name else []))
        how: dict[str, Any] = {"order": "scan"} if implementation == "cuda" else {}  # it may cut time into slices
        found += [Row(implementation, each, precision, candidate, how) for each in dict.fromkeys(known)
                  for precision in DTYPES if name in (None, each) and dtype in (None, precision)]
    if not found:
        raise ValueError(f"activation: {engine} knows {', '.join(candidates.TORCH_ACTIVATIONS)}; got {activation!r}.")
    return found


def rows_of(candidate: Candidate, name: str, activation: str, dtype: str | None = None, **how: Any) -> list[Row]:
    """Return what there is to verify of somebody's own implementation: one activation, one dtype or both."""
    dtypes = ("float32",) if how.get("precision") else DTYPES if dtype is None else (dtype,)
    return [Row(name, resolve(activation).name, each, candidate, how) for each in dtypes]
