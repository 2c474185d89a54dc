"""Single neurons of a trained network: the one that adds is found, kept alone, and still solves the task."""

from __future__ import annotations

import numpy as np
import pytest
from runs import PLAIN, SMALL

from indrnn_np.experiments import neurons
from indrnn_np.experiments.neurons import least_squares, one_neuron, states, trained
from indrnn_np.experiments.training import Learner, train


def solved_by_hand(T: int, silent: int = 0) -> Learner:
    """A network whose first layer passes the value where the marker is, and whose neuron 2 adds what is passed.

    relu(value + marker − 1) is the value at a marked step and 0 elsewhere. Neuron 0 forgets, neuron 1 counts steps.
    """
    learner = Learner(PLAIN.replace(task={"name": "adding", "steps": T, "test_sequences": 50}, dtype="float64"))
    first, second = learner.params["layers"]["0"], learner.params["layers"]["1"]
    for weights in (first, second):
        for array in weights.values():
            array[...] = 0
    first["W"][3] = (1, 1)
    first["b"][3] = -1
    second["W"][[0, 2], 3] = (1, 0.25)
    second["b"][1] = 1
    second["u"][:] = (0.5, 1, 1, 1)
    learner.params["readout"]["W"][...] = (0, 0, 4, 0)
    learner.params["readout"]["b"][...] = 0
    return learner


@pytest.mark.parametrize("T", [10, 300])
def test_the_neuron_that_adds_is_found_and_solves_the_task_alone(T: int) -> None:
    """All numbers are small multiples of 2^−26, so that states are exact; the readout is good to float64's rounding."""
    found = one_neuron(solved_by_hand(T), sequences=40)
    assert found.neuron == 2
    assert abs(found.alpha - 4) < 1e-12
    assert abs(found.beta) < 1e-12
    assert found.test_mse < 1e-24
    assert found.whole_test_mse == 0
    assert found.fit_mse[2] < 1e-24
    assert (found.fit_mse[[0, 1, 3]] > 0.02).all()  # the others know less than one of the two numbers


def test_least_squares_are_those_of_lstsq() -> None:
    """The normal equations of one variable; both ways lose at most the condition number, here below 100, in digits."""
    rng = np.random.default_rng(0)
    h, target = rng.standard_normal((30, 5)) + rng.standard_normal(5), rng.standard_normal(30)
    h[:, 3] = 0.7
    α, β, error = least_squares(h, target)
    for n in range(5):
        columns = np.stack([h[:, n], np.ones(30)], axis=1)
        (slope, intercept), *_ = np.linalg.lstsq(columns, target, rcond=None)
        left = ((columns @ [slope, intercept] - target) ** 2).mean()
        assert abs(error[n] - left) <= 1e4 * 2.0**-53 * (target @ target) / 30
        if n == 3:
            assert abs(α[n]) * 0.7 + abs(β[n] - target.mean()) <= 1e4 * 2.0**-53
        else:
            assert abs(α[n] - slope) + abs(β[n] - intercept) <= 1e4 * 2.0**-53 * (abs(slope) + abs(intercept) + 1)


def test_the_states_are_those_that_the_network_reads_out() -> None:
    learner = Learner(PLAIN)
    batch = learner.task.batch(np.random.default_rng(0), 5, "float32")
    first, second = states(learner.model, learner.params, batch.x)
    readout = learner.params["readout"]
    y, _, _ = learner.model(learner.params, {}, batch.x)
    assert first.shape == second.shape == (6, 5, 4)
    assert ((second[-1] @ readout["W"].T + readout["b"]) == y).all()


def test_a_run_s_network_comes_back_from_its_folder(tmp_path) -> None:
    result = train(PLAIN, tmp_path)
    again = trained(tmp_path)
    assert again.update == 30
    assert again.evaluate()["test_loss"] == result["test_mse"]
    found = one_neuron(again, sequences=30)
    assert found.whole_test_mse == result["test_mse"]
    assert found.fit_mse.shape == (4,)


def test_other_networks_and_tasks_are_refused() -> None:
    with pytest.raises(TypeError, match="model: expected a plain network that runs forward in time, without batch"):
        one_neuron(Learner(SMALL))
    with pytest.raises(ValueError, match="sequences: expected a whole number above 0; got 0"):
        one_neuron(Learner(PLAIN), sequences=0)


@pytest.mark.extra("experiments")
def test_a_task_with_classes_is_refused() -> None:
    learner = Learner(PLAIN.replace(task={"name": "digits"}))
    with pytest.raises(ValueError, match="learner: expected a task with one number to answer at the end; got digits"):
        neurons.one_neuron(learner)
