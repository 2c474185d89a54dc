"""The training loop: draw a batch, run forward and backward, clip, update, project; and leave a folder that tells it.

A run has a folder of its own:

    configuration.json    what was asked for
    metrics.jsonl         a line for each update and each evaluation
    checkpoint.npz        where it stands: parameters, moments, running statistics, random generators, schedule
    result.json           how it ended

All chance comes from generators that the seed makes, one for each purpose, and a checkpoint holds their states. So two
runs of one configuration end with the same bits, and so does one that was killed at any moment and resumed: it goes on
from the last checkpoint, and repeats what was done after it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..array_module import Array, namespace
from ..nn import sequences, trees
from ..nn.trees import Tree
from . import checkpoints, files
from .configuration import Configuration
from .metrics import Metrics
from .tasks import Batch, Task

Report = Callable[[int, int, float], None]  # updates done, of how many, mean loss of the last ones
PURPOSES = ("initial", "data", "dropout")   # of a random generator each


class Diverged(ArithmeticError):
    """The loss or a gradient is not finite; the message names the update and the seed."""


class Learner:
    """A network and all that changes from update to update.

    Parameters
    ----------
    configuration : Configuration; of what is wrong in it, the message names it

    Attributes
    ----------
    params, running, moments : trees of arrays
    update : how many updates are done
    losses : those of the last `window` updates
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.xp = configuration.namespace()
        self.task: Task = configuration.make_task()
        self.model = configuration.make_model(self.task)
        self.adam = nn.Adam(**configuration.adam)
        seeds = np.random.SeedSequence(configuration.seed).spawn(len(PURPOSES))
        self.rngs = {name: np.random.default_rng(seed) for name, seed in zip(PURPOSES, seeds, strict=True)}
        self.params, self.running = self.model.initial(self.rngs["initial"], steps=self.task.steps,
                                                       dtype=configuration.dtype, xp=self.xp)
        self.moments = self.adam.initial(self.params)
        self.limits = self.model.limits(self.task.steps) if configuration.project else {}
        nn.project(self.params, self.limits)
        self.losses: deque[float] = deque(maxlen=configuration.window)
        self.plateau = configuration.plateau()
        self.plateau_state = self.plateau.initial(self.adam.rate) if self.plateau else None
        self.update = 0

    def step(self) -> dict[str, float]:
        """Do one update.

        Returns
        -------
        {"update": its number from 1, "loss": before it, "norm": of all gradients before clipping, "rate": …}

        Raises
        ------
        Diverged
            The loss or a gradient is not finite. Parameters and moments are those of the update before.
        """
        given = self.configuration
        batch = moved(self.task.batch(self.rngs["data"], given.batch, given.dtype), self.xp)
        y, backward, running = self.model(self.params, self.running, batch.x, batch.lengths, self.rngs["dropout"])
        loss, loss_backward = loss_of(self.task, y, batch)
        loss, number = float(loss), self.update + 1
        if not math.isfinite(loss):
            raise self._diverged(number, f"the loss is {loss}. The run has diverged")
        _, grads = backward(loss_backward())
        rate = given.rate(self.update, self.plateau_state)
        try:
            norm = nn.clip_by_global_norm(grads, given.clip or math.inf)
            self.adam.update(self.params, grads, self.moments, rate, given.factors)
        except FloatingPointError as error:
            raise self._diverged(number, str(error)) from error
        nn.project(self.params, self.limits)
        self.running, self.update = running, number
        self.losses.append(loss)
        return {"update": number, "loss": loss, "norm": norm, "rate": rate}

    def evaluate(self) -> dict[str, float]:
        """Measure on the validation set, or on the test set of a task that has none; a plateau follows the loss.

        Returns
        -------
        scores : as those of the function `evaluate`
        """
        part = "validation" if hasattr(self.task, "validation") else "test"
        scores = evaluate(self.model, self.params, self.running, self.task, self.configuration, part)
        if self.plateau and self.plateau_state:
            self.plateau_state = self.plateau.update(self.plateau_state, scores[f"{part}_loss"])
        return scores

    @property
    def finished(self) -> bool:
        """Whether all updates are done, or the mean loss is low enough."""
        enough = self.configuration.stop_below
        return self.update >= self.configuration.updates or (
            enough is not None and len(self.losses) == self.losses.maxlen and self.mean_loss < enough)

    @property
    def mean_loss(self) -> float:
        """The mean loss of the last `window` updates, each before its update; NaN before the first."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    def tree(self) -> Tree:
        """Return all arrays as one tree."""
        return {"params": self.params, "running": self.running, "moments": self.moments}

    def save(self, path: Path, **more: Any) -> None:
        """Write a checkpoint, with more plain data beside what is needed to go on."""
        checkpoints.save(path, trees.flatten(self.tree()), {
            "configuration": self.configuration.as_dict(), "update": self.update, "losses": list(self.losses),
            "rng": {name: rng.bit_generator.state for name, rng in self.rngs.items()},
            "schedule": self.plateau_state, **more})

    def restore(self, path: Path) -> dict[str, Any]:
        """Go back to a checkpoint; return its plain data.

        Raises
        ------
        BadCheckpoint
            It is damaged, or of another configuration; the message names the file.
        """
        like = trees.flatten(self.tree())
        arrays, state = checkpoints.load(path, self.configuration.as_dict(), like)
        tree = trees.unflatten({name: namespace(like[name]).asarray(arrays[name]) for name in like})
        self.params, self.running, self.moments = (tree.get(name, {}) for name in ("params", "running", "moments"))
        self.update, self.plateau_state = state["update"], state["schedule"]
        self.losses = deque(state["losses"], maxlen=self.losses.maxlen)
        for name, rng in self.rngs.items():
            rng.bit_generator.state = state["rng"][name]
        return state

    def _diverged(self, update: int, why: str) -> Diverged:
        return Diverged(f"update {update}, seed {self.configuration.seed}: {why.removesuffix('.')}. A lower learning "
                        "rate or clipping may help. The last checkpoint is untouched.")


def moved(batch: Batch, xp: Any) -> Batch:
    """Return the batch on the device of xp; lengths stay where they are."""
    return Batch(xp.asarray(batch.x), xp.asarray(batch.target), batch.lengths)


def counting(task: Task, batch: Batch) -> Array | None:
    """Return which steps are to be answered, (T, B); None where all are, or the last alone is."""
    return sequences.mask(batch.lengths, batch.x) if task.readout == "every" else None


def loss_of(task: Task, y: Array, batch: Batch) -> tuple[Any, Callable[[], Array]]:
    """Return the loss that a task is judged by, mean over its answers, and what gives its derivative by y."""
    loss = nn.mse if task.loss == "mse" else nn.softmax_cross_entropy
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is said in a sentence by who looks at it
        return loss(y, batch.target, counting(task, batch))


def evaluate(model: Any, params: Tree, running: Tree, task: Task, configuration: Configuration,
             part: str = "test") -> dict[str, float]:
    """Measure a network on one part of the data of its task.

    Parameters
    ----------
    model, params, running : the network, its parameters and running statistics
    task : Task
    configuration : says the size of batches, the dtype and the device
    part : "test", or "validation" where the task has that

    Returns
    -------
    scores : "test_loss" (or "validation_loss"), the mean over all answers, in nats where it is a cross entropy; and
        "test_accuracy" (or "validation_accuracy"), the share of right answers, in that case
    """
    size, dtype = configuration.batch, configuration.dtype
    total, right, answers = 0.0, 0, 0
    for cut in task.test_batches(size, dtype) if part == "test" else task.streams(part, size, dtype):  # type: ignore[attr-defined]
        batch = moved(cut, configuration.namespace())
        y, _, _ = model(params, running, batch.x, batch.lengths)
        mask, loss = counting(task, batch), float(loss_of(task, y, batch)[0])
        count = int(mask.sum()) if mask is not None else batch.target.size
        total, answers = total + loss * count, answers + count
        if task.loss == "cross entropy":
            hits = y.argmax(axis=-1) == batch.target
            right += int((hits if mask is None else hits & mask).sum())
    accuracy = {f"{part}_accuracy": right / answers} if task.loss == "cross entropy" else {}
    return {f"{part}_loss": total / answers, **accuracy}


def train(configuration: Configuration, folder: Path, resume: bool = False,
          report: Report | None = None) -> dict[str, Any]:
    """Train, and leave a folder that tells it: `finish` of a new `Learner`."""
    return finish(Learner(configuration), folder, resume, report)


def finish(learner: Learner, folder: Path, resume: bool = False, report: Report | None = None) -> dict[str, Any]:
    """Train a new learner to the end, and leave a folder that tells it.

    Parameters
    ----------
    learner : Learner, as it is made
    folder : where the files of the run are written; made if it is not there
    resume : go on from the checkpoint in the folder, if there is one; a finished run is only read
    report : called after each update with how many are done, of how many, and the mean loss of the last ones

    Returns
    -------
    result : plain data, as in result.json: task, model, seed, steps, updates (done), train_loss (mean of the last
        ones), test_mse or test_loss and test_accuracy, seconds (of training; without those that were lost to a kill)

    Raises
    ------
    Diverged
        The loss or a gradient is not finite, now or when the run in the folder ended so. The last checkpoint is
        untouched.
    BadCheckpoint
        The checkpoint is damaged, or of another configuration; the message names the file.
    ValueError
        The folder has a run already, and `resume` is false, or another process is at it.
    OSError
        The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with files.alone(folder):
        files.clear_parts(folder)
        _begin(folder, learner.configuration, resume)
        if not (path := folder / "result.json").exists():
            files.write_json(path, _outcome(learner, folder, report))
        result = files.read_json(path)
    if "diverged" in result:
        raise Diverged(result["diverged"])
    return result


