"""Depth: the kernel of many layers of one neuron, where it peaks, and how small u must be for it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import is_attained, roundings
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import log_stack_kernel, stack_bound, stack_gradient, stack_kernel_peak, stack_weight_limit

EPS = float(np.finfo(float).eps)
SEVERAL = st.integers(1, 12) | st.integers(2, 12)  # layers
PAPER = ((2, 5000), (6, 784), (21, 50))  # layers and steps of the paper's adding problem, MNIST and characters



def unit_layers(layers: int, r: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [np.ones((1, 1))] * layers, [np.array([r])] * layers


def test_the_kernel_is_the_negative_binomial() -> None:
    tally = Tally("log kernel = log C(k+L−1, L−1) + k log r")

    @given(SEVERAL, st.floats(0.01, 2.0) | st.floats(0.99, 1.01), st.integers(0, 20000))
    @settings(max_examples=300)
    def claim(layers: int, r: float, lag: int) -> None:
        got = float(log_stack_kernel(layers, r, lag))
        with mpmath.workdps(60):
            paths, powers = mpmath.log(math.comb(lag + layers - 1, layers - 1)), lag * mpmath.log(mpmath.mpf(r))
            error = float(abs(got - paths - powers))
        # log1p(k/j) and log r are good to a few units in the last place; then one rounding a term
        allowed = (layers + 8) * EPS * float(paths + abs(powers))
        assert error <= allowed
        tally.note(layers > 1 and lag > 0, error / allowed if allowed else 0.0)

    claim()
    tally.require(0.6)


@pytest.mark.parametrize(("layers", "r"), [(1, 0.9), (2, 1.01), (5, 0.7), (12, 0.2), (3, 0.0)])
def test_the_kernel_is_the_gradient_and_the_bound_of_unit_layers(layers: int, r: float) -> None:
    lags = np.arange(61)
    W, u = unit_layers(layers, r)
    log_kernel = log_stack_kernel(layers, r, lags)
    kernel, gradient = np.exp(log_kernel), stack_gradient(W, u, lags=60)[:, 0, 0, 0]
    size = np.where(np.isfinite(log_kernel), abs(log_kernel) + 60 * abs(math.log(r or 1)), 0)
    allowed = EPS * ((layers + 10) * (1 + size) + 4 * (lags + layers)) * kernel
    assert (abs(gradient - kernel) <= allowed).all()
    assert is_attained(gradient[:, None, None, None], stack_bound(W, u, 60), W)
    assert (kernel[1:] > 0).all() == (r > 0)
    mutant = np.exp(log_stack_kernel(layers + 1, r, lags))
    assert not (abs(gradient - mutant) <= allowed).all() or r == 0


@pytest.mark.parametrize(("layers", "T", "figure"), [(1, 5000, "2"), (2, 5000, "9999"), (6, 784, "5e+12"),
                                                     (21, 50, "2.3e+17")])
def test_u_at_the_paper_s_limit_does_not_limit_a_stack(layers: int, T: int, figure: str) -> None:
    """∂h_T/∂x_1, lag T − 1, by the closed form and by `backward` through always active ReLU layers."""
    u = np.array([2.0 ** (1 / T)])
    kernel = float(np.exp(log_stack_kernel(layers, float(u[0]), T - 1)))
    assert f"{kernel:.{4 if layers == 2 else 2}g}" == figure
    traces, h = [], np.full((T, 1, 1), 1e-3)
    for _ in range(layers):
        traces.append(ir.forward(h, np.ones((1, 1)), u))
        h = traces[-1].h
    dh = np.zeros((T, 1, 1))
    dh[-1] = 1
    for trace in reversed(traces):
        dh = ir.backward(dh, trace).dx
    log_error = (layers + 8) * EPS * math.log(kernel * 4)
    assert abs(dh[0, 0, 0] - kernel) <= (log_error + 4 * (T + layers) * EPS) * kernel


def test_the_kernel_peaks_where_the_formula_says() -> None:
    tally = Tally("peak of the kernel")

    @given(SEVERAL, st.integers(0, 64).map(lambda n: n / 64) | st.floats(0.3, 0.97))
    @settings(max_examples=200)
    def claim(layers: int, r: float) -> None:
        if r == 1:
            assert stack_kernel_peak(layers, r) == math.inf
            return
        peak = stack_kernel_peak(layers, r)
        kernel = [math.comb(k + layers - 1, layers - 1) * Fraction(r) ** k for k in range(int(peak) + 3)]
        assert kernel[int(peak)] == max(kernel)
        assert kernel[int(peak) + 1] < max(kernel), "the later of two equals"
        tally.note(peak > 0)

    claim()
    tally.require(0.5)
    assert stack_kernel_peak(2, 1.001) == math.inf
    assert stack_kernel_peak(2, 0.5) == 1  # values 1, 1, 3/4, …
    assert stack_kernel_peak(1, 0.999) == 0


@pytest.mark.parametrize(("layers", "r"), [(1, 0.5), (3, 0.9), (8, 0.8)])
def test_as_a_distribution_of_the_lag_the_kernel_has_l_times_the_mean_of_one_layer(layers: int, r: float) -> None:
    lags = np.arange(1000)  # what is left out is below 1000^L r^1000
    kernel = np.exp(log_stack_kernel(layers, r, lags)) * (1 - r) ** layers
    error = 1000 * 40 * EPS  # a rounding a term, and up to 40 units of each exponential
    assert abs(kernel.sum() - 1) <= error
    mean = layers * r / (1 - r)
    assert abs((lags * kernel).sum() - mean) <= error * mean


@pytest.mark.parametrize("w", [1.0, 0.25])
def test_the_residual_kernel_is_the_binomial_sum_of_plain_ones(w: float) -> None:
    layers, r, lags = 5, 0.75, np.arange(40)
    W, u = unit_layers(layers, r)
    got = stack_gradient([w * m for m in W], u, lags=39, residual=True)[:, 0, 0, 0]
    exact = [sum(math.comb(layers, j) * Fraction(w) ** j * math.comb(int(k) + j - 1, j - 1) * Fraction(r) ** int(k)
                 for j in range(1, layers + 1)) + (k == 0) for k in lags]
    for k, (value, want) in enumerate(zip(got, exact, strict=True)):
        assert abs(Fraction(float(value)) - want) <= EPS * roundings(W, k) * want
    plain = stack_gradient([w * m for m in W], u, lags=39)[:, 0, 0, 0]
    assert (got >= plain).all()


# ---- how small u must be


def exact_kernel(layers: int, lag: int, r: float) -> Fraction:
    return math.comb(lag + layers - 1, layers - 1) * Fraction(r) ** lag


def within(layers: int, steps: int, gamma: float, every_lag: bool, r: float) -> bool:
    """By exact rational arithmetic, lag by lag."""
    lags = range(steps + 1) if every_lag else [steps]
    return all(exact_kernel(layers, k, r) <= Fraction(gamma) for k in lags)


def test_the_weight_limit_is_the_largest_float_that_keeps_the_kernel_small() -> None:
    tally = Tally("weight limit, exact")

    @given(SEVERAL, st.integers(1, 40) | st.integers(20, 40),
           st.sampled_from((2.0, 1.0, 5.0, 1.5, 1e6)) | st.floats(1, 100),
           st.booleans(), st.sampled_from((np.float32, np.float64)))
    @settings(max_examples=200)
    def claim(layers: int, steps: int, gamma: float, every_lag: bool, dtype: Any) -> None:
        r = stack_weight_limit(layers, steps, gamma, every_lag, np.dtype(dtype).name)
        assert dtype(r) == r
        assert within(layers, steps, gamma, every_lag, r)
        assert not within(layers, steps, gamma, every_lag, float(np.nextafter(dtype(r), dtype(math.inf))))
        tally.note(layers > 1 and steps > 1)

    claim()
    tally.require(0.7)


def test_the_weight_limits_of_the_paper_s_stacks() -> None:
    """At lag T − 1, ∂h_T/∂x_1; with every lag below it, depth costs far more, and the horizon then hardly matters."""
    limits = [stack_weight_limit(layers, T - 1) for layers, T in PAPER]
    assert [f"{r:.4g}" for r in limits] == ["0.9984", "0.9651", "0.4549"]
    whole = [stack_weight_limit(layers, T - 1, every_lag=True) for layers, T in PAPER]
    assert [f"{r:.3g}" for r in whole] == ["0.794", "0.309", "0.093"]
    assert whole == [stack_weight_limit(layers, 10, every_lag=True) for layers, _ in PAPER]
    peaks = [float(np.exp(log_stack_kernel(layers, r, int(stack_kernel_peak(layers, r)))))
             for r, (layers, _) in zip(limits, PAPER, strict=True)]
    assert [f"{peak:.2g}" for peak in peaks] == ["2.4e+02", "3.4e+06", "2.5e+04"], "what the limit at one lag permits"
    r, (layers, T) = limits[0], PAPER[0]
    assert within(layers, T - 1, 2.0, False, r)
    assert not within(layers, T - 1, 2.0, False, float(np.nextafter(r, 2)))


def test_one_layer_has_the_paper_s_range_and_needs_no_second_look_at_smaller_lags() -> None:
    for steps in (1, 7, 100, 784, 5000):
        r = stack_weight_limit(1, steps, 2.0)
        assert abs(r - 2 ** (1 / steps)) <= 2 * EPS
        assert r == stack_weight_limit(1, steps, 2.0, every_lag=True)
    assert stack_weight_limit(1, 4, 1 / 16) == 0.5
    assert stack_weight_limit(2, 1, 1e300, dtype="float32") == float(np.finfo(np.float32).max)


# ---- the door

@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: log_stack_kernel(0, 1.0, 3), ValueError, "layers: expected a whole number above 0; got 0."),
    (lambda: log_stack_kernel(True, 1.0, 3), TypeError, "layers: expected a whole number above 0; got bool."),
    (lambda: log_stack_kernel(2, -1.0, 3), ValueError, "r: expected a finite number of at least 0; got -1.0."),
    (lambda: log_stack_kernel(2, 1.0, 0.5), TypeError, "lag: expected whole numbers; got 0.5"),
    (lambda: log_stack_kernel(2, 1.0, np.array([2, -3])), ValueError, "lag: expected finite numbers of at least 0"),
    (lambda: stack_kernel_peak(2, math.nan), ValueError, "r: expected a finite number of at least 0; got nan."),
    (lambda: stack_weight_limit(2, 0), ValueError, "steps: expected a whole number above 0; got 0."),
    (lambda: stack_weight_limit(2, 5, 0.0), ValueError, "gamma: expected a finite number above 0; got 0.0."),
    (lambda: stack_weight_limit(2, 5, 0.5, every_lag=True), ValueError, "gamma: expected at least 1, the gradient at"),
    (lambda: stack_weight_limit(2, 5, dtype="float16"), TypeError, "dtype: expected float32 or float64; got 'float1"),
])
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
