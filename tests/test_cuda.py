"""The launcher of the kernels: which one runs, and what it refuses to hand to a pointer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import fake_cupy
import numpy as np
import pytest
from test_kernels import PLAIN, Given, same_bits

import indrnn_np as ir
from indrnn_np.engines import cuda
from indrnn_np.engines.cuda import Plan

pytestmark = pytest.mark.program("g++")


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    cuda._function.cache_clear()
    yield fake_cupy.install(monkeypatch)
    cuda._function.cache_clear()


def test_the_shape_decides_which_kernel_runs() -> None:
    relu, tanh = ir.ACTIVATIONS["relu"], ir.ACTIVATIONS["tanh"]
    f4, f8 = np.dtype("f4"), np.dtype("f8")
    small, large, short = (5000, 1, 512), (150, 128, 2048), (10, 1, 512)
    assert cuda.fastest("forward", relu, f4, small) == Plan("slices", columns=8, slices=64, steps=8)
    assert cuda.fastest("backward", tanh, f8, (784, 32, 128)) == Plan("slices", columns=32, slices=16, steps=4)
    for direction, σ, shape in (("forward", tanh, small), ("forward", relu, large), ("backward", relu, large),
                                ("backward", tanh, short)):
        assert cuda.fastest(direction, σ, f4, shape) == cuda.sequential(direction, σ, f4)
    assert cuda.sequential("forward", relu, f4).ahead == 2 * cuda.sequential("forward", relu, f8).ahead == 64


def test_cupy_arrays_run_on_the_gpu_unless_another_engine_is_named() -> None:
    case = Given((70, 2, 5), "float32", "relu")
    a, u, h0, dh = map(fake_cupy.asarray, (case.a, case.u, case.h0, case.dh))
    assert ir.engines.available()[-2:] == ("cuda_sequential", "cuda")
    assert ir.engines.choose(None, a, case.σ) == "cuda"
    assert ir.engines.choose("reference", a, case.σ) == "reference"
    mine = ir.Activation("mine", np.tanh, np.cos)
    assert ir.engines.choose(None, a, mine) == "reference"
    h = ir.recurrent_forward(a, u, h0, engine="cuda_sequential")
    assert same_bits(h.get(), case.here()[0])
    gradients = ir.recurrent_backward(dh, h, None, u, h0, engine="cuda_sequential")
    assert same_bits(gradients.da.get(), case.here()[1].da)
    assert type(h) is fake_cupy.ndarray


def test_each_gpu_has_kernels_of_its_own(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right, compiled = cupy.RawModule.get_function, []

    def get_function(module: Any, name: str) -> Any:
        compiled.append((name, cupy.cuda.runtime.getDevice()))
        return right(module, name)

    monkeypatch.setattr(cupy.RawModule, "get_function", get_function)
    for device in (0, 1, 0, 1):
        monkeypatch.setattr(cupy.cuda.runtime, "getDevice", lambda device=device: device)
        monkeypatch.setattr(fake_cupy.ndarray, "device", SimpleNamespace(id=device))
        called()
    assert compiled == [(name, device) for device in (0, 1)
                        for name in ("forward_prefetch", "backward_prefetch", "sum_sequences")]


# Bad input: one clear sentence each.


def called(**changed: Any) -> ir.RecurrenceGradients:
    """Call both directions of the launcher, something about the arguments changed."""
    case = Given((4, 2, 3), "float32", "relu")
    arrays = {name: fake_cupy.asarray(getattr(case, name)) for name in ("a", "u", "h0", "dh")} | changed
    h = cuda.forward(arrays["a"], arrays["u"], arrays["h0"], case.σ, arrays.get("out"))
    return cuda.backward(arrays["dh"], arrays.get("h", h), None, arrays["u"], arrays["h0"], case.σ, db=arrays.get("db"))


def elsewhere(shape: tuple[int, ...]) -> Any:
    array = fake_cupy.asarray(np.zeros(shape, "f4"))
    array.device = SimpleNamespace(id=1)
    return array


@pytest.mark.parametrize(("changed", "error", "message"), [
    ({"a": np.zeros((4, 2, 3), "f2")}, TypeError, r"^a: expected dtype float32 or float64; got float16\.$"),
    ({"a": np.zeros((4, 2, 3), "i4")}, TypeError, r"^a: expected dtype float32 or float64; got int32\.$"),
    ({"u": np.zeros(3, "f8")}, TypeError, r"^u: expected dtype float32; got float64\.$"),
    ({"u": np.zeros(4, "f4")}, ValueError, r"^u: expected shape \(3,\); got \(4,\)\.$"),
    ({"dh": np.zeros((3, 2, 4), "f4").T}, ValueError, r"^dh: expected an array in C order, .* strides \(4, 16, 32\)"),
    ({"a": np.zeros((4, 2, 6), "f4")[:, :, ::2]}, ValueError, r"^a: expected an array in C order.* cupy\.asc.*\(a\)"),
    ({"db": np.zeros(6, "f4")[::2]}, ValueError, r"^db: expected an array in C order"),
    ({"h0": np.zeros((2, 1), "f4")}, ValueError, r"^h0: expected shape \(2, 3\); got \(2, 1\)\.$"),
])
def test_an_array_that_a_kernel_cannot_take_is_named(changed, error, message) -> None:
    with pytest.raises(error, match=message):
        called(**{name: fake_cupy.lying_as(value) for name, value in changed.items()})


FORWARD, BACKWARD = ("a", "u", "h0", "out"), ("h", "dh", "a", "u", "h0", "out", "db")


def bad(array: np.ndarray) -> Iterator[tuple[Any, str]]:
    """Make of an array everything that a kernel cannot take, each with its complaint."""
    yield array, "expected a CuPy array"
    yield fake_cupy.asarray(array.astype("f8")), "expected dtype float32"
    yield fake_cupy.asarray(array[..., :1]), "expected shape"
    yield fake_cupy.lying_as(np.repeat(array, 2, axis=-1)[..., ::2]), "expected an array in C order"
    memory = np.zeros(array.nbytes + 8, "u1")
    yield fake_cupy.lying_as(memory[1:array.nbytes + 1].view("f4").reshape(array.shape)), "expected an aligned array"
    yield elsewhere(array.shape), "expected an array on GPU 0"


@pytest.mark.parametrize(("direction", "name"), [
    *(("forward", name) for name in FORWARD), *(("backward", name) for name in BACKWARD)])
def test_no_argument_reaches_a_kernel_unchecked(direction: str, name: str) -> None:
    case = Given((4, 2, 3), "float32", "tanh")
    given = {"a": case.a, "u": case.u, "h0": case.h0, "h": case.a, "dh": case.dh, "out": case.a.copy(), "db": case.u}
    run = {"forward": lambda a, u, h0, out: cuda.forward(a, u, h0, case.σ, out),
           "backward": lambda h, dh, a, u, h0, out, db: cuda.backward(dh, h, a, u, h0, case.σ, out, db)}[direction]
    names = FORWARD if direction == "forward" else BACKWARD
    right = {each: fake_cupy.asarray(given[each]) for each in names}
    run(**right)
    for array, complaint in bad(given[name]):
        if name == names[0] and complaint.startswith(("expected dtype", "expected shape")):
            continue  # the others are then held against it
        with pytest.raises((TypeError, ValueError), match=f"^{name}: {complaint}"):
            run(**right | {name: array})


def test_arrays_of_numpy_or_of_another_gpu_are_named() -> None:
    with pytest.raises(TypeError, match=r"^u: expected a CuPy array; got ndarray\.$"):
        called(u=np.zeros(3, "f4"))
    with pytest.raises(ValueError, match=r"^h0: expected an array on GPU 0, the current device; got one on GPU 1\."):
        called(h0=elsewhere((2, 3)))
    everywhere = {name: elsewhere(shape) for name, shape in (("a", (4, 2, 3)), ("u", (3,)), ("h0", (2, 3)))}
    with pytest.raises(ValueError, match=r"^a: .* on GPU 0, the current device; .* GPU 1\. Make that current: with a"):
        ir.recurrent_forward(**everywhere)


def test_a_stream_of_another_gpu_is_refused(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy.cuda, "get_current_stream", lambda: SimpleNamespace(device_id=1))
    with pytest.raises(ValueError, match=r"current stream on GPU 0, the current device; it is on GPU 1\."):
        called()


def test_more_columns_than_the_grid_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "MOST_BLOCKS", 2)
    wide = Given((1, 1, 65), "float32", "relu")
    with pytest.raises(ValueError, match=r"^B·N: expected at most 64 columns.* got 65\.$"):
        wide.forward(PLAIN)


def test_without_a_compiler_the_sentence_says_what_to_install(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Any, name: str) -> None:
        raise OSError("libnvrtc.so was not found")

    monkeypatch.setattr(cupy.RawModule, "get_function", missing)
    with pytest.raises(RuntimeError, match=r"^engine: 'cuda' could not compile forward_prefetch for relu, float32\. .*"
                                           r"'cupy-cuda13x\[ctk\]'.*libnvrtc\.so was not found$"):
        called()


@pytest.mark.parametrize(("engine", "message"), [
    ("numba", r"^engine: 'numba' does not run CuPy arrays; use 'cuda'"), ("numpy", "does not run CuPy arrays"),
    ("cuda2", r"^engine: expected one of .*; got 'cuda2'\. Did you mean 'cuda'\?$")])
def test_an_engine_that_cannot_run_cupy_arrays_says_which_can(engine: str, message: str) -> None:
    if engine == "numba" and "numba" not in ir.engines.on_the_cpu():
        message = "needs Numba"
    with pytest.raises(ValueError, match=message):
        ir.recurrent_forward(*map(fake_cupy.asarray, (np.ones((2, 1, 3)), np.ones(3))), engine=engine)


def test_numpy_arrays_for_the_gpu_s_engine_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    a, u = np.ones((2, 1, 3)), np.ones(3)
    with pytest.raises(ValueError, match=r"^engine: 'cuda' runs CuPy arrays; got NumPy's\. Move them: cupy\.asarray"):
        ir.recurrent_forward(a, u, engine="cuda")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ModuleNotFoundError, match=r"^CuPy is not installed\."):
        ir.recurrent_forward(a, u, engine="cuda")
