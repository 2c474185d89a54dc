"""The compiled engine: the specification's bits in any shape, layout and threads; every planted mistake is caught."""

from __future__ import annotations

import inspect
import re
import threading
from importlib import import_module

import numpy as np
import planted
import pytest
from high_precision import mp
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import Mutant, build
from tally import Tally

import indrnn_np as ir
from indrnn_np.engines import columns
from indrnn_np.oracle import candidates, installation

pytestmark = pytest.mark.extra("fast")
DTYPES = installation.DTYPES
PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu(0.3)")


@pytest.fixture
def engine():
    return import_module("indrnn_np.engines.numba")


def arguments(T: int, B: int, N: int, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"a": (T, B, N), "dh": (T, B, N), "u": (N,), "h0": (B, N)}
    drawn = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    return drawn | {"u": (drawn["u"] * 0.7).astype(dtype)}


def run(engine: str, activation: str, a, dh, u, h0) -> tuple[np.ndarray, ...]:
    h = ir.recurrent_forward(a, u, h0, activation, engine)
    return h, *ir.recurrent_backward(dh, h, a, u, h0, activation, engine)


def same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    return got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes()


def test_h_da_and_dh0_have_the_specification_s_bits_in_every_shape(two_cores, monkeypatch) -> None:
    """The sign of a zero too; one step, sequence or neuron, odd sizes, and sizes that end within a block or a chunk."""
    tally = Tally("numba: the specification's bits")

    @given(st.sampled_from(PIECEWISE_LINEAR), st.sampled_from(DTYPES), st.sampled_from((1, 64, 1 << 16)),
           st.sampled_from((1, 3000, 1 << 22)), st.integers(0, 2**32))
    @settings(max_examples=300)
    def property_(activation, dtype, block_bytes, chunk_bytes, seed) -> None:
        monkeypatch.setattr(columns, "BLOCK_BYTES", block_bytes)
        monkeypatch.setattr(columns, "CHUNK_BYTES", chunk_bytes)
        T, B, N = map(int, np.random.default_rng(seed).integers(1, (31, 6, 71)))
        given = arguments(T, B, N, dtype, seed)
        h, da, _, dh0 = run("numba", activation, **given)
        h_wanted, da_wanted, _, dh0_wanted = run("reference", activation, **given)
        assert same_bits(h, h_wanted)
        assert same_bits(da, da_wanted)
        assert same_bits(dh0, dh0_wanted)
        tally.note(T > 1 and B * N > 16)  # more than one block

    property_()
    tally.require(0.3)


def test_a_compiler_that_contracts_to_fma_would_be_caught(engine) -> None:
    """The bits above can differ: they do where a + u · h is rounded once."""
    source = inspect.getsource(engine)
    fused = source.replace("forceinline=True", 'forceinline=True, fastmath={"contract"}')
    assert fused != source
    module: dict[str, object] = {"__name__": "fused", "__package__": "indrnn_np.engines"}
    exec(compile(fused, "fused", "exec"), module)
    given = arguments(9, 2, 64, "float32")
    del given["dh"]
    h, once = (run_it(**given, activation=ir.ACTIVATIONS["identity"]) for run_it in (engine.forward, module["forward"]))
    assert not same_bits(h, once)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 1000), (700, 1, 1), (3, 1000, 1), (40, 3, 4001), (2, 33, 1030)])
def test_sizes_that_span_blocks_and_threads_have_the_same_bits(shape, two_cores) -> None:
    given = arguments(*shape, "float32")
    for got, want in zip(run("numba", "relu", **given)[:2], run("reference", "relu", **given)[:2], strict=True):
        assert same_bits(got, want)


@pytest.mark.parametrize("activation", installation.NAMES)
def test_neither_threads_nor_blocks_nor_the_moment_change_a_bit(activation: str, monkeypatch) -> None:
    given = arguments(300, 3, 701, "float32")
    first = run("numba", activation, **given)
    for threads, block_bytes, chunk_bytes, again in ((1, 1 << 16, 1, 1), (2, 1 << 16, 1 << 22, 3), (3, 1000, 70_000, 3),
                                                     (2, 16, 1 << 20, 1)):
        monkeypatch.setattr(columns, "cores", lambda threads=threads: threads)
        monkeypatch.setattr(columns, "BLOCK_BYTES", block_bytes)
        monkeypatch.setattr(columns, "CHUNK_BYTES", chunk_bytes)
        for _ in range(again):
            assert all(map(same_bits, run("numba", activation, **given), first)), (threads, block_bytes, chunk_bytes)


