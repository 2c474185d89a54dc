"""Negative u: milder than its size says, by exactly as much as the bounds say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from extremes import excess, extreme, place, ratios, reached, rounding_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import SUMMARIES, Tally

import indrnn_np as ir
from indrnn_np.analysis import Bounds, a_priori_bounds, piecewise_linear_bounds, sensitivities
from indrnn_np.oracle.tolerance import gamma

EPS = np.finfo(float).eps
LEAKY = ("leaky_relu(0.125)", "leaky_relu(0.5)", "leaky_relu(2.0)")
NAMES = ("identity", "relu", *LEAKY)
V = np.array([0.2, 0.5, 0.8, 1 - 2**-40, 1.0, 1 + 2**-40, 1.3])
LOSSES = ("last", "every")


def cotangents(T: int, B: int, N: int, loss: str) -> np.ndarray:
    dh = np.ones((T, B, N))
    dh[:-1] *= loss == "every"
    return dh


def drive_alone(a: np.ndarray, u: np.ndarray, activation: Any, h0: np.ndarray | None = None) -> ir.Trace:
    """One sequence per column of a (T, B), N neurons with the same drive."""
    return ir.forward(a[..., None], np.ones((len(u), 1)), u, None, h0, activation)


def slack(T: int) -> float:
    """Rounding, relative to the bounds that do not mind the sign: those are the absolute sums."""
    return float(gamma(8 * T + 64, EPS / 2))


def general(T: int, activation: str, **given_: Any) -> Bounds:
    return a_priori_bounds(T, -V, slope=2.0 if activation == "leaky_relu(2.0)" else 1.0, **given_)


def soundness(examples: int) -> None:
    tally, largest = Tally(f"sign-aware bounds at extreme inputs, {examples} × 60 sequences"), dict.fromkeys(
        Bounds._fields, 0.0)

    @given(st.sampled_from(NAMES), st.integers(1, 12), st.sampled_from(LOSSES), st.booleans(), st.integers(0, 2**32))
    @settings(max_examples=examples)
    def claim(activation: str, T: int, loss: str, nonnegative: bool, seed: int) -> None:
        rng = np.random.default_rng(seed)
        u = rng.uniform(-1.4, 0.2, 5)
        drawn = extreme(rng, T, 60, 5)
        w, b, X, H0, D = rng.uniform(0.2, 2, 5) * (1, rng.choice([-1, 0, 0, 1]), 1, rng.choice([0, 1]), 1)
        if loss == "last":
            drawn["dh"][:-1] = 0
        h0 = H0 * (np.abs(drawn["h0"]) if nonnegative else drawn["h0"])
        x = X * drawn["x"]
        placed = place(rng.choice([-1e-9, 1e-9, 1.0], (T, 60, 1)), u[:1], h0[:, :1], activation)
        reachable = np.abs(placed - b).max(0, keepdims=True) <= w * X  # a third is led along the kink instead
        x = np.where(reachable & (np.arange(60) % 3 == 0)[:, None], (placed - b) / w, x)
        found = reached(x, w, b, u, h0, D * drawn["dh"], activation)
        given_ = {"A": w * X + abs(b), "D": D, "X": X, "H0": H0, "loss": loss}
        bounds = piecewise_linear_bounds(T, u, activation, nonnegative=nonnegative, **given_)
        L = ir.activations.resolve(activation).max_slope
        absolute = a_priori_bounds(T, u, slope=L, **given_)
        assert excess(found, bounds, rounding_of(absolute, T)) == []
        for name in Bounds._fields:
            assert (getattr(bounds, name) <= getattr(absolute, name) * (1 + slack(T))).all(), name
        for name, ratio in ratios(found, bounds).items():
            largest[name] = max(largest[name], ratio)
        tally.note(T > 1 and bool((u < 0).any()))

    claim()
    tally.require(0.5)
    SUMMARIES.append("sign-aware, largest observed ÷ bound: " + ", ".join(f"{k} {v:.3f}" for k, v in largest.items()))


def test_extreme_inputs_do_not_exceed_the_sign_aware_bounds() -> None:
    soundness(300)


@pytest.mark.slow
def test_thousands_of_extreme_inputs_do_not_exceed_the_sign_aware_bounds() -> None:
    soundness(5000)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("T", [1, 2, 5, 20])
def test_a_drive_of_turning_sign_makes_the_largest_state(T: int, activation: str) -> None:
    turn = (-1.0) ** np.arange(T)
    a, h0 = np.stack([turn, -turn], axis=1), np.array([[-0.5], [0.5]]) * np.ones((2, len(V)))
    h = np.abs(drive_alone(a, -V, activation, h0).h).max(1)
    bound = piecewise_linear_bounds(T, -V, activation, H0=0.5).h
    assert (np.abs(h - bound) <= slack(T) * bound).all()
    assert (h > 0.99 * bound).all()
    if activation == "relu":
        assert (piecewise_linear_bounds(T, -V, "relu", H0=0.5, nonnegative=True).h == 1).all()
    if activation != "identity" and T > 2:
        assert (general(T, activation, H0=0.5).h[-1] > 1.05 * h[-1]).all(), "the bound by |u| would be attained too"


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_best_pattern_of_slopes_attains_the_bound_of_db(loss: str, activation: str) -> None:
    """All 2^T patterns of z above or below the kink are within reach of a small drive: none gives more, one as much."""
    T = 9
    z = 1e-3 * np.array(list(itertools.product((-1.0, 1.0), repeat=T))).T[..., None]  # (T, 2^T, 1)
    for v in (*V, 2.5):
        h0 = np.zeros((z.shape[1], 1))
        a = place(z, np.array([-v]), h0, activation)
        assert np.abs(a).max() <= 1
        q = sensitivities(drive_alone(a[..., 0], np.array([-v]), activation)).q[..., 0]
        largest = np.abs(q[-1]).max() if loss == "last" else np.abs(q).sum(0).max()
        bound = piecewise_linear_bounds(T, -v, activation, loss=loss).db
        size = a_priori_bounds(T, v, slope=2.0 if activation == "leaky_relu(2.0)" else 1.0, loss=loss).db
        assert abs(largest - bound) <= slack(T) * size
        assert largest > 0.99 * bound + slack(T) * size
        assert size > 1.1 * bound or loss == "last", "as mild as the sign of u makes it"


def test_the_identity_keeps_the_sign_of_db_and_attains_du_all_the_same() -> None:
    T = 12
    turn = (-1.0) ** np.arange(T)[:, None, None] * np.ones((1, 1, len(V)))
    for loss in LOSSES:
        dh = turn * cotangents(T, 1, len(V), loss)
        found = reached(turn[..., :1], 1.0, 0.0, -V, -0.5 * np.ones((1, len(V))), dh, "identity")
        bounds = piecewise_linear_bounds(T, -V, "identity", H0=0.5, loss=loss)
        for name in ("h", "dz", "dh0", "dW", "du"):
            got, bound = getattr(found, name), getattr(bounds, name)
            bound = bound[:, None] if bound.ndim == 2 else bound
            assert (np.abs(got - bound) <= slack(T) * bound).all(), name
            assert (got > 0.99 * bound).all(), name
    steady = reached(np.zeros((T, 1, 1)), 1.0, 0.0, -V, np.zeros((1, len(V))), cotangents(T, 1, len(V), "last"),
                     "identity").db
    bound = piecewise_linear_bounds(T, -V, "identity", loss="last").db
    exact = np.abs(1 - V**T) / (1 + V)
    assert (np.abs(steady - bound) <= slack(T) * general(T, "identity", loss="last").db).all()
    assert (np.abs(exact - bound) <= 4 * T * EPS).all()
    assert bound[4] == 0, "at u = −1 and an even T the terms cancel exactly"
    assert bound[3] == pytest.approx(T * 2**-40 / 2, rel=1e-9), "and near it hardly less, but not to noise"


def near_the_kink(T: int, v: np.ndarray, first: int, gap: float = 2.0**-50) -> np.ndarray:
    """States A*, 0+, A*, 0+, …, all active, A* = min(1, 1/v): the ReLU's worst for du. Drive (T, 1, N), |a| ≤ 1."""
    states = np.where(np.arange(T)[:, None] % 2 == first, np.minimum(1, 1 / v) * (1 - gap), gap)[:, None]
    before = np.concatenate([np.zeros((1, 1, len(v))), states[:-1]])
    return states + v * before


