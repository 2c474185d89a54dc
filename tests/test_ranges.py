"""The ranges of |u|: what they promise, for the floats returned, in exact arithmetic; and what they do not."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    classify,
    gradient_through_time,
    memory_length,
    range_of_slopes,
    recurrent_weight_range,
    slopes,
)
from indrnn_np.oracle import installation
from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.numerical import complex_step

DTYPES = ("float32", "float64")


MANY = pytest.mark.parametrize("examples", [300, pytest.param(5000, marks=pytest.mark.slow)])


def compare(factors: list[tuple[float, int]], bound: float) -> int:
    """Sign of ∏ factor^power − bound, by whole numbers of full length: nothing is cut, nothing shared."""
    top, down = 1, 0
    for factor, power in factors:
        n, d = float(factor).as_integer_ratio()
        top, down = top * n**power, down + power * (d.bit_length() - 1)
    n, d = float(bound).as_integer_ratio()
    left, right = top << (d.bit_length() - 1), n << down
    return (left > right) - (left < right)


def holds_tightly(T: int, ε: float, γ: float, ends, dtype: str, others=()) -> bool:
    """Whether low and high are in the range, and the next floats outside of them are not."""
    low, high = map(dtype_of(dtype), ends)
    below, above = np.nextafter(low, dtype_of(dtype)(-1)), np.nextafter(high, dtype_of(dtype)(np.inf))
    return (compare([(low, T), *others], ε) >= 0 and (low == 0 or compare([(below, T), *others], ε) < 0)
            and compare([(high, T), *others], γ) <= 0 and compare([(above, T), *others], γ) > 0)


def dtype_of(name: str) -> type:
    return np.dtype(name).type


def test_the_nearest_float_to_the_root_of_2_exceeds_it_for_1037_of_2000_horizons() -> None:
    naive = [T for T in range(1, 2001) if compare([(2.0 ** (1 / T), T)], 2.0) > 0]
    assert len(naive) == 1037
    for T in naive[::100]:
        assert not holds_tightly(T, 0.0, 2.0, (0.0, 2.0 ** (1 / T)), "float64"), "the check would not have seen it"


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ends_are_the_outermost_floats_inside_for_every_horizon_up_to_2000(dtype: str) -> None:
    for T in range(1, 2001):
        ends = recurrent_weight_range(T, 1e-3, 2.0, dtype=dtype)
        assert {end.dtype.name for end in ends} == {dtype}
        assert holds_tightly(T, 1e-3, 2.0, ends, dtype), T


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("T", [5000, 12_345, 100_000])
def test_both_ends_are_the_outermost_floats_inside_for_long_horizons(T: int, dtype: str) -> None:
    ends = recurrent_weight_range(T, 1e-3, 2.0, dtype=dtype)
    assert holds_tightly(T, 1e-3, 2.0, ends, dtype)


def test_a_wrong_exponent_or_a_looser_end_is_caught() -> None:
    low, high = recurrent_weight_range(784, 1e-3, 2.0)
    assert holds_tightly(784, 1e-3, 2.0, (low, high), "float64")
    for wrong in ((low, 2 ** (1 / 783)), (low, high * 0.99), (low, np.nextafter(high, 0)), (low, np.nextafter(high, 2)),
                  (np.nextafter(low, 0), high), (np.nextafter(low, 1), high), (1e-3 ** (1 / 785), high)):
        assert not holds_tightly(784, 1e-3, 2.0, wrong, "float64"), wrong


NUMBERS = st.floats(1e-12, 1e12) | st.floats(0.3, 3.0) | st.sampled_from((1.0, 2.0, 4.0, 0.25, 1e-3, 5e-324))


@MANY
def test_both_ends_are_the_outermost_floats_inside_whatever_the_numbers(examples: int) -> None:
    tally = Tally("ends of the range, any ε, γ, slope")

    @given(st.integers(1, 300), NUMBERS, NUMBERS, NUMBERS, st.sampled_from(DTYPES))
    @settings(max_examples=examples)
    def claim(T: int, one: float, other: float, slope: float, dtype: str) -> None:
        ε, γ = sorted((one, other))
        ends = recurrent_weight_range(T, ε, γ, slope, dtype)
        if ends[0] == np.inf or ends[1] == np.finfo(dtype).max:
            top = np.finfo(dtype).max
            assert ends[0] < np.inf or compare([(top, T), (slope, T)], ε) < 0
            assert ends[1] < top or compare([(top, T), (slope, T)], γ) <= 0
            tally.note(nontrivial=False)
            return
        assert holds_tightly(T, ε, γ, ends, dtype, [(slope, T)])
        tally.note(T > 1 and slope != 1)

    claim()
    tally.require(0.6)


def test_where_the_root_is_a_float_it_is_an_end() -> None:
    assert recurrent_weight_range(10, 2.0**-10, 1024.0) == (0.5, 2.0)
    assert recurrent_weight_range(2, 4.0, 9.0, slope=0.5) == (4.0, 6.0)
    for T in (1, 7, 100_000, 10**9):
        assert recurrent_weight_range(T, 1.0, 1.0) == (1.0, 1.0)
        assert recurrent_weight_range(T, 0.0, 1.0, dtype="float32") == (0.0, 1.0)


def test_the_paper_s_bounds_have_the_published_digits() -> None:
    """2^{1/T} of the authors' code."""
    assert [f"{recurrent_weight_range(T)[1]:.6f}" for T in (100, 784, 5000)] == ["1.006956", "1.000885", "1.000139"]


