"""Section 4: a linear RNN is two linear IndRNN layers over the complex numbers, and over no others."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_rnn import DTYPES, KINDS, LONG, WIDTHS, Drawn, draw, norm, propagated, rnn
from tally import SUMMARIES, Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    NearlyDefective,
    TwoLayers,
    indrnn_as_rnn,
    perturbation_errors,
    rnn_as_dense_stack,
    rnn_as_indrnn,
    rotation_gap,
    run_dense_stack,
    run_two_layers,
)


def two_layer_error(value: Drawn, layers: TwoLayers, states: np.ndarray) -> np.ndarray:
    """Bound the error of the two-layer form's states at each step, from the layers as they are.

    Run exactly, the layers are the RNN with U − R W_s⁻¹, where R = U W_s − W_s diag(u_f), and W + W_s W_f − W: both are
    about ε κ(W_s). Running them rounds: a complex product and sum errs by less than 4ε, n of them by 2(n + 2)ε.
    """
    W, U, x, h0 = (v.astype(LONG) for v in value)
    W_f, u_f, W_s = (v.astype(LONG) for v in layers)
    smallest = np.linalg.svd(layers.W_s, compute_uv=False)[-1] * (1 - 1e-3)  # of a computed one, κ ≤ 1e8 away from 0
    h_f0 = np.linalg.solve(layers.W_s, value.h0.T).T.astype(LONG)
    modelled = propagated(value, norm(W_s @ W_f - W), norm(U @ W_s - W_s * u_f) / smallest,
                          norm(h_f0 @ W_s.T - h0), states)
    ε, (N, M) = np.finfo(value.U.dtype).eps / 2, value.W.shape
    size, off, rounded = abs(h_f0), np.zeros(h_f0.shape), []
    for x_t in x:
        drive = abs(x_t) @ abs(W_f).T
        off = abs(u_f) * off + 2 * (M + 2) * ε * drive + 4 * ε * (drive + abs(u_f) * (size + off))
        size = drive + abs(u_f) * size
        rounded.append(norm((off + 2 * (N + 2) * ε * (size + off)) @ abs(W_s).T))
    return modelled + np.array(rounded)


def check_two_layers(claim: str, examples: int, largest: int) -> None:
    tally = Tally(claim)

    @given(st.sampled_from(KINDS), WIDTHS | st.integers(2, largest), st.integers(0, 2**32), DTYPES)
    @settings(max_examples=examples)
    def property_(kind: str, N: int, seed: int, dtype: type) -> None:
        value = draw(kind, N, seed, dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NearlyDefective)  # float32 has no room for κ = 3000
            layers = rnn_as_indrnn(value.W, value.U)
        states = rnn(*value)
        errors = np.array([norm(e) for e in run_two_layers(value.x, layers, value.h0) - states])
        allowed = two_layer_error(value, layers, states)
        assert (errors <= allowed).all()
        small = np.finfo(value.U.dtype).eps * N * 2000 * layers.condition  # and the allowance itself is about εκ
        assert (allowed <= small * max(norm(h) for h in states)).all()
        tally.note(N > 1 and layers.condition < 1e3, float((errors / allowed).max()))

    property_()
    tally.require(0.7)


def test_the_states_of_the_two_layers_are_the_rnn_s_at_every_step_from_any_initial_state() -> None:
    check_two_layers("RNN = two IndRNN layers", examples=200, largest=8)


@pytest.mark.slow
def test_the_states_of_wider_layers_are_the_rnn_s_too() -> None:
    check_two_layers("RNN = two IndRNN layers, wider", examples=2000, largest=40)


def test_the_bound_sees_an_rnn_that_is_not_the_same() -> None:
    value = draw("any", 5, 1)
    layers, states = rnn_as_indrnn(value.W, value.U), rnn(*value)
    wrong = {"eigenvectors transposed": layers._replace(W_s=layers.W_s.T),
             "eigenvalues conjugated": layers._replace(u_f=layers.u_f.conj()),
             "W_f = W": layers._replace(W_f=value.W + 0j)}
    for name, mistaken in wrong.items():
        errors = np.array([norm(e) for e in run_two_layers(value.x, mistaken, value.h0) - states])
        assert (errors > two_layer_error(value, layers, states)).any(), name
    without_h0 = np.array([norm(e) for e in run_two_layers(value.x, layers) - states])
    assert (without_h0 > two_layer_error(value, layers, states))[0], "h_f,0 = W_s⁻¹ h_0"


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_real_where_the_eigenvalues_are(kind: str) -> None:
    for N in (2, 5):
        value = draw(kind, N, 3)
        real = kind != "complex" and not np.linalg.eigvals(value.U).imag.any()
        assert real == (kind in ("symmetric", "triangular", "repeated")) or N == 2, "two may be real by chance"
        assert {v.dtype for v in rnn_as_indrnn(value.W, value.U)} == {np.dtype(float if real else complex)}
        value = Drawn(*(v.astype({"f": np.float32, "c": np.complex64}[v.dtype.kind]) for v in value))
        assert {v.dtype for v in rnn_as_indrnn(value.W, value.U)} == {np.dtype(np.float32 if real else np.complex64)}


def test_there_and_back_is_the_same_rnn_but_for_the_condition_number() -> None:
    tally = Tally("W, U → two layers → W, U")

    @given(st.sampled_from(KINDS), WIDTHS, st.integers(0, 2**32))
    @settings(max_examples=200)
    def claim(kind: str, N: int, seed: int) -> None:
        value = draw(kind, N, seed)
        layers = rnn_as_indrnn(value.W, value.U)
        W, U = indrnn_as_rnn(*layers)
        # Eigenvectors, a solution and a product, each with a backward error below N(N + 4)ε, times κ.
        unit = 3 * N * (N + 4) * np.finfo(float).eps / 2 * layers.condition
        off = max(norm(W - value.W) / norm(value.W), norm(U - value.U) / norm(value.U))
        assert off <= unit
        tally.note(N > 1, off / unit)

    claim()
    tally.require(0.7)


def test_a_normal_matrix_has_condition_number_1_even_where_eigenvalues_repeat() -> None:
    for kind in ("symmetric", "rotation", "repeated"):
        assert rnn_as_indrnn(*draw(kind, 6, 2)[:2]).condition < 1 + 1e-12
    assert rnn_as_indrnn(np.eye(4), np.eye(4)).condition == 1


def test_the_parameters_are_as_many_as_the_paper_counts() -> None:
    N, M = 5, 3
    W_f, u_f, W_s = rnn_as_indrnn(*draw("any", N, 0)[:2])
    u_s = np.zeros(N)  # the second layer has a recurrent weight too, of zeros
    assert W_f.size + u_f.size + W_s.size + u_s.size == M * N + N * N + 2 * N


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nearly_defective_matrix_is_warned_of_from_half_the_digits_on(dtype: type) -> None:
    W, threshold = np.ones((2, 1), dtype), 1 / np.sqrt(np.finfo(dtype).eps)
    for gap in (1e-1, 4 / threshold, 1 / threshold, 0.0):  # [[1, 1], [0, 1 + gap]] has κ about 2 / gap
        U = np.array([[1, 1], [0, 1 + gap]], dtype)
        if gap > 2 / threshold:
            assert rnn_as_indrnn(W, U).condition < threshold
        else:
            with pytest.warns(NearlyDefective, match=r"condition number .*rnn_as_dense_stack"):
                assert rnn_as_indrnn(W, U).condition > threshold


# No real weights are a rotation.


def real_stack(rng: np.random.Generator, T: int, widths: tuple[int, ...]) -> tuple[np.ndarray, list[int]]:
    """Return the impulse response (T, 2) of a deep real linear IndRNN with skip connections, and all its u.

    Weights are small whole numbers, so everything is exact.
    """
    signal, poles = np.zeros((T, 1, 1)), []
    signal[0] = 1
    for width in widths:
        W = rng.integers(-1, 2, (width, signal.shape[2])).astype(float)
        u = rng.choice([-1.0, 1.0, 0.0, 2.0, -2.0], width, p=[0.3, 0.3, 0.1, 0.15, 0.15])
        layer = ir.recurrence.forward(signal @ W.T, u, np.zeros((1, width)), "identity")
        signal, poles = np.concatenate([signal, layer], axis=2), [*poles, *u]
    readout = rng.integers(-1, 2, (2, signal.shape[2])).astype(float)
    return (signal @ readout.T)[:, 0], poles


def filtered(response: np.ndarray, poles: list[float]) -> np.ndarray:
    """Apply P(ζ) = ∏ (1 − u_i ζ), with ζ the delay by a step."""
    for u in poles:
        response = response - u * np.concatenate([np.zeros_like(response[:1]), response[:-1]])
    return response


def test_a_real_stack_has_real_poles_only_whatever_its_depth_and_a_rotation_has_not() -> None:
    tally = Tally("P r = 0, exactly")
    T = 24
    quarter_turn = np.stack([np.resize([1.0, 0, -1, 0], T), np.resize([0.0, 1, 0, -1], T)], axis=1)  # exact as well
    for seed in range(200):
        rng = np.random.default_rng(seed)
        widths = tuple(rng.integers(1, 4, rng.integers(1, 5)))
        response, poles = real_stack(rng, T, widths)
        assert abs(response).max() < 2**50, "whole numbers, exact"
        K = len(poles)
        assert not filtered(response, poles)[K + 1:].any()
        assert np.hypot(*filtered(quarter_turn, poles)[K:].T).min() >= 1, "|1 − u e^{−iθ}|² = 1 + u² at a quarter turn"
        tally.note(bool(response[K + 1:].any()) and len(widths) > 1)
    tally.require(0.5)


@given(st.floats(0.05, 3.09), st.lists(st.floats(-3, 3), min_size=1, max_size=6))
@settings(max_examples=300)
def test_the_gap_is_below_what_any_real_weights_give_and_is_their_least(angle: float, u: list[float]) -> None:
    factors = [abs(1 - v * np.exp(-1j * angle)) / (1 + abs(v)) for v in u]
    gap, K = rotation_gap(angle, len(u)), len(u)
    assert gap <= np.prod(factors) * (1 + 8 * K * np.finfo(float).eps)
    best = [abs(1 - np.sign(np.cos(angle)) * np.exp(-1j * angle)) / 2] * K
    assert abs(np.prod(best) - gap) <= 20 * K * np.finfo(float).eps


def best_fit(angle: float, u: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the residual of the least-squares fit of e^{iθt} by u_i^t, with complex coefficients (two outputs)."""
    basis, target = u ** steps[:, None], np.exp(1j * angle * steps)
    scale = np.abs(basis).max(axis=0)
    return target - basis / scale @ np.linalg.lstsq(basis / scale, target, rcond=None)[0]


