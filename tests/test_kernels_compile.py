"""NVIDIA's compiler accepts every kernel as the launcher asks for it, and what it makes of them is what they say.

The instructions of the sequential kernels are the proof that "cuda_sequential" has NumPy's bits where σ is piecewise
linear: each operation rounds once, none is joined to another, and none takes a subnormal number for zero.
"""

from __future__ import annotations

import inspect
import re
from itertools import product
from typing import NamedTuple

import numpy as np
import nvrtc
import pytest

from indrnn_np.activations import ACTIVATIONS, resolve
from indrnn_np.engines import cuda
from indrnn_np.engines.cuda import Plan

pytestmark = pytest.mark.extra("nvrtc")

PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu")
HOPPER, OTHERS = 90, (75, 80, 100, 120)
SHAPES = [(T, B, 1) for T, B in product((1, cuda.SHORTEST - 1, cuda.SHORTEST, 5000),
                                        (1, 4095, 4096, cuda.CROSSOVER, cuda.CROSSOVER + 1))]

# All that does not fit into registers, by compute capability: bytes of a thread's loads and stores, and of its stack.
# Nothing in float32. 512 threads have 128 registers each, of which NVRTC 13.5 would rather use 64, for two blocks on a
# processor.
SPILLS = {
    ("backward_slices", "softplus", "float64"): {75: (8, 8), 80: (8, 8), 90: (8, 8)},
}


class Unit(NamedTuple):
    """One compilation, as the launcher asks for it."""

    name: str
    plan: Plan
    activation: str
    dtype: str

    @property
    def asked(self) -> tuple[str, tuple[str, ...]]:
        return cuda.source(self.name, self.plan), cuda.options(self.plan, self.activation, self.dtype)

    @property
    def threads(self) -> int:
        return self.plan.columns * self.plan.slices or cuda.THREADS

    def __str__(self) -> str:
        return "-".join((self.name, self.activation, self.dtype, *map(str, self.plan.sizes.values())))


def units() -> list[Unit]:
    """Everything that the launcher can ask for; backward_plain comes with forward_plain."""
    found = [Unit("sum_sequences", Plan("sums"), "identity", dtype) for dtype in ("float32", "float64")]
    for activation, dtype in product(ACTIVATIONS, ("float32", "float64")):
        found.append(Unit("forward_plain", Plan("plain"), activation, dtype))
        for direction in ("forward", "backward"):
            asked = direction, resolve(activation), np.dtype(dtype)
            plans = {cuda.sequential(*asked): None} | {cuda.fastest(*asked, shape): None for shape in SHAPES}
            found += [Unit(f"{direction}_{plan.kernel}", plan, activation, dtype) for plan in plans]
    return found


UNITS = units()
SEQUENTIAL = [unit for unit in UNITS if unit.plan.kernel != "slices" and unit.activation in PIECEWISE_LINEAR]
ONE_OF_EACH = [unit for unit in UNITS if unit.plan.columns != 32 and unit.activation == (
    "identity" if unit.plan.kernel == "sums" else "relu")]


def sound(unit: Unit, architecture: int) -> None:
    spilled = SPILLS.get((unit.name, unit.activation, unit.dtype), {}).get(architecture)
    allowed = [f"{unit.name} spills {spilled[0]} bytes, with {spilled[1]} of stack"] if spilled else []
    assert nvrtc.faults(*unit.asked, architecture, unit.threads) == allowed
    if unit in SEQUENTIAL:
        assert nvrtc.inexact(*unit.asked, architecture) == []


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_every_kernel_is_sound_on_the_h100(unit: Unit) -> None:
    sound(unit, HOPPER)


@pytest.mark.parametrize("architecture", OTHERS)
@pytest.mark.parametrize("unit", ONE_OF_EACH, ids=str)
def test_one_kernel_of_each_kind_is_sound_on_other_gpus(unit: Unit, architecture: int) -> None:
    sound(unit, architecture)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHERS)
@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in ONE_OF_EACH], ids=str)
def test_every_kernel_is_sound_on_other_gpus(unit: Unit, architecture: int) -> None:
    sound(unit, architecture)


def test_nothing_else_is_ever_launched() -> None:
    rng = np.random.default_rng(0)
    asked = {(unit.name, *unit[1:]) for unit in UNITS}
    for activation, dtype, direction in product(ACTIVATIONS, ("float32", "float64"), ("forward", "backward")):
        for shape in 2 ** rng.uniform(0, 12, (200, 3)):
            plan = cuda.fastest(direction, resolve(activation), np.dtype(dtype), tuple(shape.astype(int)))
            assert (f"{direction}_{plan.kernel}", plan, activation, dtype) in asked


@pytest.mark.extra("cuda13")
def test_cupy_adds_the_options_that_it_is_said_to() -> None:
    import cupy.cuda.compiler

    source = inspect.getsource(cupy.cuda.compiler)
    assert all(f"'{option}'" in source for option in nvrtc.CUPY_ADDS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("function", "instruction"), [("product", "mul"), ("sum", "add")])
def test_a_gpu_multiplies_where_the_cpu_that_plays_it_multiplies_and_adds_where_it_adds(function, instruction, dtype):
    """Their text is another one there, which no test on a CPU runs."""
    assert arithmetic(function, dtype) == [(instruction, "x[0], x[1]")]


