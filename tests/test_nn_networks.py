"""Whole networks: the gradient of every parameter and of the input, by the complex step."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache

import numpy as np
import pytest
from derivatives import EPS, Problem, against, derivatives, leaves, mapped, of_network

import indrnn_np as ir
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


ROUNDINGS = 2000  # on a path through 8 recurrences of 4 steps, their maps and normalisations, and back


def build(network: str, variant: str, **changed):
    kind, shape = NETWORKS[network]
    return kind(**SMALL | shape | VARIANTS[variant] | changed)


@cache
def solved(network: str, variant: str):
    """Return a network's gradients by the complex step, at sequences of unequal lengths."""
    problem = Problem(build(network, variant), 4, 3, lengths=[4, 2, 3])
    return problem, derivatives(problem.run, problem.arguments, problem.dy)


@pytest.mark.parametrize(("network", "variant"), ENOUGH)
def test_every_gradient_of_a_network_is_a_derivative(network: str, variant: str) -> None:
    problem, exact = solved(network, variant)
    assert max(against(exact, problem.gradients(), ROUNDINGS).values()) <= 1
    model = problem.model
    if network == "plain":
        assert max(of_network(model, 4, 3).values()) <= 1
    if "norm" in variant and network == "plain":
        assert max(of_network(model, 4, 3, lengths=[4, 2, 3], training=False).values()) <= 1


def padding_is_ignored(model: nn.Network) -> bool:
    """Whether a batch gives the same bits with zeros and with NaN (−1 for tokens) in the padding."""
    rng = np.random.default_rng(2)
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
            dy[padding] = np.nan
        dx, grads = backward(dy)
        zeros = [v[padding] for v in (y if model.readout == "every" else None, dx) if v is not None]
        if any(v.any() for v in zeros):
            return False
        results.append({"y": y, "dx": dx, **leaves(grads), **{f"running/{k}": v for k, v in leaves(after).items()}})
    clean, soiled = results
    return all(np.array_equal(clean[name], soiled[name]) for name in clean)


@pytest.mark.parametrize(("network", "variant"), EVERY)
def test_what_stands_in_the_padding_has_no_influence_down_to_the_last_bit(network: str, variant: str) -> None:
    assert padding_is_ignored(build(network, variant))


def test_that_check_fails_where_padding_is_not_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ir.nn.sequences, "keep", lambda real, x: x)
    for network in NETWORKS:
        for variant in ("bare", "norm before", "tanh"):
            assert not padding_is_ignored(build(network, variant))


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


@pytest.mark.parametrize(("network", "variant"), ENOUGH)
def test_how_much_padding_there_is_moves_gradients_by_rounding_alone(network: str, variant: str) -> None:
    (problem, exact), more = solved(network, variant), 3
    filler = -1 if problem.model.tokens else np.nan
    x = np.concatenate([problem.x, np.full((more, *problem.x.shape[1:]), filler)])
    y, backward, after = problem.run(**problem.arguments | {"x": x})
    dy = np.full(y.shape, np.nan)
    dy[:len(problem.dy)] = problem.dy
    dx, grads = backward(dy)
    gradients = leaves(grads) | ({} if dx is None else {"x": dx[:4]})
    assert max(against(exact, gradients, ROUNDINGS).values()) <= 1
    shorter = leaves(problem.run(**problem.arguments)[2])
    for name, statistic in leaves(after).items():
        if statistic.ndim == 2:
            assert np.array_equal(statistic[4:], leaves(problem.running)[name][4:])
        assert (abs(statistic - shorter[name]) <= ROUNDINGS * EPS * abs(shorter[name]).max()).all()


def test_a_silent_residual_block_is_the_identity_and_hands_gradients_on_unchanged() -> None:
    rng = np.random.default_rng(8)
    deep, shallow = (nn.Residual(**SMALL, blocks=blocks, dropout=0.0) for blocks in (6, 1))
    params, running = deep.initial(rng, 5)
    for block in params["blocks"].values():
        block["1"]["W"][...] = 0
    x, dy = rng.standard_normal((5, 3, 2), np.float32), rng.standard_normal((3, 2), np.float32)
    y, backward, _ = deep(params, running, x, None, rng)
    few = {name: {"0": tree["0"]} if name == "blocks" else tree for name, tree in params.items()}
    y_few, backward_few, _ = shallow(few, {n: {"0": t["0"]} if n == "blocks" else t for n, t in running.items()}, x,
                                     None, rng)
    assert np.array_equal(y, y_few)
    assert np.array_equal(backward(dy)[0], backward_few(dy)[0])