def test_no_real_exponentials_come_closer_to_a_rotation_than_the_gap() -> None:
    rng, closest = np.random.default_rng(11), np.inf
    for angle in (0.3, 1.0, 2.0, 3.0):
        for K in (1, 2, 3):
            gap, side = rotation_gap(angle, K), np.sign(np.cos(angle))
            for wide in (True, False) * 150:
                u = rng.uniform(-1.5, 1.5, K) if wide else side * rng.uniform(0.9, 1.1, K)
                largest = abs(best_fit(angle, u, np.arange(1, K + 2))).max()  # the shortest window: K + 1 steps
                assert largest >= gap * (1 - 1e-9)
                closest = min(closest, largest / gap)
    SUMMARIES.append(f"rotation by real IndRNNs: closest fit found ÷ gap {closest:.3f}")


@pytest.mark.parametrize("K", [1, 2, 3, 6])
@pytest.mark.parametrize("angle", [0.3, 1.0, 2.0, 3.0])
def test_the_gap_is_attained_by_an_error_that_alternates(angle: float, K: int) -> None:
    """K neurons of u = ±1 in a row make (±1)^t times any polynomial of degree K − 1: all r with P r = 0."""
    side, t = np.sign(np.cos(angle)), np.arange(K + 1)
    rotation, gap = np.exp(1j * angle * t), rotation_gap(angle, K)
    phase = filtered(rotation, [side] * K)[K]
    error = gap * phase / abs(phase) * (-side) ** (K - t)
    response = rotation - error
    assert abs(filtered(response, [side] * K)[K]) <= 2**K * 8 * (K + 1) * np.finfo(float).eps
    smaller = rotation - 0.99 * error
    assert abs(filtered(smaller, [side] * K)[K]) > 2**K * gap * 0.009, "a gap scaled by 0.99 is not reached"