@pytest.mark.parametrize("T", [2, 3, 8, 9, 40])
def test_a_relu_that_fires_fully_every_other_step_comes_near_to_the_bound_of_du(T: int) -> None:
    bound = piecewise_linear_bounds(T, -V, "relu", loss="last").du
    found = np.zeros(len(V))
    for first in (0, 1):
        a = near_the_kink(T, V, first)
        assert (np.abs(a) <= 1).all()
        h = ir.recurrent_forward(a, -V, None, "relu")
        dh = cotangents(T, 1, len(V), "last")
        found = np.maximum(found, np.abs(ir.recurrent_backward(dh, h, a, -V, None, "relu").du))
    room = slack(T) * general(T, "relu", loss="last").du
    assert (found <= bound + room).all()
    assert (found >= bound - room).all()
    assert (found > 0.99 * bound + room).all()
    assert T < 8 or (general(T, "relu", loss="last").du > 1.4 * bound).all(), "far below the bound by |u|"


@pytest.mark.parametrize("T", [2, 3, 8, 9, 40])
def test_the_same_states_come_near_to_the_bound_of_du_for_losses_at_every_step(T: int) -> None:
    bound = piecewise_linear_bounds(T, -V, "relu", loss="every").du
    best = np.zeros(len(V))
    for first in (0, 1):
        a = near_the_kink(T, V, first)
        trace_h = ir.recurrent_forward(a, -V, None, "relu")
        p, total = np.zeros(len(V)), np.zeros(len(V))
        for t in range(T):
            p = (trace_h[t - 1, 0] if t else 0) - V * p
            total += np.abs(p)
        best = np.maximum(best, total)
    room = slack(T) * general(T, "relu", loss="every").du
    assert (best <= bound + room).all()
    steep = V >= 0.5
    assert (np.abs(best - bound) <= room)[steep].all()
    assert (best > 0.99 * bound + room)[steep].all()


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("H0", [0.1, 0.4])
def test_from_any_start_two_steps_of_a_relu_come_near_to_the_bound_of_du(H0: float, nonnegative: bool) -> None:
    v = V[V <= 1]
    gap, best = 2.0**-50, np.zeros(len(v))
    for h0 in (0.0, H0) if nonnegative else (-H0, 0.0, H0):
        for h_1 in (np.full(len(v), gap), np.minimum(1 - v * h0, 1 / v) * (1 - gap)):
            a = np.stack([h_1 + v * h0, gap + v * h_1])[:, None]
            assert (np.abs(a) <= 1).all()
            before = np.full((1, len(v)), h0)
            h = ir.recurrent_forward(a, -v, before, "relu")[:, 0]
            assert (h > 0).all()
            best = np.maximum(best, abs(h0) + np.abs(h[0] - v * h0))
    bound = piecewise_linear_bounds(2, -v, "relu", H0=H0, nonnegative=nonnegative).du
    assert (best <= bound * (1 + slack(2))).all()
    assert (best >= bound * (1 - slack(2))).all()


