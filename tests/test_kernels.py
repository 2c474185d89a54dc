"""The CUDA kernels compute the recurrence: their own source, run on the CPU, through the launcher that a GPU has.

CuPy's part is played by a stand-in whose arrays refuse NumPy's. What a C++ compiler makes of exp and tanh is not what
CUDA's does; all else, each addition and the order of it, is the same.

A new kernel needs `forward_NAME` and `backward_NAME` in files that `cuda.source` knows, sizes in `Plan`, and a line in
PLANS below, from which the tests here take it; they hold all but "slices" to the loop's bits. Once `cuda.sequential` or
`cuda.fastest` returns its plan, `test_kernels_compile` and `every_kernel` find it; KERNELS in `test_kernels_sanitized`
and `bench.gpu.plans` want a line too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.engines import cuda
from indrnn_np.engines.cuda import Plan
from indrnn_np.oracle import installation, references
from indrnn_np.oracle.inputs import STANDARD, Case, draw
from indrnn_np.oracle.report import judge

pytestmark = pytest.mark.program("g++")

PIECEWISE_LINEAR = [name for name in installation.NAMES if name not in cuda.SMOOTH]
COMPOSE = ("identity", "relu")
SHAPES = [(1, 1, 1), (2, 3, 1), (3, 1, 33), (4, 1, 5), (5, 2, 130), (7, 1, 3), (8, 1, 3), (9, 1, 3), (11, 1, 129),
          (61, 2, 2)]
PLAIN, AHEAD = Plan("plain"), Plan("prefetch", ahead=4)  # rounds of 4: T around 4 and 8 meets each way to begin and end
SLICES = Plan("slices", columns=4, slices=4, steps=3)    # tiles of 12
PLANS = {"plain": PLAIN, "prefetch": AHEAD, "slices": SLICES}


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    cuda._function.cache_clear()
    yield fake_cupy.install(monkeypatch)
    cuda._function.cache_clear()


class Given:
    """Random arguments of the recurrence, on the CPU and on the pretended GPU."""

    def __init__(self, shape: tuple[int, int, int], dtype: str, activation: str, seed: int = 0,
                 scale: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        _, B, N = shape
        self.σ = ir.activations.resolve(activation)
        self.a, self.dh = (scale * rng.standard_normal(shape).astype(dtype) for _ in "ad")
        self.u, self.h0 = rng.uniform(-1.2, 1.2, N).astype(dtype), scale * rng.standard_normal((B, N)).astype(dtype)

    def here(self) -> tuple[np.ndarray, ir.RecurrenceGradients]:
        """What the specification makes of them."""
        with np.errstate(all="ignore"):
            h = ir.recurrence.forward(self.a, self.u, self.h0, self.σ)
            return h, ir.recurrence.backward(self.dh, h, self.a, self.u, self.h0, self.σ)

    def forward(self, plan: Plan | None) -> np.ndarray:
        """Return h as the kernel has it."""
        a, u, h0 = map(fake_cupy.asarray, (self.a, self.u, self.h0))
        return cuda.forward(a, u, h0, self.σ, plan=plan).get()

    def backward(self, h: np.ndarray, plan: Plan | None) -> dict[str, np.ndarray]:
        """Return the gradients and db as the kernel has them, on this h."""
        dh, h, a, u, h0 = map(fake_cupy.asarray, (self.dh, h, self.a, self.u, self.h0))
        db = fake_cupy.asarray(np.full_like(self.u, np.nan))
        gradients = cuda.backward(dh, h, a if self.σ.needs_z else None, u, h0, self.σ, db=db, plan=plan)
        return {"db": db.get()} | {name: value.get() for name, value in gradients._asdict().items()}


def same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal, NaN where NaN, subnormal numbers kept, and the sign of zero."""
    return got.dtype == want.dtype and np.array_equal(got, want, equal_nan=True) and np.array_equal(
        np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", PIECEWISE_LINEAR)
@pytest.mark.parametrize("kernel", ["plain", "prefetch"])
def test_a_sequential_kernel_has_the_bits_of_the_specification(kernel: str, activation: str, dtype: str) -> None:
    """Also of numbers so small that they are subnormal, where CuPy's own kernels flush."""
    tiny = 4 * float(np.finfo(dtype).tiny)
    for shape in SHAPES:
        for scale in (1.0, tiny):
            case = Given(shape, dtype, activation, scale=scale)
            h, gradients = case.here()
            assert same_bits(case.forward(PLANS[kernel]), h)
            got = case.backward(h, PLANS[kernel])
            assert same_bits(got["da"], gradients.da)
            assert same_bits(got["dh0"], gradients.dh0)
    assert np.count_nonzero((h != 0) & (abs(h) < np.finfo(dtype).tiny)), "no subnormal number was met"


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_two_sequential_kernels_have_each_other_s_bits(activation: str, dtype: str) -> None:
    for shape in SHAPES:
        case = Given(shape, dtype, activation)
        h = case.forward(PLAIN)
        assert same_bits(case.forward(AHEAD), h)
        plain, ahead = case.backward(h, PLAIN), case.backward(h, AHEAD)
        assert all(same_bits(ahead[name], plain[name]) for name in plain)


class OnPlan:
    """The launcher kept to one plan, as an engine; forward falls back where slices have no forward."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def layer(self, case: Case) -> dict[str, np.ndarray]:
        """Run a whole layer."""
        composes = self.plan.kernel != "slices" or case.activation in COMPOSE
        a = case.x @ case.W.T + case.b
        arrays = {"a": a, "u": case.u, "h0": case.h0, "dh": case.dh}
        a, u, h0, dh = map(fake_cupy.asarray, arrays.values())
        σ = ir.activations.resolve(case.activation)
        h = cuda.forward(a, u, h0, σ, plan=self.plan if composes else AHEAD)
        db = fake_cupy.asarray(np.empty_like(case.u))
        da, du, dh0 = (each.get() for each in cuda.backward(dh, h, a, u, h0, σ, db=db, plan=self.plan))
        rows = da.reshape(-1, len(case.u))
        return {"h": h.get(), "du": du, "db": db.get(), "dh0": dh0, "dx": (rows @ case.W).reshape(case.x.shape),
                "dW": rows.T @ case.x.reshape(len(rows), -1)}


def judged(kernel: str, case: Case) -> list[Any]:
    """Judge all tensors of one case."""
    got = OnPlan(PLANS[kernel]).layer(case)
    with np.errstate(all="ignore"):
        expected = references.specification(case, got["h"])
    return [judge("", case.id, case.activation, name, got[name], want, expected.allowed[name])
            for name, want in expected.value.items()]


def check_against_the_specification(kernel: str, examples: int, longest: int) -> None:
    order = "scan" if kernel == "slices" else "loop"
    tally = Tally(f"{kernel} kernels, up to T = {longest}")

    @given(cases(longest=longest, order=order))
    @settings(max_examples=examples)
    def claim(case: Case) -> None:
        judgements = judged(kernel, case)
        assert all(j.right for j in judgements), [j for j in judgements if not j.right]
        tally.note(remembers(case) and sum(j.judged for j in judgements) >= 3, max(j.ratio for j in judgements))

    claim()
    tally.require(0.4)


@pytest.mark.parametrize("kernel", PLANS)
def test_a_kernel_stays_within_the_derived_error_in_every_regime(kernel: str) -> None:
    check_against_the_specification(kernel, examples=100, longest=60)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", PLANS)
def test_a_kernel_stays_within_the_derived_error_in_every_regime_at_length(kernel: str) -> None:
    check_against_the_specification(kernel, examples=3000, longest=400)


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", cuda.SMOOTH)
def test_slopes_keep_their_digits_in_the_tails(activation: str, dtype: str) -> None:
    """Six roundings; that of exp, 2ε, counts up to three times: 10ε of the value, however small it is."""
    case = Given((1, 1, 81), dtype, activation)
    case.a[0, 0], case.dh[...], case.u[...] = np.linspace(-40, 40, 81), 1, 0
    h, _ = case.here()
    z, state = case.a.astype(np.longdouble), h.astype(np.longdouble)
    e = np.exp(-abs(2 * z if activation == "tanh" else z))
    exact = -np.expm1(-state) if activation == "softplus" else (4 if activation == "tanh" else 1) * e / (1 + e) ** 2
    wrong = abs(case.backward(h, PLAIN)["da"] - exact)
    assert (wrong <= 10 * np.finfo(dtype).eps / 2 * exact).all()


@pytest.mark.parametrize(("engine", "activation"), [
    ("cuda", "relu"), ("cuda", "softplus"), ("cuda_sequential", "leaky_relu(0.125)"), ("cuda_sequential", "tanh")])
def test_the_engines_pass_the_oracle(engine: str, activation: str) -> None:
    report = installation.rows(engine, activation, "float32")[0].verify()
    assert report.passed, report


@pytest.mark.parametrize(("kernel", "right", "wrong"), [
    ("plain", "product(dz, h_prev)", "product(dz, h[at])"),
    ("prefetch", "product(dz, now.h_prev)", "product(dz, h_now)"),
    ("prefetch", "t - j - AHEAD > 0 ? h[load - columns] : start", "start"),
    ("prefetch", "if (t + j + AHEAD < T) { ring[j] = *load; load += columns; }", ""),
    ("slices", "real(map.s * dz + map.c)", "map.c"),
    ("slices", "lo = column.u < real(0) ? other : one;", "lo = one;"),
    ("slices", "du_of[slice][me.x]", "du_of[0][me.x]"),
])
def test_a_fault_in_the_source_is_seen(kernel: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = cuda.source
    assert right in source(f"forward_{PLANS[kernel].kernel}", PLANS[kernel]) + source("backward_", PLANS[kernel])
    monkeypatch.setattr(cuda, "source", lambda name, plan: source(name, plan).replace(right, wrong))
    found = (draw("planted", recipe, "relu", "float32", order="scan") for recipe in STANDARD.values())
    assert any(not j.right for case in found for j in judged(kernel, case))


# NaN, inf and overflow.


def extreme(kind: int, shape: tuple[int, int, int], dtype: str, activation: str, seed: int) -> Given:
    """Arguments in which something leaves the finite numbers, in one of eight ways."""
    case = Given(shape, dtype, activation, seed)
    rng = np.random.default_rng(seed)
    N, big = shape[2], 1e38 if dtype == "float32" else 1e308

    def somewhere(array: np.ndarray, value: float, share: float = 0.02) -> None:
        array[rng.random(array.shape) < share] = value

    if kind == 0:
        case.u = rng.uniform(1.5, 5, N)
    elif kind == 1:
        case.u = -rng.uniform(1.5, 5, N)
    elif kind == 2:
        case.u = np.zeros(N)
        somewhere(case.h0, np.inf, 0.5)
    elif kind == 3:
        case.u = rng.choice([0.0, -0.0, 1, -1, 2, -2, 1e20, -1e20, np.inf, np.nan], N)
    elif kind == 4:
        somewhere(case.a, np.inf)
        somewhere(case.dh, -np.inf)
    elif kind == 5:
        somewhere(case.a, np.nan)
        somewhere(case.dh, np.nan)
    elif kind == 6:
        somewhere(case.a, -np.inf)
        somewhere(case.h0, np.nan, 0.3)
        somewhere(case.u, 0, 0.3)
    else:
        case.a, case.u = case.a * case.a.dtype.type(big / 8), rng.uniform(-2, 2, N)
    case.u = case.u.astype(dtype)
    return case


def check_extremes(kernel: str, per_kind: int) -> None:
    tally = Tally(f"{kernel} kernels: NaN, inf and overflow")
    for seed in range(8 * per_kind):
        activation, dtype = installation.NAMES[seed // 8 % len(installation.NAMES)], installation.DTYPES[seed // 56 % 2]
        shape = tuple(int(n) for n in np.random.default_rng(seed).integers((1, 1, 1), (80, 3, 9)))
        case = extreme(seed % 8, shape, dtype, activation, seed)
        with np.errstate(all="ignore"):
            h, gradients = case.here()
        pairs = []
        if kernel != "slices" or activation in COMPOSE:
            pairs = [(case.forward(PLANS[kernel]), h)]
        got = case.backward(h, PLANS[kernel])
        pairs += [(got["da"], gradients.da), (got["dh0"], gradients.dh0)]
        for came, want in pairs:
            assert np.array_equal(np.isnan(came), np.isnan(want)), (seed, kernel, activation, dtype)
            if kernel != "slices" and activation in PIECEWISE_LINEAR:
                assert same_bits(came, want)
            elif activation in PIECEWISE_LINEAR:  # tanh of something near overflow may or may not pass it
                assert np.array_equal(np.isinf(came), np.isinf(want)), (seed, kernel, activation, dtype)
                assert np.array_equal(came[np.isinf(came)], want[np.isinf(want)])
        tally.note(not all(np.isfinite(want).all() for _, want in pairs))
    tally.require(0.5)


@pytest.mark.parametrize("kernel", PLANS)
def test_nan_inf_and_overflow_go_the_way_of_the_loop(kernel: str) -> None:
    check_extremes(kernel, per_kind=28)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", PLANS)
def test_nan_inf_and_overflow_go_the_way_of_the_loop_at_length(kernel: str) -> None:
    check_extremes(kernel, per_kind=560)


@pytest.mark.parametrize("guard", ["if (is_nan(map.c) || !(magnitude(h) < SMALL)) return false;",
                                   "if (is_nan(map.c) || !(magnitude(dz) < SMALL)) return false;"])
def test_each_guard_of_the_slices_is_needed(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = cuda.source
    assert guard in source("forward_slices", SLICES)
    monkeypatch.setattr(cuda, "source", lambda name, plan: source(name, plan).replace(guard, ""))
    with pytest.raises(AssertionError):
        check_extremes("slices", per_kind=28)


def test_forward_in_slices_rounds_once_a_slice_before_that_of_the_step() -> None:
    """For u^8 is formed in double: of these u, its rounding in float32, always the same, would add up to far more."""
    plan, T = Plan("slices", columns=4, slices=8, steps=8), 640
    case = Given((T, 1, 4), "float32", "identity")
    drawn = np.random.default_rng(0).uniform(0.99, 1, 1000).astype("f4")
    in_float = np.prod([drawn] * 8, axis=0, dtype="f4")
    case.u = drawn[np.argsort(in_float / drawn.astype("f8") ** 8)[:4]]
    case.a[...], case.h0[...] = 0, 1
    t = np.arange(T)
    tile, slice_, step = t // 64, t % 64 // 8, t % 8
    roundings = tile * (7 + 8) + slice_ + step + 1
    unit = roundings * (2.0**-24 + 9 * 2.0**-53)  # of float32; of the product of a slice and what enters it
    exact = case.u.astype(np.longdouble) ** (t[:, None] + 1)
    wrong = abs(case.forward(plan)[:, 0] - exact) / exact
    assert (wrong <= (unit / (1 - unit))[:, None]).all()


def backward_in_slices(dh: list[float], h: list[float], u: float, alpha: float, steps: int) -> Iterator[np.ndarray]:
    """Return da of one column by the specification, then by slices of that many steps; numbers are from the last on."""
    case = Given((len(dh), 1, 1), "float32", f"leaky_relu({alpha!r})")
    case.dh[:, 0, 0], case.u[0] = dh[::-1], u
    states = np.array(h, "f4")[::-1].reshape(-1, 1, 1)
    with np.errstate(all="ignore"):
        yield ir.recurrence.backward(case.dh, states, None, case.u, case.h0, case.σ).da[::-1, 0, 0]
    yield case.backward(states, SLICES._replace(steps=steps))["da"][::-1, 0, 0]


@pytest.mark.parametrize(("steps", "gain", "enters"), [(3, 1e17, 1e8), (8, 25e3, 1e9), (3, 1e5, 1e33)])
def test_what_overflows_within_a_slice_does_though_the_product_of_its_slopes_does_not(steps, gain, enters) -> None:
    """All steps of a slice but the last multiply by the gain; the last, and all after it, by 1e-8."""
    u, n = 1e-8, steps - 1
    h = [*steps * [1.0], *n * [-1.0], 1.0, *2 * steps * [1.0]]
    loop, slices = backward_in_slices([*n * [0.0], enters, *3 * steps * [0.0]], h, u, gain / u, steps)
    assert np.isfinite(loop[:steps]).all()
    assert np.isinf(loop[2 * steps:]).all()
    assert float(enters) * gain**n * u < np.finfo("f4").max
    assert np.array_equal(slices, loop)


def test_what_enters_a_slice_may_round_a_step_of_it_up_to_infinity() -> None:
    """From a dz of 2^28 that enters, the loop rounds up five times where a run that nothing enters rounds down."""
    enters, alpha, u = 2.0**-62, 2.0**90, 2.0**-84
    below = 2.0**38 - 2.0**14  # the number before 2^38, which alpha carries to the largest of all; 2^38 to infinity
    dh = [2.0**-32 - 2.0**-56, 2.0**-2 + 2.0**-25, -2.0**-18, 2.0**7 - 2.0**10, below, -2.0**6 * below]
    loop, slices = backward_in_slices([*5 * [0.0], enters, *dh, *12 * [1.0]], 24 * [-1.0], u, alpha, steps=6)
    nothing, _ = backward_in_slices([*6 * [0.0], *dh, *12 * [1.0]], 24 * [-1.0], u, alpha, steps=6)
    assert np.isinf(loop[10:]).all()
    assert np.isfinite(nothing[:13]).all()
    assert np.array_equal(slices, loop)


# What holds of every call.


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("kernel", PLANS)
def test_threads_in_any_order_give_the_same_bits(kernel: str, activation: str) -> None:
    """A kernel that missed a barrier, or added up in the order in which threads come, would not."""
    case = Given((50, 3, 5), "float32", activation)
    h, _ = case.here()
    results = []
    for order in (0, 0, 1, 5, 11):  # the first call compiles
        cuda_on_cpu.shuffle(order)
        forward = [case.forward(PLANS[kernel])] if kernel != "slices" or activation in COMPOSE else []
        results.append([*forward, *case.backward(h, PLANS[kernel]).values()])
    cuda_on_cpu.shuffle(0)
    assert all(all(map(same_bits, result, results[0])) for result in results)


def test_a_missing_barrier_is_seen_by_the_order_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    source = cuda.source
    monkeypatch.setattr(cuda, "source", lambda name, plan: source(name, plan).replace("__syncthreads();", "", 1))
    with pytest.raises(AssertionError):
        test_threads_in_any_order_give_the_same_bits("slices", "relu")


@pytest.mark.parametrize("dtype", installation.DTYPES)
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("kernel", PLANS)
def test_results_may_be_written_over_the_argument(kernel: str, activation: str, dtype: str) -> None:
    case = Given((61, 2, 5), dtype, activation)
    a, u, h0 = map(fake_cupy.asarray, (case.a, case.u, case.h0))
    plan = AHEAD if kernel == "slices" and activation not in COMPOSE else PLANS[kernel]
    apart = case.forward(plan)
    over = fake_cupy.asarray(case.a)
    assert cuda.forward(over, u, h0, case.σ, out=over, plan=plan) is over
    assert same_bits(over.get(), apart)
    separate, over = case.backward(apart, PLANS[kernel]), fake_cupy.asarray(case.dh)
    gradients = cuda.backward(over, fake_cupy.asarray(apart), a, u, h0, case.σ, out=over, plan=PLANS[kernel])
    assert gradients.da is over
    assert all(same_bits(value.get(), separate[name]) for name, value in gradients._asdict().items())


@pytest.mark.parametrize("kernel", PLANS)
def test_where_subnormal_numbers_are_flushed_the_derived_error_holds(kernel: str, monkeypatch) -> None:
    """As CUDA's own exp and tanh do under CuPy, and the products of slopes; here everything does."""
    monkeypatch.setattr(cuda, "OPTIONS", (*cuda.OPTIONS, "-DFLUSH"))
    check_against_the_specification(kernel, examples=30, longest=60)
    a = np.full((4, 1, 1), np.finfo("f4").tiny / 4)
    case = Given(a.shape, "float32", "relu")
    case.a, case.h0 = a, np.zeros((1, 1), "f4")
    assert (case.forward(PLANS[kernel]) == 0).all(), "nothing was flushed"
