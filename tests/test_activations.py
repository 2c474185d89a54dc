"""The table of activations: accurate everywhere, analytic, honest about kinks and bounds."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np.activations import is_builtin, resolve
from indrnn_np.oracle import installation
from indrnn_np.oracle.numerical import complex_step

SMOOTH = {
    "tanh": (mpmath.tanh, lambda z: mpmath.sech(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + mpmath.exp(-z)), lambda z: 1 / (2 + mpmath.exp(z) + mpmath.exp(-z))),
    "softplus": (lambda z: mpmath.log1p(mpmath.exp(z)), lambda z: 1 / (1 + mpmath.exp(-z))),
}
POINTS = np.concatenate([[0.0, 1e-30, 1e-8, 0.01], np.linspace(0.05, 4, 40), [8, 15, 19, 20, 30, 40, 80, 300, 700]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SMOOTH)
def test_value_and_slope_are_accurate_relative_to_themselves_also_in_saturation(name: str, dtype: type) -> None:
    """Including tanh'(20) = 1.7e-17, where 1 − tanh² gives 0."""
    z = np.concatenate([-POINTS[::-1], POINTS]).astype(dtype)
    σ, info = ir.ACTIVATIONS[name], np.finfo(dtype)
    value, slope = SMOOTH[name]
    pulled = σ.pull(np.ones_like(z), z, σ(z))
    with mpmath.workdps(40):
        for exact, found, units in ((value, σ(z), 4), (slope, σ.slope(z), 8), (slope, pulled, 8)):
            for point, got in zip(z, found, strict=True):
                want = exact(mpmath.mpf(float(point)))
                assert abs(mpmath.mpf(float(got)) - want) <= units * float(info.eps) * abs(want) + float(info.tiny), (
                    f"{name} at {point}: {got} for {want}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("name", installation.NAMES)
def test_the_slope_is_the_derivative_of_the_value_and_the_complex_form_is_stable(name: str, dtype: type) -> None:
    σ = resolve(name)
    z = np.concatenate([-POINTS[1:][::-1], POINTS[1:], [0.0, -0.0]]).astype(dtype)
    z = z[abs(z) <= 80]  # beyond, the step itself underflows in float32
    for point in z:
        slope = complex_step(lambda v: σ(v).sum(), np.array([point]))
        want = σ.slope(np.array([point]))
        assert abs(slope - want) <= 32 * np.finfo(dtype).eps * abs(want) + 1e20 * np.finfo(dtype).smallest_subnormal
    complex_z = z + dtype(1e-20) * np.complex64(1j)
    assert (abs(σ(complex_z).real - σ(z)) <= 16 * np.finfo(dtype).eps * abs(σ(z))).all()


@pytest.mark.parametrize("name", installation.NAMES)
def test_the_slope_at_a_kink_is_the_one_below_it(name: str) -> None:
    σ, zero = resolve(name), np.zeros(1)
    if σ.kink is None:
        assert name in ("identity", "tanh", "sigmoid", "softplus")
        return
    assert σ.kink == 0
    assert σ.slope(zero) == σ.alpha == {"relu": 0.0, "leaky_relu": 0.01, "leaky_relu(0.125)": 0.125}[name]
    assert σ.pull(np.array([3.0]), zero, σ(zero)) == 3 * σ.alpha
    assert σ.slope(np.array([5e-324])) == 1


@pytest.mark.parametrize("name", installation.NAMES)
def test_bounds_on_an_interval_hold_and_are_attained(name: str) -> None:
    σ, rng = resolve(name), np.random.default_rng(0)
    for _ in range(200):
        low, high = np.sort(rng.uniform(-4, 4, 2))
        inside = np.linspace(low, high, 2001)
        inside = inside[inside != 0]
        largest = abs(σ.slope(inside)).max()
        bound = float(σ.sup_slope(np.array(low), np.array(high)))
        assert largest <= bound * (1 + 1e-12)
        assert largest >= bound * (1 - 1e-5) - 1e-9
        assert bound <= σ.max_slope
        if σ.kink is None:
            curvature = complex_step(lambda v: σ.slope(v), inside[::50])
            bound = float(σ.sup_curvature(np.array(low), np.array(high)))
            assert abs(np.diag(curvature)).max() <= bound * (1 + 1e-12) + 1e-300
            assert abs(np.diag(curvature)).max() >= 0.8 * bound - 2e-2
    assert float(σ.sup_slope(np.array(-50.0), np.array(50.0))) == pytest.approx(σ.max_slope, rel=1e-12)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "leaky_relu(0.125)"])
def test_a_cotangent_is_selected_never_multiplied_by_zero_or_one(name: str) -> None:
    σ, z = resolve(name), np.array([-1.0, 0.0, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pulled = σ.pull(np.full(3, np.inf), z, σ(z))
    assert not np.isnan(pulled).any()
    assert np.isinf(pulled).tolist() == [σ.alpha > 0, σ.alpha > 0, True]


@pytest.mark.parametrize("name", installation.NAMES)
def test_nan_stays_nan(name: str) -> None:
    σ, z = resolve(name), np.array([np.nan, 1.0])
    assert np.isnan(σ(z)).tolist() == [True, False]
    if name != "identity":  # whose slope is 1 whatever z is
        assert np.isnan(σ.pull(np.ones(2), z, σ(z))).tolist() == [True, False]


@pytest.mark.parametrize("name", installation.NAMES)
def test_infinite_arguments_have_values_and_slopes(name: str) -> None:
    σ, z = resolve(name), np.array([-np.inf, np.inf])
    with np.errstate(all="ignore"):
        assert not np.isnan(σ(z)).any()
        assert np.isfinite(σ.pull(np.ones(2), z, σ(z))).all()


def test_names_round_trip_and_equal_slopes_are_one_object() -> None:
    assert resolve("leaky_relu(0.125)") is ir.leaky_relu(0.125)
    assert resolve(ir.leaky_relu(0.3).name) is ir.leaky_relu(0.3)
    assert ir.leaky_relu() is ir.ACTIVATIONS["leaky_relu"]
    assert is_builtin(ir.leaky_relu(7))
    assert not is_builtin(ir.Activation("tanh", np.tanh, np.cos))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: resolve("Relu"), "got 'Relu'. Did you mean 'relu'?"),
    (lambda: resolve("gelu"), "activation: expected one of identity, relu, leaky_relu, tanh, sigmoid, softplus; got"),
    (lambda: resolve(np.tanh), "activation: expected a name or an indrnn_np.Activation; got ufunc"),
    (lambda: resolve("leaky_relu(x)"), "activation: expected a number in"),
    (lambda: resolve("leaky_relu(-1)"), "alpha: expected a slope from 1e-30 to 1e30"),
    (lambda: ir.leaky_relu(0), "alpha: expected a slope from 1e-30 to 1e30"),
    (lambda: ir.leaky_relu(float("nan")), "alpha: expected a slope from 1e-30 to 1e30"),
    (lambda: ir.leaky_relu(10**400), "alpha: expected a slope from"),
    (lambda: ir.leaky_relu("0.1"), "alpha: expected a number; got str"),
])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refusal:
        call()
    assert message in str(refusal.value)
