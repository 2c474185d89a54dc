"""Training on texts: every step counts that has a token, and the plateau follows the validation text."""

from __future__ import annotations

import numpy as np
import pytest
from runs import PLAIN, ends

from indrnn_np.experiments import metrics
from indrnn_np.experiments.training import Learner, evaluate, train

TEXT = "the cat sat on the mat and the dog sat on the log\n"


@pytest.fixture
def given(tmp_path):
    """A configuration of a small network on a small text."""
    for name, text in (("train", TEXT * 4), ("valid", TEXT), ("test", TEXT[:29] + "\n" + TEXT[30:])):
        (tmp_path / f"ptb.{name}.txt").write_text(text)
    return PLAIN.replace(task={"name": "ptb-characters", "folder": str(tmp_path), "steps": 5},
                         model={"kind": "Plain", "hidden": 8, "batch_norm": "after", "dropout": 0.1}, updates=40,
                         schedule={"name": "plateau", "factor": 0.5}, evaluate_every=10, batch=5)


def test_the_loss_of_a_text_is_the_mean_over_its_tokens_whatever_the_windows(given) -> None:
    """By hand: the surprise of each token in turn. Float32 rounds each by less than 60 units; no sum is longer."""
    learner = Learner(given)
    surprises, hits, uneven = [], [], 0
    for batch in learner.task.test_batches(5, "float32"):
        uneven += batch.lengths is not None
        y, _, _ = learner.model(learner.params, learner.running, batch.x, batch.lengths)
        for t, b in np.ndindex(batch.x.shape):
            if batch.lengths is None or t < batch.lengths[b]:
                logits = y[t, b].astype("float64")
                surprises.append(np.log(np.exp(logits).sum()) - logits[batch.target[t, b]])
                hits.append(logits.argmax() == batch.target[t, b])
    scores = evaluate(learner.model, learner.params, learner.running, learner.task, given)
    assert uneven > 0
    assert len(surprises) == len(learner.task.test) - 1
    assert abs(scores["test_loss"] - np.mean(surprises)) <= 60 * 2.0**-24 * np.mean(surprises)
    assert scores["test_accuracy"] == np.mean(hits)


def test_a_plateau_follows_the_validation_text_and_the_run_can_be_repeated(given, tmp_path) -> None:
    for name in "ab":
        result = train(given, tmp_path / name)
    assert ends(tmp_path / "a") == ends(tmp_path / "b")
    rows = [row for row in metrics.read(tmp_path / "a" / "metrics.jsonl") if "loss" not in row]
    assert [row["update"] for row in rows] == [10, 20, 30, 40]
    assert all(0 < row["validation_loss"] < 4 and 0 <= row["validation_accuracy"] <= 1 for row in rows)
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert 0 < result["test_loss"] < 4
    assert "test_mse" not in result
