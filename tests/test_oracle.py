"""The oracle: nothing wrong passes, nothing right is accused, and each of its checks can fail."""

from __future__ import annotations

import numpy as np
import pytest
from mutants import MUTANTS, Mutant, build

import indrnn_np as ir
from indrnn_np.oracle import candidates, installation
from indrnn_np.oracle.verification import CHECKS


def verify(mutant: Mutant, activation: str) -> ir.oracle.Report:
    with np.errstate(all="ignore"):
        return ir.oracle.verify(candidates.from_recurrence(build(mutant)), (activation,), ("float32",))


@pytest.mark.parametrize("engine", ir.engines.available())
@pytest.mark.parametrize("activation", installation.NAMES)
def test_every_engine_of_this_package_is_right(engine: str, activation: str) -> None:
    report = ir.oracle.verify(candidates.from_engine(engine), (activation,))
    assert report.passed, report


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_mistake_is_caught_in_every_activation_that_it_changes(mutant: Mutant) -> None:
    for activation in installation.NAMES:
        if activation not in mutant.harmless_in:
            assert not verify(mutant, activation).passed, f"{mutant.name} passes with {activation}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_alone_catches_most_planted_mistakes(check, monkeypatch) -> None:
    monkeypatch.setattr("indrnn_np.oracle.verification.CHECKS", (check,))
    caught = [mutant.name for mutant in MUTANTS
              if not verify(mutant, "relu" if "relu" not in mutant.harmless_in else "tanh").passed]
    assert len(caught) >= 0.4 * len(MUTANTS), caught