def arithmetic(function: str, dtype: str, right: str = "", wrong: str = "") -> list[tuple[str, str]]:
    """Return the arithmetic of function(x[0], x[1]) on a GPU, if that is what is stored."""
    source = cuda.source("sum_sequences", Plan("sums")).replace(right, wrong)
    source += f'\nextern "C" __global__ void asked(const real* x, real* y) {{ *y = {function}(x[0], x[1]); }}'
    text = nvrtc.made(source, cuda.options(Plan("sums"), "identity", dtype), HOPPER).kernels["asked"].text
    loaded = {register: f"x[{int(offset or 0) // np.dtype(dtype).itemsize}]"
              for register, offset in re.findall(r"ld\.global\.\w+\s+(\S+), \[%rd\d+\+?(\d*)\];", text)}
    (stored,) = re.findall(r"st\.global\.\w+\s+\[\S+\], (\S+);", text)
    return [(name, f"{loaded.get(x)}, {loaded.get(y)}")
            for name, xy, x, y in re.findall(r"(\w+)\.rn\.f\d\d\s+(\S+), (\S+), (\S+);", text) if xy == stored]


# What the checks are worth: each is given a kernel with what it is to find.
PREFETCH = Unit("forward_prefetch", Plan("prefetch", ahead=32), "relu", "float64")
PLAIN = Unit("forward_plain", Plan("plain"), "relu", "float32")


def planted(right: str, wrong: str, unit: Unit) -> tuple[str, tuple[str, ...]]:
    source, options = unit.asked
    assert right in source
    return source.replace(right, wrong), options


def kernel(body: str, bounds: str = "") -> str:
    return f'extern "C" __global__ void {bounds} planted(float* x, int n) {{ {body} }}'


@pytest.mark.parametrize(("source", "threads", "complaint"), [
    (kernel("float y = x[n]; if (y > 0) n = 1;"), 128, "planted stores nothing"),
    (kernel("int unused; x[n] = 1;"), 128, 'variable "unused" was declared but never referenced'),
    (kernel("float y[99]; for (n = 0; n < 99; ++n) y[int(x[n])] = 1; x[0] = y[int(x[9])];"), 128, "of stack"),
    ('extern "C" __global__ void planted(float* x) { *x = 1; }\n'
     '#ifndef __CUDA_ARCH__\nextern "C" __global__ void lost(float* x) { *x = 1; }\n#endif', 1, "expected the kernels"),
])
def test_a_fault_is_found(source: str, threads: int, complaint: str) -> None:
    assert [fault for fault in nvrtc.faults(source, cuda.OPTIONS, HOPPER, threads) if complaint in fault]


@pytest.mark.parametrize(("right", "wrong", "complaint"), [
    ("__launch_bounds__(128, 1)", "__launch_bounds__(128, 8)", "forward_prefetch spills"),
    ("*store = h_prev;", "", "forward_prefetch stores nothing"),
])
def test_a_fault_in_a_kernel_of_ours_is_found(right: str, wrong: str, complaint: str) -> None:
    found = nvrtc.faults(*planted(right, wrong, PREFETCH), HOPPER, PREFETCH.threads)
    assert [fault for fault in found if fault.startswith(complaint)]


def test_too_large_a_block_is_found() -> None:
    assert re.search("takes [0-9]+ registers in each of 1024 threads", str(nvrtc.faults(*PREFETCH.asked, HOPPER, 1024)))


def test_more_shared_memory_than_a_block_may_have_is_an_error() -> None:
    source = kernel("__shared__ float s[12289]; s[n] = x[n]; __syncthreads(); x[0] = s[9];")
    with pytest.raises(RuntimeError, match="too much shared data"):
        nvrtc.faults(source, cuda.OPTIONS, HOPPER, 1)


@pytest.mark.parametrize(("right", "wrong", "found"), [
    ("sum(a, product(u, h_prev))", "a + u * h_prev", {"mul.rn.ftz.f32", "add.rn.ftz.f32"}),
    ("return positive(z) || is_nan(z) ?", "return z > real(0) || is_nan(z) ?", {"setp.le.ftz.f32", "setp.leu.ftz.f32"}),
    ("return positive(z) || is_nan(z) ? z : real(0)", "return fmaxf(z, 0)", {"max.ftz.f32"}),
])
def test_an_instruction_that_takes_subnormal_numbers_for_zero_is_found(right: str, wrong: str, found: set) -> None:
    assert set(nvrtc.inexact(*planted(right, wrong, PLAIN), HOPPER)) & found


@pytest.mark.parametrize(("function", "right", "wrong", "found"), [
    ("product", "mul.rn.f32", "add.rn.f32", [("add", "x[0], x[1]")]),
    ("product", '"=f"(xy) : "f"(x), "f"(y)', '"=f"(xy) : "f"(x), "f"(x)', [("mul", "x[0], x[0]")]),
    ("sum", "return both;", "return x;", []),
])
def test_another_operation_or_operand_is_found(function: str, right: str, wrong: str, found: list) -> None:
    assert right in cuda.source("sum_sequences", Plan("sums"))
    assert arithmetic(function, "float32", right, wrong) == found


@pytest.mark.parametrize(("dtype", "right", "wrong", "found"), [
    ("float32", "sum(a, product(u, h_prev))", "a + u * h_prev", "fma.rn.ftz.f32"),
    ("float64", "sum(a, product(u, h_prev))", "a + u * h_prev", "fma.rn.f64"),
    ("float64", "", "", "fma.rn.f64"),
])
def test_operations_that_are_joined_are_found(dtype: str, right: str, wrong: str, found: str) -> None:
    source, options = planted(right, wrong, PLAIN._replace(dtype=dtype))
    assert found in nvrtc.inexact(source, tuple(o for o in options if "fmad" not in o), HOPPER)