def _begin(folder: Path, configuration: Configuration, resume: bool) -> None:
    """Put the configuration into a new folder; insist on it, and on being allowed to resume, in an old one."""
    path = folder / "configuration.json"
    if not any((folder / name).exists() for name in (path.name, "checkpoint.npz", "result.json")):
        files.write_json(path, configuration.as_dict())
        return
    if not resume:
        raise ValueError(f"folder: expected one without a run; got {folder}, where one has begun. It can be resumed.")
    if (difference := checkpoints.differing(files.read_json(path), configuration.as_dict())) is not None:
        raise checkpoints.BadCheckpoint(f"{path}: expected this configuration; got one with {difference}.")


def about(configuration: Configuration) -> dict[str, Any]:
    """Return what every result begins with: task, model and seed."""
    return {"task": configuration.task["name"], "model": configuration.model["kind"], "seed": configuration.seed}


def _outcome(learner: Learner, folder: Path, report: Report | None) -> dict[str, Any]:
    """Train to the end, good or bad, and say how it was."""
    given = learner.configuration
    start = about(given) | {"steps": learner.task.steps}
    try:
        seconds = _train(learner, folder, report)
    except Diverged as error:
        return {**start, "updates": learner.update, "diverged": str(error)}
    scores = evaluate(learner.model, learner.params, learner.running, learner.task, given)
    if learner.task.loss == "mse":
        scores = {"test_mse": scores["test_loss"]}
    return {**start, "updates": learner.update, "train_loss": learner.mean_loss, **scores, "seconds": seconds}


def _train(learner: Learner, folder: Path, report: Report | None) -> float:
    """Train to the end from wherever the folder stands; return the seconds it took, those before the kills too."""
    given, path = learner.configuration, folder / "checkpoint.npz"
    state = learner.restore(path) if path.exists() else {}
    began = time.monotonic() - state.get("seconds", 0.0)
    with Metrics(folder / "metrics.jsonl", state.get("metrics", 0)) as metrics:
        while not learner.finished:
            metrics.write(**learner.step())
            if given.evaluate_every and learner.update % given.evaluate_every == 0:
                metrics.write(update=learner.update, **learner.evaluate())
            if learner.update % given.checkpoint_every == 0 or learner.finished:
                learner.save(path, metrics=metrics.size(), seconds=time.monotonic() - began)
            if report:
                report(learner.update, given.updates, learner.mean_loss)
    return time.monotonic() - began
