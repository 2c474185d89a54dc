"""Eq. 4: the derivative of the last state by every earlier one, against derivatives that do not know it."""

from __future__ import annotations

import dataclasses
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import gradient_through_time, log_gradient_through_time, slopes
from indrnn_np.oracle import installation, tolerance
from indrnn_np.oracle.inputs import SMALL, Case, Recipe, draw
from indrnn_np.oracle.numerical import complex_step

LONGDOUBLE = np.finfo(np.longdouble).eps


def traced(case: Case) -> ir.Trace:
    return ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation)


def drive(case: Case, dtype: type = np.longdouble) -> np.ndarray:
    x, W, b = (array.astype(dtype) for array in (case.x, case.W, case.b))
    return x @ W.T + b


def last_state(a: np.ndarray, u: np.ndarray, activation: str, k: int):
    """h_T as a function of h_k alone: the recurrence, started again behind step k."""
    return lambda h_k: ir.recurrence.forward(a[k:], u, h_k, activation)[-1] if k < len(a) else h_k


def diagonal(jacobian: np.ndarray) -> np.ndarray:
    return np.einsum("bnbn->bn", jacobian)


def test_eq_4_written_out_by_hand() -> None:
    x = np.array([1.0, -5.0, 2.0]).reshape(3, 1, 1)
    trace = ir.forward(x, np.ones((1, 1)), np.array([-0.5]), activation="leaky_relu(0.25)")
    assert slopes(trace).ravel().tolist() == [1, 0.25, 1]
    assert gradient_through_time(trace).ravel().tolist() == [-0.5**3 * 0.25, 0.5**2 * 0.25, -0.5, 1]
    log, sign = log_gradient_through_time(trace)
    assert np.array_equal(log.ravel(), np.log([1 / 32, 1 / 16, 1 / 2, 1]))
    assert sign.ravel().tolist() == [-1, 1, -1, 1]


def difference_of(trace: ir.Trace, case: Case) -> tuple[float, float]:
    """Compare every entry with the complex step; return the worst error ÷ allowed, and the largest entry."""
    T = len(trace.h)
    got, a, u = gradient_through_time(trace), drive(case) + 0j, case.u.astype(np.longdouble) + 0j
    unit = np.finfo(case.dtype).eps / 2
    h = np.concatenate([case.h0[None], trace.h])
    linear = case.activation not in SUP_CURVATURE
    worst = 0.0
    for k in range(T + 1):
        want = diagonal(complex_step(last_state(a, u, case.activation, k), h[k].astype(np.longdouble),
                                     step=1.0 if linear else 1e-20))
        # Piecewise linear: two roundings a step, and the slope's own where it is not 1. Smooth: the factors' relative
        # errors, as far as the states that forward rounded have moved the slopes: see `smooth_error`.
        factors = tolerance.gamma(4 * (T - k), unit)
        allowed = np.abs(want) * factors if linear else smooth_error(case, trace, k)
        allowed = allowed + (T - k + 1) * np.finfo(case.dtype).tiny
        worst = max(worst, float((np.abs(got[k] - want) / allowed).max()))
    return worst, float(np.abs(got[:-1]).max())


SUP_CURVATURE = {"tanh": 0.7699, "sigmoid": 0.0963, "softplus": 0.25}  # |σ''| is below, of a logistic and of tanh


