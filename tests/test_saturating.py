"""tanh and sigmoid under free drive: the largest ∂h_T/∂u is what a recursion says, and a drive attains it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from extremes import excess, extreme, place, ratios, reached, rounding_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import SUMMARIES, Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    Bounds,
    a_priori_bounds,
    geometric_sums,
    largest_sensitivity,
    saturating_bounds,
    sensitivities,
)
from indrnn_np.oracle.tolerance import gamma

EPS = np.finfo(float).eps
NAMES = ("tanh", "sigmoid")
U = {"tanh": np.array([-1.3, -1.0, -0.7, 0.0, 0.3, 0.9, 1.0, 1.2]),
     "sigmoid": np.array([-20.0, -9.0, -4.0, -1.0, 0.0, 0.5, 2.0, 4.0, 5.0])}


def worst_states(activation: str, T: int, u: float, H0: float, up: bool = True) -> tuple[np.ndarray, float]:
    """Choose h_0 and each h_t by hand so as to enlarge ±w_T of the recursion, from the last step back to the first.

    tanh may take w of either sign, as it is odd; sigmoid with u < 0 needs the other sign at each earlier step.
    """
    wants = [up if activation == "tanh" or u >= 0 or (T - 1 - t) % 2 == 0 else not up for t in range(T)]
    h0 = w = H0 if wants[0] else -H0
    h = np.empty(T)
    for t in range(T - 1):
        m = abs(u) * abs(w)
        if activation == "tanh":
            h[t] = min(1.0, 0.5 / m if m else 1.0) * (np.sign(u * w) or 1.0)
            w = h[t] + u * (1 - h[t] ** 2) * w
        else:
            toward = u * w  # w_t = h (1 + toward (1 − h))
            if wants[t + 1]:
                h[t] = (1 + toward) / (2 * toward) if toward >= 1 else 1.0
            else:
                h[t] = (1 + toward) / (2 * toward) if toward < -1 else 0.0
            w = h[t] * (1 + toward * (1 - h[t]))
    h[-1] = 0.0 if activation == "tanh" else 0.5
    return h, h0


def sensitivity_of(activation: str, h: np.ndarray, h0: float, u: float) -> float:
    """|p_T| in a run of the layer whose drive leads to the states h; a state at its limit takes |z| = 40.

    Each drive is chosen from the state that the run itself reached before, so that no rounding of it can grow.
    """
    with np.errstate(divide="ignore"):
        z = np.clip(np.arctanh(h) if activation == "tanh" else np.log(h) - np.log1p(-h), -40, 40)[:, None, None]
    weight, start = np.array([u]), np.array([[h0]])
    a, before = np.empty_like(z), start
    for t, z_t in enumerate(z):
        a[t] = z_t - weight * before
        before = ir.recurrence.forward(a[t:t + 1], weight, before, activation)[0]
    trace = ir.forward(a, np.ones((1, 1)), weight, None, start, activation, engine="reference")
    return float(np.abs(sensitivities(trace).p[-1]).item())


@pytest.mark.parametrize("H0", [0.0, 0.08, 0.9, 3.0])
@pytest.mark.parametrize("T", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("activation", NAMES)
def test_a_drive_attains_the_largest_sensitivity(activation: str, T: int, H0: float) -> None:
    bounds = largest_sensitivity(T, U[activation], activation, H0)[-1]
    for u, bound in zip(U[activation], bounds, strict=True):
        found = max(sensitivity_of(activation, *worst_states(activation, T, u, H0, up), u) for up in (True, False))
        # A state misplaced by δ costs δ² at an interior optimum; z = a + u h_{t−1} is off by some |u| roundings.
        allowed = float(gamma(int(16 * T * (1 + abs(u))) + 64, EPS / 2)) * bound + 2 * EPS
        assert abs(found - bound) <= allowed
        assert found > 0.99 * bound or bound == 0, "a bound 1 % smaller would be exceeded"


def test_tanh_grows_as_the_root_of_half_t_where_the_naive_bound_grows_as_t() -> None:
    T, u = 5000, np.array([-1.0, 1.0])
    sup = largest_sensitivity(T, u, "tanh")
    assert [f"{value:.2f}" for value in sup[-1]] == ["50.01", "50.01"]
    naive = geometric_sums(T - 1, 1.0).G  # |h| ≤ 1 and σ' ≤ 1, each at its largest
    assert naive == 4999
    k = np.arange(4, T + 1)
    # M² grows by ½ + 1/(16 m²), and m² is about t/2: by t/2 and a logarithm in all.
    assert (sup[3:, 0] ** 2 >= k / 2 - 0.5).all()
    assert (sup[3:, 0] ** 2 <= k / 2 + 0.125 * np.log(k) + 0.5).all()
    found = sensitivity_of("tanh", *worst_states("tanh", T, 1.0, 0.0), 1.0)
    assert abs(found - sup[-1, 1]) <= float(gamma(32 * T, EPS / 2)) * found
    assert f"{found:.2f}" == "50.01"


@pytest.mark.parametrize(("activation", "u", "limit"), [
    ("tanh", 0.9, 2.5), ("tanh", -0.9, 2.5), ("tanh", 0.4, 1.0), ("sigmoid", 1.0, 0.25), ("sigmoid", 2.0, None)])
def test_within_its_range_the_sensitivity_stays_bounded_whatever_the_length(activation: str, u: float,
                                                                            limit: float | None) -> None:
    """The fixed points M = m/|u|: m² = |u|/(4 (1 − |u|)) for tanh; sigmoid's is bounded for u < 4."""
    sup = largest_sensitivity(20_000, u, activation)
    fixed = {("tanh", 0.9): np.sqrt(0.9 / 0.4) / 0.9, ("tanh", -0.9): np.sqrt(0.9 / 0.4) / 0.9}.get((activation, u))
    if fixed is not None:
        assert sup[-1] == pytest.approx(fixed, rel=1e-12)
    assert sup[-1] == pytest.approx(sup[10_000], rel=1e-12)
    assert limit is None or sup[-1] <= limit
    if u == 2.0:  # m² u (4 − u) = 2 u m + 1
        m = sup[-1] * 4
        assert m**2 * 4 == pytest.approx(4 * m + 1, rel=1e-12)


