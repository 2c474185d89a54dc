"""Spectral radius, numerical radius and norm; departure from normality; growth before decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import MATRICES, SEEDS, jordan, matrix, normal
from tally import Tally

from indrnn_np.analysis import (
    departure_from_normality,
    kreiss_lower_bound,
    log_stack_kernel,
    numerical_radius,
    numerical_range,
    spectral_radius,
    stack_jacobians,
    stack_kernel_peak,
    transient_growth,
)

EPS = float(np.finfo(float).eps)

# ---- radius, numerical radius, norm


def measures_are_ordered(examples: int) -> None:
    tally, powers = Tally("ρ ≤ w ≤ ‖U‖ ≤ 2 w"), Tally("ρ^k ≤ ‖U^k‖, w(U^k) ≤ w(U)^k, ‖U^k‖ ≤ 2 w^k")

    @given(MATRICES, st.integers(2, 6))
    @settings(max_examples=examples)
    def claim(U: np.ndarray, k: int) -> None:
        N, size = len(U), float(np.linalg.norm(U, 2))
        ρ, (low, high) = spectral_radius(U), numerical_radius(U)
        rounding = 8 * N * EPS * size
        # An eigenvalue computed is one of a matrix nearby, whose w and norm differ by as little: the order holds.
        assert ρ <= high + rounding
        assert low <= size + rounding
        assert size <= 2 * high + rounding
        assert high - low <= 1.1e-6 * high + 2 * rounding
        tally.note(ρ < 0.99 * low and low < 0.99 * size)

        power = np.linalg.matrix_power(U, k)
        norm, error = float(np.linalg.norm(power, 2)), 8 * k * N**1.5 * EPS * size**k
        assert float(abs(np.linalg.eigvals(power)).max()) <= norm + error
        # ρ(U)^k with the ρ of a matrix nearby: its k-th power is nearby to k times as much
        assert ρ**k <= norm + error + k * rounding * (size + rounding) ** (k - 1)
        assert numerical_radius(power)[0] <= high**k + error
        assert norm <= 2 * high**k + error
        powers.note(norm > 1e-6 and norm < 0.99 * size**k, numerical_radius(power)[0] / (high**k + error))

    claim()
    tally.require(0.3)
    powers.require(0.3)


def test_radius_numerical_radius_and_norm_are_ordered_and_so_are_their_powers() -> None:
    measures_are_ordered(100)


@pytest.mark.slow
def test_they_are_ordered_for_thousands_of_matrices() -> None:
    measures_are_ordered(2000)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_the_numerical_range_of_a_jordan_block_is_a_disc_of_radius_cos_pi_over_n_plus_1(n: int) -> None:
    radius = math.cos(math.pi / (n + 1))
    low, high = numerical_radius(jordan(n))
    assert low <= radius <= high <= radius * (1 + 2e-6)
    assert not low <= 0.99 * radius <= high
    assert not low <= math.cos(math.pi / n) <= high, "the wrong size of block would be noticed"
    boundary = numerical_range(jordan(n), 50)
    assert (abs(abs(boundary) - radius) <= 8 * n * EPS).all()
    assert (abs(np.angle(boundary * np.exp(-2j * np.pi * np.arange(50) / 50))) <= 1e-6).all()
    assert spectral_radius(jordan(n)) == 0
    assert departure_from_normality(jordan(n)) == pytest.approx(math.sqrt(n - 1), rel=4 * EPS)


def test_the_bounds_between_them_are_attained() -> None:
    """‖U‖ = 2 w for the nilpotent block of size 2, w = ‖U‖ and ρ = w for a normal matrix, w(U^k) = w(U)^k for both."""
    low, high = numerical_radius(jordan(2))
    assert 2 * low <= np.linalg.norm(jordan(2), 2) <= 2 * high
    assert not np.linalg.norm(jordan(2), 2) <= 1.98 * high, "a constant below 2 would fail"
    symmetric = normal(np.random.default_rng(4), np.array([0.9, -0.5, 0.2, 0.1]))
    low, high = numerical_radius(symmetric)
    assert low <= 0.9 + 8 * EPS
    assert high >= 0.9 - 8 * EPS
    assert abs(np.linalg.norm(symmetric, 2) - spectral_radius(symmetric)) <= 32 * EPS
    for k in (2, 3, 5):
        power = numerical_radius(np.linalg.matrix_power(symmetric, k))
        assert power[0] >= (0.99999 * high) ** k
        assert not power[0] <= (0.99 * high) ** k, "a smaller bound than Berger's would fail"
        assert not power[0] <= high ** (k + 1), "and so would a wrong exponent"


def test_the_numerical_range_of_a_normal_matrix_is_the_hull_of_its_eigenvalues() -> None:
    rng, eigenvalues = np.random.default_rng(5), np.array([1.0, 1j, -0.7 - 0.2j, 0.1 + 0.1j])
    Q = np.linalg.qr(rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4)))[0]
    boundary = numerical_range(Q @ np.diag(eigenvalues) @ Q.conj().T, 90)
    # the farthest eigenvalue in each direction; the fourth lies inside the triangle of the others
    farthest = eigenvalues[[int((np.exp(-1j * θ) * eigenvalues).real.argmax()) for θ in np.arange(90) * 2 * np.pi / 90]]
    assert (abs(boundary - farthest) <= 1e-12).sum() >= 88, "all but where two are equally far"
    assert set(farthest.tolist()) == set(eigenvalues[:3].tolist())


# ---- departure from normality


def test_the_departure_is_zero_for_normal_matrices_and_what_is_above_the_diagonal_of_a_triangular_one() -> None:
    tally = Tally("departure of rotated triangular matrices")

    @given(SEEDS, st.integers(1, 6) | st.integers(2, 6), st.sampled_from((0.0, 0.1, 1.0, 10.0)))
    @settings(max_examples=100)
    def claim(seed: int, N: int, above: float) -> None:
        rng = np.random.default_rng(seed)
        diagonal = rng.permutation(np.linspace(-1, 1, N)) if N > 1 else np.ones(1)
        upper = above * np.triu(rng.standard_normal((N, N)), 1)
        Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
        U = Q @ (np.diag(diagonal) + upper) @ Q.T
        got, want, size = departure_from_normality(U), float(np.linalg.norm(upper)), float(np.linalg.norm(U))
        # got² is a difference of squares, and the eigenvalues move by their condition numbers times the rounding
        condition = np.linalg.cond(np.linalg.eig(U)[1])
        assert abs(got**2 - want**2) <= 16 * N * EPS * size**2 * condition
        commutator = np.linalg.norm(U @ U.T - U.T @ U)  # Elsner and Paardekooper's bound below, Henrici's above
        assert commutator / (math.sqrt(6) * size) <= got + math.sqrt(16 * N * EPS * condition) * size
        henrici = math.sqrt(math.sqrt((N**3 - N) / 12) * commutator)
        assert got <= henrici + math.sqrt(16 * N * EPS * condition) * size
        tally.note(N > 1 and above > 0)

    claim()
    tally.require(0.4)
    assert departure_from_normality(np.zeros((3, 3))) == 0


# ---- transient growth


@pytest.mark.parametrize(("r", "c"), [(0.9, 1.0), (0.95, 5.0), (0.5, 100.0)])
def test_a_matrix_with_radius_below_one_may_grow_before_it_decays(r: float, c: float) -> None:
    """U = [[r, c], [0, r]] has U^k = [[r^k, k c r^{k−1}], [0, r^k]]."""
    U, k = np.array([[r, c], [0, r]]), np.arange(1, 301)
    p, q = r**k, k * c * r ** (k - 1.0)
    norms = (np.sqrt(q**2 + 4 * p**2) + q) / 2
    growth = transient_growth(U, 300)
    assert growth.lag == 1 + int(norms.argmax())
    assert growth.log_norm == pytest.approx(math.log(norms.max()), abs=300 * 8 * EPS)
    assert norms[-1] < 1e-3
    bound = kreiss_lower_bound(U)
    assert 1.2 < bound <= norms.max()
    assert bound >= norms.max() / (2 * math.e), "Kreiss's upper bound, e N K: the grid has found K well enough"


def test_the_kreiss_bound_never_exceeds_what_the_powers_reach() -> None:
    tally = Tally("Kreiss lower bound ≤ max ‖U^k‖")

    @given(st.builds(matrix, SEEDS, st.integers(2, 7), st.sampled_from(("triangular", "dense", "rank one"))),
           st.floats(0.8, 0.98))
    @settings(max_examples=60)
    def claim(U: np.ndarray, radius: float) -> None:
        ρ = spectral_radius(U)
        U = U * (radius / ρ if ρ > 1e-3 else 1 / max(1.0, float(np.linalg.norm(U, 2))))
        reached = math.exp(transient_growth(U, 600).log_norm)
        bound = kreiss_lower_bound(U)
        assert 1 <= bound <= reached * (1 + 600 * 8 * EPS)
        assert reached <= math.e * len(U) * bound
        tally.note(reached > 1.01, bound / reached if reached > 1.01 else 0.0)

    claim()
    tally.require(0.3)


def test_the_kreiss_bound_finds_the_supremum_of_a_case_in_closed_form() -> None:
    """For [[0, c], [0, 0]], ‖(z − U)⁻¹‖ depends on |z| alone: maximise over that by brute force."""
    for c in (3.0, 20.0):
        z = 1 + np.geomspace(1e-3, 100, 200001)
        norms = (c / z**2 + np.sqrt(c**2 / z**4 + 4 / z**2)) / 2
        supremum = ((z - 1) * norms).max()
        assert 0.999 * supremum <= kreiss_lower_bound(np.array([[0, c], [0, 0]])) <= supremum * (1 + 1e-9)


@pytest.mark.parametrize(("layers", "r"), [(2, 0.9), (4, 0.8), (6, 0.9)])
def test_a_stack_of_indrnns_is_a_matrix_far_from_normal(layers: int, r: float) -> None:
    """Unit weights, slope 1: all eigenvalues are r, and U^k carries the first layer to the last by a kernel's value."""
    U = stack_jacobians([np.ones((1, 1))] * layers, [np.array([r])] * layers, [np.ones((1, 1, 1))] * layers)[0, 0]
    assert spectral_radius(U) == r
    k = int(stack_kernel_peak(layers, r))
    carried = float(np.exp(log_stack_kernel(layers, r, k - 1))) * r  # the first step stays in layer 1, then k − 1 wait
    assert np.linalg.matrix_power(U, k)[-1, 0] == pytest.approx(carried, rel=(8 * k + 8 * layers) * EPS)
    assert transient_growth(U, 2 * k).log_norm >= math.log(carried) > 0
    assert departure_from_normality(U) >= r * math.sqrt(layers * (layers - 1) / 2) * (1 - 1e-12)
    assert kreiss_lower_bound(U) > 1.5