def test_empty_and_unbounded_ranges_are_explicit() -> None:
    low, high = recurrent_weight_range(3, 2.0, 2.0)
    assert low > high == np.nextafter(low, 0), "no float is the cube root of 2"
    assert recurrent_weight_range(100, 1e-3, math.inf)[1] == math.inf
    assert recurrent_weight_range(100, 0.0, math.inf) == (0, math.inf)
    assert recurrent_weight_range(100, 1e-3, 2.0, slope=0.0) == (math.inf, math.inf)
    assert recurrent_weight_range(100, 0.0, 2.0, slope=0.0) == (0, math.inf)
    assert recurrent_weight_range(1, 1.0, 2.0, slope=1e-320) == (math.inf, np.finfo(float).max)
    assert recurrent_weight_range(100, 0.0, 0.0) == (0, 0)


def trajectory(case: Case, lag: int) -> tuple[ir.Trace, np.ndarray]:
    """Trace a case, and its gradient over a lag by complex step: a derivative that knows no range."""
    trace = ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation)
    k = len(trace.h) - lag
    x, W, b, u = (array.astype(np.longdouble) for array in (case.x, case.W, case.b, case.u))
    a, before = x[k:] @ W.T + b + 0j, trace.h[k - 1] if k else case.h0
    step = 1.0 if case.activation.startswith(("identity", "relu", "leaky")) else 1e-20
    jacobian = complex_step(lambda v: ir.recurrence.forward(a, u + 0j, v, case.activation)[-1],
                            before.astype(np.longdouble), step)
    return trace, np.abs(np.einsum("bnbn->bn", jacobian)).astype(float)


@MANY
def test_at_its_lag_the_gradient_is_in_the_range_if_and_only_if_u_is(examples: int) -> None:
    """§3.1, for the trajectory's own slopes; ε and γ are put a factor beside what u makes of them."""
    tally = Tally("ε ≤ |∂h_T/∂h_{T−k}| ≤ γ ⟺ |u| in range")
    seen = set()

    @given(cases(longest=20), st.integers(1, 20), st.sampled_from((0.25, 0.97, 1.03, 4.0)),
           st.sampled_from((0.25, 0.97, 1.03, 4.0)))
    @settings(max_examples=examples)
    def claim(case: Case, lag: int, e: float, g: float) -> None:
        lag = min(lag, len(case.x))
        trace, gradient = trajectory(case, lag)
        factors = slopes(trace)[-lag:]
        for b, n in np.ndindex(gradient.shape):
            size = float(gradient[b, n])
            ε, γ = sorted((size * e, size * g)) if 1e-30 < size < 1e30 else (1e-20, 1e20)
            low, high = range_of_slopes(factors[:, b:b + 1, n:n + 1], ε, γ)
            inside = bool(low[0, 0] <= abs(case.u[n]) <= high[0, 0])
            assert inside == (ε <= size <= γ), (low, case.u[n], high)
            seen.add((inside, bool(low[0, 0] > abs(case.u[n]))))
            tally.note(lag > 1 and case.activation != "identity" and 1e-30 < size < 1e30)

    claim()
    tally.require(0.3)
    assert seen == {(True, False), (False, True), (False, False)}, "inside, below and above must all have come"