def wrong(change: str, activation: str) -> Callable[[int, float], float]:
    """Plausible recursions that are not the right one."""
    def recursion(T: int, u: float) -> float:
        M = 0.0
        for _ in range(T - 1):
            m = abs(u) * M
            if activation == "tanh":
                M = {"the state at its limit": 1.0, "the leading term alone": max(1.0, m),
                     "an eighth": m + 1 / (8 * m) if m >= 0.5 else 1.0}[change]
            else:
                M = {"the state at its limit": 1.0, "the leading term alone": max(1.0, m / 4),
                     "an eighth": (1 + m) ** 2 / (8 * m) if m >= 1 else 1.0}[change]
        return M * (1.0 if activation == "tanh" else 0.25)
    return recursion


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("change", ["the state at its limit", "the leading term alone", "an eighth"])
def test_recursions_that_leave_something_out_are_exceeded(change: str, activation: str) -> None:
    u = 1.2 if activation == "tanh" else 5.0
    found = sensitivity_of(activation, *worst_states(activation, 12, u, 0.0), u)
    assert found > 1.01 * wrong(change, activation)(12, u)


def test_losses_at_every_step_stay_below_the_sum_of_the_largest_sensitivities() -> None:
    """The largest Σ|p_t| of tanh by dynamic programming: h is 0 where p_t is to count, not where w is to grow."""
    ratios_found = []
    h = np.linspace(0, 1, 1001)[:, None]
    for u, T in ((0.5, 20), (1.0, 5), (1.0, 20), (1.2, 20)):
        bound = saturating_bounds(T, u, "tanh").du
        w = np.linspace(0, 1.01 * largest_sensitivity(T, u)[-1], 501)
        rest = np.zeros_like(w)
        for _ in range(T):  # |p_t| + rest(|w_t|), the best h, for every |w_{t−1}| on the grid
            slope = (1 - h**2) * w
            rest = (slope + np.interp(h + u * slope, w, rest)).max(axis=0)
        ratios_found.append(rest[0] / bound)
    assert max(ratios_found) < 1
    assert min(ratios_found) > 0.4
    SUMMARIES.append("tanh, Σ|p_t| at best ÷ sum of bounds: " + ", ".join(f"{ratio:.2f}" for ratio in ratios_found))


