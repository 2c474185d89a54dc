"""Tasks are made by name from plain options, and describe themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from indrnn_np.experiments import tasks


def test_a_name_and_plain_options_make_a_task() -> None:
    assert tasks.named("adding", steps=7, test_seed=3) == tasks.Adding(7, test_seed=3)
    assert set(tasks.TASKS) >= {"adding", "digits", "mnist", "ntu", "ptb-characters", "ptb-words"}


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: tasks.named("ading"), ValueError, "got 'ading'. Did you mean 'adding'?"),
    (lambda: tasks.named("copying memory"), ValueError, f"expected one of {', '.join(tasks.TASKS)}; got"),
    (lambda: tasks.named(3), TypeError, "name: expected the name of a task; got int."),
    (lambda: tasks.named("adding", step=3), TypeError,
     "step: expected an option of the task 'adding' (steps, test_sequences, test_seed). Did you mean 'steps'?"),
])
def test_what_is_unknown_is_named_with_the_nearest_that_is_known(call: Any, kind: type, message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)


def test_a_task_is_a_frozen_dataclass_with_what_the_contract_names() -> None:
    task = tasks.named("adding", steps=7)
    assert dataclasses.is_dataclass(task)
    assert {name: getattr(task, name) for name in ("name", "steps", "inputs", "outputs", "readout", "loss", "tokens")} \
        == {"name": "adding", "steps": 7, "inputs": 2, "outputs": 1, "readout": "last", "loss": "mse", "tokens": False}
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.steps = 8  # type: ignore[misc]


def test_a_batch_is_numpy_s() -> None:
    batch = tasks.named("adding").batch(np.random.default_rng(0), 2)
    assert isinstance(batch, tasks.Batch)
    assert type(batch.x) is type(batch.target) is np.ndarray