def test_the_ends_for_a_trajectory_s_slopes_are_the_outermost_floats_inside() -> None:
    rng = np.random.default_rng(2)
    for dtype in DTYPES:
        factors = rng.uniform(0.05, 1.0, (40, 2, 3)).astype(dtype)
        factors[3, 0, 0] = -0.5
        factors[7, 1, 2] = 0.0
        low, high = range_of_slopes(factors, 1e-3, 2.0)
        assert low.dtype == high.dtype == dtype
        assert (low[1, 2], high[1, 2]) == (np.inf, np.inf)
        assert range_of_slopes(factors, 0.0, 2.0)[0].max() == 0
        for b, n in list(np.ndindex(2, 3))[:-1]:
            others = [(abs(float(s)), 1) for s in factors[:, b, n]]
            assert holds_tightly(40, 1e-3, 2.0, (low[b, n], high[b, n]), dtype, others)
            assert not holds_tightly(40, 1e-3, 2.0, (low[b, n], high[b, n]), dtype, others[1:]), "one slope fewer"


def test_slopes_of_1_give_the_range_of_the_horizon() -> None:
    for T in (1, 50, 784):
        low, high = range_of_slopes(np.ones((T, 1, 1)), 1e-3, 2.0)
        assert (low[0, 0], high[0, 0]) == recurrent_weight_range(T, 1e-3, 2.0)


def every_lag_in_range(u: float, T: int, ε: float, γ: float) -> bool:
    size = Fraction(abs(u))
    return all(Fraction(ε) <= size**k <= Fraction(γ) for k in range(1, T + 1))


@given(st.integers(1, 60), st.floats(1e-6, 1.0), st.floats(1.0, 10.0), st.floats(0, 1))
@settings(max_examples=200)
def test_with_slope_1_and_1_between_epsilon_and_gamma_every_smaller_lag_is_in_range_too(T, ε, γ, where) -> None:
    """In fractions, for floats between the ends and for the ends themselves."""
    low, high = map(float, recurrent_weight_range(T, ε, γ))
    for u in (low, high, low + where * (high - low)):
        assert every_lag_in_range(min(max(u, low), high), T, ε, γ)
    if low > 0:
        assert not every_lag_in_range(float(np.nextafter(low, 0)), T, ε, γ)
    assert not every_lag_in_range(float(np.nextafter(high, 99)), T, ε, γ)


@pytest.mark.parametrize(("ε", "γ"), [(1e-3, 0.5), (1.5, 2.0)])
def test_with_1_outside_of_epsilon_and_gamma_smaller_lags_leave_the_range(ε: float, γ: float) -> None:
    low, high = map(float, recurrent_weight_range(20, ε, γ))
    assert not every_lag_in_range(low if γ > 1 else high, 20, ε, γ)


@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_upper_end_for_the_largest_slope_keeps_every_lag_of_every_trajectory_from_exploding(activation) -> None:
    """|u| ≤ γ^{1/T} / sup|σ'| with γ ≥ 1; and below the lower end every trajectory forgets."""
    rng, T = np.random.default_rng(3), 60
    L = ir.activations.resolve(activation).max_slope
    for γ in (1.0, 2.0, 7.0):
        low, high = recurrent_weight_range(T, 0.1, γ, L)
        u = np.array([high, -high, np.nextafter(low, 0)])
        trace = ir.forward(rng.normal(0, 2, (T, 5, 4)), rng.normal(size=(3, 4)), u, activation=activation)
        gradient = np.abs(gradient_through_time(trace))
        assert (gradient[..., :2] <= γ * (1 + 8 * T * 2.0**-53)).all()
        assert (gradient[0, :, 2] < 0.1 * (1 + 8 * T * 2.0**-53)).all()
    if activation in ("identity", "relu", "tanh"):  # attained: every slope 1, at z > 0, or at z = 0 for tanh
        still = ir.forward(np.zeros((T, 1, 1)) if activation == "tanh" else np.ones((T, 1, 1)), np.ones((1, 1)),
                           np.array([high]), activation=activation)
        assert gradient_through_time(still)[0, 0, 0] == pytest.approx(γ, rel=8 * T * 2.0**-53)