def test_a_complex_pair_is_a_rotation() -> None:
    T, turn = 400, np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    layers = rnn_as_indrnn(np.eye(2), turn)
    assert layers.u_f.dtype.kind == "c"
    assert abs(abs(layers.u_f) - 1).max() <= 4 * np.finfo(float).eps
    impulse = np.zeros((T, 1, 2))
    impulse[0, 0, 0] = 1
    h = run_two_layers(impulse, layers)[:, 0]
    t = np.arange(T)
    # cos and sin rounded, and u_f with them, each step's product: 4 + 4 roundings a step of a number of size 1.
    assert (np.hypot(*abs(h - np.stack([np.cos(t), np.sin(t)], axis=1)).T) <= 8 * (t + 4) * np.finfo(float).eps).all()


def test_over_a_long_time_the_best_real_fit_of_a_rotation_explains_nothing() -> None:
    u = np.concatenate([np.linspace(-1, 1, 13), [0.95, 0.99, -0.95, -0.99]])
    left = []
    for T in (20, 100, 500, 2500):
        residual = best_fit(1.0, u, np.arange(T))
        left.append(float((abs(residual) ** 2).mean()))  # of the mean square of the rotation itself, which is 1
    assert left == sorted(left)
    assert left[0] < 0.5
    assert left[-1] > 0.98
    short = best_fit(1.0, np.linspace(-1, 1, 9), np.arange(9))
    assert abs(short).max() < 1e-9, "as many real neurons as steps fit anything"


