"""Schedules: their values, and PyTorch's."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from indrnn_np.nn import schedules
from indrnn_np.nn.schedules import Plateau, constant, cosine, step
from indrnn_np.oracle.tolerance import gamma


def test_values() -> None:
    assert [constant(k, 0.5) for k in (0, 10**6)] == [0.5, 0.5]
    assert [step(k, 1.0, every=20, factor=0.5) for k in (0, 19, 20, 39, 40, 100)] == [1, 1, 0.5, 0.5, 0.25, 0.5**5]
    assert [cosine(k, 1.0, updates=10) for k in (0, 10, 11, 10**9)] == [1.0, 0.0, 0.0, 0.0]
    assert cosine(10, 1.0, updates=10, final=0.25) == 0.25
    ε = float(np.finfo(float).eps)
    for k, share in ((10, 0.75), (15, 0.5), (20, 0.25)):  # cos 60°, 90°, 120°
        assert abs(cosine(k, 3.0, updates=30, final=1.0) - (1 + 2 * share)) <= 8 * ε
    rates = [cosine(k, 1e-2, updates=100) for k in range(101)]
    assert all(now > later for now, later in pairwise(rates))


@pytest.mark.extra("torch")
def test_the_values_are_those_of_torch() -> None:
    import torch

    def theirs(make: Any) -> list[float]:
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        schedule, rates = make(optimiser), []
        for _ in range(61):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        return rates

    scheduler = torch.optim.lr_scheduler
    for got, want in (([step(k, 0.1, every=7, factor=0.5) for k in range(61)],
                       theirs(lambda o: scheduler.StepLR(o, 7, 0.5))),
                      ([cosine(k, 0.1, 60, final=0.01) for k in range(61)],
                       theirs(lambda o: scheduler.CosineAnnealingLR(o, 60, eta_min=0.01)))):
        # PyTorch goes from rate to rate: at most 8 roundings each, and every rate is a sum of positive terms up to 0.1
        assert all(abs(g - w) <= gamma(8 * 61, 2**-53) * 0.1 for g, w in zip(got, want, strict=True))


@pytest.mark.extra("torch")
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_plateau_is_that_of_torch(patience: int) -> None:
    import torch

    rng = np.random.default_rng(patience)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.5, patience=patience, threshold=0.125, threshold_mode="abs", eps=0.0)
    plateau = Plateau(factor=0.5, patience=patience, threshold=0.125)
    state, fell = plateau.initial(1.0), 0
    for k in range(60):
        value = float(np.round(8 * (4 * math.exp(-k / 10) + rng.random()))) / 8  # often exactly at the threshold
        theirs.step(value)
        state, before = plateau.update(state, value), state
        fell += state["rate"] < before["rate"]
        assert state["rate"] == optimiser.param_groups[0]["lr"]
        assert state["best"] == theirs.best
    assert 0 < fell < 60


def test_the_plateau_waits_falls_and_stores_as_plain_data() -> None:
    plateau = Plateau(factor=0.5, patience=1)
    state = plateau.initial(1.0)
    rates = []
    for value in (math.nan, 3.0, 2.0, 2.0, 2.5, 1.0, math.inf, math.nan, 0.5):
        given = dict(state)
        after = plateau.update(state, value)
        assert state == given
        state = json.loads(json.dumps(after, allow_nan=False))
        rates.append(state["rate"])
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert state == {"rate": 0.25, "best": 0.5, "waited": 0}


@pytest.mark.parametrize(("call", "name"), [
    (lambda: constant(-1, 0.1), "update"), (lambda: constant(0, -0.1), "rate"), (lambda: step(0.5, 0.1, 3), "update"),
    (lambda: step(0, 0.1, 0), "every"), (lambda: step(0, 0.1, 3, -1), "factor"), (lambda: cosine(0, 0.1, 0), "updates"),
    (lambda: cosine(0, 0.1, 5, math.nan), "final"), (lambda: Plateau(factor=-1), "factor"),
    (lambda: Plateau(patience=-1), "patience"), (lambda: Plateau(threshold=-1), "threshold"),
    (lambda: schedules.Plateau().initial(-1), "rate")])
def test_bad_numbers_are_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^{name}: expected"):
        call()