def test_a_dense_block_hands_on_what_came_in_and_appends_what_it_adds() -> None:
    model = nn.Dense(inputs=3, outputs=2, hidden=4, growth=3, blocks=(2, 3), compression=0.5)
    params, _ = model.initial(np.random.default_rng(0), 10)
    shapes = {name: value.shape for name, value in leaves(params).items()}
    assert shapes["input/W"] == (4, 3)
    assert shapes["blocks/0/layers/0/0/W"] == (12, 4)
    assert shapes["blocks/0/layers/0/1/W"] == (3, 12)
    assert shapes["blocks/0/layers/1/0/W"] == (12, 7)
    assert shapes["blocks/0/transition/W"] == (5, 10)
    assert shapes["blocks/1/layers/2/0/u"] == (11,)
    assert shapes["last/u"] == (14,)
    assert shapes["readout/W"] == (2, 14)
    assert model.layers == 2 * 5 + 1 + 1
    kept = nn.Dense(inputs=3, outputs=2, hidden=4, growth=3, blocks=(2, 3), compression=0.8)
    assert kept.initial(np.random.default_rng(0), 10)[0]["blocks"]["0"]["transition"]["W"].shape == (8, 10)
    thin = nn.Dense(inputs=3, outputs=2, hidden=4, growth=3, blocks=(2,), bottleneck=0)
    assert thin.layers == 3
    assert set(thin.limits(9)) == {"blocks/0/layers/0/0/u", "blocks/0/layers/1/0/u", "last/u"}


def test_where_weights_start_is_the_recipe_s() -> None:
    T = 1000
    model = nn.Plain(inputs=2, outputs=1, hidden=400, layers=2, weight_std=(0.5, 2 / T), last_u=1.0)
    params, running = model.initial(np.random.default_rng(0), T)
    assert running == {}
    for layer, std in (("0", 0.5), ("1", 2 / T)):
        W = params["layers"][layer]["W"]
        # the root mean square of n normal numbers is std within 5 deviations of std / √(2n)
        assert abs(np.sqrt((W.astype(float) ** 2).mean()) / std - 1) < 5 / np.sqrt(2 * W.size)
        assert not params["layers"][layer]["b"].any()
    assert (params["layers"]["1"]["u"] == 1).all()
    u, high = params["layers"]["0"]["u"], model.limits(T)["layers/0/u"]
    assert high == ir.analysis.recurrent_weight_range(T, gamma=2.0)[1]
    assert u.min() >= 0
    assert u.max() <= high
    assert abs(u.mean() - high / 2) < 5 * high / np.sqrt(12 * u.size)
    glorot = params["readout"]["W"]
    assert abs(glorot).max() <= np.sqrt(6 / 401)
    assert abs(glorot).max() > 0.9 * np.sqrt(6 / 401)
    convolved = nn.Plain(inputs=90, outputs=1, convolution=(9, 40, 4), hidden=9).initial(np.random.default_rng(0), T)[0]
    W = convolved["layers"]["0"]["W"]
    assert abs(np.sqrt((W.astype(float) ** 2).mean()) * np.sqrt(9 * 4) - 1) < 5 / np.sqrt(2 * W.size)
    normal = nn.Plain(inputs=2, outputs=1, hidden=400, u="normal", readout="every").initial(np.random.default_rng(0), T)
    assert abs(normal[0]["layers"]["1"]["u"].mean() - 0.4) < 5 * 0.2 / np.sqrt(400)
    everywhere = nn.Plain(inputs=2, outputs=1, hidden=9, weight_std=0.001).initial(np.random.default_rng(0), T)[0]
    assert max(abs(everywhere["layers"][n]["W"]).max() for n in "01") < 0.01


WRONG = [
    (nn.Plain, {"readout": "first"}, "readout: expected one of last, every"),
    (nn.Plain, {"batch_norm": "between"}, "batch_norm: expected one of"),
    (nn.Plain, {"statistics": "frame"}, "statistics: expected one of"),
    (nn.Plain, {"inputs": 0}, "inputs: expected a whole number of at least 1"),
    (nn.Plain, {"hidden": 2.5}, "hidden: expected a whole number"),
    (nn.Plain, {"layers": 0}, "layers: expected"),
    (nn.Plain, {"dropout": 1.0}, "dropout: expected a probability"),
    (nn.Plain, {"input_dropout": "a"}, "input_dropout: expected a number"),
    (nn.Plain, {"u": "long"}, "u: expected one of uniform"),
    (nn.Plain, {"last_u": "short"}, "last_u: expected one of uniform"),
    (nn.Plain, {"activation": "relo"}, "activation"),
    (nn.Plain, {"weight_std": (0.5,)}, "weight_std: expected one number for each of the 2 layers"),
    (nn.Plain, {"bidirectional": True, "hidden": 3}, "bidirectional: expected an even number"),
    (nn.Plain, {"tied": True}, "tied: expected tokens"),
    (nn.Plain, {"tied": True, "tokens": 5}, "tied: expected tokens, and as many outputs"),
    (nn.Plain, {"convolution": (1, 2)}, "convolution: expected"),
    (nn.Plain, {"convolution": (3, 2, 1)}, "convolution: expected channels that divide"),
    (nn.Plain, {"convolution": (1, 2, 9)}, "convolution: expected a kernel that fits"),
    (nn.Residual, {"blocks": 0}, "blocks: expected"),
    (nn.Dense, {"blocks": ()}, "blocks: expected the number of layers of each block"),
    (nn.Dense, {"blocks": (2, 0)}, "blocks: expected a whole number"),
    (nn.Dense, {"compression": 0.0}, "compression: expected"),
    (nn.Dense, {"growth": 0}, "growth: expected"),
    (nn.Dense, {"bidirectional": True, "growth": 3, "bottleneck": 1}, "bidirectional: expected an even number"),
]