def test_two_matrices_with_the_same_eigenvalues_carry_gradients_differently() -> None:
    """The IndRNN's range bounds every power; an RNN with the same spectrum exceeds γ on the way."""
    u, steps = np.array([0.99, 0.98, 0.97]), 100
    U = np.diag(u) + np.triu(np.ones((3, 3)), 1)
    assert transient_growth(np.diag(u), steps).log_norm == 0
    assert spectral_radius(U) == pytest.approx(spectral_radius(np.diag(u)), rel=1e-9)
    assert transient_growth(U, steps).log_norm > math.log(500)


# ---- the door


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: transient_growth(np.eye(3), 0), ValueError, "steps: expected a whole number above 0; got 0."),
    (lambda: spectral_radius(np.array([[np.nan]])), ValueError, "U: expected finite numbers"),
    (lambda: spectral_radius(np.eye(3, dtype=int)), TypeError, "U: expected dtype float32 or float64"),
    (lambda: numerical_radius(np.eye(2), 0.0), ValueError, "tolerance: expected a number from 1e-10 to 1; got 0.0."),
    (lambda: numerical_range(np.eye(2), 0), ValueError, "points: expected a whole number above 0; got 0."),
    (lambda: departure_from_normality(np.zeros((0, 0))), ValueError, "U: expected shape (N, N); got (0, 0)."),
    (lambda: kreiss_lower_bound(np.eye(2), 1.5), TypeError, "directions: expected a whole number above 0; got float."),
])
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