def soundness(examples: int) -> None:
    tally, largest = Tally(f"saturating bounds, free drive, {examples} × 60 sequences"), dict.fromkeys(
        Bounds._fields, 0.0)

    @given(st.sampled_from(NAMES), st.integers(1, 20), st.sampled_from(("last", "every")), st.integers(0, 2**32))
    @settings(max_examples=examples)
    def claim(activation: str, T: int, loss: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        u = rng.uniform(-1.4, 1.4, 5) * (1 if activation == "tanh" else 4)
        drawn = extreme(rng, T, 60, 5)
        H0, X, D = rng.uniform(0.2, 2, 3) * (rng.choice([0, 1]), 1, 1)
        if loss == "last":
            drawn["dh"][:-1] = 0
        # The drive of the first neuron is placed: states near the middle, at the ends and at the optimum of the last.
        h = np.clip(rng.choice([0.0, 0.5, 0.7, 0.9, 1.0], (T, 60, 1)) * rng.choice([-1, 1], (T, 60, 1)),
                    -1 + 1e-12, 1 - 1e-12)
        z = np.arctanh(h) if activation == "tanh" else 2 * np.arctanh(h)
        h0 = H0 * drawn["h0"]
        x = np.where(np.arange(60)[:, None] % 2 == 0, place(z, u[:1], h0[:, :1], activation),
                     X * drawn["x"])
        size = np.abs(x).max()
        found = reached(x, 1.0, 0.0, u, h0, D * drawn["dh"], activation)
        bounds = saturating_bounds(T, u, activation, D, size, H0, loss)
        absolute = a_priori_bounds(T, u, size, D, size, H0, 1.0 if activation == "tanh" else 0.25,
                                   0.0 if activation == "tanh" else 0.5, loss)
        slack = rounding_of(absolute, T)
        assert excess(found, bounds, slack) == []
        for name, ratio in ratios(found, bounds).items():
            largest[name] = max(largest[name], ratio)
        tally.note(T > 1)

    claim()
    tally.require(0.5)
    SUMMARIES.append("saturating, largest observed ÷ bound: " + ", ".join(f"{k} {v:.3f}" for k, v in largest.items()))


def test_no_drive_exceeds_the_bounds() -> None:
    soundness(300)


@pytest.mark.slow
def test_no_drive_of_thousands_exceeds_the_bounds() -> None:
    soundness(5000)


@pytest.mark.parametrize("loss", ["last", "every"])
@pytest.mark.parametrize("activation", NAMES)
def test_states_held_at_the_steepest_point_attain_the_other_bounds(activation: str, loss: str) -> None:
    T, u = 15, U[activation]
    dh = np.sign(u) ** np.arange(T)[:, None, None] if loss == "every" else np.zeros((T, 1, len(u)))
    dh[-1] = 1
    h0 = np.full((1, len(u)), 0.5)
    a = place(np.zeros((T, 1, len(u))), u, h0, activation)
    x = np.where(u < 0, (-1.0) ** np.arange(T)[:, None], 1.0)[:, None]  # what dW is by, through a weight of nearly 0
    dh[...] = np.where(loss == "every", np.where(u < 0, (-1.0) ** np.arange(T)[:, None, None], 1.0), dh)
    h = ir.recurrent_forward(a, u, h0, activation)
    da, _, dh0 = ir.recurrent_backward(dh, h, a, u, h0, activation)
    bounds = saturating_bounds(T, u, activation, H0=0.5, loss=loss)
    γ = float(gamma(16 * T + 64, EPS / 2))
    pairs = {"dz": (np.abs(da[:, 0]), bounds.dz), "dh0": (np.abs(dh0[0]), bounds.dh0),
             "dW": (np.abs((da * x).sum((0, 1))), bounds.dW),
             "db": (np.abs(da.sum((0, 1)))[u >= 0], bounds.db[u >= 0])}
    for name, (got, bound) in pairs.items():
        assert (np.abs(got - bound) <= γ * bound).all(), name
        assert (got >= 0.99 * bound).all(), name


@pytest.mark.parametrize("loss", ["last", "every"])
@pytest.mark.parametrize("activation", NAMES)
def test_for_negative_u_slopes_of_nought_or_the_steepest_attain_db(activation: str, loss: str) -> None:
    T = 9
    σ = ir.activations.resolve(activation)
    z = np.array(list(itertools.product((0.0, 50.0), repeat=T))).T[..., None]  # σ'(50) < 1e-20: nought
    for u in (-0.5, -1.0, -1.3):
        weight = np.array([u / σ.max_slope])
        a = place(z, weight, np.zeros((z.shape[1], 1)), activation)
        q = np.abs(sensitivities(ir.forward(a, np.ones((1, 1)), weight, activation=activation)).q[..., 0])
        largest = q[-1].max() if loss == "last" else q.sum(0).max()
        bound = saturating_bounds(T, weight, activation, loss=loss).db.item()
        slack = float(gamma(8 * T + 64, EPS / 2)) * a_priori_bounds(T, weight, slope=σ.max_slope, loss=loss).db.item()
        assert abs(largest - bound) <= slack
        assert largest > 0.99 * bound + slack


def test_other_activations_and_bad_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^activation: expected tanh or sigmoid; got relu\."):
        saturating_bounds(5, 1.0, "relu")
    with pytest.raises(ValueError, match=r"^u: expected finite numbers; got inf\."):
        largest_sensitivity(5, np.inf)
    with pytest.raises(ValueError, match=r"^H0: expected a shape that broadcasts with \(3,\)"):
        largest_sensitivity(5, np.ones(3), H0=np.ones(2))
    with pytest.raises(ValueError, match=r"^steps: expected a whole number above 0; got 0\."):
        largest_sensitivity(0, 1.0)


def test_the_shapes_are_those_that_the_arguments_broadcast_to() -> None:
    bounds: Any = saturating_bounds(7, np.ones(3), "tanh", D=np.ones((2, 1)), loss="last")
    assert [value.shape for value in bounds] == [(7, 2, 3), (7, 2, 3), (2, 3), (2, 3), (2, 3), (2, 3)]