def test_threads_end_with_the_call_and_it_does_without_any(two_cores, monkeypatch) -> None:
    given = arguments(20, 2, 100, "float32")
    started = []

    class Watched(threading.Thread):
        def start(self) -> None:
            started.append(self)
            super().start()

    monkeypatch.setattr(columns, "Thread", Watched)
    with_threads = run("numba", "relu", **given)
    assert len(started) == 2  # one beside this one in each direction
    assert not any(thread.is_alive() for thread in started)

    class NoMore(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(columns, "Thread", NoMore)
    assert all(map(same_bits, run("numba", "relu", **given), with_threads))


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_only_strided_unaligned_and_mapped_arrays_are_taken(dtype: str, tmp_path) -> None:
    def unaligned(v: np.ndarray) -> np.ndarray:
        bytes_ = np.zeros(v.nbytes + 1, np.uint8)[1:]
        moved = bytes_.view(v.dtype).reshape(v.shape)
        moved[...] = v
        assert v.ndim == 0 or not moved.flags.aligned
        return moved

    def mapped(v: np.ndarray) -> np.ndarray:
        file = np.memmap(tmp_path / f"{len(list(tmp_path.iterdir()))}", v.dtype, "w+", shape=v.shape)
        file[...] = v
        return file

    def read_only(v: np.ndarray) -> np.ndarray:
        v = v.copy()
        v.flags.writeable = False
        return v

    plain = arguments(9, 3, 20, dtype)
    for activation in ("relu", "tanh"):
        wanted = run("numba", activation, **plain)
        for change in (read_only, np.asfortranarray, unaligned, mapped, lambda v: np.repeat(v, 2, axis=-1)[..., ::2],
                       lambda v: np.flip(np.flip(v).copy())):
            got = run("numba", activation, **{name: change(v) for name, v in plain.items()})
            assert all(map(same_bits, got, wanted)), change


@pytest.mark.parametrize("activation", PIECEWISE_LINEAR)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_that_are_only_read_may_be_one_array(dtype: str, activation: str, two_cores) -> None:
    """A step promises that no row it writes to overlaps another: those that it reads may, as where J = ½ |h|²."""
    h = arguments(9, 3, 40, dtype)["a"]

    def both_directions(engine: str) -> list[np.ndarray]:
        forward = ir.recurrent_forward(h, h[0, 0], h[-1], activation, engine)
        da, _, dh0 = ir.recurrent_backward(h, h, h, h[0, 0], h[0], activation, engine)
        return [forward, da, dh0]

    assert all(map(same_bits, both_directions("numba"), both_directions("reference")))


def test_a_kernel_is_told_where_it_writes_over_what_it_reads(engine, monkeypatch) -> None:
    """Else it would break its promise; that the bits come out right all the same here is the compiler's good will."""
    told = []
    kernel = engine._kernel
    monkeypatch.setattr(engine, "_kernel", lambda *kind, in_place: told.append(in_place) or kernel(*kind, in_place))
    h, u = np.ones((3, 2, 4)), np.ones(4)
    for out in (None, np.empty_like(h), a := np.ones_like(h)):
        ir.recurrent_forward(a, u, engine="numba", out=out)
    for out in (None, np.empty_like(h), dh := np.ones_like(h)):
        ir.recurrent_backward(dh, h, None, u, engine="numba", out=out)
    assert told == [False, False, True] * 2


def test_a_kernel_sees_plain_aligned_arrays_in_order_and_copies_none_that_is_so_already(engine) -> None:
    """Numba itself would take what begins between two numbers, and give machine code that may assume otherwise."""
    class Mine(np.ndarray):
        pass

    plain = np.arange(24.0).reshape(2, 3, 4)
    moved = np.frombuffer(b"?" + plain.tobytes(), np.uint8)[1:].view(float).reshape(plain.shape)
    assert not moved.flags.aligned
    read_only = np.broadcast_to(plain, plain.shape)
    assert engine._in_order(plain) is plain
    assert engine._in_order(read_only) is read_only
    for other in (moved, plain.view(Mine), np.asfortranarray(plain), np.repeat(plain, 2, axis=-1)[..., ::2]):
        ordered = engine._in_order(other)
        assert type(ordered) is np.ndarray
        assert ordered.flags.aligned
        assert ordered.flags.c_contiguous
        assert same_bits(ordered, plain)


EXACT = {"tanh": (mp.tanh, lambda z: mp.sech(z) ** 2), "sigmoid": (lambda z: 1 / (1 + mp.exp(-z)),
                                                                   lambda z: 1 / (mp.exp(z / 2) + mp.exp(-z / 2)) ** 2),
         "softplus": (lambda z: mp.log1p(mp.exp(z)), lambda z: 1 / (1 + mp.exp(-z)))}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", EXACT)
def test_the_compiled_functions_are_good_to_4_ulp(activation: str, dtype: str) -> None:
    """σ(z) and σ'(z), over the whole range: one step of the recurrence with u = 0 and dh = 1.

    exp(−|z|) below the smallest normal number may be 0, and tanh's slope has it four times. Softplus's slope is that
    of the h that it is given.
    """
    info, tally = np.finfo(dtype), Tally(f"numba: {activation} in {dtype}, ulp ÷ 4")
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(-1, 1, 400), rng.uniform(-120, 120, 300), rng.standard_normal(400) * 5,
                        rng.choice([-1, 1], 300) * 10 ** rng.uniform(-30, 0, 300), rng.uniform(-800, 800, 100),
                        np.log(2) * (np.arange(-150, 50) / 2)]).astype(dtype)
    a, u = z[None, None], np.zeros(len(z), dtype)
    h = ir.recurrent_forward(a, u, activation=activation, engine="numba")
    da = ir.recurrent_backward(np.ones_like(a), h, a, u, activation=activation, engine="numba").da
    with mp.workdps(60):
        for k, argument in enumerate(z):
            value, slope = (function(mp.mpf(float(argument))) for function in EXACT[activation])
            if activation == "softplus":
                slope = -mp.expm1(-mp.mpf(float(h[0, 0, k])))
            for got, want in ((h[0, 0, k], value), (da[0, 0, k], slope)):
                ulp = max(float(np.spacing(np.abs(np.dtype(dtype).type(float(want))))), float(info.tiny))
                tally.note(abs(want) > info.tiny, float(abs(mp.mpf(float(got)) - want)) / (4 * ulp))
    tally.require(0.8)
    assert tally.worst <= 1