# The door.


def test_bad_matrices_are_named() -> None:
    W, U = draw("any", 3, 0)[:2]
    for function in (rnn_as_indrnn, rnn_as_dense_stack):
        for bad, error, message in (
                ((W, U[:2]), ValueError, r"^U: expected shape \(N, N\); got \(2, 3\)"),
                ((W[:2], U), ValueError, r"^W: expected shape \(3, M\)"),
                ((W, U[0]), ValueError, r"^U: expected shape \(N, N\); got \(3,\)"),
                ((W, U * np.nan), ValueError, r"^U: expected finite numbers; got NaN"),
                ((W * np.inf, U), ValueError, r"^W: expected finite numbers"),
                ((W, U.tolist()), TypeError, r"^U: expected a NumPy or CuPy array; got list"),
                ((W, U.astype(int)), TypeError, r"^U: expected dtype float32 or"),
                ((W.astype(np.float32), U), TypeError, r"^W: expected dtype float64, as U has it"),
                ((W[:, :0], U), ValueError, r"^W: expected shape \(3, M\)"),
                ((W, U[:0, :0]), ValueError, r"^U: expected shape")):
            with pytest.raises(error, match=message):
                function(*bad)
    layers = rnn_as_indrnn(W, U)
    with pytest.raises(ValueError, match=r"^u_f: expected shape \(3,\)"):
        indrnn_as_rnn(layers.W_f, layers.u_f[:2], layers.W_s)
    with pytest.raises(ValueError, match=r"^W_f: expected shape \(3, M\)"):
        indrnn_as_rnn(layers.W_f[:2], layers.u_f, layers.W_s)
    with pytest.raises(ValueError, match=r"^W_s: expected an invertible matrix"):
        indrnn_as_rnn(layers.W_f, layers.u_f, np.zeros((3, 3)))
    x = np.zeros((4, 2, 3))
    for run, form in ((run_two_layers, layers), (run_dense_stack, rnn_as_dense_stack(W, U))):
        with pytest.raises(ValueError, match=r"^x: expected shape \(T, B, 3\)"):
            run(x[..., :2], form)
        with pytest.raises(ValueError, match=r"^h0: expected shape \(2, 3\)"):
            run(x, form, x[0, :1])
        with pytest.raises(TypeError, match=r"^(layers|stack): expected the (TwoLayers|DenseStack) that .*; got tuple"):
            run(x, tuple(form))  # type: ignore[arg-type]
        assert np.isnan(run(x * np.nan, form)).all(), "in silence"
        assert run(x, form, 1j * np.ones((2, 3))).imag.any(), "a complex state stays complex"
    with pytest.raises(TypeError, match=r"^seed: expected a whole number of at least 0; got str"):
        perturbation_errors(U, np.array([1e-3]), seed="x")  # type: ignore[arg-type]
    for bad in ([], [0.0], [-1.0], [np.nan], [[1.0]]):
        with pytest.raises(ValueError, match=r"^sizes: expected"):
            perturbation_errors(U, np.array(bad))
    with pytest.raises(TypeError, match=r"^U: expected real numbers"):
        perturbation_errors(U + 0j, np.array([1e-3]))
    with pytest.raises(ValueError, match=r"^steps: expected a whole number above 0"):
        perturbation_errors(U, np.array([1e-3]), steps=0)
    with pytest.raises(ValueError, match=r"^angle: expected a finite number"):
        rotation_gap(np.inf, 2)
    with pytest.raises(ValueError, match=r"^neurons: expected a whole number above 0"):
        rotation_gap(1.0, 0)