def test_varying_slopes_permit_a_weight_whose_gradient_explodes_at_half_the_lag() -> None:
    """A counterexample: 50 slopes of .01 and then 50 of 1."""
    factors = np.array([0.01] * 50 + [1.0] * 50).reshape(100, 1, 1)
    high = range_of_slopes(factors, 0.0, 2.0)[1]
    assert f"{high[0, 0]:.2f}" == "10.07"
    T, u = 100, high[0]
    z = np.where(np.arange(T) < 50, -1.0, 1.0)
    h_prev = np.concatenate([[0.0], np.where(z > 0, z, 0.01 * z)[:-1]])
    trace = ir.forward((z - u * h_prev).reshape(T, 1, 1), np.ones((1, 1)), u, activation="leaky_relu")
    assert np.array_equal(slopes(trace), factors)
    gradient = gradient_through_time(trace)[:, 0, 0]
    assert gradient[0] == pytest.approx(2, rel=8 * T * 2.0**-53)
    assert f"{gradient[50]:.1e}" == "1.4e+50"
    mean = float(np.exp(np.log(factors).mean()))
    assert recurrent_weight_range(T, 0.0, 2.0, slope=mean)[1] == pytest.approx(high[0, 0], rel=1e-14)


def steps_until(u: float, slope: float, ε: float, most: int) -> float:
    """Multiply until ε is reached, in fractions."""
    size, gradient = Fraction(u) * Fraction(slope), Fraction(1)
    for k in range(most):
        if gradient <= Fraction(ε):
            return k
        gradient *= size
    return math.inf


def test_the_memory_is_the_first_lag_at_which_the_gradient_has_fallen_to_epsilon() -> None:
    tally = Tally("memory_length = counted in fractions")

    @given(st.floats(0.3, 0.8) | st.floats(0.3, 0.8) | st.sampled_from((0.0, 0.5, 0.25, 1.5)),
           st.floats(0.6, 1.0) | st.floats(0.6, 1.0) | st.sampled_from((1.0, 0.5, 0.0)),
           st.floats(1e-4, 0.1) | st.floats(1e-4, 0.1) | st.sampled_from((2.0**-10, 0.25, 1.0)))
    @settings(max_examples=200)
    def claim(u: float, slope: float, ε: float) -> None:
        expected = steps_until(u, slope, ε, most=60)
        got = memory_length(-u, ε, slope)
        assert got == expected or (expected == math.inf and 60 <= got < math.inf and u * slope < 1)
        tally.note(1 < got < math.inf)

    claim()
    tally.require(0.5)
    assert steps_until(0.5, 1.0, 2.0**-10, 60) == 10 != steps_until(0.5, 1.0, np.nextafter(2.0**-10, 0), 60)


def test_memory_at_the_ends_of_the_range_is_the_horizon() -> None:
    for T in (1, 10, 784, 5000, 100_000):
        low, _ = recurrent_weight_range(T, 1e-3)
        assert memory_length(np.nextafter(low, 0), 1e-3) == T
        assert memory_length(low, 1e-3) == T + (compare([(low, T)], 1e-3) > 0)


def test_memory_is_elementwise_and_infinite_where_the_gradient_never_falls() -> None:
    u = np.array([[0.5, -0.5, 1.0], [1.2, 0.0, 1 - 2.0**-53]])
    got = memory_length(u, 0.25)
    assert got[:, :2].tolist() == [[2, 2], [math.inf, 1]]
    assert got[0, 2] == math.inf
    assert got[1, 2] == pytest.approx(math.log(4) * 2.0**53, rel=1e-15)
    assert memory_length(0.9, 0.0) == math.inf
    assert memory_length(0.0, 0.0) == 1
    assert memory_length(3.0, 1.0) == 0
    assert memory_length(np.float32(0.5), 0.25, [1.0, 0.5]).tolist() == [2, 1]
    assert memory_length(2.0, 1e-3, 0.5) == math.inf
    assert isinstance(memory_length(0.5, 0.25), float)


