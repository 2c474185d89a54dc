"""The pieces of networks: each backward is the derivative of its forward, by the complex step."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import ratios

from indrnn_np import nn

T, B, M, N = 5, 4, 3, 2
REAL = np.arange(T)[:, None] < np.array([5, 2, 4, 1])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def statistics(rng: np.random.Generator, per_step: bool) -> dict[str, np.ndarray]:
    shape = (T + 1, N) if per_step else (N,)
    return {"mean": rng.standard_normal(shape), "var": rng.uniform(0.5, 2, shape)}


def test_the_affine_map(rng: np.random.Generator) -> None:
    given = {"x": rng.standard_normal((T, B, M)), "W": rng.standard_normal((N, M)), "b": rng.standard_normal(N)}
    dy = rng.standard_normal((T, B, N))
    for bias in (True, False):
        names = ("x", "W", "b") if bias else ("x", "W")

        def f(x: np.ndarray, **params: np.ndarray):
            return nn.affine(params, x)

        chosen = {name: given[name] for name in names}
        y, backward = f(**chosen)
        assert y.shape == (T, B, N)
        dx, dparams = backward(dy)
        assert tuple(dparams) == names[1:]
        assert max(ratios(f, chosen, dy, dparams | {"x": dx}, n=T * B).values()) <= 1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_batch_normalisation(rng: np.random.Generator, training: bool, per_step: bool, masked: bool) -> None:
    running, mask = statistics(rng, per_step), REAL if masked else None
    given = {"x": rng.standard_normal((T, B, N)) + 0.5, "scale": rng.standard_normal(N), "shift": rng.random(N)}
    dy = rng.standard_normal((T, B, N))

    def f(x: np.ndarray, **params: np.ndarray):
        return nn.batch_norm(params, running, x, training, mask)

    dx, dparams = f(**given)[1](dy)
    assert max(ratios(f, given, dy, dparams | {"x": dx}, n=10 * T * B).values()) <= 1


@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu", "identity"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_recurrence(rng: np.random.Generator, activation: str, masked: bool, bidirectional: bool) -> None:
    given = {"a": rng.standard_normal((T, B, N)), "u": rng.uniform(0.5, 1.2, N)}
    dh = rng.standard_normal((T, B, N))
    for overwrite in (False, True):
        def f(a: np.ndarray, u: np.ndarray):
            return nn.recurrent({"u": u}, a.copy(), activation, REAL if masked else None, bidirectional, overwrite)

        h, backward = f(**given)
        kept = h.copy()
        da, dparams = backward(dh.copy())
        assert max(ratios(f, given, dh, dparams | {"a": da}, n=3 * T * B).values()) <= 1
        assert np.array_equal(h, kept)


def test_the_recurrence_leaves_what_it_is_given_unless_told_otherwise(rng: np.random.Generator) -> None:
    a, dh, u = rng.standard_normal((T, B, N)), rng.standard_normal((T, B, N)), rng.uniform(0.5, 1.2, N)
    for bidirectional in (False, True):
        for mask in (None, REAL):
            before = a.copy(), dh.copy()
            _, backward = nn.recurrent({"u": u}, a, "relu", mask, bidirectional)
            backward(dh)
            assert np.array_equal(a, before[0])
            assert np.array_equal(dh, before[1])


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_last_step(rng: np.random.Generator, masked: bool, bidirectional: bool) -> None:
    given, dy = {"h": rng.standard_normal((T, B, N))}, rng.standard_normal((B, N))

    def f(h: np.ndarray):
        return nn.last_step(h, REAL if masked else None, bidirectional)

    y, backward = f(**given)
    assert max(ratios(f, given, dy, {"h": backward(dy)}, n=1).values()) <= 1
    ends = REAL.sum(axis=0) - 1 if masked else np.full(B, T - 1)
    for b in range(B):
        assert y[b, 0] == given["h"][ends[b], b, 0]
        assert y[b, 1] == given["h"][0 if bidirectional else ends[b], b, 1]


@pytest.mark.parametrize("masked", [True, False])
def test_the_losses(rng: np.random.Generator, masked: bool) -> None:
    mask = REAL if masked else None
    y, target, labels = rng.standard_normal((T, B, M)), rng.standard_normal((T, B, M)), rng.integers(0, M, (T, B))
    one = np.ones(())
    for f in (lambda y: nn.mse(y, target.astype(y.dtype), mask),
              lambda y: nn.softmax_cross_entropy(y, labels, mask)):
        _, backward = f(y)
        assert max(ratios(f, {"y": y}, one, {"y": backward()}, n=M * T * B).values()) <= 1
        if masked:
            assert not backward()[~mask].any()


def test_the_cross_entropy_survives_logits_whose_exponentials_do_not() -> None:
    logits, labels = np.array([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]]), np.array([1, 1])
    loss, backward = nn.softmax_cross_entropy(logits, labels)
    assert loss == 1e4 / 2
    assert backward().tolist() == [[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]


def test_dropout_has_one_mask_for_all_steps_of_mean_1(rng: np.random.Generator) -> None:
    x, dy = rng.standard_normal((T, 400, 100)), rng.standard_normal((T, 400, 100))
    y, backward = nn.dropout(x, 0.25, rng)
    kept = (y != 0)[0]
    assert np.array_equal(y, np.where(kept, x * (1 / 0.75), 0))
    assert np.array_equal(backward(dy), np.where(kept, dy * (1 / 0.75), 0))
    deviation = np.sqrt(kept.size * 0.25 * 0.75)
    assert abs(kept.sum() - 0.75 * kept.size) < 5 * deviation
    for evaluated, pull in (nn.dropout(x, 0.25, None), nn.dropout(x, 0.0, rng)):
        assert evaluated is x
        assert pull(dy) is dy


PLANTED = {  # what is wrong with a backward, and how it is written
    "the mean's own share forgotten": lambda d, x_hat, s: s * (d - x_hat * (d * x_hat).mean((0, 1))),
    "the variance's share forgotten": lambda d, x_hat, s: s * (d - d.mean((0, 1))),
    "the batch taken for running statistics": lambda d, x_hat, s: s * d,
    "means over sequences alone": lambda d, x_hat, s: s * (d - d.mean(1, keepdims=True)
                                                           - x_hat * (d * x_hat).mean(1, keepdims=True)),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_the_checker_catches_a_wrong_batch_normalisation(rng: np.random.Generator, mistake: str) -> None:
    x, dy = rng.standard_normal((T, B, N)), rng.standard_normal((T, B, N))
    params = {"scale": np.full(N, 1.5), "shift": np.zeros(N)}

    def f(x: np.ndarray):
        return nn.batch_norm({k: v.astype(x.dtype) for k, v in params.items()}, statistics(rng, False), x, True)

    s = 1 / np.sqrt(x.var((0, 1)) + 1e-5)
    wrong = PLANTED[mistake](1.5 * dy, (x - x.mean((0, 1))) * s, s)
    assert max(ratios(f, {"x": x}, dy, {"x": f(x)[1](dy)[0]}, n=10 * T * B).values()) <= 1
    assert max(ratios(f, {"x": x}, dy, {"x": wrong}, n=10 * T * B).values()) > 1e6
