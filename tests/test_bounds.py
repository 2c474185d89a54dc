"""Bounds before any run: none is exceeded, each is attained, and what the paper's range leaves open is large."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from extremes import excess, extreme, ratios, reached, rounding_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import SUMMARIES, Tally

import indrnn_np as ir
from indrnn_np.analysis import Bounds, a_priori_bounds, geometric_sums, input_gradient_bound, what_the_range_leaves_open
from indrnn_np.oracle import installation
from indrnn_np.oracle.tolerance import gamma

EPS = np.finfo(float).eps
NEAR_ONE = (1.0, 1 - 2**-53, 1 + 2**-52, 1 + 2**-40, 1 - 2**-30, 1 + 2**-20, 2 ** (1 / 500), 0.99)


def affine(L: float, c: float) -> ir.Activation:
    return ir.Activation("affine", value=lambda z: c + L * z, slope=lambda z: L * np.ones_like(z), max_slope=L)


def exact_sums(n: int, r: float) -> tuple[Fraction, ...]:
    """G, S, G′, S′ by G ← 1 + rG and its derivative, in rational arithmetic."""
    G = dG = S = dS = Fraction(0)
    for _ in range(n):
        G, dG = 1 + Fraction(r) * G, G + Fraction(r) * dG
        S, dS = S + G, dS + dG
    return G, S, dG, dS


@pytest.mark.parametrize("r", [*NEAR_ONE, 0.0, 0.25, 1.5, 3.0])
@pytest.mark.parametrize("n", [1, 2, 3, 64, 500])
def test_the_geometric_sums_keep_their_digits_at_every_r(n: int, r: float) -> None:
    # A power has 2 roundings, its weights 3; NumPy's pairwise sum adds 16 + 3 in a block and halves above it.
    allowed = float(gamma(24 + n.bit_length(), EPS / 2))
    for got, want in zip(geometric_sums(n, r), exact_sums(n, r), strict=True):
        assert abs(Fraction(float(got)) - want) <= Fraction(allowed) * want


def test_the_textbook_s_quotients_would_not_keep_theirs() -> None:
    n, r = 500, 1 + 2**-35
    G, S, dG, _ = (float(value) for value in exact_sums(n, r))
    quotient = (r**n - 1) / (r - 1)
    assert abs(quotient - G) > 1e-9 * G  # half of the digits; below, all
    assert abs((n * r ** (n - 1) - quotient) / (r - 1) - dG) > 0.1 * dG
    assert abs((r * quotient - n) / (r - 1) - S) > 0.1 * S


def test_a_sum_beyond_the_largest_float_is_infinite_and_nothing_is_nan() -> None:
    assert all(np.isinf(value) for value in geometric_sums(3000, 2.0))
    for loss in ("last", "every"):
        bounds = a_priori_bounds(3000, [2.0, 0.0] @ np.eye(2), A=0.0, H0=0.0, loss=loss)
        assert not any(np.isnan(bound).any() for bound in bounds)
        assert (bounds.h == 0).all()
        assert (bounds.du == 0).all()
        assert np.isinf(bounds.db).tolist() == [True, False]


ATTAINED = [("identity", 1.0, 0.0, 1), ("relu", 1.0, 0.0, 1), ("leaky_relu", 1.0, 0.0, 1),
            ("leaky_relu(2.0)", 2.0, 0.0, -1), (affine(0.25, 0.5), 0.25, 0.5, 1), (affine(1.5, 0.7), 1.5, 0.7, 1)]


def attaining(T: int, σ: Any, sign: int, loss: str, u: np.ndarray) -> Bounds:
    """Run everything at its largest and of one sign: x = 3, w = .5, b = .25, h_0 = .75, dh = 2."""
    dh = np.full((T, 1, len(u)), 2.0)
    if loss == "last":
        dh[:-1] = 0
    return reached(np.full((T, 1, 1), 3.0 * sign), 0.5, 0.25 * sign, u, np.full((1, len(u)), 0.75 * sign), dh, σ)


@pytest.mark.parametrize("loss", ["last", "every"])
@pytest.mark.parametrize(("σ", "L", "c", "sign"), ATTAINED, ids=lambda value: getattr(value, "name", str(value)))
@pytest.mark.parametrize("T", [1, 2, 7, 100])
def test_everything_positive_and_active_attains_every_bound_at_once(T: int, σ: Any, L: float, c: float, sign: int,
                                                                     loss: str) -> None:
    u = np.array([0.0, 0.3, 0.98, 1.0, 2 ** (1 / T), 1.1]) / L
    given_ = {"A": 0.5 * 3 + 0.25, "D": 2.0, "X": 3.0, "H0": 0.75, "slope": L, "offset": c, "loss": loss}
    bounds, found = a_priori_bounds(T, u, **given_), attaining(T, σ, sign, loss, u)
    slack = rounding_of(bounds, T)
    for name, got, bound, allowed in zip(Bounds._fields, found, bounds, slack, strict=True):
        assert (np.abs(got - (bound[:, None] if bound.ndim == 2 else bound)) <= 2 * allowed.max()).all(), name
    # Any smaller bound is exceeded: by 1 %, or with one step fewer, or with one of its ingredients left out.
    assert excess(found, Bounds(*(0.99 * bound for bound in bounds)), slack) == list(Bounds._fields)
    fewer = a_priori_bounds(T - 1, u, **given_) if T > 1 else None
    if fewer is not None:
        assert excess(found, bounds._replace(**{name: getattr(fewer, name) for name in ("dh0", "db", "dW", "du")}),
                      slack)[-3:] == ["db", "dW", "du"]
    assert "h" in excess(found, a_priori_bounds(T, u, **given_ | {"H0": 0.0}), slack)
    assert "du" in excess(found, a_priori_bounds(T, u, **given_ | {"H0": 0.0}), slack)
    if c > 0:
        assert "h" in excess(found, a_priori_bounds(T, u, **given_ | {"offset": 0.0}), slack)
    if loss == "every" and T > 1:
        assert {"dz", "db", "dW", "du"} <= set(excess(found, a_priori_bounds(T, u, **given_ | {"loss": "last"}), slack))


def test_no_case_of_the_oracle_exceeds_the_bounds() -> None:
    tally, largest = Tally("a priori bounds, any σ"), 0.0

    @given(cases(longest=40))
    @settings(max_examples=300)
    def claim(case: Any) -> None:
        nonlocal largest
        x, W, u, b, h0, dh = (value.astype(float) for value in case.arrays().values())
        σ = ir.activations.resolve(case.activation)
        T, B, _ = x.shape
        trace = ir.forward(x, W, u, b, h0, σ)
        gradients = ir.backward(dh, trace)
        bounds = a_priori_bounds(T, u, A=(np.abs(x) @ np.abs(W).T + np.abs(b)).max((0, 1)), D=np.abs(dh).max((0, 1)),
                                 X=np.abs(x).max(), H0=np.abs(h0).max(0), slope=σ.max_slope,
                                 offset=float(σ(np.zeros(1))[0]))
        more = 1 + float(gamma(8 * T + B * T + 64, EPS / 2))
        pairs = {"h": (np.abs(trace.h).max(1), bounds.h), "dh0": (np.abs(gradients.dh0).max(0), bounds.dh0),
                 "db": (np.abs(gradients.db), B * bounds.db), "du": (np.abs(gradients.du), B * bounds.du),
                 "dW": (np.abs(gradients.dW).max(1), B * bounds.dW),
                 "dx": (np.abs(gradients.dx).max(1), input_gradient_bound(bounds.dz, W))}
        for name, (got, bound) in pairs.items():
            assert (got <= more * bound).all(), name
            largest = max(largest, float((got[bound > 0] / bound[bound > 0]).max(initial=0)))
        tally.note(remembers(case))

    claim()
    tally.require(0.5)
    SUMMARIES.append(f"a priori bounds, any σ: largest observed ÷ bound {largest:.3f}")


def soundness(examples: int) -> None:
    tally, largest = Tally(f"a priori bounds at extreme inputs, {examples} × 60 sequences"), dict.fromkeys(
        Bounds._fields, 0.0)

    @given(st.sampled_from(installation.NAMES), st.integers(1, 20), st.sampled_from(("last", "every")),
           st.integers(0, 2**32))
    @settings(max_examples=examples)
    def claim(activation: str, T: int, loss: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        σ = ir.activations.resolve(activation)
        u = rng.uniform(0, 1.3, 4) * rng.choice([-1, 1], 4) / σ.max_slope
        drawn = extreme(rng, T, 60, 4)
        w, b, X, H0, D = rng.uniform(0.2, 2, 5) * (1, rng.choice([-1, 0, 1]), 1, rng.choice([0, 1]), 1)
        if loss == "last":
            drawn["dh"][:-1] = 0
        found = reached(X * drawn["x"], w, b, u, H0 * drawn["h0"], D * drawn["dh"], σ)
        bounds = a_priori_bounds(T, u, w * X + abs(b), D, X, H0, σ.max_slope, float(σ(np.zeros(1))[0]), loss)
        assert excess(found, bounds, rounding_of(bounds, T)) == []
        for name, ratio in ratios(found, bounds).items():
            largest[name] = max(largest[name], ratio)
        tally.note(T > 1)

    claim()
    tally.require(0.5)
    SUMMARIES.append("largest observed ÷ bound: " + ", ".join(f"{k} {v:.3f}" for k, v in largest.items()))


def test_extreme_inputs_do_not_exceed_the_bounds() -> None:
    soundness(300)


@pytest.mark.slow
def test_thousands_of_extreme_inputs_do_not_exceed_the_bounds() -> None:
    soundness(5000)


def test_the_input_gradient_attains_its_bound_where_all_neurons_pull_one_way() -> None:
    rng = np.random.default_rng(5)
    T, N, M = 9, 4, 3
    W, u = rng.uniform(0.1, 1, (N, M)), np.array([0.2, 0.9, 1.0, 1.05])
    for loss in ("last", "every"):
        dh = np.full((T, 1, N), 2.0)
        dh[:-1] *= loss == "every"
        found = ir.backward(dh, ir.forward(np.ones((T, 1, M)), W, u, activation="relu")).dx[:, 0]
        bound = input_gradient_bound(a_priori_bounds(T, u, D=2.0, loss=loss).dz, -W)
        assert (np.abs(found - bound) <= float(gamma(8 * T + N + 64, EPS / 2)) * bound).all()
        assert (found > 0.99 * bound).all()


@pytest.mark.parametrize(("T", "figures"), [
    (1000, {"h": "1442", "dh0_every": "1443", "du_last": "8.0e+05", "du_every": "2.4e+08", "condition": "557"}),
    (5000, {"h": "7213", "dh0_every": "7214", "du_last": "2.0e+07", "du_every": "3.0e+10", "condition": "2786",
            "float32_step": "2.4", "curvature_u": "8.1e+14", "curvature_W": "1.0e+08"})])
def test_what_the_range_leaves_open_in_figures_and_in_a_run(T: int, figures: dict[str, str]) -> None:
    left = what_the_range_leaves_open(T)
    for name, figure in figures.items():
        form = ".1e" if "e" in figure else ".1f" if "." in figure else ".0f"
        assert format(getattr(left, name), form) == figure, name
    x, u = np.ones((T, 1, 1)), np.array([left.u])
    trace = ir.forward(x, np.ones((1, 1)), u)
    last = np.zeros_like(trace.h)
    last[-1] = 1
    at_last, every = ir.backward(last, trace), ir.backward(np.ones_like(last), trace)
    more = float(gamma(8 * T + 64, EPS / 2))
    for got, want in ((at_last.dh0, 2.0), (trace.h[-1], left.h), (every.dh0, left.dh0_every),
                      (at_last.du, left.du_last), (every.du, left.du_every), (2 * at_last.du**2, left.curvature_u),
                      (2 * at_last.dW**2, left.curvature_W), (u * at_last.du / trace.h[-1], left.condition)):
        assert abs(got.item() - want) <= 3 * more * want
    ulp = float(np.spacing(np.float32(left.u)))
    moved = ir.forward(x, np.ones((1, 1)), u + ulp).h[-1].item() - trace.h[-1].item()
    # The second derivative of a polynomial of degree T with positive coefficients is below T times the first.
    assert abs(moved - left.float32_step) <= T * ulp * left.float32_step + more * left.h


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: geometric_sums(0, 1.0), ValueError, "n: expected a whole number above 0; got 0."),
    (lambda: geometric_sums(2.0, 1.0), TypeError, "n: expected a whole number above 0; got float."),
    (lambda: geometric_sums(True, 1.0), TypeError, "n: expected a whole number above 0; got bool."),
    (lambda: geometric_sums(2, -0.5), ValueError, "r: expected finite numbers of at least 0; got -0.5."),
    (lambda: a_priori_bounds(5, np.array([1.0, np.nan])), ValueError, "u: expected finite numbers; got nan."),
    (lambda: a_priori_bounds(5, np.ones(2) + 0j), TypeError, "u: expected real numbers; got complex128."),
    (lambda: a_priori_bounds(5, "1"), TypeError, "u: expected real numbers; got str."),
    (lambda: a_priori_bounds(5, np.ones(0)), ValueError, "u: expected at least one number; got shape (0,)."),
    (lambda: a_priori_bounds(5, 1.0, loss="first"), ValueError, "loss: expected one of last, every; got 'first'."),
    (lambda: a_priori_bounds(5, 1.0, H0=-1.0), ValueError, "H0: expected finite numbers of at least 0; got -1.0."),
    (lambda: a_priori_bounds(5, np.ones(3), D=np.ones(2)), ValueError,
     "D: expected a shape that broadcasts with (3,), as the others have it; got (2,)."),
    (lambda: a_priori_bounds(5, np.ma.array([1.0])), TypeError, "u: expected a plain array; got MaskedArray"),
    (lambda: a_priori_bounds(5, 1.0, loss=np.ones(2)), ValueError, "loss: expected one of last, every"),
    (lambda: input_gradient_bound(np.ones(3), np.ones((3, 2))), ValueError, "dz: expected shape (T, N)"),
    (lambda: input_gradient_bound(np.ones((5, 3)), np.ones((2, 3))), ValueError, "W: expected shape (3, M)"),
    (lambda: what_the_range_leaves_open(5, 0.0), ValueError, "gamma: expected a finite number above 0; got 0.0."),
    (lambda: what_the_range_leaves_open(-5), ValueError, "steps: expected a whole number above 0; got -5."),
])
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_float32_weights_are_taken_as_the_numbers_they_are() -> None:
    u = np.array([0.9, 1.01], np.float32)
    for single, double in zip(a_priori_bounds(50, u), a_priori_bounds(50, u.astype(float)), strict=True):
        assert single.dtype == np.float64
        assert np.array_equal(single, double)
