"""Tasks are made by name from plain options, and describe themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import written as idx_file
from skeletons import random_frames
from skeletons import written as skeleton_file

from indrnn_np.experiments import tasks
from indrnn_np.experiments.tasks import Task


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


def one_of_each(folder: Path) -> dict[str, Task]:
    """Make every task that needs no extra, from small files; each has at least three sequences to train and test on."""
    images = np.arange(4 * 784, dtype=np.uint32).astype(np.uint8).reshape(4, 28, 28)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_file(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_file(np.arange(4, dtype=np.uint8)))
    for part in ("train", "valid", "test"):
        (folder / f"ptb.{part}.txt").write_text("one two three four five six seven eight nine ten\n" * 3)
    for subject in range(1, 9):
        seen = skeleton_file(random_frames(np.random.default_rng(subject), ["a", "ab"]))
        (folder / f"S001C001P{subject:03}R001A001.skeleton").write_bytes(seen)
    options: dict[str, dict[str, Any]] = {"adding": {"steps": 5, "test_sequences": 4}, "mnist": {"folder": folder},
                                          "ntu": {"folder": folder}, "ptb-characters": {"folder": folder, "steps": 6},
                                          "ptb-words": {"folder": folder, "steps": 6}}
    assert {*options, "digits"} == set(tasks.TASKS)
    return {name: tasks.named(name, **given) for name, given in options.items()} | {
        "pMNIST": tasks.named("mnist", folder=folder, permuted=True)}


def kept_to(task: Task, batch: tasks.Batch, dtype: str) -> bool:
    """Whether a batch is what the contract says it is."""
    x, target, lengths = batch
    T, B = x.shape[:2]
    right = type(x) is type(target) is np.ndarray and x.flags.c_contiguous and target.flags.c_contiguous
    right &= x.shape == ((T, B) if task.tokens else (T, B, task.inputs)) and task.steps >= T
    right &= x.dtype == ("int64" if task.tokens else dtype)
    if task.loss == "mse":
        right &= target.shape == (B, task.outputs) and target.dtype == dtype
    else:
        right &= target.shape == ((B,) if task.readout == "last" else (T, B)) and target.dtype == "int64"
        right &= bool(((target >= 0) & (target < task.outputs)).all())
    if task.tokens:
        right &= bool(((x >= 0) & (x < task.inputs)).all())
    return right and (lengths is None or bool(lengths.shape == (B,) and ((lengths > 0) & (lengths <= T)).all()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_task_keeps_to_the_contract(tmp_path: Path, dtype: str) -> None:
    for task in one_of_each(tmp_path).values():
        batch = task.batch(np.random.default_rng(0), 3, dtype)
        assert kept_to(task, batch, dtype), task
        assert len(batch.x) == task.steps
        assert batch.lengths is None
        for tested in task.test_batches(2, dtype):
            assert kept_to(task, tested, dtype), task
        assert not kept_to(task, batch._replace(x=batch.x[:, ::-1]), dtype), "not in C order"
        assert not kept_to(task, batch._replace(target=batch.target[..., None]), dtype)


def test_batches_are_the_same_again_in_either_precision_and_writing_to_one_changes_no_other(tmp_path: Path) -> None:
    for task in one_of_each(tmp_path).values():
        for draw in (lambda dtype, task=task: [task.batch(np.random.default_rng(1), 3, dtype)],
                     lambda dtype, task=task: list(task.test_batches(3, dtype))):
            first = draw("float64")
            kept = [(batch.x.copy(), batch.target.copy()) for batch in first]
            for batch in first:
                batch.x[...] = batch.target[...] = 0
            for dtype in ("float64", "float32"):
                for batch, (x, target) in zip(draw(dtype), kept, strict=True):
                    assert np.array_equal(batch.x, x.astype(batch.x.dtype)), task
                    assert np.array_equal(batch.target, target.astype(batch.target.dtype)), task