def test_drives_at_the_ends_of_their_range_are_not_the_worst_for_relu() -> None:
    T, u = 8, np.array([-0.8])
    ends = np.array(list(itertools.product((-1.0, 1.0), repeat=T))).T
    at_ends = np.abs(sensitivities(drive_alone(ends, u, "relu")).p[-1]).max()
    bounds = {name: piecewise_linear_bounds(T, u, name, loss="last").du.item() for name in ("relu", "identity")}
    assert f"{at_ends:.2f}, {bounds['relu']:.2f}, {bounds['identity']:.2f}" == "1.32, 2.31, 12.42"


def climb(T: int, v: float, activation: str, loss: str, rounds: int, sequences: int) -> float:
    """Search for the largest Σ|p_t| or |p_T| over drives up to 1, h_0 = 0: many random climbers, the best copied."""
    rng = np.random.default_rng(0)
    a = np.where(rng.random((T, sequences)) < 0.5, rng.choice([-1, 1], (T, sequences)),
                 rng.uniform(-1, 1, (T, sequences)))

    def value(a: np.ndarray) -> np.ndarray:
        p = np.abs(sensitivities(drive_alone(a, np.array([-v]), activation)).p[..., 0])
        return p[-1] if loss == "last" else p.sum(0)

    best = value(a)
    for k in range(rounds):
        moved = rng.random(a.shape) < rng.uniform(0.1, 1, sequences)
        trial = np.clip(a + moved * 10.0 ** rng.uniform(-4, 0, sequences) * rng.standard_normal(a.shape), -1, 1)
        found = value(trial)
        a, best = np.where(found > best, trial, a), np.maximum(found, best)
        if k % 40 == 39:
            order, few = np.argsort(best), sequences // 4
            a[:, order[:few]], best[order[:few]] = a[:, order[-few:]], best[order[-few:]]
    return float(best.max())


def search(names: tuple[str, ...], values: tuple[float, ...], rounds: int, sequences: int) -> dict[str, list[float]]:
    shown: dict[str, list[float]] = {}
    for activation, loss in itertools.product(names, LOSSES):
        shown[f"{activation} {loss}"] = []
        for v in values:
            bound = piecewise_linear_bounds(5, -v, activation, loss=loss).du.item()
            shown[f"{activation} {loss}"].append(climb(5, v, activation, loss, rounds, sequences) / bound)
    SUMMARIES.append(f"du at u = −{values}, largest found by search ÷ bound: " + "; ".join(
        f"{name} {min(found):.3f} to {max(found):.3f}" for name, found in shown.items()))
    assert all(ratio <= 1 + slack(5) * 10 for found in shown.values() for ratio in found)
    return shown


def test_a_search_finds_no_more_than_the_bound_of_du_and_not_much_less() -> None:
    found = search(("relu", "leaky_relu(0.5)"), (0.1, 0.3, 0.8), 200, 800)
    assert min(found["relu last"]) > 0.98
    assert min(found["relu every"]) > 0.93
    assert min(found["leaky_relu(0.5) last"]) > 0.98


@pytest.mark.slow
def test_a_longer_search_finds_no_more_either() -> None:
    search(("relu", *LEAKY), (0.1, 0.3, 0.5, 0.8, 1.0, 1.3), 400, 4000)


def test_positive_weights_keep_the_general_bounds_and_other_activations_are_refused() -> None:
    u = np.array([0.5, 1.0, 1.1])
    for found, want in zip(piecewise_linear_bounds(9, u, H0=0.3), a_priori_bounds(9, u, H0=0.3), strict=True):
        assert np.array_equal(found, want)
    with pytest.raises(ValueError, match=r"^activation: expected identity, relu or a leaky ReLU; got tanh\."):
        piecewise_linear_bounds(9, u, "tanh")
    with pytest.raises(ValueError, match=r"^A: expected finite numbers of at least 0; got -1\.0\."):
        piecewise_linear_bounds(9, u, A=-1.0)
