"""Numerical derivatives: right where they claim to be, and loud where they cannot be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tally import Tally

from indrnn_np.oracle import numerical
from indrnn_np.oracle.numerical import adjoint_identity, central_difference, complex_step


def smooth(rng: np.random.Generator):
    """Draw a smooth function of one array, and its gradient."""
    p, k, q, r = (rng.integers((-16, 2, 1, -16), (17, 25, 9, 17)) / 8).tolist()  # their products are exact
    return (lambda v: (p * np.sin(k * v) + q * np.exp(r * v)).sum(),
            lambda v: p * k * np.cos(k * v) + q * r * np.exp(r * v))


def test_the_complex_step_is_exact_to_rounding() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        f, gradient = smooth(rng)
        for dtype in (np.float32, np.float64, np.longdouble):
            x = rng.uniform(-1, 1, (2, 3)).astype(dtype)
            found = complex_step(f, x)
            assert found.dtype == dtype
            assert (abs(found - gradient(x)) <= 100 * np.finfo(dtype).eps).all()


def test_the_complex_step_of_an_array_is_its_jacobian() -> None:
    A = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(complex_step(lambda v: A @ v, np.ones(3)), A)


def test_a_complex_step_can_underflow_and_a_step_of_one_does_not() -> None:
    def product(v: np.ndarray) -> np.ndarray:
        for _ in range(1030):
            v = 0.5 * v
        return v.sum()

    x = np.array([1.0])
    assert complex_step(product, x) == 0.0
    assert complex_step(product, x, step=1.0) == 0.5**1030


def test_a_function_that_drops_the_imaginary_part_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^f: expected complex values"):
        complex_step(lambda v: v.real.sum(), np.ones(2))


def test_central_differences_are_within_their_own_error_estimate() -> None:
    tally = Tally("central differences of smooth functions")
    for seed in range(300):
        rng = np.random.default_rng(seed)
        f, gradient = smooth(rng)
        x = rng.uniform(-1, 1, 2)
        found = central_difference(f, x)
        ratio = abs(found.derivative - gradient(x)) / found.error
        assert not found.kink.any()
        assert (ratio <= 1).all()
        tally.note((found.error < 1e-6 * (1 + abs(gradient(x)))).all(), ratio.max())
    tally.require(0.9)


def test_a_kink_inside_the_stencil_is_reported() -> None:
    tally = Tally("kinks within the stencil reported")
    step = 2.0**-6
    for seed in range(500):
        rng = np.random.default_rng(seed)
        f, gradient = smooth(rng)
        x, jump = rng.uniform(-1, 1, 1), rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 1)
        at = x + rng.uniform(-1, 1) * step
        found = central_difference(lambda v: f(v) + jump * np.maximum(v - at, 0).sum(), x, step)
        # Unseen is allowed only where it does no harm: the derivative is then right all the same.
        right = gradient(x) + jump * (x > at)
        assert found.kink.all() or (abs(found.derivative - right) <= 2 * found.error).all()
        tally.note(bool(found.kink.all()))
    tally.require(0.95)


def test_a_kink_outside_the_stencil_is_not_reported() -> None:
    for offset in (-1.01, 1.01):
        found = central_difference(lambda v: np.maximum(v - offset * 2.0**-6, 0).sum(), np.zeros(1))
        assert not found.kink.any()
        assert found.derivative[0] == (1.0 if offset < 0 else 0.0)


def test_the_adjoint_identity_tells_a_wrong_transpose() -> None:
    rng = np.random.default_rng(0)
    A, v, w = rng.integers(-4, 5, (3, 3)).astype(float), np.array([1.0, 2.0, -3.0]), np.array([2.0, -1.0, 1.0])
    left, right = adjoint_identity({"y": v}, {"y": A @ w}, {"x": w}, {"x": A.T @ v})
    assert left == right
    left, right = adjoint_identity({"y": v}, {"y": A @ w}, {"x": w}, {"x": A @ v})
    assert left != right


@pytest.mark.parametrize(("call", "message"), [
    (lambda: complex_step(np.sum, [1.0]), "x: expected a real floating-point NumPy array; got list"),
    (lambda: complex_step(np.sum, np.ones(2, int)), "x: expected a real floating-point NumPy array; got int64"),
    (lambda: complex_step(np.sum, np.ones(0)), r"x: expected at least one coordinate; got shape \(0,\)"),
    (lambda: complex_step(np.sum, np.ones(2), step=0), "step: expected a finite number above 0; got 0"),
    (lambda: central_difference(np.sum, np.ones(2), step=-1), "step: expected a finite number above 0; got -1"),
    (lambda: adjoint_identity({"y": np.ones(2)}, {"z": np.ones(2)}, {}, {}), r"pushed: expected the names of"),
    (lambda: adjoint_identity({"y": np.ones(2)}, {"y": np.ones(3)}, {}, {}), r"pushed\['y'\]: expected shape \(2,\)"),
])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_it_shares_no_code_with_the_heart() -> None:
    probe = (f"import sys, runpy; runpy.run_path({numerical.__file__!r}); "
             "print([m for m in sys.modules if m.startswith('indrnn_np')])")
    assert subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True,
                          check=True).stdout == "[]\n"
