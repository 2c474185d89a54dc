"""The networks on CuPy arrays: no NumPy array meets them, and the numbers are the same."""

from __future__ import annotations

import fake_cupy
import numpy as np
import pytest
from derivatives import leaves

import indrnn_np as ir
from indrnn_np import nn
from indrnn_np.array_module import is_cupy

COMMON = {"inputs": 4, "outputs": 3, "hidden": 4}
MODELS = {
    "plain": nn.Plain(**COMMON, bidirectional=True, dropout=0.5, batch_norm="after"),
    "convolution": nn.Plain(**COMMON, convolution=(2, 2, 2), batch_norm="before", statistics="step"),
    "tokens": nn.Plain(**COMMON | {"outputs": 6}, tokens=6, tied=True, readout="every", activation="tanh"),
    "residual": nn.Residual(**COMMON, blocks=1, input_dropout=0.2),
    "dense": nn.Dense(**COMMON, growth=2, blocks=(1, 1), readout="every"),
}


def on_the_specification(monkeypatch):
    """Pretend that there is CuPy, and have the specification run all recurrences, here and there."""
    monkeypatch.setattr(ir.engines, "choose", lambda engine, array, activation: "reference")
    return fake_cupy.install(monkeypatch)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lengths", [None, np.array([5, 2, 3])])
def test_a_network_on_cupy_arrays_gives_the_numbers_of_numpy(name: str, lengths, monkeypatch) -> None:
    cupy, model, rng = on_the_specification(monkeypatch), MODELS[name], np.random.default_rng(0)
    x = rng.integers(0, 6, (5, 3)) if model.tokens else rng.standard_normal((5, 3, 4), np.float32)
    labels = rng.integers(0, model.outputs, (5, 3) if model.readout == "every" else 3)
    results = []
    for xp, to in ((np, np.asarray), (cupy, cupy.asarray)):
        params, running = model.initial(np.random.default_rng(1), 5, xp=xp)
        for train in (True, False):
            y, backward, running = model(params, running, to(x), lengths, np.random.default_rng(2) if train else None)
            loss, pull = nn.softmax_cross_entropy(y, to(labels))
            dx, grads = backward(pull())
            error, d = nn.mse(y, 2 * y)
            found = {"y": y, "loss": loss, "dx": dx, "error": error, "d": d(), **leaves(grads),
                     **{f"running {name}": value for name, value in leaves(running).items()}}
            results.append(found)
            for value in found.values():
                assert value is None or is_cupy(value) == (xp is cupy)
                assert value is None or value.dtype == np.float32
    for here, there in zip(results[:2], results[2:], strict=True):
        for key, value in here.items():
            assert value is None or np.array_equal(value, ir.to_numpy(there[key])), key


def test_lengths_may_lie_on_the_gpu(monkeypatch) -> None:
    cupy = on_the_specification(monkeypatch)
    model = MODELS["residual"]
    params, running = model.initial(np.random.default_rng(1), 5, xp=cupy)
    x = cupy.asarray(np.random.default_rng(0).standard_normal((5, 3, 4), np.float32))
    here, there = (model(params, running, x, lengths)[0] for lengths in ([5, 2, 3], cupy.asarray(np.array([5, 2, 3]))))
    assert np.array_equal(ir.to_numpy(here), ir.to_numpy(there))


def test_params_of_one_device_and_an_input_of_another_are_refused(monkeypatch) -> None:
    cupy = fake_cupy.install(monkeypatch)
    model = nn.Plain(**COMMON)
    params, running = model.initial(np.random.default_rng(1), 5, xp=cupy)
    with pytest.raises(ValueError, match=r"^W: expected an array on the CPU, as x is; got one on GPU 0\."):
        model(params, running, np.zeros((5, 3, 4), np.float32))
