"""Training: repeatable to the last bit, killed and resumed without a trace, and honest when it fails."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
from runs import PLAIN, SEES_US, SMALL, ends

from indrnn_np.experiments import checkpoints, files, metrics, training
from indrnn_np.experiments.checkpoints import BadCheckpoint
from indrnn_np.experiments.presets import preset
from indrnn_np.experiments.training import Diverged, Learner, train
from indrnn_np.nn import trees


def test_two_runs_of_one_configuration_end_with_the_same_bits(tmp_path) -> None:
    for name in "ab":
        train(SMALL, tmp_path / name)
    assert ends(tmp_path / "a") == ends(tmp_path / "b")
    train(SMALL.replace(seed=1), tmp_path / "c")
    assert ends(tmp_path / "a")["checkpoint"] != ends(tmp_path / "c")["checkpoint"]


def test_the_fast_preset_learns_a_short_adding_problem(tmp_path) -> None:
    result = train(preset("adding", steps=20).replace(updates=400), tmp_path)
    assert result["test_mse"] < 0.05 / 6  # a twentieth of what the best constant answer has
    assert result["updates"] == 400
    assert [row["update"] for row in metrics.read(tmp_path / "metrics.jsonl")] == list(range(1, 401))


# The program trains a run again and again, each time in a process that kills itself at a moment of its own.
KILLED = """
import os, signal, sys
from pathlib import Path
from indrnn_np.experiments import checkpoints, files, training
from runs import SMALL

training.Learner(SMALL).step()  # compiles what is to be compiled, so that the children need not

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def at_update(number):
    return lambda done, of, loss: done == number and die()

def while_writing(path, fill):
    write(path, lambda file: (file.write(b"half a checkpoint"), file.flush(), die()))

def in_the_middle(self):
    step(self)
    die()

folder, step, write = Path(sys.argv[1]), training.Learner.step, files.write
moments = [(at_update(3), {}),                                        # before the first checkpoint
           (at_update(10), {}),                                       # just behind one
           (at_update(17), {}),                                       # between two
           (None, {(files, "write"): while_writing}),                 # in the middle of writing the next
           (None, {(checkpoints, "save"): die}),                      # when the metrics are written, and it is not
           (None, {(training.Learner, "step"): in_the_middle}),       # when an update is done, and nobody knows
           (at_update(30), {}),                                       # behind the last one
           (None, {(training, "evaluate"): die})]                     # before the result is there
for report, patches in moments:
    child = os.fork()
    if child == 0:
        for (owner, name), replacement in patches.items():
            setattr(owner, name, replacement)
        training.train(SMALL, folder, resume=True, report=report or None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(-os.waitstatus_to_exitcode(status), (folder / "checkpoint.npz").exists())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_killed_at_eight_moments_and_resumed_it_ends_as_if_nothing_had_happened(tmp_path) -> None:
    train(SMALL, tmp_path / "undisturbed")
    shown = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], stdout=subprocess.PIPE,
                           text=True, check=True, env=SEES_US).stdout
    assert shown.split("\n")[:-1] == ["9 False"] + 7 * ["9 True"]
    train(SMALL, tmp_path / "killed", resume=True)
    assert ends(tmp_path / "killed") == ends(tmp_path / "undisturbed")
    assert not list((tmp_path / "killed").glob(".*.part"))


@pytest.mark.slow
def test_killed_from_outside_at_any_time_it_ends_as_if_nothing_had_happened(tmp_path) -> None:
    """Each child is killed a random time after its first checkpoint, so that each gets on."""
    given, folder = SMALL.replace(updates=600), tmp_path / "killed"
    train(given, tmp_path / "undisturbed")
    folder.mkdir()
    files.write_json(folder / "configuration.json", given.as_dict())
    worker = [sys.executable, "-m", "indrnn_np.experiments.worker", str(folder)]
    checkpoint, rng, kills = folder / "checkpoint.npz", np.random.default_rng(0), 0

    def written() -> int:
        return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    while not (folder / "result.json").exists():
        before = written()
        with subprocess.Popen(worker, stdin=subprocess.PIPE, env=SEES_US) as child:
            while child.poll() is None and written() == before:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.2))
            child.kill()
        kills += child.returncode < 0
    assert kills > 2
    assert ends(folder) == ends(tmp_path / "undisturbed")


def test_a_finished_run_is_only_read(tmp_path) -> None:
    result = train(PLAIN, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert train(PLAIN, tmp_path, resume=True) == result
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_folder_with_a_run_is_refused_unless_it_is_resumed_with_the_same_configuration(tmp_path) -> None:
    train(PLAIN, tmp_path)
    with pytest.raises(ValueError, match="folder: expected one without a run"):
        train(PLAIN, tmp_path)
    with pytest.raises(BadCheckpoint, match=r"configuration\.json: .* got one with adam\.rate 0\.02, not 0\.01\."):
        train(PLAIN.replace(adam={"rate": 0.01}), tmp_path, resume=True)


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path) -> None:
    train(PLAIN, tmp_path)
    (tmp_path / "result.json").unlink()
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadCheckpoint, match=r"checkpoint\.npz: expected a checkpoint; got a damaged file"):
        train(PLAIN, tmp_path, resume=True)
    assert not (tmp_path / "result.json").exists()


