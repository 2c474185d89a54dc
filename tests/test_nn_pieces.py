"""The pieces of networks: each backward is the derivative of its forward, by the complex step."""

from __future__ import annotations

import re

import numpy as np
import pytest
from derivatives import ratios
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from tally import Tally

from indrnn_np import nn
from indrnn_np.nn.batch_norm import initial_batch_norm

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


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 0)])
def test_the_convolution(rng: np.random.Generator, stride: int, padding: int) -> None:
    given = {"x": rng.standard_normal((2, 2, M, 6)), "W": rng.standard_normal((N, M, 3)), "b": rng.standard_normal(N)}

    def f(x: np.ndarray, **params: np.ndarray):
        return nn.convolution(params, x, stride, padding)

    y, backward = f(**given)
    dy = rng.standard_normal(y.shape)
    dx, dparams = backward(dy)
    assert max(ratios(f, given, dy, dparams | {"x": dx}, n=T * B * M).values()) <= 1


def test_a_convolution_as_wide_as_its_input_is_an_affine_map(rng: np.random.Generator) -> None:
    x, W, b = rng.integers(-9, 9, (T, B, M, 4)) * 1.0, rng.integers(-9, 9, (N, M, 4)) * 1.0, np.arange(N) * 1.0
    dy = rng.integers(-9, 9, (T, B, N, 1)) * 1.0
    (y, backward), (same, pull) = (nn.convolution({"W": W, "b": b}, x),
                                   nn.affine({"W": W.reshape(N, -1), "b": b}, x.reshape(T, B, -1)))
    (dx, dparams), (dx_same, dsame) = backward(dy), pull(dy[..., 0])
    assert np.array_equal(y[..., 0], same)  # whole numbers: exact
    assert np.array_equal(dx.reshape(T, B, -1), dx_same)
    assert np.array_equal(dparams["W"].reshape(N, -1), dsame["W"])
    assert np.array_equal(dparams["b"], dsame["b"])


def test_the_embedding_and_its_use_as_an_output(rng: np.random.Generator) -> None:
    tokens = rng.integers(0, 4, (T, B))
    E, b, h = rng.standard_normal((5, N)), rng.standard_normal(5), rng.standard_normal((T, B, N))
    dy, dy_out = rng.standard_normal((T, B, N)), rng.standard_normal((T, B, 5))
    dx, dparams = nn.embedding({"E": E}, tokens)[1](dy)
    assert dx is None
    assert max(ratios(lambda E: nn.embedding({"E": E}, tokens), {"E": E}, dy, dparams, n=T * B).values()) <= 1

    def out(h: np.ndarray, **params: np.ndarray):
        return nn.tied_readout(params, h)

    dh, dparams = nn.tied_readout({"E": E, "b": b}, h)[1](dy_out)
    assert max(ratios(out, {"E": E, "b": b, "h": h}, dy_out, dparams | {"h": dh}, n=T * B).values()) <= 1


