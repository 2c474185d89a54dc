"""The baselines as models: stacks with a readout, where their weights begin, padding, and good manners."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import cells_written_out
import fake_cupy
import numpy as np
import pytest

from indrnn_np import nn
from indrnn_np.nn import baselines, trees
from indrnn_np.oracle.tolerance import gamma

MODELS = [nn.RNN, nn.IRNN, nn.LSTM, nn.GRU]


def first_layer(model: Any, T: int, seed: int, dtype: str = "float64", **how: Any) -> dict[str, np.ndarray]:
    """Draw a model's parameters; return those of its first layer."""
    params, _ = model(inputs=2, outputs=1, **how).initial(np.random.default_rng(seed), T, dtype)
    return params["layers"]["0"]


@pytest.mark.parametrize("readout", ["last", "every"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_its_layers_and_readout_and_its_gradient_theirs(model: type[baselines.model.Baseline],
                                                                   readout: str) -> None:
    rng = np.random.default_rng(5)
    description = model(inputs=2, hidden=3, outputs=2, layers=2, readout=readout)
    params, running = description.initial(rng, 6, "float64")
    flat = trees.flatten(params)
    for p in flat.values():
        p += 0.3 * rng.standard_normal(p.shape)
    x, lengths = rng.standard_normal((6, 4, 2)), np.array([6, 1, 3, 5])
    y, backward, after = description(params, running, x, lengths)
    assert y.shape == ((4, 2) if readout == "last" else (6, 4, 2))
    assert running == after == {}
    dy = rng.standard_normal(y.shape)
    dx, grads = backward(dy)
    trees.require_like("grads", grads, "params", params)
    cell = getattr(cells_written_out, model.__name__.lower())
    want = cells_written_out.run_model(cell, flat, x, dy, lengths, unit=2.0**-53)
    got = {"y": y, "x": dx} | trees.flatten(grads)
    assert got.keys() == want.keys()
    assert all(want[name].allows(got[name]) for name in want)
    assert all(abs(value.value).max() > 1e-3 and value.error.max() < 1e-9 for value in want.values())


@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_embedded_and_have_no_gradient_but_their_table_has(model: type[baselines.model.Baseline]) -> None:
    rng = np.random.default_rng(22)
    description = model(inputs=3, hidden=4, outputs=5, readout="every", tokens=5)
    params, _ = description.initial(rng, 6, "float64")
    tokens, lengths = rng.integers(0, 5, (6, 2)), np.array([6, 4])
    tokens[4:, 1] = -1  # padding need not be a token
    y, backward, _ = description(params, {}, tokens, lengths)
    dy = rng.standard_normal(y.shape)
    none, grads = backward(dy)
    assert none is None
    E = params.pop("embedding")["E"]
    real = model(inputs=3, hidden=4, outputs=5, readout="every")
    y_real, backward, _ = real(params, {}, E[tokens], lengths)
    dx, grads_real = backward(dy)
    assert np.array_equal(y, y_real)
    dE = np.zeros_like(E)
    np.add.at(dE, tokens, dx)
    terms = np.zeros_like(E)
    np.add.at(terms, tokens, abs(dx))
    assert (abs(grads["embedding"]["E"] - dE) <= gamma(2 * tokens.size, 2.0**-53) * terms).all()
    for name, g in trees.flatten(grads_real).items():
        assert np.array_equal(trees.flatten(grads)[name], g)


@pytest.mark.parametrize("model", MODELS)
def test_padding_has_no_influence_to_the_last_bit(model: Any) -> None:
    rng = np.random.default_rng(6)
    for readout in ("last", "every"):
        description = model(inputs=2, hidden=5, outputs=3, layers=2, readout=readout)
        params, _ = description.initial(rng, 8)
        x, lengths = rng.standard_normal((8, 4, 2)).astype("float32"), np.array([8, 2, 5, 7])
        real = np.arange(8)[:, None] < lengths
        runs = []
        for padding in (0.0, np.nan, np.inf, 3e38):
            y, backward, _ = description(params, {}, np.where(real[..., None], x, np.float32(padding)), lengths)
            dy = np.random.default_rng(7).standard_normal(y.shape).astype("float32")
            dy = dy if readout == "last" else dy * real[..., None]
            dx, grads = backward(dy)
            assert not dx[~real].any()
            runs.append([y, dx, *trees.flatten(grads).values()])
        assert np.isfinite(np.concatenate([value.ravel() for value in runs[0]])).all()
        assert all(np.array_equal(*pair) for other in runs[1:] for pair in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_nothing_given_is_changed_and_backward_can_be_called_again(model: Any) -> None:
    rng = np.random.default_rng(8)
    description = model(inputs=2, hidden=4, outputs=2, layers=2)
    params, _ = description.initial(rng, 6)
    x, dy = (rng.standard_normal(shape).astype("float32") for shape in ((6, 3, 2), (3, 2)))
    given = [x, dy, *trees.flatten(params).values()]
    before = [value.copy() for value in given]
    for value in given:
        value.flags.writeable = False
    _, backward, _ = description(params, {}, x)
    (dx, grads), (dx_again, again) = backward(dy), backward(dy)
    assert all(map(np.array_equal, given, before))
    assert np.array_equal(dx, dx_again)
    assert all(map(np.array_equal, trees.flatten(grads).values(), trees.flatten(again).values()))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [1e-30, 1e3, 1e30])
def test_a_loud_numpy_does_not_make_it_raise(model: Any, size: float) -> None:
    description = model(inputs=1, hidden=4, outputs=1, layers=2)
    params, _ = description.initial(np.random.default_rng(23), 60)
    params = trees.map(lambda p: p * np.float32(size), params)
    with np.errstate(all="raise"):
        y, backward, _ = description(params, {}, np.ones((60, 2, 1), np.float32))
        backward(np.full_like(y, 1e30))


@pytest.mark.parametrize("model", MODELS)
def test_a_gpus_arrays_stay_there(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    description = model(inputs=2, hidden=4, outputs=2, layers=2)
    x, lengths = np.random.default_rng(9).standard_normal((6, 3, 2)).astype("float32"), np.array([6, 4, 5])
    dy = np.random.default_rng(10).standard_normal((3, 2)).astype("float32")
    found = []
    cupy = fake_cupy.install(monkeypatch)
    for xp, place in ((np, np.asarray), (cupy, cupy.asarray)):
        params, _ = description.initial(np.random.default_rng(11), 6, xp=xp)
        y, backward, _ = description(params, {}, place(x), lengths)
        dx, grads = backward(place(dy))
        found.append([y, dx, *trees.flatten(grads).values()])
    assert {type(value) for value in found[1]} == {fake_cupy.ndarray}
    assert all(np.array_equal(on_cpu, on_gpu.get()) for on_cpu, on_gpu in zip(*found, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_a_description_is_plain_data_and_draws_the_same_numbers_in_every_dtype(model: Any) -> None:
    description = model(inputs=3, hidden=8, outputs=2, layers=2)
    assert model(**json.loads(json.dumps(dataclasses.asdict(description)))) == description
    assert description.limits(100) == {}
    wide, narrow = (description.initial(np.random.default_rng(12), 50, dtype)[0] for dtype in ("float64", "float32"))
    for name, p in trees.flatten(wide).items():
        assert np.array_equal(p.astype("float32"), trees.flatten(narrow)[name])
    assert sorted(wide) == ["layers", "readout"]
    assert wide["layers"]["0"]["W"].shape[1] == 3
    assert wide["layers"]["1"]["W"].shape[1] == 8
    assert wide["readout"]["W"].shape == (2, 8)


def test_recurrent_matrices_begin_orthogonal_or_as_the_identity() -> None:
    N = 16
    for model, gates in ((nn.RNN, 1), (nn.LSTM, 4), (nn.GRU, 3)):
        U = first_layer(model, 10, seed=13, hidden=N)["U"]
        for block in U.reshape(gates, N, N):
            # Householder's Q is off by N^1.5 · 8 roundings or so at most (Higham 2002, Th. 19.4), the product by N more
            assert abs(block @ block.T - np.eye(N)).max() <= 16 * N**1.5 * 2.0**-53
    assert np.array_equal(first_layer(nn.IRNN, 10, seed=14, hidden=N)["U"], np.eye(N))


def test_orthogonal_matrices_are_drawn_alike_in_all_directions() -> None:
    """A sign fixed by the algorithm would show in the mean of the diagonal, which is 0 with deviation 1/√(n N)."""
    rng, N, n = np.random.default_rng(15), 4, 2000
    mean = np.mean([np.diag(baselines.initialisation.orthogonal(rng, N)).mean() for _ in range(n)])
    assert abs(mean) <= 5 / (n * N)**0.5
    unsigned = np.mean([np.diag(np.linalg.qr(rng.standard_normal((N, N)))[0]).mean() for _ in range(n)])
    assert abs(unsigned) > 5 / (n * N)**0.5


def test_the_lstm_begins_with_forget_bias_one_or_with_memories_up_to_the_length() -> None:
    N, T = 4096, 1000
    b = first_layer(nn.LSTM, T, seed=16, hidden=8)["b"].reshape(4, 8)
    assert [set(row.tolist()) for row in b] == [{0.0}, {1.0}, {0.0}, {0.0}]
    b_i, b_f = baselines.initialisation.chrono(np.random.default_rng(17), N, T)
    assert np.array_equal(b_i, -b_f)
    τ = np.exp(b_f)
    assert 1 - 1e-12 <= τ.min() < 1 + 10 * T / N
    assert T - 1 - 10 * T / N < τ.max() <= (T - 1) * (1 + 1e-12)
    assert abs(τ.mean() - T / 2) <= 5 * (T - 2) / (12 * N)**0.5
    drawn = first_layer(nn.LSTM, T, seed=16, hidden=8, chrono=True)["b"].reshape(4, 8)
    assert (drawn[0] == -drawn[1]).all()
    assert (drawn[1] > 0).all()
    assert not drawn[2:].any()
    assert not any(b.any() for b in baselines.initialisation.chrono(np.random.default_rng(18), 3, 1))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns(model: Any) -> None:
    """The sum of all inputs over 8 steps: the mean squared error falls to a tenth of what the mean answer has."""
    rng = np.random.default_rng(19)
    description, adam = model(inputs=1, hidden=16, outputs=1), nn.Adam(rate=1e-2)
    params, _ = description.initial(rng, 8)
    moments, losses = adam.initial(params), []
    for _ in range(150):
        x = rng.uniform(-1, 1, (8, 32, 1)).astype("float32")
        y, backward, _ = description(params, {}, x)
        error = y - x.sum(axis=0)
        losses.append(float((error**2).mean()))
        _, grads = backward(2 * error / error.size)
        nn.clip_by_global_norm(grads, 1.0)
        adam.update(params, grads, moments)
    assert np.mean(losses[-20:]) < 0.1 * 8 / 3


@pytest.mark.parametrize(("change", "message"), [
    ({"hidden": 0}, "^hidden: "), ({"inputs": 1.5}, "^inputs: "), ({"outputs": -1}, "^outputs: "),
    ({"layers": 0}, "^layers: "), ({"readout": "first"}, "^readout: expected one of last, every"),
    ({"chrono": 1}, "^chrono: ")])
def test_a_description_that_is_none_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        nn.LSTM(**{"inputs": 2, "hidden": 3, "outputs": 1} | change)


def test_a_models_bad_arguments_are_refused_by_name() -> None:
    description = nn.GRU(inputs=2, hidden=3, outputs=1)
    params, _ = description.initial(np.random.default_rng(21), 5)
    x = np.ones((5, 4, 2), np.float32)
    for bad, message in ((x[..., :1], r"^x: expected"), (x[0], r"^x: expected")):
        with pytest.raises(ValueError, match=message):
            description(params, {}, bad)
    for lengths in ([5, 5, 5], [0, 5, 5, 5], [6, 5, 5, 5], [2.0, 2.0, 2.0, 2.0]):
        with pytest.raises((TypeError, ValueError), match=r"^lengths: expected"):
            description(params, {}, x, lengths)
    for change, name in (({"rng": 0}, "rng"), ({"steps": 0}, "steps"), ({"dtype": "float16"}, "dtype")):
        with pytest.raises((TypeError, ValueError), match=rf"^{name}: expected"):
            description.initial(**{"rng": np.random.default_rng(0), "steps": 5} | change)