def test_a_run_that_diverges_names_update_and_seed_and_leaves_the_last_checkpoint(tmp_path, monkeypatch) -> None:
    given = PLAIN.replace(seed=5)
    good = Learner(given)
    for _ in range(20):
        good.step()
    exact = training.loss_of

    def breaks(task, y, batch):
        breaks.calls += 1
        loss, backward = exact(task, y, batch)
        return (math.nan, backward) if breaks.calls == 24 else (loss, backward)

    breaks.calls = 0
    monkeypatch.setattr(training, "loss_of", breaks)
    with pytest.raises(Diverged, match=r"^update 24, seed 5: the loss is nan\. The run has diverged\. A lower"):
        train(given, tmp_path)
    found = checkpoints.load(tmp_path / "checkpoint.npz", given.as_dict(), trees.flatten(good.tree()))
    assert found.state["update"] == 20
    assert {name: array.tobytes() for name, array in found.arrays.items()} == {
        name: array.tobytes() for name, array in trees.flatten(good.tree()).items()}
    assert files.read_json(tmp_path / "result.json")["updates"] == 23
    with pytest.raises(Diverged, match="update 24, seed 5"):
        train(given, tmp_path, resume=True)


def test_steps_far_too_long_diverge_with_a_sentence(tmp_path) -> None:
    with pytest.raises(Diverged, match=r"^update \d+, seed 0: .* The run has diverged\. A lower learning rate"):
        train(PLAIN.replace(adam={"rate": 1e30}, project=False), tmp_path)


def test_a_run_ends_early_once_the_mean_loss_is_low_enough(tmp_path) -> None:
    full = train(PLAIN, tmp_path / "full")
    rows = metrics.read(tmp_path / "full" / "metrics.jsonl")
    means = [sum(row["loss"] for row in rows[k - 4:k]) / 4 for k in range(4, 31)]
    enough = sorted(means)[len(means) // 2]
    result = train(PLAIN.replace(stop_below=enough), tmp_path / "early")
    assert result["updates"] == next(k for k, mean in enumerate(means, 4) if mean < enough) < full["updates"]
    assert result["train_loss"] == means[result["updates"] - 4]


def test_recurrent_weights_stay_within_their_limits_and_a_factor_of_0_freezes_them() -> None:
    learner = Learner(PLAIN.replace(factors={"*/u": 50.0, "layers/1/u": 0.0}))
    first = {name: array.copy() for name, array in trees.flatten(learner.params).items()}
    limit, at_limit = learner.model.limits(6)["layers/0/u"], 0
    for _ in range(20):
        learner.step()
        u = learner.params["layers"]["0"]["u"]
        assert (abs(u) <= limit).all()
        at_limit += (abs(u) == abs(u).max()).sum() > 1
    assert at_limit > 0
    last = trees.flatten(learner.params)
    assert (last["layers/1/u"] == first["layers/1/u"]).all()
    assert all((last[name] != first[name]).any() for name in last if name != "layers/1/u")


def test_the_rate_of_each_update_is_the_schedule_s(tmp_path) -> None:
    train(PLAIN, tmp_path / "cosine")
    rates = [row["rate"] for row in metrics.read(tmp_path / "cosine" / "metrics.jsonl")]
    assert rates == [0.02 * (1 + math.cos(math.pi * k / 30)) / 2 for k in range(30)]
    train(SMALL, tmp_path / "plateau")
    rows = metrics.read(tmp_path / "plateau" / "metrics.jsonl")
    expected, best = 0.02, math.inf
    for row in rows:
        if "rate" in row:
            assert row["rate"] == expected
        else:
            expected *= 1 if row["test_loss"] < best else 0.5
            best = min(best, row["test_loss"])
    assert rows[-1]["test_loss"] == files.read_json(tmp_path / "plateau" / "result.json")["test_mse"]


def test_the_test_loss_is_the_mean_over_all_test_sequences_however_they_are_cut() -> None:
    """Seven sequences in batches of three; float32 rounds each loss, a mean of numbers that are not negative, by a
    few units, and the forward pass, which sees other batches, not at all."""
    learner = Learner(PLAIN)
    (whole,) = learner.task.test_batches(7, "float32")
    y, _, _ = learner.model(learner.params, learner.running, whole.x)
    exact = ((y.astype("float64") - whole.target) ** 2).mean()
    assert abs(learner.evaluate()["test_loss"] - exact) <= 16 * 2.0**-24 * exact


@pytest.mark.extra("experiments")
def test_accuracy_is_the_share_of_right_answers() -> None:
    learner = Learner(PLAIN.replace(task={"name": "digits"}, model={"kind": "Plain", "hidden": 4}))
    labels = iter([batch.target for batch in learner.task.test_batches(3)])

    def knows(params, running, x, lengths):
        right = next(labels)
        logits = np.full((len(right), 10), -30.0, "float32")
        logits[np.arange(len(right)), right] = 30 * (np.arange(len(right)) > 0)  # of each batch all but the first
        logits[0, (right[0] + 1) % 10] = 30
        return logits, None, {}

    scores = training.evaluate(knows, {}, {}, learner.task, learner.configuration)
    assert scores["test_accuracy"] == 240 / 360
    assert scores["test_loss"] == 10  # the surprise of each wrong one is 30, of each right one e^−30, which is lost


def test_progress_is_reported_after_each_update(tmp_path) -> None:
    seen = []
    train(PLAIN, tmp_path, report=lambda *args: seen.append(args))
    assert [(done, of) for done, of, _ in seen] == [(k, 30) for k in range(1, 31)]
    assert all(loss > 0 for _, _, loss in seen)