def smooth_error(case: Case, trace: ir.Trace, k: int) -> np.ndarray:
    """Bound the error of entry k: the candidate's slopes are taken at z off by Ez, so each is off by Ez sup|σ''|.

    Both the trace and the reference start at the same h_k. Forward, an error E of h grows to L|u|E, plus the rounding
    of the drive (M + 2 operations), of u h, of the sum (each twice: forward, and z formed anew) and of σ (4 ulp
    relative, 4 units absolute).
    """
    unit, u = np.finfo(case.dtype).eps / 2, np.abs(case.u).astype(float)
    M = case.x.shape[2]
    size = np.abs(case.x).astype(float) @ np.abs(case.W).astype(float).T + np.abs(case.b)
    h = np.concatenate([case.h0[None], trace.h]).astype(float)
    s, L, c = np.abs(slopes(trace)).astype(float), 1.0, SUP_CURVATURE[case.activation]
    E = np.zeros(case.h0.shape)
    value, error = np.ones_like(E), np.zeros_like(E)
    for t in range(k, len(trace.h)):
        Ez = u * E + 2 * tolerance.gamma(M + 4, unit) * (size[t] + u * (np.abs(h[t]) + E))
        E = L * Ez + 8 * unit * np.abs(h[t + 1]) + 4 * unit
        off = c * 2 * Ez + 16 * unit * (s[t] + c * 2 * Ez)
        error = u * (s[t] * error + off * (value + error)) * (1 + 4 * unit) + 4 * unit * u * s[t] * value
        value = value * u * s[t]
    return error


def test_every_entry_is_the_complex_step_derivative() -> None:
    tally = Tally("∂h_T/∂h_k = complex step")

    @given(cases(longest=8))
    @settings(max_examples=150)
    def claim(case: Case) -> None:
        worst, largest = difference_of(traced(case), case)
        assert worst <= 1, worst
        tally.note(remembers(case) and largest > 1e-3, worst)

    claim()
    tally.require(0.6)


def test_the_comparison_sees_a_slope_taken_one_step_too_early() -> None:
    """A mutant: u σ'(z_k) in place of u σ'(z_{k+1})."""
    for activation in installation.NAMES:
        if activation == "identity":
            continue
        case = draw("one step early", Recipe(6, 2, 3, 1), activation, "float64")
        trace = traced(case)
        shifted = dataclasses.replace(trace, h=np.roll(trace.h, 1, axis=0),
                                      a=None if trace.a is None else np.roll(trace.a, 1, axis=0))
        assert difference_of(trace, case)[0] <= 1
        assert difference_of(shifted, case)[0] > 100, activation


# sup of |σ'|, |σ''| and |σ'''|: what a central difference over a stencil of a smooth function can miss.
LINEAR = (1, 0, 0)
DERIVATIVES = {"tanh": (1, 0.7699, 2), "sigmoid": (0.25, 0.0963, 0.125), "softplus": (1, 0.25, 0.0963)}


