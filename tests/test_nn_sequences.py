"""Sequences of different lengths in one array give what each gives alone; and a layer may run both ways.

Where sums are bracketed in another way, two results differ by at most n eps times the sum in absolute values, n the
roundings on a path: here at most 500, of T B ≤ 35 terms and of a few operations per step, in both directions of a few
layers.
"""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import EPS, Problem, leaves
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import Tally

from indrnn_np import nn
from indrnn_np.nn import sequences
from indrnn_np.nn.batch_norm import initial_batch_norm

T, B, N = 7, 5, 4
LENGTHS = np.array([7, 3, 1, 5, 5])
REAL = np.arange(T)[:, None] < LENGTHS


def test_turning_half_twice_changes_nothing_and_a_turn_is_its_own_transpose() -> None:
    tally = Tally("turning")

    @given(st.integers(2, 9), st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**32))
    @settings(max_examples=100)
    def claim(T: int, B: int, half: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x, y = rng.integers(-9, 9, (2, T, B, 2 * half)).astype(float)  # whole numbers: products and sums are exact
        lengths = rng.integers(1, T + 1, B)
        real = sequences.mask(lengths, x)
        turned = sequences.turn_half(x, real)
        assert np.array_equal(sequences.turn_half(turned, real), x)
        assert (turned * y).sum() == (x * sequences.turn_half(y, real)).sum()
        assert np.array_equal(turned[..., :half], x[..., :half])
        for b, length in enumerate(lengths):
            assert np.array_equal(turned[:length, b, half:], x[:length, b, half:][::-1])
            assert np.array_equal(turned[length:, b], x[length:, b])
        tally.note(T > 1 and bool((lengths < T).any()))

    claim()
    tally.require(0.5)


def test_a_layer_that_runs_both_ways_is_two_layers_one_of_which_reads_backwards() -> None:
    rng = np.random.default_rng(0)
    a, dh, u = rng.standard_normal((T, B, 2 * N)), rng.standard_normal((T, B, 2 * N)), rng.uniform(0.5, 1.1, 2 * N)
    h, backward = nn.recurrent({"u": u}, a, mask=REAL, bidirectional=True)
    da, dparams = backward(dh)
    du = np.zeros(2 * N)
    for b, length in enumerate(LENGTHS):
        for half, way in ((slice(N), slice(None)), (slice(N, None), slice(None, None, -1))):
            alone, pull = nn.recurrent({"u": u[half]}, a[:length, b:b + 1, half][way].copy())
            assert np.array_equal(h[:length, b, half], alone[way][:, 0])
            da_alone, du_alone = pull(dh[:length, b:b + 1, half][way].copy())
            assert np.array_equal(da[:length, b, half], da_alone[way][:, 0])
            du[half] += du_alone["u"]
    size = (abs(da) * abs(h).max((0, 1))).sum((0, 1))
    assert (abs(dparams["u"] - du) <= T * B * EPS * size).all()  # the same T B terms, added in another order


def test_a_state_that_would_grow_beyond_all_numbers_in_the_padding_does_no_harm() -> None:
    a, u, mask = np.ones((3000, 2, 1)), np.full(1, 2.0), np.arange(3000)[:, None] < np.array([3000, 4])
    a[:, 0] = -1
    h, backward = nn.recurrent({"u": u}, a, mask=mask)
    dh = np.ones_like(a)
    da, dparams = backward(dh)
    assert h[:, 1, 0].sum() == 1 + 3 + 7 + 15
    assert dparams["u"] == 7 * 1 + 3 * 3 + 1 * 7  # da_t = 1 + 2 da_{t+1}, times h_{t−1}
    assert da[:5, 1, 0].tolist() == [15, 7, 3, 1, 0]


@pytest.mark.parametrize("per_step", [True, False])
def test_masked_batch_normalisation_is_that_of_the_real_positions_alone(per_step: bool) -> None:
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((T, B, N)) + 1, rng.standard_normal((T, B, N))
    params = {"scale": rng.standard_normal(N), "shift": rng.standard_normal(N)}
    shape = (T, N) if per_step else (N,)
    running = {"mean": rng.standard_normal(shape), "var": rng.uniform(0.5, 2, shape)}
    y, backward, after = nn.batch_norm(params, running, np.where(REAL[..., None], x, np.nan), True, REAL)
    dx, dparams = backward(np.where(REAL[..., None], dy, np.inf))
    assert not y[~REAL].any()
    assert not dx[~REAL].any()

    groups = [(slice(t, t + 1), REAL[t:t + 1]) for t in range(T)] if per_step else [(slice(T), REAL)]
    total = {"scale": np.zeros(N), "shift": np.zeros(N)}
    bound = 20 * T * B * EPS * 10  # T B terms in each of a few sums, of numbers of size 10
    for steps, real in groups:
        its = {name: value[steps][0] if per_step else value for name, value in running.items()}
        alone, pull, moved = nn.batch_norm(params, its, x[steps][real][:, None], True)
        d_alone, d_params = pull(dy[steps][real][:, None])
        s = 1 / np.sqrt(x[steps][real].var(0) + 1e-5)
        assert (abs(y[steps][real] - alone[:, 0]) <= bound * s).all()
        assert (abs(dx[steps][real] - d_alone[:, 0]) <= bound * s * (1 + s)).all()
        total = {name: total[name] + d_params[name] for name in total}
        for name, value in its.items():
            got = after[name][steps][0] if per_step else after[name]
            if real.sum() >= 2:
                assert (abs(got - moved[name]) <= bound).all()
                assert (got != value).all()
            else:
                assert np.array_equal(got, value), "one sequence has no variance to teach"
    for name, value in total.items():
        assert (abs(dparams[name] - value) <= bound * T).all()


@pytest.mark.parametrize("per_step", [True, False])
def test_running_statistics_are_what_evaluation_normalises_by(per_step: bool) -> None:
    rng, over = np.random.default_rng(2), 1 if per_step else (0, 1)
    params, running = initial_batch_norm(N, T + 1 if per_step else None, np.float64)
    x = rng.standard_normal((T, B, N)) * [1, 2, 3, 4] + [4, 3, 2, 1]
    kept = {name: value.copy() for name, value in running.items()}
    after = running
    for _ in range(400):
        _, _, after = nn.batch_norm(params, after, x, True)
    assert all(np.array_equal(running[name], kept[name]) for name in running)
    left = 0.9**400  # of where they began
    n = B if per_step else T * B
    mean, var = ((value[:T], value[T:]) if per_step else (value, None) for value in (after["mean"], after["var"]))
    bound = 4 * (left + 400 * EPS + n * EPS)
    assert (abs(mean[0] - x.mean(over)) <= bound * abs(x).max()).all()
    assert (abs(var[0] - x.var(over) * n / (n - 1)) <= bound * (x * x).max()).all()
    if per_step:
        assert not mean[1].any(), "a step that never came"
        assert (var[1] == 1).all()
    y, _, same = nn.batch_norm(params, after, x, False)
    assert same is after
    assert np.array_equal(y, (x - around(mean[0])) * (1 / np.sqrt(around(var[0]) + 1e-5)))


def around(statistic: np.ndarray) -> np.ndarray:
    """Return a statistic as it meets x (T, B, N)."""
    return statistic[:, None] if statistic.ndim == 2 else statistic


MODELS = {
    "plain": nn.Plain(inputs=2, outputs=2, hidden=4, layers=2),
    "plain, every step": nn.Plain(inputs=2, outputs=2, hidden=4, layers=2, readout="every"),
    "both ways": nn.Plain(inputs=2, outputs=2, hidden=4, layers=2, bidirectional=True, activation="tanh"),
    "residual": nn.Residual(inputs=2, outputs=2, hidden=4, blocks=1, batch_norm="none"),
    "dense": nn.Dense(inputs=2, outputs=2, hidden=4, growth=2, blocks=(1, 1), batch_norm="none", readout="every"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_unequal_sequences_gives_what_each_gives_alone(name: str) -> None:
    tally = Tally(f"each sequence alone: {name}")

    @given(st.integers(2, 8), st.integers(2, 4), st.integers(0, 2**32))
    @settings(max_examples=15, deadline=None)
    def claim(T: int, B: int, seed: int) -> None:
        lengths = np.random.default_rng(seed).integers(1, T + 1, B)
        problem = Problem(MODELS[name], T, B, seed, lengths)
        y, gradients = problem.run(**problem.arguments)[0], problem.gradients()
        total = {name: np.zeros_like(value) for name, value in leaves(problem.params).items()}
        size = {name: np.zeros_like(value) for name, value in total.items()}
        for b, length in enumerate(lengths):
            alone = (slice(length), slice(b, b + 1))
            row = slice(b, b + 1) if y.ndim == 2 else alone
            y_alone, backward, _ = problem.model(problem.params, problem.running, problem.x[alone])
            dx, grads = backward(problem.dy[row])
            assert (abs(y[row] - y_alone) <= 500 * EPS * abs(y_alone).max()).all()
            assert (abs(gradients["x"][alone] - dx) <= 500 * EPS * abs(dx).max()).all()
            assert not gradients["x"][length:, b].any()
            for leaf, value in leaves(grads).items():
                total[leaf] += value
                size[leaf] = np.maximum(size[leaf], abs(value).max())
        for leaf, value in total.items():  # B sums, of at most 500 roundings on a path each
            assert (abs(gradients[leaf] - value) <= 500 * B * EPS * size[leaf]).all()
        tally.note(bool((lengths < lengths.max()).any()) and bool(total["readout/W"].any()))

    claim()
    tally.require(0.6)
