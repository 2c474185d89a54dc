"""What only a GPU can show. Where none answers, the same tests are rehearsed on a pretended one, as far as it goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import every_kernel
import numpy as np
import pretended_gpu
import pytest

import indrnn_np as ir
from indrnn_np.array_module import require_cupy, to_numpy
from indrnn_np.bench import gpu, gpu_check
from indrnn_np.engines import cuda
from indrnn_np.engines import numpy as numpy_engine
from indrnn_np.oracle import installation

PRETENDED, GPU = pytest.mark.program("g++"), pytest.mark.gpu
PLACES = [pytest.param("pretended", marks=PRETENDED), pytest.param("a GPU", marks=GPU)]


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CuPy, or what pretends to be it; kernels of the one are not left to the other."""
    cuda._function.cache_clear()
    if request.param == "pretended":
        pretended_gpu.install(monkeypatch)
    yield require_cupy()
    cuda._function.cache_clear()


def moved(cupy: Any, given: gpu_check.Given) -> list[Any]:
    return [cupy.asarray(array) for array in given[:4]]


def pretended(cupy: Any) -> bool:
    return cupy.__version__.endswith("(pretended)")


def right(verdict: gpu_check.Verdict) -> bool:
    return verdict.right and verdict.repeatable


@pytest.mark.parametrize(("cupy", "activation", "dtype"), [
    pytest.param("pretended", "relu", "float32", marks=PRETENDED),
    pytest.param("pretended", "tanh", "float64", marks=PRETENDED),
    *(pytest.param("a GPU", activation, dtype, marks=GPU)
      for activation in installation.NAMES for dtype in installation.DTYPES)], indirect=["cupy"])
def test_every_kernel_is_right_on_awkward_shapes_and_on_numbers_that_cannot_be_composed(cupy, activation, dtype):
    found = list(every_kernel.verdicts(activation, dtype))
    assert len(found) >= 20
    assert [line for line in found if not right(line[-1])] == []


@pytest.mark.gpu
@pytest.mark.parametrize("cupy", ["a GPU"], indirect=True)
@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("shape", gpu.SHAPES, ids=str)
def test_the_engine_s_choice_is_right_on_the_shapes_that_are_measured(cupy, shape, activation, dtype) -> None:
    checker = gpu_check.Checker(gpu_check.draw(shape, activation, dtype))
    for direction in gpu.DIRECTIONS:
        plan = cuda.fastest(direction, ir.activations.resolve(activation), np.dtype(dtype), shape)
        verdict, _ = gpu.checked(checker, direction, plan)
        assert right(verdict), (direction, plan, verdict)


@pytest.mark.parametrize("cupy", PLACES, indirect=True)
@pytest.mark.parametrize("shape", [(600, 1, 40), (30, 3, 700)], ids=str)  # in slices of time, or not
def test_the_current_stream_is_the_one_that_computes(cupy, shape) -> None:
    """The drive arrives late, on a stream that waits for no other: whoever computes elsewhere reads NaN."""
    source, u, h0, dh = moved(cupy, gpu_check.draw(shape, "relu", "float32"))
    h = ir.recurrent_forward(source, u, h0)  # compiles, too
    wanted = h, *ir.recurrent_backward(dh, h, None, u, h0)
    a, work = cupy.full_like(source, np.nan), cupy.zeros(1 << (10 if pretended(cupy) else 24), np.float32)
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        for _ in range(200):
            work.fill(1)
        cupy.copyto(a, source)
        h = ir.recurrent_forward(a, u, h0)
        found = h, *ir.recurrent_backward(dh, h, None, u, h0)
    stream.synchronize()
    for one, other in zip(found, wanted, strict=True):
        assert np.isfinite(to_numpy(one)).all()
        assert np.array_equal(to_numpy(one), to_numpy(other))


@pytest.mark.parametrize("cupy", PLACES, indirect=True)
def test_an_array_on_another_gpu_is_refused(cupy) -> None:
    a, u, h0, _ = moved(cupy, gpu_check.draw((3, 2, 4), "relu", "float32"))
    if pretended(cupy):
        elsewhere = a.view()
        elsewhere.device = cupy.cuda.Device(1)
        elsewhere.device.id = 1
    else:
        if cupy.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("needs two GPUs")
        with cupy.cuda.Device(1):
            elsewhere = cupy.asarray(a.get())
    with pytest.raises(ValueError, match="u: expected an array on GPU 1, as a is; got one on GPU 0"):
        ir.recurrent_forward(elsewhere, u, h0)
    with pytest.raises(ValueError, match=r"a: expected an array on GPU 0, the current device; got one on GPU 1"):
        cuda.forward(elsewhere, u, h0, ir.activations.resolve("relu"))


