"""Every engine computes the same recurrence; a faster one may not be a different one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from every_engine import EVERY, FAST
from hypothesis import given, settings
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.engines import numpy as numpy_engine
from indrnn_np.oracle import installation, references
from indrnn_np.oracle.inputs import STANDARD, Case, draw
from indrnn_np.oracle.report import judge

PIECEWISE_LINEAR = [name for name in installation.NAMES if ir.activations.resolve(name).name not in
                    ("tanh", "sigmoid", "softplus")]


def run(case: Case, engine: str) -> tuple[np.ndarray, ir.RecurrenceGradients]:
    a = case.x @ case.W.T + case.b
    h = ir.recurrent_forward(a, case.u, case.h0, case.activation, engine)
    return h, ir.recurrent_backward(case.dh, h, a, case.u, case.h0, case.activation, engine)


def check_against_the_specification(claim: str, examples: int, longest: int, engine: str) -> None:
    tally = Tally(f"{engine}: {claim}")

    @given(cases(longest=longest))
    @settings(max_examples=examples)
    def property_(case: Case) -> None:
        trace = ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation, engine=engine)
        got = {"h": trace.h, **ir.backward(case.dh, trace)._asdict()}
        expected = references.specification(case, trace.h)
        judgements = [judge("", case.id, case.activation, name, got[name], want, expected.allowed[name])
                      for name, want in expected.value.items()]
        assert all(j.right for j in judgements), [j for j in judgements if not j.right]
        judged = sum(j.judged for j in judgements)
        tally.note(remembers(case) and judged >= 3, max(j.ratio for j in judgements))
        if case.activation in PIECEWISE_LINEAR:
            (h, fast), (h_reference, slow) = run(case, engine), run(case, "reference")
            assert np.array_equal(h, h_reference)
            assert np.array_equal(fast.da, slow.da)
            assert np.array_equal(fast.dh0, slow.dh0)

    property_()
    tally.require(0.4)


@pytest.mark.parametrize("engine", EVERY)
def test_an_engine_agrees_with_the_specification_in_every_regime(engine: str) -> None:
    """In every bit for h, da and dh0 where σ is piecewise linear, within the derived error elsewhere."""
    check_against_the_specification("short sequences", examples=150, longest=40, engine=engine)


@pytest.mark.parametrize("engine", FAST)
def test_an_engine_agrees_with_the_specification_over_thousands_of_steps(engine: str) -> None:
    check_against_the_specification("up to 2000 steps", examples=25, longest=2000, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", FAST)
def test_an_engine_agrees_with_the_specification_over_thousands_of_steps_at_length(engine: str) -> None:
    check_against_the_specification("up to 2000 steps, at length", examples=1000, longest=2000, engine=engine)


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_blocks_of_steps_of_any_length_give_the_same_bits(activation, dtype, monkeypatch) -> None:
    case = draw("blocks", STANDARD["negative-u"], activation, dtype)
    _, whole = run(case, "numpy")
    for block_bytes in (1, 100, 1000):
        monkeypatch.setattr(numpy_engine, "BLOCK_BYTES", block_bytes)
        _, blocked = run(case, "numpy")
        assert np.array_equal(blocked.da, whole.da)
        assert np.array_equal(blocked.dh0, whole.dh0)


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", installation.NAMES)
@pytest.mark.parametrize("engine", FAST)
def test_nan_inf_and_overflow_go_the_same_way_on_every_engine(engine: str, activation: str, dtype: str) -> None:
    tally = Tally(f"{engine}, {activation}, {dtype}: non-finite")
    for seed in range(30):
        rng = np.random.default_rng(seed)
        T, B, N = int(rng.integers(1, 12)), int(rng.integers(1, 3)), int(rng.integers(1, 20))
        a, dh = (rng.standard_normal((T, B, N)).astype(dtype) for _ in "ad")
        u = (rng.standard_normal(N) * rng.choice([0, 1, 1e20], N)).astype(dtype)
        h0 = rng.standard_normal((B, N)).astype(dtype)
        for array in (a, dh, h0):
            places = rng.random(array.shape) < 0.1
            array[places] = rng.choice(np.array([np.nan, np.inf, -np.inf, 3e38, 0, -0.0], dtype), places.sum())
        h = ir.recurrent_forward(a, u, h0, activation, "reference")
        slow = ir.recurrent_backward(dh, h, a, u, h0, activation, "reference")
        fast = ir.recurrent_backward(dh, h, a, u, h0, activation, engine)
        pairs = [(ir.recurrent_forward(a, u, h0, activation, engine), h), (fast.da, slow.da), (fast.dh0, slow.dh0)]
        for got, want in pairs:
            assert np.array_equal(np.isnan(got), np.isnan(want))
            if activation in PIECEWISE_LINEAR:
                assert np.array_equal(got, want, equal_nan=True)
        tally.note(not all(np.isfinite(want).all() for _, want in pairs))
    tally.require(0.4)


@pytest.mark.parametrize("engine", EVERY)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_same_call_gives_the_same_bits(engine: str, activation: str) -> None:
    case = draw("repeat", STANDARD["wide"], activation, "float32")
    first, again = run(case, engine), run(case, engine)
    assert np.array_equal(first[0], again[0])
    assert all(map(np.array_equal, first[1], again[1]))


def test_the_chooser_takes_the_fastest_engine_that_can() -> None:
    a, u = np.ones((2, 1, 3)), np.ones(3)
    mine = ir.Activation("mine", np.tanh, np.cos)
    assert ir.engines.available()[0] == "reference"
    assert ir.engines.choose(None, a, ir.ACTIVATIONS["tanh"]) == ir.engines.on_the_cpu()[-1]
    assert ir.engines.choose(None, a + 0j, ir.ACTIVATIONS["tanh"]) == "reference"
    assert ir.engines.choose(None, a, mine) == "reference"
    assert ir.engines.choose("reference", a, ir.ACTIVATIONS["tanh"]) == "reference"
    assert ir.forward(a, np.ones((2, 3)), np.ones(2)).engine == ir.engines.on_the_cpu()[-1]
    assert ir.recurrent_forward(a + 0j, u + 0j).dtype == np.complex128


def test_an_activation_of_a_user_runs_as_it_is_also_under_a_name_of_the_library() -> None:
    a, u = np.full((1, 1, 3), 2.0), np.zeros(3)
    for name in ir.ACTIVATIONS:
        cube = ir.Activation(name, lambda z: z**3, lambda z: 3 * z**2)
        assert ir.engines.choose(None, a, cube) == "reference"
        assert np.array_equal(ir.recurrent_forward(a, u, activation=cube), a**3)
        with pytest.raises(ValueError, match=r"engine: 'numpy' does not run the activation"):
            ir.engines.choose("numpy", a, cube)


@pytest.mark.parametrize("engine", EVERY)
def test_inf_and_nan_flow_in_silence_whatever_the_caller_wants_to_hear_of_numpy(engine: str) -> None:
    """In the recurrence and in the affine map, forward and backward; the specification has more to run."""
    mine = ir.Activation("mine", lambda z: 1 / np.sqrt(z), lambda z: np.log(z))
    more = ((*installation.DTYPES, "complex64", "complex128"), (*installation.NAMES, mine))
    for dtype in more[0] if engine == "reference" else installation.DTYPES:
        a, dh, x, u, W, h0 = drawn_at_the_limits(dtype, (9, 2, 6), (9, 2, 6), (9, 2, 4), (6,), (6, 4), (2, 6))
        for activation in more[1] if engine == "reference" else installation.NAMES:
            with np.errstate(all="raise"):
                h = ir.recurrent_forward(a, u, h0, activation, engine)
                ir.recurrent_backward(dh, h, a, u, h0, activation, engine)
                ir.backward(dh, ir.forward(x, W, u, u, h0, activation, engine))
            assert np.isnan(h).any()


def drawn_at_the_limits(dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Draw arrays of 0, −1, the smallest and largest numbers, infinities and NaN."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    numbers = np.array([0, -1, info.tiny, info.max, np.inf, -np.inf, np.nan], dtype)
    arrays = [rng.choice(numbers, shape) for shape in shapes]
    for array in arrays if info.dtype != dtype else []:
        array.imag = rng.choice(numbers.real, array.shape)
    return arrays


@pytest.mark.parametrize("broken", [False, True], ids=["not installed", "refuses to be imported"])
def test_without_numba_the_numpy_engine_is_chosen_and_nothing_is_said(broken: bool, monkeypatch) -> None:
    def get(name: str) -> None:
        raise ImportError("Numba needs NumPy 2.4 or less")

    ir.engines._numba_works.cache_clear()
    try:
        with monkeypatch.context() as without:
            without.setattr(ir.engines, "find_spec", lambda name: broken or None)
            without.setattr(ir.engines, "get", get)
            assert ir.engines.on_the_cpu() == ("reference", "numpy")
            assert ir.engines.choose(None, np.ones(1), ir.ACTIVATIONS["relu"]) == "numpy"
            with pytest.raises(ValueError, match=r"engine: 'numba' needs Numba: pip install 'indrnn-np\[fast\]'"):
                ir.engines.choose("numba", np.ones(1), ir.ACTIVATIONS["relu"])
    finally:
        ir.engines._numba_works.cache_clear()


@pytest.mark.parametrize("engine", EVERY)
def test_results_are_new_arrays_in_c_order_whatever_came_in(engine: str) -> None:
    a = np.asfortranarray(np.ones((4, 3, 2)))
    h = ir.recurrent_forward(a, np.ones(2), activation="identity", engine=engine)
    assert h.flags.c_contiguous
    assert h.flags.writeable
    gradients = ir.recurrent_backward(a, h, None, np.ones(2), activation="identity", engine=engine)
    assert gradients.da.flags.c_contiguous
    assert not any(np.shares_memory(out, given) for out in gradients for given in (a, h))


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", installation.NAMES)
@pytest.mark.parametrize("engine", EVERY)
def test_a_result_in_the_caller_s_buffer_has_the_same_bits_also_over_the_argument(engine, activation, dtype) -> None:
    case = draw("buffers", STANDARD["negative-u"], activation, dtype)
    a = case.x @ case.W.T + case.b
    h, gradients = run(case, engine)
    for buffer in (np.full_like(a, np.nan), a.copy()):
        over = buffer if np.isfinite(buffer).all() else a
        assert ir.recurrent_forward(over, case.u, case.h0, activation, engine, buffer) is buffer
        assert np.array_equal(buffer, h)
    for buffer in (np.full_like(a, np.nan), case.dh.copy()):
        dh = buffer if np.isfinite(buffer).all() else case.dh
        again = ir.recurrent_backward(dh, h, a, case.u, case.h0, activation, engine, buffer)
        assert again.da is buffer
        assert all(map(np.array_equal, again, gradients))


@pytest.mark.parametrize("engine", EVERY)
def test_db_is_the_sum_of_da_in_the_same_pass(engine: str) -> None:
    for dtype in installation.DTYPES:
        case = draw("db", STANDARD["wide"], "relu", dtype)
        h, (da, _, _) = run(case, engine)
        db = np.empty_like(case.u)
        ir.engines.get(engine).backward(case.dh, h, None, case.u, case.h0, ir.ACTIVATIONS["relu"], None, db)
        T, B, _ = da.shape
        exact, terms = da.astype(np.longdouble).sum((0, 1)), np.abs(da).sum((0, 1))
        assert (abs(db - exact) <= T * B * np.finfo(dtype).eps / 2 * terms).all()


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", installation.NAMES)
@pytest.mark.parametrize("engine", FAST)
def test_each_direction_allocates_its_result_and_rows_alone(engine: str, activation: str, dtype: str) -> None:
    """The bytes per element that the engine's first lines state; with a buffer given, none."""
    T, B, N = 2000, 4, 64
    rng = np.random.default_rng(0)
    a, u = rng.standard_normal((T, B, N)).astype(dtype), np.full(N, 0.5, dtype)
    h, needs_z = ir.recurrent_forward(a, u, activation=activation, engine=engine), activation in ("tanh", "sigmoid")
    buffer, given = np.empty_like(a), a if needs_z else None
    rows = 20 * B * N * a.itemsize + 10_000 + (12 * numpy_engine.BLOCK_BYTES if engine == "numpy" else 0)

    def forward(out: np.ndarray | None) -> object:
        return ir.recurrent_forward(a, u, activation=activation, engine=engine, out=out)

    def backward(out: np.ndarray | None) -> object:
        return ir.recurrent_backward(a, h, given, u, activation=activation, engine=engine, out=out)

    for run_it in (forward, backward):
        run_it(buffer)
        assert a.nbytes <= peak(lambda run_it=run_it: run_it(None)) <= a.nbytes + rows
        assert peak(lambda run_it=run_it: run_it(buffer)) <= rows


def peak(run: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at a time."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
