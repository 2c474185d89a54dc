"""NumPy or CuPy, told by the arguments; mixing and absence said clearly."""

from __future__ import annotations

import sys

import fake_cupy
import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np import array_module
from indrnn_np.oracle import installation
from indrnn_np.oracle.inputs import SMALL, draw

MISSING = ("CuPy is not installed. For a GPU: pip install 'indrnn-np[cuda13]' (or [cuda12], to match the driver).")


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_everything_runs_on_cupy_arrays_without_a_numpy_array_in_between(activation, dtype, monkeypatch) -> None:
    """CuPy's part is played by arrays that raise where a NumPy array meets them."""
    cupy = fake_cupy.install(monkeypatch)
    case = draw("cupy", SMALL["few"], activation, dtype)
    x, W, u, b, h0, dh = case.arrays().values()
    on_gpu = {name: cupy.asarray(value) for name, value in case.arrays().items()}
    trace = ir.forward(*(on_gpu[name] for name in ("x", "W", "u", "b", "h0")), activation, engine="reference")
    assert array_module.is_cupy(trace.h)
    gradients = ir.backward(on_gpu["dh"], trace)
    here = ir.forward(x, W, u, b, h0, activation, engine="reference")
    assert np.array_equal(ir.to_numpy(trace.h), here.h)
    for got, want in zip(gradients, ir.backward(dh, here), strict=True):
        assert array_module.is_cupy(got)
        assert np.array_equal(ir.to_numpy(got), want)
    without = ir.forward(on_gpu["x"], on_gpu["W"], on_gpu["u"], activation=activation, engine="reference")
    assert all(map(array_module.is_cupy, ir.backward(on_gpu["dh"], without)))


def test_cupy_absent_is_one_clear_sentence(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ModuleNotFoundError) as refusal:
        array_module.require_cupy()
    assert str(refusal.value) == MISSING


@pytest.mark.extra("cuda13")
def test_cupy_without_a_gpu_is_one_clear_sentence() -> None:
    import cupy

    if cupy.cuda.is_available():
        assert array_module.require_cupy() is cupy
        return
    with pytest.raises(RuntimeError, match=r"^CuPy \d+\.\d+\.\d+ is installed, but no GPU answers: .*driver"):
        array_module.require_cupy()


def test_to_numpy_leaves_numpy_arrays_alone() -> None:
    x = np.ones(3)
    assert ir.to_numpy(x) is x