def truncation_and_noise(case: Case, trace: ir.Trace, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Bound |∂³h_T/∂h_k³|, by the chain rule three times over, and the rounding of h_T in float64."""
    s1, s2, s3 = DERIVATIVES.get(case.activation, LINEAR)
    u, h = np.abs(case.u), np.concatenate([case.h0[None], trace.h])
    D1, D2, D3 = np.ones(case.h0.shape), np.zeros(case.h0.shape), np.zeros(case.h0.shape)
    E, unit = np.zeros(case.h0.shape), np.finfo(np.float64).eps / 2
    a = np.abs(drive(case, np.float64))
    for t in range(k, len(trace.h)):
        Z1, Z2, Z3 = u * D1, u * D2, u * D3
        D1, D2, D3 = s1 * Z1, s2 * Z1**2 + s1 * Z2, s3 * Z1**3 + 3 * s2 * Z1 * Z2 + s1 * Z3
        E = s1 * (u * E + 3 * unit * (a[t] + u * (np.abs(h[t]) + 1))) + 10 * unit * (np.abs(h[t + 1]) + 1)
    return D3, E


@pytest.mark.parametrize("activation", installation.NAMES)
@pytest.mark.parametrize("name", SMALL)
def test_every_entry_is_the_plain_central_difference(name: str, activation: str) -> None:
    """(f(h + s) − f(h − s)) / 2s is off by at most s²/6 · |f'''| and by the rounding of f over s."""
    case = draw(name, SMALL[name], activation, "float64")
    trace = traced(case)
    a, got, s = drive(case, np.float64), gradient_through_time(trace), 2.0**-17
    h = np.concatenate([case.h0[None], trace.h])
    for k, index in np.ndindex(len(h), h[0].size):
        b, n = np.unravel_index(index, h[0].shape)
        f, step = last_state(a, case.u, activation, k), np.zeros(h[0].shape)
        step[b, n] = s
        found = (f(h[k] + step) - f(h[k] - step)) / (2 * s)
        third, noise = truncation_and_noise(case, trace, k)
        allowed = s**2 / 6 * third + noise / s + 20 * len(h) * np.finfo(float).eps
        assert abs(found[b, n] - got[k, b, n]) <= allowed[b, n]
        assert allowed[b, n] <= 1e-3 * max(1e-3, abs(got).max()), "too wide to say anything"
        found[b, n] = 0
        assert not found.any(), "another neuron or another sequence saw it"


@given(cases(longest=6))
@settings(max_examples=60)
def test_the_jacobian_is_diagonal_across_neurons_and_sequences_exactly(case: Case) -> None:
    a, u = drive(case, np.float64) + 0j, case.u.astype(np.float64) + 0j
    h = np.concatenate([case.h0[None], traced(case).h]).astype(np.float64)
    for k in range(len(h)):
        jacobian = complex_step(last_state(a, u, case.activation, k), h[k])
        off = jacobian.copy()
        np.einsum("bnbn->bn", off)[...] = 0
        assert not off.any()


def test_entry_0_is_what_backward_makes_of_a_last_cotangent_of_one() -> None:
    tally = Tally("Eq. 4 = backward, in every bit")

    @given(cases(longest=40))
    @settings(max_examples=150)
    def claim(case: Case) -> None:
        trace = ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation, engine="reference")
        dh = np.zeros_like(trace.h)
        dh[-1] = 1
        got, a = gradient_through_time(trace), trace.a
        da, _, dh0 = ir.recurrent_backward(dh, trace.h, a, case.u, case.h0, case.activation, engine="reference")
        assert got.dtype == case.dtype
        assert np.array_equal(got[0], dh0)
        assert np.array_equal(got[1:-1], (case.u * da)[1:])
        assert (got[-1] == 1).all()
        tally.note(remembers(case) and bool(got[0].any()))

    claim()
    tally.require(0.4)


def test_a_silent_neuron_forgets_even_what_has_overflowed() -> None:
    x = np.ones((40, 1, 1))
    x[1] = -1e300
    trace = ir.forward(x, np.ones((1, 1)), np.array([1e10]))
    gradient, log = gradient_through_time(trace), log_gradient_through_time(trace)
    assert np.isinf(gradient[2])
    assert gradient[0] == 0
    assert log.log[:2].ravel().tolist() == [-np.inf, -np.inf]
    assert log.sign[:2].ravel().tolist() == [0, 0]
    assert log.log[2, 0, 0] == pytest.approx(38 * np.log(1e10), rel=2**-52)


def test_a_slope_too_small_for_a_number_has_a_logarithm_unless_the_state_has_lost_it() -> None:
    for activation, slope in (("tanh", math.log(4) - 2000), ("sigmoid", -1000.0), ("softplus", -math.inf)):
        trace = ir.forward(np.full((1, 1, 1), -1000.0), np.ones((1, 1)), np.ones(1), activation=activation)
        assert slopes(trace)[0, 0, 0] == gradient_through_time(trace)[0, 0, 0] == 0
        log, sign = log_gradient_through_time(trace)
        assert log[0, 0, 0] == slope, "−2|z| + log 4, −|z|; softplus(−1000) is 0"
        assert sign[0, 0, 0] == (slope > -math.inf)


def test_a_weight_of_zero_forgets_at_once() -> None:
    trace = ir.forward(np.ones((3, 1, 1)), np.ones((1, 1)), np.zeros(1))
    assert gradient_through_time(trace).ravel().tolist() == [0, 0, 0, 1]
    log, sign = log_gradient_through_time(trace)
    assert log.ravel().tolist() == [-np.inf] * 3 + [0]
    assert sign.ravel().tolist() == [0, 0, 0, 1]


def test_the_logarithm_is_that_of_the_gradient_wherever_that_is_a_number() -> None:
    tally = Tally("exp(log|∂h_T/∂h_k|) · sign = ∂h_T/∂h_k")

    @given(cases(longest=40))
    @settings(max_examples=150)
    def claim(case: Case) -> None:
        trace = traced(case)
        (log, sign), gradient = log_gradient_through_time(trace), gradient_through_time(trace)
        assert log.dtype == sign.dtype == case.dtype
        assert np.array_equal(sign, np.sign(gradient)) or (np.abs(gradient).min() == 0 and np.exp(log).min() == 0)
        unit = np.finfo(case.dtype).eps / 2
        usable = np.abs(gradient) > np.finfo(case.dtype).tiny * 1e6
        # Each slope is off by 4 ulp, and by |σ''/σ'| ≤ 2 times the rounding of z; one rounding of the logarithm.
        z = np.abs(drive(case, np.float64)) + np.abs(case.u) * np.abs(np.concatenate([case.h0[None], trace.h[:-1]]))
        per_step = unit * (12 + (6 + 2 * case.x.shape[2]) * z)
        per_step = np.concatenate([np.cumsum(per_step[::-1], axis=0)[::-1], 0 * per_step[:1]])
        off = np.abs(log - np.log(np.abs(np.where(usable, gradient, 1)).astype(float)))
        ratio = off[usable] / (per_step + 2 * unit * (1 + np.abs(np.where(usable, log, 0))))[usable]
        assert (ratio <= 1).all()
        tally.note(remembers(case) and usable[:-1].any(), float(ratio.max()))

    claim()
    tally.require(0.6)


T = 100_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", [(2 ** (1 / T), 3.0, 0.1), (-1.00001, -0.5, 1.0)])
def test_at_100_000_steps_of_slope_1_the_logarithm_is_lag_times_log_u_to_the_last_bit(weights, dtype) -> None:
    u = np.array(weights, dtype)
    trace = ir.forward(np.full((T, 1, 1), 1.0, dtype), np.ones((3, 1), dtype), u, activation="identity")
    log, sign = log_gradient_through_time(trace)
    assert log.dtype == dtype
    with mpmath.workdps(40):
        for k in (0, 1, T // 2, T - 7, T):
            for n in range(3):
                want = (T - k) * mpmath.log(abs(mpmath.mpf(float(u[n]))))
                off = abs(mpmath.mpf(float(log[k, 0, n])) - want)
                assert off <= abs(want) * (np.finfo(dtype).eps / 2 + 8 * float(LONGDOUBLE)), (k, n)
                assert sign[k, 0, n] == np.sign(u[n]) ** (T - k)
    assert np.isfinite(log).all()
    with np.errstate(under="ignore", over="ignore"):
        assert {0.0, np.inf} & set(gradient_through_time(trace)[0, 0].tolist()), "nothing would have been lost"


@pytest.mark.parametrize("activation", ["tanh", *(pytest.param(name, marks=pytest.mark.slow)
                                                  for name in ("sigmoid", "softplus", "leaky_relu"))])
def test_at_100_000_steps_the_logarithm_is_the_sum_of_40_digit_logarithms(activation: str) -> None:
    rng = np.random.default_rng(1)
    x, u, W = rng.normal(0, 3, (T, 1, 1)), np.array([-0.97]), np.ones((1, 1))
    x[T // 3] = 30.0 if activation == "softplus" else 1000.0  # a slope of tanh and sigmoid that underflows
    trace = ir.forward(x, W, u, activation=activation)
    log, sign = log_gradient_through_time(trace)
    h_prev = np.concatenate([trace.h0[None], trace.h[:-1]]).ravel()
    log_slope = {"tanh": lambda z, h: mpmath.log(4) - 2 * abs(z) - 2 * mpmath.log1p(mpmath.exp(-2 * abs(z))),
                 "sigmoid": lambda z, h: -abs(z) - 2 * mpmath.log1p(mpmath.exp(-abs(z))),
                 "softplus": lambda z, h: mpmath.log(-mpmath.expm1(-h)),
                 "leaky_relu": lambda z, h: mpmath.log(mpmath.mpf(0.01)) if h < 0 else mpmath.mpf(0)}[activation]
    with mpmath.workdps(40):
        total, sizes, noise = mpmath.mpf(0), mpmath.mpf(0), 0.0
        log_u = mpmath.log(mpmath.mpf(0.97))
        for t in reversed(range(T)):
            z = mpmath.mpf(x[t, 0, 0]) - mpmath.mpf(0.97) * mpmath.mpf(h_prev[t])
            one = log_slope(z, mpmath.mpf(float(trace.h[t, 0, 0])))
            total, sizes = total + one, sizes + abs(one) + abs(z) + 1
            if t % 9973 == 0:
                want = total + (T - t) * log_u
                # Each term is off by a few units of its size; each of T − t sums by one of what has been added up.
                noise = float(LONGDOUBLE) * (8 * sizes + (T - t) * sizes + (T - t))
                off = abs(mpmath.mpf(float(log[t, 0, 0])) - want)
                assert off <= np.finfo(float).eps / 2 * abs(want) + noise, t
                assert sign[t, 0, 0] == (-1) ** (T - t)
    assert gradient_through_time(trace)[0] == 0
    assert noise <= 1e-9 * abs(float(total)) or float(LONGDOUBLE) > 1e-17


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("activation", installation.NAMES)
def test_a_complex_trace_has_the_complex_derivative(activation: str, dtype: str) -> None:
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) + 0.3j * rng.standard_normal(shape)).astype(dtype)

    x, W, u, h0 = normal(6, 2, 2), normal(3, 2), normal(3), normal(2, 3)
    b = np.array([4, 0, -1], dtype)  # one neuron fires throughout
    trace = ir.forward(x, W, u, b, h0, activation)
    gradient, (log, sign) = gradient_through_time(trace), log_gradient_through_time(trace)
    assert gradient.dtype == sign.dtype == dtype
    assert log.dtype == trace.h.real.dtype
    pushed = np.ones((2, 3), dtype)
    for t in range(6):  # forward in time: the tangent of h_0, by the specification
        a = (x @ W.T + b)[t:t + 1]
        zero = np.zeros_like(a)
        _, moved = ir.recurrence.jvp(a, u, trace.h[t - 1] if t else h0, activation, zero, np.zeros_like(u), pushed)
        pushed = moved[0]
    unit = np.finfo(dtype).eps
    # Complex products err by 3 units, and slopes by a few, amplified where 1 + e is small: 100 a step.
    assert (abs(gradient[0] - pushed) <= 600 * unit * abs(pushed)).all()
    assert (abs(np.exp(log) * sign - gradient) <= 600 * unit * abs(gradient)).all()
    assert np.array_equal(gradient == 0, sign == 0)
    assert (np.abs(abs(sign[sign != 0]) - 1) <= 20 * unit).all()
    assert abs(gradient[0].imag).max() > 1e-4 * abs(gradient[0]).max()


@pytest.mark.parametrize("function", [gradient_through_time, log_gradient_through_time, slopes])
def test_what_is_no_trace_is_refused_by_name(function) -> None:
    with pytest.raises(TypeError, match=r"^trace: expected the Trace that forward returned; got ndarray\.$"):
        function(np.zeros((3, 1, 1)))


@pytest.mark.parametrize("activation", installation.NAMES)
def test_nan_stays_with_its_neuron(activation: str) -> None:
    trace = ir.forward(np.ones((4, 1, 1)), np.ones((2, 1)), np.array([0.5, 0.5]), h0=np.array([[np.nan, 0.1]]),
                       activation=activation)
    for result in (gradient_through_time(trace), *log_gradient_through_time(trace)):
        assert np.isfinite(result[..., 1]).all()
        assert activation == "identity" or np.isnan(result[:-1, 0, 0]).all()