def test_the_engine_is_right_without_its_compiler_too(engine, monkeypatch) -> None:
    """NUMBA_DISABLE_JIT runs the same text as plain Python, which is how the mutants below are run."""
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    monkeypatch.setattr("indrnn_np.oracle.verification.CHECKS", planted.QUICK)
    for activation in installation.NAMES:
        plain = build(Mutant("none", "forward", "np.empty", "np.empty", module=engine))
        report = verify(plain, activation)
        assert report.passed, report


def verify(module, activation: str) -> ir.oracle.Report:
    return ir.oracle.verify(candidates.from_engine_module(module), (activation,), ("float32",), diagnose=False)


MUTANTS = [
    Mutant("the drive of the step before", "_forward", "drive[t, ", "drive[t - 1, "),
    Mutant("h_0 at every step", "_forward", "if t > 0", "if False"),
    Mutant("h_0 at every first step of a chunk", "_forward", "if t > 0", "if t > first"),
    Mutant("a block's columns of u are the first", "_forward", "weight[left - low:right - low]",
           "weight[:right - left]"),
    Mutant("u added", "_step", "u[c] * h_prev", "u[c] + h_prev"),
    Mutant("u missing in the carry", "_step_back", "u[c] * dz_next[c]", "dz_next[c]"),
    Mutant("the carry lost", "_backward", "if t + 1 < T", "if False"),
    Mutant("the carry lost between chunks", "_backward", "if t + 1 < T", "if t + 1 < end"),
    Mutant("du with h_t", "_step_back", "v * h_prev[c]", "v * h[c]"),
    Mutant("du of the first step alone", "_step_back", "du[c] +=", "du[c] ="),
    Mutant("the last cotangent at the first step", "_backward", "partial[t, left:right]",
           "partial[t if t > 0 else -1, left:right]"),
    Mutant("h_0 left out of du", "_backward", "state_0[left:right]", "0 * state_0[left:right]"),
    Mutant("the last step left out", "_backward", "range(end - 1,", "range(end - 2,"),
    Mutant("a chunk's first step left out", "_backward", "max(end - depth, 0) - 1", "max(end - depth, 0)"),
    Mutant("a chunk's last step left out", "_forward", "min(first + depth, T)", "min(first + depth - 1, T)"),
    Mutant("a block's last column left out", "_forward", "min(left + width, high)", "min(left + width - 1, high)"),
    Mutant("a block's last column left out, backward", "_backward", "min(left + width, high)",
           "min(left + width - 1, high)"),
    Mutant("dh0 without u", "_over_columns", "u[c] * dz_1", "dz_1"),
    Mutant("dh0 of another column", "_over_columns", "dz_1[c]", "dz_1[0]"),
    Mutant("du of one sequence", "_over_sequences", "in sums_over_time[k]", "in sums_over_time[k][:1]"),
    Mutant("a part left out", "run", "range(0, columns, share)", "range(share, columns, share)", module=columns),
    Mutant("a part's last column left out", "run", "min(low + share, columns)", "min(low + share - 1, columns)",
           module=columns),
    Mutant("a part's first column has the first u", "_by_column", "n = low % len(u)", "n = 0"),
    Mutant("the next sequence has u from its second neuron on", "_by_column", "else 0", "else 1 % len(u)"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mistake_planted_in_this_engine_is_caught(mutant: Mutant, engine, monkeypatch, request) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    monkeypatch.setattr("indrnn_np.oracle.verification.CHECKS", planted.QUICK)
    monkeypatch.setattr(columns, "BLOCK_BYTES", 64)  # so that small cases have several blocks
    monkeypatch.setattr(columns, "CHUNK_BYTES", 64)
    if mutant.function == "_by_column":
        request.getfixturevalue("two_cores")  # one core's part begins with the first column
    if mutant.module is columns:
        wrong = build(Mutant("none", "forward", "np.empty", "np.empty", module=engine))
        in_parts = build(mutant)
        wrong.run, in_parts.cores, in_parts.THREADED, in_parts.NARROWEST = in_parts.run, lambda: 2, 1, 1
    else:
        wrong = build(mutant._replace(module=engine))
    for activation in ("relu", "tanh"):
        assert not verify(wrong, activation).passed


def labels(engine, direction: str, dtype: str) -> set[str]:
    """Compile a loop and return, of what the compiler says of it, the names of its vector parts."""
    real = getattr(engine.types, dtype)
    row, rows, cube = (engine.types.Array(real, rank, "C") for rank in (1, 2, 3))
    arrays = [cube, row, rows, cube] if direction == "_forward" else [cube] * 3 + [row, rows, cube, rows, cube]
    loop = engine.numba.njit(nogil=True, error_model="numpy")(getattr(engine, direction)(engine.RELU, False))
    loop.compile(engine.types.void(*arrays, engine.types.float64, *(engine.types.intp,) * 4))
    return set(re.findall(r"vector\.[a-z]+", next(iter(loop.inspect_llvm().values()))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", ["_forward", "_backward"])
def test_a_step_computes_many_columns_at_once_and_compares_no_addresses_before(direction, dtype, engine) -> None:
    found = labels(engine, direction, dtype)
    assert "vector.body" in found
    assert "vector.memcheck" not in found


def test_without_the_promise_the_compiler_compares_addresses(engine) -> None:
    """So the test above can fail."""
    wrong = build(Mutant("no promise", "_of_rows_apart", "flags.noalias = True", "flags.noalias = False",
                         module=engine))
    assert "vector.memcheck" in labels(wrong, "_backward", "float32")


FUNCTIONS = [
    ("_value", "real(0) if z <= real(0) else z", "real(0) if z < real(-1) else z", "relu"),
    ("_value", "alpha * z if", "z if", "leaky_relu"),
    ("_value", "real(-2) * abs(z)", "-abs(z)", "tanh"),
    ("_value", "(e if z < real(0) else real(1))", "real(1)", "sigmoid"),
    ("_value", "z if z > real(0) else real(0)", "real(0)", "softplus"),
    ("_pull", "real(4) * ", "", "tanh"),
    ("_pull", "alpha * g", "g", "leaky_relu"),
    ("_pull", "return g if h > real(0) else real(0) if h <= real(0) else h", "return g", "relu"),
    ("_pull", "-_expm1(-h)", "-_expm1(h)", "softplus"),
    ("_logistic_slope", "one_more * one_more", "one_more", "sigmoid"),
    ("_reduced", "series * r + real", "series * r - real", "tanh"),
    ("_log1p", "real(2) * (s", "real(1) * (s", "softplus"),
]


@pytest.mark.parametrize(("function", "right", "wrong", "activation"), FUNCTIONS)
def test_every_mistake_planted_in_its_activations_is_caught(function, right, wrong, activation, engine,
                                                            monkeypatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    monkeypatch.setattr("indrnn_np.oracle.verification.CHECKS", planted.QUICK)
    assert not verify(build(Mutant("", function, right, wrong, module=engine)), activation).passed