def test_a_weight_is_classified_by_the_gradient_at_the_horizon() -> None:
    """Table 1: strict for long-term memory, so that u = 0 has none, closed for what does not explode."""
    low, high = recurrent_weight_range(784, 1e-3)
    u = np.array([[0.0, np.nextafter(low, 0), -np.nextafter(low, 1)], [1.0, high, -np.nextafter(high, 2)]])
    assert classify(u, 784, 1e-3).tolist() == [["short-term", "short-term", "long-term"],
                                               ["long-term", "long-term", "exploding"]]
    assert classify(0.5, 10, 2.0**-10) == "short-term"
    assert classify(0.5, 10, np.nextafter(2.0**-10, 0)) == "long-term"
    assert classify(2.0, 10, 0.5, 1024.0) == "long-term"
    assert classify(2.0, 10, 0.5, np.nextafter(1024.0, 0)) == "exploding"
    assert classify(0.0, 10, 0.0) == "short-term"
    assert classify(1e300, 5, 0.1, math.inf) == "long-term"
    assert classify(4.0, 100, 0.5, 2.0, slope=0.25) == "long-term"


@given(st.integers(1, 200), st.floats(1e-6, 1.0), st.floats(1.0, 9.0), st.floats(0.1, 2.0), st.floats(0, 3.0))
@settings(max_examples=200)
def test_the_classes_are_the_ranges(T: int, ε: float, γ: float, slope: float, u: float) -> None:
    low, high = recurrent_weight_range(T, ε, γ, slope)
    kind = classify(u, T, ε, γ, slope)
    assert (kind == "exploding") == (u > high)
    assert (kind == "long-term") == (low <= u <= high and compare([(u, T), (slope, T)], ε) != 0)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: recurrent_weight_range(0), r"^steps: expected a whole number above 0; got 0\.$"),
    (lambda: recurrent_weight_range(2.5), r"^steps: expected a whole number above 0; got float\.$"),
    (lambda: recurrent_weight_range(True), r"^steps: .*bool"),
    (lambda: recurrent_weight_range(9, -1.0), r"^epsilon: expected a finite number of at least 0; got -1.0\.$"),
    (lambda: recurrent_weight_range(9, math.nan), r"^epsilon: .*got nan"),
    (lambda: recurrent_weight_range(9, 0.0, math.nan), r"^gamma: expected a number of at least 0; got nan"),
    (lambda: recurrent_weight_range(9, 3.0, 2.0), r"^epsilon: expected at most gamma, 2; got 3"),
    (lambda: recurrent_weight_range(9, "1"), r"^epsilon: expected a number; got '1' \(str\)"),
    (lambda: recurrent_weight_range(9, slope=-0.5), r"^slope: "),
    (lambda: recurrent_weight_range(9, slope=math.inf), r"^slope: .*got inf"),
    (lambda: recurrent_weight_range(9, slope=10**400), r"^slope: "),
    (lambda: recurrent_weight_range(9, dtype="float16"), r"^dtype: expected float32 or float64; got 'float16'"),
    (lambda: recurrent_weight_range(9, dtype=None), r"^dtype: "),
    (lambda: recurrent_weight_range(9, dtype="double?"), r"^dtype: "),
    (lambda: range_of_slopes(np.ones(3)), r"^slopes: expected shape \(k, B, N\).*got \(3,\)"),
    (lambda: range_of_slopes(np.ones((0, 1, 1))), r"^slopes: expected at least one number; got shape \(0, 1, 1\)"),
    (lambda: range_of_slopes(np.full((2, 1, 1), np.nan)), r"^slopes: expected finite numbers; got nan"),
    (lambda: range_of_slopes(np.ones((2, 1, 1)) + 0j), r"^slopes: expected real numbers; got complex128"),
    (lambda: memory_length("a", 0.1), r"^u: expected real numbers"),
    (lambda: memory_length(math.nan, 0.1), r"^u: expected finite numbers; got nan"),
    (lambda: memory_length(0.5j, 0.1), r"^u: expected real numbers; got complex"),
    (lambda: memory_length([[0.5, 0.1], [0.2]], 0.1), r"^u: expected real numbers; got list"),
    (lambda: memory_length(np.ones(3), 0.1, np.ones(2)), r"^slope: expected a shape that broadcasts with \(3,\)"),
    (lambda: memory_length(0.5, -0.1), r"^epsilon: "),
    (lambda: memory_length(0.5, 0.1, -1.0), r"^slope: expected finite numbers of at least 0; got -1.0"),
    (lambda: classify(0.5, 0, 0.1), r"^steps: "),
    (lambda: classify(np.inf, 3, 0.1), r"^u: "),
    (lambda: classify(0.5, 3, 3.0), r"^epsilon: expected at most gamma"),
])
def test_bad_numbers_are_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