@pytest.mark.parametrize(("kind", "changed", "message"), WRONG)
def test_an_impossible_network_is_refused_by_name(kind: type, changed: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        kind(**{"inputs": 2, "outputs": 2} | changed)


def test_bad_arguments_of_a_network_are_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    real, words = nn.Plain(inputs=2, outputs=2, hidden=4), nn.Plain(inputs=3, outputs=5, tokens=5, hidden=4)
    stepwise = nn.Plain(inputs=2, outputs=2, hidden=4, batch_norm="after", statistics="step")
    x = np.zeros((5, 3, 2), np.float32)
    wrong = [
        (real, x[0], {}, "x: expected shape"), (real, x[..., :1], {}, "x: expected shape"),
        (real, x[:0], {}, "x: expected shape"), (real, x.astype(np.float64), {}, "W: expected dtype float64"),
        (real, x.astype(int), {}, "x: expected dtype"), (real, x.tolist(), {}, "x: expected a NumPy or CuPy array"),
        (real, x, {"lengths": [1, 2]}, "lengths: expected shape"),
        (real, x, {"lengths": [0, 1, 2]}, "lengths: expected 1 to 5"),
        (real, x, {"lengths": [6, 1, 2]}, "lengths: expected 1 to 5"),
        (real, x, {"lengths": [1.0, 1.0, 2.0]}, "lengths: expected whole"), (real, x, {"rng": 3}, "rng: expected"),
        (words, x, {}, "x: expected shape"), (words, x[..., 0], {}, "tokens: expected whole numbers"),
        (words, np.full((5, 3), 5), {}, "tokens: expected whole numbers from 0 to 4; got 5"),
        (words, np.full((5, 3), -1), {}, "tokens: expected whole numbers from 0 to 4; got -1"),
        (stepwise, np.zeros((6, 3, 2), np.float32), {}, "x: expected at most 5 steps"),
    ]
    for model, given, options, message in wrong:
        params, running = model.initial(rng, 5)
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            model(params, running, given, **options)
    params, running = real.initial(rng, 5)
    _, backward, _ = real(params, running, x)
    for dy, message in ((np.zeros((3, 3), np.float32), "dy: expected shape"), (np.zeros((3, 2)), "dy: expected dtype")):
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            backward(dy)
    with pytest.raises(TypeError, match=r"^rng: expected"):
        real.initial(3, 5)
    with pytest.raises(ValueError, match=r"^steps: expected"):
        real.initial(rng, 0)


def test_the_range_of_u_is_for_the_activation_s_steepest_slope() -> None:
    model = nn.Plain(inputs=2, outputs=1, hidden=100, activation="sigmoid", gamma=3.0, epsilon=0.1)
    high = ir.analysis.recurrent_weight_range(50, gamma=3.0, slope=0.25)[1]
    low = ir.analysis.recurrent_weight_range(50, 0.1, 3.0, 0.25, np.float32)[0]
    assert model.limits(50) == {"layers/0/u": high, "layers/1/u": high}
    params, _ = model.initial(np.random.default_rng(0), 50)
    first, last = (params["layers"][n]["u"] for n in "01")
    assert 2 < first.max() <= high
    assert first.min() < 2
    assert low <= last.min()
    assert last.max() <= high


@pytest.mark.parametrize("network", NETWORKS)
def test_only_a_network_that_reads_both_ways_sees_the_future(network: str) -> None:
    for both in (False, True):
        model, rng = build(network, "bare", bidirectional=both, readout="every"), np.random.default_rng(0)
        params, running = model.initial(rng, 5)
        y, backward, _ = model(params, running, rng.standard_normal((5, 3, 2), np.float32))
        dy = np.zeros_like(y)
        dy[0] = 1  # of the first step alone
        dx, _ = backward(dy)
        assert dx[0].all()
        assert dx[1:].any() == both


def test_the_last_output_of_a_network_that_reads_both_ways_has_read_all_in_both() -> None:
    model, rng = nn.Plain(**SMALL, layers=1, bidirectional=True), np.random.default_rng(0)
    params, running = model.initial(rng, 5)
    for half in (slice(2), slice(2, 4)):
        one_way = params | {"readout": params["readout"] | {"W": params["readout"]["W"].copy()}}
        one_way["readout"]["W"][:, half] = 0
        _, backward, _ = model(one_way, running, rng.standard_normal((5, 3, 2), np.float32))
        assert backward(np.ones((3, 2), np.float32))[0].all()