def test_the_sum_over_equal_tokens_has_each_term_once() -> None:
    tally = Tally("sums over equal tokens")

    @drawn(st.integers(2, 60), st.integers(1, 4), st.integers(0, 2**32))
    @settings(max_examples=100)
    def claim(count: int, vocabulary: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        tokens, dy = rng.integers(0, vocabulary, (count, 1)), rng.integers(-99, 99, (count, 1, 3)).astype(np.float32)
        want = np.zeros((vocabulary, 3), np.float32)
        np.add.at(want, tokens, dy)  # whole numbers: exact in any order
        assert np.array_equal(nn.embedding({"E": np.zeros((vocabulary, 3), np.float32)}, tokens)[1](dy)[1]["E"], want)
        tally.note(count > vocabulary)

    claim()
    tally.require(0.5)


def test_dtype_in_is_dtype_out(rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal((T, B, N)).astype(dtype)
        ones, tokens = np.ones(N, dtype), rng.integers(0, N, (T, B))
        for per_step in (True, False):
            for mask in (None, REAL):
                params, running = initial_batch_norm(N, T if per_step else None, dtype)
                y, backward, after = nn.batch_norm(params, running, x, True, mask)
                dx, dparams = backward(x)
                assert {v.dtype for v in (y, dx, *dparams.values(), *after.values())} == {np.dtype(dtype)}
        for loss, backward in (nn.mse(x, x + 1), nn.softmax_cross_entropy(x, tokens, REAL), nn.mse(x, x + 1, REAL)):
            assert loss.dtype == backward().dtype == dtype
        for y, backward in (nn.affine({"W": np.ones((N, N), dtype), "b": ones}, x), nn.recurrent({"u": ones}, x),
                            nn.convolution({"W": np.ones((N, 1, 2), dtype)}, x[:, :, None])):
            dx, dparams = backward(y)
            assert {v.dtype for v in (y, dx, *dparams.values())} == {np.dtype(dtype)}
        dropped, backward = nn.dropout(x, 0.5, rng)
        assert dropped.dtype == backward(x).dtype == dtype


ONE, FEW = np.ones((T, B, N)), {"scale": np.ones(N), "shift": np.zeros(N)}
STATISTICS = {"mean": np.zeros(N), "var": np.ones(N)}
SQUARE = {"W": np.ones((N, N)), "b": np.ones(N)}
BAD = [
    (nn.affine, ({"W": np.ones((N, M))}, ONE), f"x: expected shape (…, {M})"),
    (nn.affine, ({"W": np.ones(N)}, ONE), "W: expected shape"),
    (nn.affine, (SQUARE | {"b": np.ones(M)}, ONE), "b: expected shape"),
    (nn.affine, (SQUARE | {"b": np.ones(N, np.float32)}, ONE), "b: expected dtype float64, as x has it"),
    (nn.affine, (SQUARE, [1.0]), "x: expected a NumPy or CuPy array"),
    (nn.affine, (SQUARE, ONE.astype(np.float16)), "x: expected dtype float32"),
    (nn.batch_norm, (FEW, STATISTICS, ONE[0], True), "x: expected shape (T, B,"),
    (nn.batch_norm, (FEW | {"shift": np.ones(M)}, STATISTICS, ONE, True), "shift: expected shape"),
    (nn.batch_norm, (FEW, STATISTICS | {"var": np.ones(M)}, ONE, True), "running['var']: expected shape"),
    (nn.batch_norm, (FEW, STATISTICS | {"var": np.ones(N, np.float32)}, ONE, True), "running['var']: expected dtype"),
    (nn.batch_norm, (FEW, dict.fromkeys(STATISTICS, np.ones((T - 1, N))), ONE, True), f"x: expected at most {T - 1}"),
    (nn.batch_norm, (FEW, dict.fromkeys(STATISTICS, np.ones((2, T, N))), ONE, True), "running['mean']: expected shape"),
    (nn.batch_norm, (FEW, STATISTICS, ONE, True, REAL[1:]), "mask: expected shape"),
    (nn.batch_norm, (FEW, STATISTICS, ONE, True, None, 0.0), "epsilon: expected a finite number above 0"),
    (nn.batch_norm, (FEW, STATISTICS, ONE, True, None, 1e-5, 1.5), "momentum: expected a finite number above 0"),
    (nn.batch_norm, (FEW, STATISTICS, ONE, True, None, 1e-5, "a"), "momentum: expected a number"),
    (nn.batch_norm, (FEW, STATISTICS, ONE, True, REAL * 1.0), "mask: expected booleans"),
    (nn.batch_norm, (FEW, STATISTICS, ONE, True, REAL & False), "mask: expected at least one position"),
    (nn.recurrent, ({"u": np.ones(M)}, ONE), "u: expected shape"),
    (nn.recurrent, ({"u": np.ones(N)}, ONE, "relo"), "activation"),
    (nn.recurrent, ({"u": np.ones(N)}, ONE, "relu", REAL[1:]), "mask: expected shape"),
    (nn.recurrent, ({"u": np.ones(1)}, ONE[..., :1], "relu", None, True), "a: expected an even number"),
    (nn.recurrent, ({"u": np.ones(N)}, ONE[0]), "a: expected shape"),
    (nn.recurrent, ({"u": np.ones(N)}, [1.0], "relu", REAL), "a: expected a NumPy or CuPy array"),
    (nn.dropout, (ONE, -0.1, None), "probability: expected a probability"),
    (nn.dropout, (ONE, 0.5, 7), "rng: expected"),
    (nn.dropout, (ONE[0], 0.5, None), "x: expected shape"),
    (nn.last_step, (ONE[0],), "h: expected shape"),
    (nn.last_step, (ONE, REAL[1:]), "mask: expected shape"),
    (nn.mse, (ONE, ONE[1:]), "target: expected shape"),
    (nn.mse, (ONE, ONE.astype(np.float32)), "target: expected dtype"),
    (nn.mse, (ONE, ONE, REAL[1:]), "mask: expected shape"),
    (nn.softmax_cross_entropy, (ONE, np.zeros((T, B))), "labels: expected whole numbers"),
    (nn.softmax_cross_entropy, (ONE, np.full((T, B), N)), f"labels: expected whole numbers from 0 to {N - 1}; got {N}"),
    (nn.softmax_cross_entropy, (ONE, np.zeros((T, 1), int)), "labels: expected shape"),
    (nn.softmax_cross_entropy, (ONE, np.zeros((T, B), int), REAL[1:]), "mask: expected shape"),
    (nn.embedding, ({"E": np.ones((3, N))}, np.zeros((T, B))), "tokens: expected whole numbers"),
    (nn.embedding, ({"E": np.ones((3, N))}, np.full((T, B), 3)), "tokens: expected whole numbers from 0 to 2; got 3"),
    (nn.embedding, ({"E": np.ones((3, N))}, np.zeros((0, B), int)), "tokens: expected at least one"),
    (nn.tied_readout, ({"E": np.ones((3, M)), "b": np.ones(3)}, ONE), "h: expected shape"),
    (nn.convolution, ({"W": np.ones((2, 3, 2))}, ONE[:, :, None]), "x: expected shape"),
    (nn.convolution, ({"W": np.ones((2, 1, 9))}, ONE[:, :, None]), "x: expected at least 9 places"),
    (nn.convolution, ({"W": np.ones((2, 1, 2))}, ONE[:, :, None], 0), "stride: expected a whole number of at least 1"),
    (nn.convolution, ({"W": np.ones((2, 1, 2))}, ONE[:, :, None], 1, 0.5), "padding: expected a whole number"),
]


@pytest.mark.parametrize(("piece", "arguments", "message"), BAD)
def test_a_bad_argument_is_refused_by_name(piece, arguments: tuple, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(message)):
        piece(*arguments)


def test_a_missing_parameter_is_named() -> None:
    for piece, arguments, name in ((nn.affine, (ONE,), "W"), (nn.convolution, (ONE,), "W"), (nn.recurrent, (ONE,), "u"),
                                   (nn.batch_norm, (STATISTICS, ONE, True), "scale"), (nn.embedding, (ONE,), "E"),
                                   (nn.tied_readout, (ONE,), "E")):
        with pytest.raises(KeyError, match=f"{name}: expected among the parameters; got "):
            piece({"other": ONE}, *arguments)
    with pytest.raises(KeyError, match="mean: expected"):
        nn.batch_norm(FEW, {}, ONE, True)


def test_a_bad_cotangent_is_refused_by_name() -> None:
    tokens = np.zeros((T, B), int)
    pieces = [nn.affine(SQUARE, ONE), nn.batch_norm(FEW, STATISTICS, ONE, True), nn.recurrent({"u": np.ones(N)}, ONE),
              nn.dropout(ONE, 0.5, np.random.default_rng(0)), nn.last_step(ONE),
              nn.embedding({"E": SQUARE["W"]}, tokens), nn.convolution({"W": np.ones((2, 1, 2))}, ONE[:, :, None])]
    for y, backward, *_ in pieces:
        for wrong in (y[1:], y.astype(np.float32), y.tolist()):
            with pytest.raises((TypeError, ValueError), match=r"^dy: expected|^dh: expected"):
                backward(wrong)
