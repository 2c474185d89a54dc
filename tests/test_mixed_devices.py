"""A NumPy array beside one of CuPy, or arrays of two GPUs: one sentence that names both, in every room.

Each call below has one argument that `other` moves to the device; with an `other` that moves nothing it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import fake_cupy
import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np import analysis, oracle

rng = np.random.default_rng(0)
T, B, N = 4, 2, 3
x, a, dh, slopes = (rng.standard_normal((T, B, N)) for _ in range(4))
W, U, h0, u = (rng.standard_normal(shape) for shape in ((N, N), (N, N), (B, N), (N,)))
size = abs(u)
trace = ir.forward(x, W, u)
direction = analysis.PerParameter(W, u, u, h0)
hessian = {"x": x, "W": W, "u": u, "direction": direction}

MIXED: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "u, as a": lambda other: ir.recurrence.forward(a, other(u), h0, "relu"),
    "u_dot, as a": lambda other: ir.recurrence.jvp(a, u, h0, "relu", a, other(u), h0),
    "h0, as a": lambda other: ir.recurrent_forward(a, u, other(h0)),
    "out, as a": lambda other: ir.recurrent_forward(a, u, out=other(np.empty_like(a))),
    "W, as x": lambda other: ir.forward(x, other(W), u),
    "dh, as h": lambda other: ir.backward(other(dh), trace),
    "H0, as u": lambda other: analysis.largest_sensitivity(T, u, H0=other(size)),
    "A, as u": lambda other: analysis.a_priori_bounds(T, u, A=other(size)),
    "slope, as u": lambda other: analysis.memory_length(u, 0.1, slope=other(size)),
    "du, as v": lambda other: analysis.clip_in_graph(u)[1](other(u)),
    "W, as dz": lambda other: analysis.input_gradient_bound(size[None], other(W)),
    "direction.u, as u": lambda other: analysis.hessian_vector_product(
        analysis.linear_loss(dh), **hessian | {"direction": direction._replace(u=other(u))}),
    "loss.gradient, as h": lambda other: analysis.complex_step_hessian_vector_product(
        analysis.linear_loss(other(dh)), **hessian),
    "y, as h": lambda other: analysis.gauss_newton_product(analysis.squared_loss(other(dh)), **hessian),
    "curvature, as h": lambda other: analysis.gauss_newton_diagonal(trace, other(dh)),
    "maps[1], as maps[0]": lambda other: analysis.inclusive_scan(analysis.Affine(a, other(a))),
    "u[1], as W[0]": lambda other: analysis.stack_bound([W, U], [u, other(u)], 3),
    "slopes, as U": lambda other: analysis.rnn_jacobians(U, other(slopes)),
    "W, as u": lambda other: oracle.to_ours({"u": u, "W": other(W)}, "indrnn_np"),
}


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    return fake_cupy.install(monkeypatch)


def elsewhere(array: np.ndarray) -> Any:
    moved = fake_cupy.asarray(array)
    moved.device = SimpleNamespace(id=1)
    return moved


@pytest.mark.parametrize("names", MIXED)
def test_a_numpy_array_and_one_of_cupy_are_an_error_that_names_both(names: str) -> None:
    argument, _, first = names.partition(", as ")
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  the whole sentence is compared
        MIXED[names](fake_cupy.asarray)
    assert str(refusal.value) == (f"{argument}: expected an array on the CPU, as {first} is; got one on GPU 0. "
                                  "Move one of them: to_numpy(x) or cupy.asarray(x).")
    MIXED[names](np.copy)


@pytest.mark.parametrize("call", [
    lambda there: ir.recurrent_forward(there(a), elsewhere(u)),
    lambda there: ir.forward(there(x), elsewhere(W), there(u)),
    lambda there: analysis.largest_sensitivity(T, there(u), H0=elsewhere(size)),
    lambda there: analysis.rnn_jacobians(there(U), elsewhere(slopes)),
])
def test_arrays_of_two_gpus_are_an_error_that_names_both(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r"^\w+: expected an array on GPU 0, as \w+ is; got one on GPU 1\."):
        call(fake_cupy.asarray)


def test_the_two_sides_of_an_adjoint_identity_are_of_one_library() -> None:
    with pytest.raises(TypeError, match=r"^pushed\['h'\]: expected an array of numpy, as .*; got one of cupy"):
        oracle.numerical.adjoint_identity({"h": u}, {"h": fake_cupy.asarray(u)}, {}, {})


# The stand-in is as strict as the real CuPy, which needs no GPU to be asked what it has.

LACKING: dict[str, Callable[[Any, Any], Any]] = {
    "a function": lambda cupy, v: cupy.spacing,
    "a context": lambda cupy, v: cupy.errstate,
    "a function by NumPy's name": lambda cupy, v: np.spacing(v),
    "a function of linalg": lambda cupy, v: cupy.linalg.vector_norm,
    "an attribute": lambda cupy, v: v.ctypes,
    "a method": lambda cupy, v: v.setflags(write=False),
    "a flag": lambda cupy, v: v.flags.aligned,
    "a method's keyword": lambda cupy, v: v.max(initial=0.0),
    "a ufunc's keyword": lambda cupy, v: cupy.add(v, v, where=True),
    "a function's keyword": lambda cupy, v: cupy.concatenate([v, v], axes=0),
    "a ufunc's dtype": lambda cupy, v: cupy.floor_divide(v * 1j, v),
    "a ufunc's method": lambda cupy, v: np.add.accumulate(v),
    "a wide scalar": lambda cupy, v: v * np.longdouble(1),
    "a wide array": lambda cupy, v: cupy.zeros(3, np.longdouble),
    "an array of strings": lambda cupy, v: cupy.asarray(["a"]),
    "an array of objects": lambda cupy, v: cupy.asarray([object()]),
    "a list for an array": lambda cupy, v: cupy.sum([1.0, 2.0]),
    "a truth value for an array": lambda cupy, v: cupy.where(True, v, v),
    "a list beside an array": lambda cupy, v: v + [1.0, 2.0, 3.0],  # noqa: RUF005
    "an index": lambda cupy, v: range(v.astype(int)[0]),
}


@pytest.mark.extra("cuda13")
@pytest.mark.parametrize("what", LACKING)
def test_what_the_real_cupy_lacks_the_stand_in_lacks(what: str, cupy: Any) -> None:
    with pytest.raises((AttributeError, TypeError)):
        LACKING[what](cupy, cupy.asarray(u))


def test_what_the_real_cupy_has_the_stand_in_has(cupy: Any) -> None:
    v = cupy.asarray(u)
    assert float(cupy.linalg.norm(v)) == float(np.linalg.norm(u))
    assert np.array_equal((np.float64(2) * v).get(), 2 * u)
    assert [float(number) for number in v] == u.tolist()
    assert np.array_equal(v[v > 0].get(), u[u > 0])
    assert np.array_equal(cupy.multiply(v, 3, out=v).get(), 3 * u)
    assert isinstance(v.sum(), cupy.ndarray), "a reduction stays on the device"
    view = v[1:]
    view[...] = 0
    assert not v.get()[1:].any(), "a view shares memory"