@pytest.mark.parametrize("cupy", PLACES, indirect=True)
@pytest.mark.parametrize("shape", [(600, 3, 40), (150, 8, 2050)], ids=str)
def test_twenty_runs_give_the_same_bits(cupy, shape) -> None:
    if pretended(cupy):
        shape = (100, 2, 5)
    a, u, h0, dh = moved(cupy, gpu_check.draw(shape, "relu", "float32"))
    σ, db = ir.activations.resolve("relu"), cupy.empty_like(u)

    def run() -> list[bytes]:
        h = cuda.forward(a, u, h0, σ)
        results = (h, *cuda.backward(dh, h, None, u, h0, σ, db=db), db)
        return [to_numpy(each).tobytes() for each in results]

    first = run()
    assert all(run() == first for _ in range(19))


@pytest.mark.gpu
@pytest.mark.parametrize("cupy", ["a GPU"], indirect=True)
def test_more_elements_than_32_bits_can_count_are_all_reached(cupy) -> None:
    T, N = 2050, 1 << 20
    needed = 2 * 4 * T * N + (1 << 30)
    free, _ = cupy.cuda.runtime.memGetInfo()
    if free < needed:
        pytest.skip(f"needs {needed >> 30} GiB of free memory on the GPU; there are {free >> 30}")
    rng, σ = np.random.default_rng(0), ir.activations.resolve("relu")
    rows, columns, more = (rng.standard_normal(shape, np.float32) for shape in ((T, 1, 1), (1, 1, N), (T, 1, 1)))
    u, h0 = rng.uniform(-1, 1, N).astype(np.float32), rng.standard_normal((1, N), np.float32)
    few = np.r_[0:3, N // 2:N // 2 + 3, N - 3:N]
    there = cupy.asarray(few)

    h = cupy.add(cupy.asarray(rows), cupy.asarray(columns))
    cuda.forward(h, cupy.asarray(u), cupy.asarray(h0), σ, out=h)
    want = numpy_engine.forward(rows + columns[..., few], u[few], h0[:, few], σ)
    assert np.array_equal(to_numpy(h[..., there]), want)

    da = cupy.add(cupy.asarray(more), cupy.asarray(columns))
    found = cuda.backward(da, h, None, cupy.asarray(u), cupy.asarray(h0), σ, out=da)
    wanted = numpy_engine.backward(more + columns[..., few], want, None, u[few], h0[:, few], σ)
    assert np.array_equal(to_numpy(found.da[..., there]), wanted.da)
    assert np.array_equal(to_numpy(found.dh0[..., there]), wanted.dh0)


@pytest.mark.gpu
def test_kernels_are_compiled_once_and_kept_on_disk(tmp_path: Path) -> None:
    run = ("import cupy, indrnn_np as ir; a, u = cupy.ones((9, 2, 3), 'f'), cupy.ones(3, 'f'); "
           "h = ir.recurrent_forward(a, u); ir.recurrent_backward(a, h, None, u)")

    def kept() -> dict[str, int]:
        subprocess.run([sys.executable, "-c", run], check=True, env=os.environ | {"CUPY_CACHE_DIR": str(tmp_path)})
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    first = kept()
    assert len(first) >= 3  # forward, backward, sums
    assert kept() == first


@pytest.mark.parametrize(("options", "code", "outcome"), [((), 0, "SKIPPED"), (("--gpu",), 1, "ERROR")])
def test_without_a_gpu_such_tests_are_skipped_or_where_one_is_promised_fail(tmp_path: Path, options, code, outcome):
    (tmp_path / "cupy.py").write_text("raise ModuleNotFoundError", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "32_bits",
               *options, __file__]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
                         env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert ran.returncode == code
    assert outcome in ran.stdout
    assert "needs a GPU: CuPy is not installed." in ran.stdout
