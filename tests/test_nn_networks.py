"""Whole networks: the gradient of every parameter and of the input, by the complex step."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from derivatives import leaves, mapped, of_network

from indrnn_np import nn

SMALL = {"inputs": 2, "outputs": 2, "hidden": 4, "activation": "leaky_relu"}  # no neuron of so few may be silent
VARIANTS = {
    "bare": {},
    "relu": {"activation": "relu"},
    "tanh": {"activation": "tanh", "readout": "every"},
    "norm before": {"batch_norm": "before"},
    "norm after": {"batch_norm": "after", "readout": "every"},
    "norm per step": {"batch_norm": "before", "statistics": "step"},
    "dropout": {"dropout": 0.4, "input_dropout": 0.3, "readout": "every"},
    "both directions": {"bidirectional": True, "batch_norm": "after"},
    "both directions, every step": {"bidirectional": True, "readout": "every", "activation": "tanh"},
    "convolution": {"inputs": 6, "convolution": (2, 2, 2)},
    "convolution, strided": {"inputs": 8, "convolution": (2, 2, 3, 2, 1), "batch_norm": "before"},
    "tokens": {"tokens": 5, "inputs": 3, "outputs": 5},
    "tied": {"tokens": 5, "inputs": 4, "outputs": 5, "tied": True, "readout": "every", "dropout": 0.3},
}
NETWORKS = {
    "plain": (nn.Plain, {"layers": 2}),
    "residual": (nn.Residual, {"blocks": 1, "batch_norm": "none"}),
    "dense": (nn.Dense, {"growth": 2, "blocks": (2, 1), "bottleneck": 1, "batch_norm": "none", "compression": 0.75}),
}
EVERY = [(network, variant) for network in NETWORKS for variant in VARIANTS]
ENOUGH = [(network, variant) for network, variant in EVERY if network == "plain" or variant in (
    "bare", "norm before", "norm after", "dropout", "both directions", "tied")]


def build(network: str, variant: str, **changed):
    kind, shape = NETWORKS[network]
    return kind(**SMALL | shape | VARIANTS[variant] | changed)


@pytest.mark.parametrize(("network", "variant"), ENOUGH)
def test_every_gradient_of_a_network_is_a_derivative(network: str, variant: str) -> None:
    model = build(network, variant)
    assert max(of_network(model, 4, 3, lengths=[4, 2, 3]).values()) <= 1
    if network == "plain":
        assert max(of_network(model, 4, 3).values()) <= 1
    if "norm" in variant and network == "plain":
        assert max(of_network(model, 4, 3, lengths=[4, 2, 3], training=False).values()) <= 1


@pytest.mark.parametrize(("network", "variant"), EVERY)
def test_what_stands_in_the_padding_has_no_influence_down_to_the_last_bit(network: str, variant: str) -> None:
    model, rng = build(network, variant), np.random.default_rng(2)
    T, lengths = 6, np.array([6, 2, 1, 4])
    params, running = model.initial(rng, T)
    x = rng.integers(0, model.tokens, (T, 4)) if model.tokens else rng.standard_normal((T, 4, model.inputs), np.float32)
    dirty, padding = x.copy(), np.arange(T)[:, None] >= lengths
    dirty[padding] = -1 if model.tokens else np.nan
    results = []
    for given in (x, dirty):
        y, backward, after = model(params, running, given, lengths, np.random.default_rng(0))
        dy = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
        if given is dirty and model.readout == "every":
            assert not y[padding].any()
            dy[padding] = np.nan
        dx, grads = backward(dy)
        assert dx is None or not dx[padding].any()
        results.append({"y": y, "dx": dx, **leaves(grads), **{f"running/{k}": v for k, v in leaves(after).items()}})
    clean, soiled = results
    assert all(np.array_equal(clean[name], soiled[name]) for name in clean)


def test_a_network_is_plain_data() -> None:
    model = nn.Plain(**SMALL, layers=2, weight_std=(0.5, None), u=0.5)
    assert nn.Plain(**json.loads(json.dumps(asdict(model)))) == model
    with pytest.raises(AttributeError):
        model.hidden = 3


def test_the_same_generator_draws_the_same_network_and_u_is_in_range() -> None:
    for network, variant in EVERY:
        model = build(network, variant)
        first, again = (model.initial(np.random.default_rng(4), 50)[0] for _ in range(2))
        assert all(map(np.array_equal, leaves(first).values(), leaves(again).values()))
        limits = model.limits(50)
        assert set(limits) == {name for name in leaves(first) if name.rpartition("/")[2] == "u"}
        for name, high in limits.items():
            u = leaves(first)[name]
            assert u.dtype == np.float32
            assert (abs(u) <= high).all()
            if model.readout == "last" and name == list(limits)[-1]:
                assert (abs(u).astype(float) ** 50 >= 0.5).all()


def test_backward_twice_is_the_same_and_leaves_its_arguments_alone() -> None:
    for network, variant in EVERY:
        model, rng = build(network, variant), np.random.default_rng(6)
        params, running = model.initial(rng, 5)
        x = rng.integers(0, 5, (5, 3)) if model.tokens else rng.standard_normal((5, 3, model.inputs), np.float32)
        for lengths in (None, np.array([5, 1, 2])):
            before = [v.copy() for v in (x, *leaves(params).values(), *leaves(running).values())]
            y, backward, _ = model(params, running, x, lengths, rng)
            dy, y_before = rng.standard_normal(y.shape, np.float32), y.copy()
            dy_before = dy.copy()
            first, second = (leaves(backward(dy)[1]) for _ in range(2))
            assert all(map(np.array_equal, first.values(), second.values()))
            assert all(map(np.array_equal, before, (x, *leaves(params).values(), *leaves(running).values())))
            assert np.array_equal(y, y_before)
            assert np.array_equal(dy, dy_before)


MISTAKES = {
    "a layer's dropout not undone": ("dropout", lambda name, g: g * 1.1 if name == "layers/0/W" else g),
    "a gradient transposed": ("bare", lambda name, g: g.T.copy() if name == "layers/1/W" else g),
    "a bias summed over sequences but not over steps": ("bare", lambda name, g: g / 5 if name == "layers/0/b" else g),
    "the tied weight's second use forgotten": ("tied", lambda name, g: g * 0.5 if name == "embedding/E" else g),
    "one part in a million": ("norm before", lambda name, g: g * (1 + 1e-6) if name.endswith("scale") else g),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_checker_catches_a_wrong_gradient(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variant, wrong = MISTAKES[mistake]
    right = nn.Plain.__call__

    def call(self, *arguments):
        y, backward, after = right(self, *arguments)

        def broken(dy):
            dx, grads = backward(dy)
            return dx, mapped(wrong, grads)

        return y, broken, after

    monkeypatch.setattr(nn.Plain, "__call__", call)
    assert max(of_network(build("plain", variant), 5, 3).values()) > 100
