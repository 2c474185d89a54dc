"""Every function of the analysis, with every argument bad in turn: it runs, or names what is wrong with what."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tally import Tally

import indrnn_np as ir
from indrnn_np import analysis

rng = np.random.default_rng(0)
T, B, N = 4, 2, 3  # and M = N, so that a matrix has the wrong shape only where it is meant to
x, dh, W, U = (rng.standard_normal(shape) for shape in ((T, B, N), (T, B, N), (N, N), (N, N)))
u, b, h0 = rng.uniform(0.2, 0.9, N), rng.standard_normal(N), rng.standard_normal((B, N))
trace = ir.forward(x, W, u, b, h0, "tanh")
h, a, slopes = trace.h, trace.a, analysis.slopes(trace)
jacobians = analysis.rnn_jacobians(U, slopes)

# A right value for every argument, by its name, unless the function wants another.
RIGHT: dict[str, Any] = {
    "x": x, "W": W, "U": U, "u": u, "b": b, "h0": h0, "dh": dh, "h": h, "a": a, "z": a, "v": u, "y": dh, "W_f": W,
    "u_f": u, "W_s": U, "trace": trace, "slopes": slopes, "jacobians": jacobians, "dz": abs(dh[:, 0]), "gradient": u,
    "gradients": [u, W], "curvature": abs(dh), "loss": "every", "activation": "tanh", "steps": T, "n": T, "layers": 2,
    "lag": 3, "lags": 2, "chunk": 2, "skip": 1, "points": 5, "directions": 4, "neurons": 3, "M": 3, "N": 4, "shape": 3,
    "cell": "lstm", "bias": True, "residual": False, "every_lag": True, "nonnegative": False, "zero": 1, "seed": 0,
    "A": 1.0, "D": 1.0, "X": 1.0, "H0": 0.0, "slope": 1.0, "offset": 0.0, "epsilon": 0.1, "gamma": 2.0, "limit": 1.0,
    "low": 0.1, "high": 0.5, "value": 1.0, "mean": 0.4, "std": 0.2, "r": 0.5, "angle": 1.0, "tolerance": 1e-3,
    "step": 1e-20, "weight": 1.0, "sizes": np.array([1e-3]), "dtype": np.float64, "rng": rng, "slope_error": 0.0,
    "passed": analysis.combines(T), "model": None, "maps": analysis.Affine(a, a), "ax": None,
    "products": analysis.jacobian_products(jacobians), "direction": analysis.PerParameter(W, u, b, h0),
}
STACK = {"W": [W], "u": [u], "slopes": [slopes]}
HESSIAN, RELU = {"loss": analysis.squared_loss(dh)}, {"activation": "relu"}
SPECIAL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("stack_gradient", "stack_bound", "stack_jacobians", "lyapunov_spectrum"), STACK),
    **dict.fromkeys(("hessian_vector_product", "gauss_newton_product", "complex_step_hessian_vector_product"), HESSIAN),
    **dict.fromkeys(("scan_forward", "scan_forward_error", "piecewise_linear_bounds"), RELU),
    "run_two_layers": {"layers": analysis.rnn_as_indrnn(W, U)},
    "run_dense_stack": {"stack": analysis.rnn_as_dense_stack(W, U)},
    "plot_weight_range": {"steps": [1, 5]}, "plot_gradient_heat": {"gradients": abs(dh[:, 0])},
    "plot_gradient_over_lag": {"gradients": analysis.gradient_through_time(trace)},
}
LATER = {("linear_loss", "dh"), ("squared_loss", "y"), ("squared_loss", "weight")}  # met where the loss is used
NAMED = re.compile(r"[\w.\[\]]+(, \w+)*: expected ")
FUNCTIONS = [name for name in analysis.__all__ if inspect.isfunction(getattr(analysis, name))]

ANYTHING = (
    None, "x", -1, 0, 2.5, math.nan, math.inf, -1.0, True, 1j, [], [1, 2], (), {}, object(), [u, "x"], [[1, 2], [3]],
    (1, 2, 3, 4), np.float32(3), np.array([]), np.array("s"), np.array(["a"]), np.zeros((0, 3)), np.full(3, np.nan),
    np.ones(2), np.ones((2, 2)), np.ones((2, 2, 2, 2)), np.ones((1, 1, 1)), np.array([1, 2, 3]), np.array([True]),
    np.array([1 + 1j]))


def bad_values(right: Any) -> Iterator[Any]:
    """Yield what anybody may pass, and what is nearly right: another dtype, shape, sign, container, or with NaN."""
    yield from ANYTHING
    if isinstance(right, np.ndarray):
        yield from (right.astype(kind) for kind in ("f2", "f4", "i8", "c16", "O", np.longdouble, ">f8"))
        yield from (right[None], right.T, right[:0], right.tolist(), -abs(right), np.ma.array(right),
                    np.full(right.shape, np.nan), np.full(right.shape, np.inf))
    if isinstance(right, list) and isinstance(right[0], np.ndarray):
        yield from (tuple(right), right[0], right + right)
        yield from ([change(array) for array in right] for change in
                    (lambda w: w[None], lambda w: w.tolist(), lambda w: w * np.nan, lambda w: w.astype(int)))
    if isinstance(right, tuple):
        kind = type(right)
        yield from (kind(*[filler] * len(right)) for filler in ("x", None, np.ones(2)))  # type: ignore[call-arg]
        yield tuple(right)


def arguments(name: str) -> dict[str, Any]:
    """Return right arguments for a function: all of them."""
    own = SPECIAL.get(name, {})
    return {key: own.get(key, RIGHT.get(key)) for key in inspect.signature(getattr(analysis, name)).parameters}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.extra("plot")) if name.startswith("plot")
                                  else name for name in FUNCTIONS])
def test_a_bad_argument_is_named_or_means_something(name: str) -> None:
    function, right = getattr(analysis, name), arguments(name)
    function(**right)
    tally = Tally(f"bad arguments of {name}; refused are the non-trivial")
    for key in right:
        for value in bad_values(right[key]):
            refused = False
            try:
                function(**{**right, key: value})  # a warning is an error here
            except (TypeError, ValueError) as error:
                refused = True
                message = str(error)
                assert NAMED.match(message), f"{key}={value!r}: {message}"
            except Exception as error:
                pytest.fail(f"{key}={value!r}: {type(error).__name__}: {error}")
            if (name, key) not in LATER:
                tally.note(refused)
    if tally.cases:
        tally.require(0.5)


def test_numpy_s_own_messages_do_not_pass_for_a_name() -> None:
    for call in (lambda: np.ones(2) + np.ones(3), lambda: np.array([[1, 2], [3]]), lambda: np.random.default_rng(-1),
                 lambda: math.sqrt("x"), lambda: np.broadcast_arrays(u, dh[0, :, :2])):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert not NAMED.match(str(caught.value))
