"""The layer: Eq. 2 with its affine map, five gradients, and good manners towards its arguments."""

from __future__ import annotations

import numpy as np
import pytest
from every_engine import EVERY

import indrnn_np as ir
from indrnn_np.oracle import installation, references
from indrnn_np.oracle.inputs import STANDARD, draw
from indrnn_np.oracle.numerical import complex_step
from indrnn_np.oracle.report import judge

ARGUMENTS = ("x", "W", "u", "b", "h0")


@pytest.fixture
def case():
    return draw("layer", STANDARD["small"], "tanh", "float64")


def run(case, engine, **changed):
    given = {name: getattr(case, name) for name in ARGUMENTS} | changed
    trace = ir.forward(**given, activation=case.activation, engine=engine)
    return trace, ir.backward(changed.get("dh", case.dh), trace)


@pytest.mark.parametrize("engine", EVERY)
def test_a_bias_or_state_left_out_is_zero_and_has_a_gradient(engine: str, case) -> None:
    left_out, gradients = run(case, engine, b=None, h0=None)
    zero, same = run(case, engine, b=np.zeros_like(case.b), h0=np.zeros_like(case.h0))
    assert np.array_equal(left_out.h, zero.h)
    assert all(map(np.array_equal, gradients, same))
    assert gradients.db.any()
    assert gradients.dh0.any()


def test_all_five_gradients_are_derivatives(case) -> None:
    _, gradients = run(case, None)
    values = {name: getattr(case, name) for name in ARGUMENTS}
    for name in ARGUMENTS:
        def J(v: np.ndarray, name: str = name) -> np.ndarray:
            arguments = {other: value + 0j for other, value in values.items()} | {name: v}
            return (case.dh * ir.forward(**arguments, activation="tanh").h).sum()
        numerical = complex_step(J, values[name])
        got = getattr(gradients, "d" + name)
        assert got.shape == values[name].shape
        assert (abs(got - numerical) <= 1e-13 * (1 + abs(numerical))).all()  # 35 × 5 terms of size 1


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_no_argument_is_modified_and_read_only_ones_work(engine: str, activation: str) -> None:
    case = draw("manners", STANDARD["small"], activation, "float32")
    before = case.arrays()
    for name in (*ARGUMENTS, "dh"):
        getattr(case, name).flags.writeable = False
    trace, gradients = run(case, engine)
    h = trace.h.copy()
    ir.backward(case.dh, trace)
    assert np.array_equal(trace.h, h)
    for name, value in before.items():
        assert np.array_equal(getattr(case, name), value)
    for result in (trace.h, *gradients):
        assert result.flags.writeable
        assert not any(np.shares_memory(result, getattr(case, name)) for name in (*ARGUMENTS, "dh"))


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_memory_layout_does_not_matter(engine: str, activation: str) -> None:
    """Fortran order, strides and views of larger arrays give the recurrence's bits and a right layer."""
    case = draw("layout", STANDARD["small"], activation, "float32")

    def strided(v: np.ndarray) -> np.ndarray:
        spread = np.zeros([2 * n for n in v.shape], v.dtype)
        spread[tuple(slice(None, None, 2) for _ in v.shape)] = v
        return spread[tuple(slice(None, None, 2) for _ in v.shape)]

    def backwards(v: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(v[::-1])[::-1]

    a = case.x @ case.W.T + case.b
    h = ir.recurrent_forward(a, case.u, case.h0, activation, engine)
    gradients = ir.recurrent_backward(case.dh, h, a, case.u, case.h0, activation, engine)
    for change in (np.asfortranarray, strided, backwards):
        a_2, u, h0, dh, h_2 = map(change, (a, case.u, case.h0, case.dh, h))
        assert np.array_equal(ir.recurrent_forward(a_2, u, h0, activation, engine), h)
        again = ir.recurrent_backward(dh, h_2, a_2, u, h0, activation, engine)
        assert all(map(np.array_equal, gradients, again))
        trace = ir.forward(*(change(getattr(case, name)) for name in ARGUMENTS), activation, engine)
        got = {"h": trace.h, **ir.backward(dh, trace)._asdict()}
        expected = references.specification(case, trace.h)  # matrix products may be summed in another order
        for name, want in expected.value.items():
            assert judge("", "", "", name, got[name], want, expected.allowed[name]).right, (change, name)


def test_the_trace_keeps_what_backward_needs_and_no_more(case) -> None:
    for name in installation.NAMES:
        trace = ir.forward(case.x, case.W, case.u, case.b, activation=name)
        assert (trace.a is None) == (name not in ("tanh", "sigmoid"))
        assert trace.x is case.x
        assert not any(np.shares_memory(trace.h, given) for given in (trace.x, trace.W, trace.u, trace.h0))
        assert trace.a is None or not np.shares_memory(trace.h, trace.a)
    trace = ir.forward(case.x, case.W, case.u, case.b, activation="leaky_relu(0.125)", engine="numpy")
    assert repr(trace) == "Trace(T=7, B=3, M=8, N=5, leaky_relu(0.125), float64, engine='numpy')"


def test_dtype_in_is_dtype_out(case) -> None:
    for dtype in (np.float32, np.float64, np.complex64, np.complex128):
        trace = ir.forward(*(getattr(case, name).astype(dtype) for name in ARGUMENTS), "sigmoid")
        assert {out.dtype for out in (trace.h, *ir.backward(case.dh.astype(dtype), trace))} == {np.dtype(dtype)}


def test_a_loud_numpy_does_not_make_it_raise() -> None:
    x, W, u = np.full((3, 1, 1), 1e38, np.float32), np.ones((1, 1), np.float32), np.full(1, 1e38, np.float32)
    with np.errstate(all="raise"):
        trace = ir.forward(x, W, u, activation="identity")
        gradients = ir.backward(np.ones_like(x), trace)
    assert np.isinf(trace.h[-1])
    assert np.isinf(gradients.dh0)
