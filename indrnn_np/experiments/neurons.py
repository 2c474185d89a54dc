"""What the neurons of a trained network do (Li et al. 2018, §5.1.1, Fig. 3 and 4).

In the adding problem the first layer picks out the marked values, and neurons of the second add them up. No neuron of a
layer sees its neighbours (Eq. 3), so a single one of the second layer can be kept as it is and all others left out. All
that the task then has is one number, that neuron's last state h, and a readout

    y = α h + β,    α and β by least squares:    α = cov(h, target) / var(h),    β = mean(target) − α mean(h)

If the mean squared error stays small, that neuron alone adds the two numbers, over thousands of steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import layer
from ..analysis import _checks
from ..array_module import Array
from ..nn import Plain
from ..nn.trees import Tree
from . import files
from .configuration import from_dict
from .tasks import Batch
from .training import Learner, evaluate

FITTING = b"one neuron, sequences to fit to"  # seeds a generator that no training has


class OneNeuron(NamedTuple):
    """A network of which one neuron of the last layer is kept.

    Attributes
    ----------
    neuron : which
    alpha, beta : its readout, α h + β
    test_mse : of that neuron and readout, on the test set
    whole_test_mse : of the whole network, on the same
    fit_mse : (N,) of each neuron of the layer with its own best readout, on the sequences fitted to; the variance of
        the target for one that is silent
    """

    neuron: int
    alpha: float
    beta: float
    test_mse: float
    whole_test_mse: float
    fit_mse: Array


def trained(folder: Path) -> Learner:
    """Return the network that the run in a folder has trained, as its last checkpoint has it.

    Raises
    ------
    BadCheckpoint, ValueError
        The folder's configuration or checkpoint is damaged; the message names the file.
    OSError
        The folder has no run, or none with a checkpoint.
    """
    learner = Learner(from_dict(files.read_json(folder / "configuration.json")))
    learner.restore(folder / "checkpoint.npz")
    return learner


def states(model: Plain, params: Tree, x: Array) -> list[Array]:
    """Return the states of every layer over a batch of sequences (Fig. 3).

    Parameters
    ----------
    model, params : a plain network without batch normalisation, and its parameters
    x : (T, B, M)

    Returns
    -------
    h : one (T, B, N) for each layer

    Raises
    ------
    TypeError
        The network is another one.
    """
    _require_plain(model)
    found = []
    for number in range(model.layers):
        weights = params["layers"][str(number)]
        x = layer.forward(x, weights["W"], weights["u"], weights["b"], activation=model.activation).h
        found.append(x)
    return found


def one_neuron(learner: Learner, sequences: int = 1000) -> OneNeuron:
    """Keep the one neuron of the last layer that solves the task best, and refit its readout (§5.1.1).

    The neuron is chosen, and α and β are fitted, on fresh sequences; the test set only measures.

    Parameters
    ----------
    learner : a plain network without batch normalisation, trained on a task with one number to answer at the end
    sequences : how many to fit to

    Returns
    -------
    OneNeuron

    Raises
    ------
    TypeError, ValueError
        The network or the task is another one, or sequences is no whole number above 0.
    """
    model, task = learner.model, learner.task
    _require_plain(model)
    if task.loss != "mse" or task.readout != "last" or task.outputs != 1:
        raise ValueError(f"learner: expected a task with one number to answer at the end; got {task.name}.")
    h, target = _last_states(learner, _fresh(learner, _checks.whole("sequences", sequences)))
    α, β, error = least_squares(h, target)
    n = int(error.argmin())

    last = learner.params["layers"][str(model.layers - 1)]
    alone = {name: weight[n:n + 1] for name, weight in last.items()}
    kept, target = _last_states(learner, task.test_batches(learner.configuration.batch, learner.configuration.dtype),
                                alone)
    off = α[n] * kept[:, 0] + β[n] - target
    whole = evaluate(model, learner.params, learner.running, task, learner.configuration)["test_loss"]
    return OneNeuron(n, float(α[n]), float(β[n]), float((off * off).mean()), whole, error)


def least_squares(h: Array, target: Array) -> tuple[Array, Array, Array]:
    """Return the best α and β for each neuron by itself, and the mean squared error they leave.

    Parameters
    ----------
    h : (S, N) float64, a row for each sequence
    target : (S,) float64

    Returns
    -------
    α, β, error : (N,) each; α is 0 for a neuron that always says the same
    """
    centred, wanted = h - h.mean(axis=0), target - target.mean()
    variance = (centred * centred).mean(axis=0)
    covariance = (centred * wanted[:, None]).mean(axis=0)
    α = np.divide(covariance, variance, out=np.zeros_like(variance), where=(h != h[0]).any(axis=0))
    β = target.mean() - α * h.mean(axis=0)
    off = α * h + β - target[:, None]
    return α, β, (off * off).mean(axis=0)


def _last_states(learner: Learner, batches: Iterator[Batch], last: Tree | None = None) -> tuple[Array, Array]:
    """Return the last layer's states after the last step, (S, N), and the targets (S,), in float64.

    `last` replaces the weights of the last layer, as those of a part of its neurons.
    """
    params: dict[str, Any] = learner.params
    if last is not None:
        params = {"layers": {**params["layers"], str(learner.model.layers - 1): last}}
    ends, targets = [], []
    for batch in batches:
        ends.append(states(learner.model, params, batch.x)[-1][-1].astype(np.float64))
        targets.append(batch.target[:, 0].astype(np.float64))
    return np.concatenate(ends), np.concatenate(targets)


def _fresh(learner: Learner, sequences: int) -> Iterator[Batch]:
    """Draw sequences that neither training nor the test set has."""
    rng, size = np.random.default_rng([*FITTING, learner.configuration.seed]), learner.configuration.batch
    for start in range(0, sequences, size):
        yield learner.task.batch(rng, min(size, sequences - start), learner.configuration.dtype)


def _require_plain(model: Any) -> None:
    if not isinstance(model, Plain) or model.batch_norm != "none" or model.bidirectional or model.convolution:
        raise TypeError("model: expected a plain network that runs forward in time, without batch normalisation and "
                        f"convolution; got {model!r}.")
