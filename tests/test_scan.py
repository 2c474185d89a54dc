"""The recurrence as a scan: closed under composition, equal to the loop, and the loop's where it could overflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from rational import CLAMPS, exact_forward, fractions
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.activations import resolve
from indrnn_np.analysis import Affine, Clamp, combines, hard_tanh, inclusive_scan, relu6, scan, scan_rounding
from indrnn_np.analysis import scan_backward_error as backward_error
from indrnn_np.analysis import scan_forward_error as forward_error
from indrnn_np.oracle import tolerance
from indrnn_np.oracle.inputs import Case

INF = math.inf


# The monoid, in exact rationals.


def random_maps(rng: np.random.Generator, count: int) -> Clamp:
    """Draw maps over small rationals; slopes of both signs and 0, and ends at infinity, among them."""
    def rational(span: int) -> np.ndarray:
        return fractions(rng.integers(-span, span + 1, count)) / fractions(rng.integers(1, 5, count))

    low, high = np.sort(np.stack([rational(12), rational(12)]), axis=0)
    low[rng.random(count) < 0.3], high[rng.random(count) < 0.3] = -INF, INF
    return Clamp(rational(3), rational(12), low, high)


def by_definition(f: Clamp, h: np.ndarray) -> np.ndarray:
    return np.array([min(hi, max(lo, s * y + c)) for s, c, lo, hi, y in zip(*f, h, strict=True)], object)


def same(f: Clamp, g: Clamp) -> bool:
    return all((one == other).all() for one, other in zip(f, g, strict=True))


def check_monoid(count: int, after: type[Clamp] = Clamp) -> None:
    rng = np.random.default_rng(13)
    f, g, k = (after(*random_maps(rng, count)) for _ in range(3))
    composed, threefold = g.after(f), k.after(g).after(f)
    assert (composed.lo <= composed.hi).all()
    for h in (fractions(rng.integers(-40, 41, count)) / 3, f.c, -f.c):
        assert (by_definition(composed, h) == by_definition(g, by_definition(f, h))).all(), "closed"
        assert (f(h) == by_definition(f, h)).all(), "applied as defined"
    assert same(threefold, k.after(g.after(f))), "associative, number by number"
    neutral = after(*(np.array([v], object) for v in (Fraction(1), Fraction(0), -INF, INF)))
    assert same(neutral.after(f), f), "identity on the left"
    moving, unmoved = after(*(v[f.s != 0] for v in f)), f.after(neutral)
    assert same(moving.after(neutral), moving), "identity on the right"
    assert (unmoved.lo == unmoved.hi)[f.s == 0].all(), "a constant map comes out as its one value"
    assert same(unmoved.after(neutral), unmoved), "and stays so"
    bent = (threefold.s != 0) & (threefold.lo < threefold.hi) & ((threefold.lo > -INF) | (threefold.hi < INF))
    assert bent.mean() > 0.25, "most of these compositions are constants or lines"
    assert ((f.s == 0) & np.isinf(f.lo.astype(float))).any(), "0 · ∞ was not among them"


def test_clamps_compose_to_clamps_and_are_a_monoid_in_exact_rationals() -> None:
    check_monoid(4000)


@pytest.mark.slow
def test_clamps_compose_to_clamps_and_are_a_monoid_in_many_exact_cases() -> None:
    check_monoid(200_000)


class Unswapped(Clamp):
    def after(self, earlier: Clamp) -> Clamp:
        """Forget that a negative slope turns the ends around."""
        good = super().after(earlier)
        ends = (self._clamp(self.s * np.where(self.s == 0, 0, end) + self.c) for end in (earlier.lo, earlier.hi))
        return Unswapped(good.s, good.c, *ends)


class Multiplied(Clamp):
    def after(self, earlier: Clamp) -> Clamp:
        """Let 0 · ∞ be what floating point says."""
        one, other = (self.s.astype(float) * end.astype(float) + self.c.astype(float) for end in earlier[2:])
        return Multiplied(*Clamp.after(self, earlier)[:2], self._clamp(np.minimum(one, other)),
                          self._clamp(np.maximum(one, other)))


@pytest.mark.parametrize("wrong", [Unswapped, Multiplied])
def test_the_check_of_the_monoid_sees_a_wrong_composition(wrong: type[Clamp]) -> None:
    with pytest.raises(AssertionError), np.errstate(invalid="ignore"):
        check_monoid(4000, wrong)


@pytest.mark.parametrize("activation", CLAMPS)
@pytest.mark.parametrize("T", [1, 2, 3, 5, 8, 13, 21])
def test_the_scan_is_the_loop_in_exact_rationals_for_any_length_and_any_sign(activation: str, T: int) -> None:
    rng = np.random.default_rng(T)
    a, h0 = fractions(rng.integers(-8, 9, (T, 2, 5))) / 3, fractions(rng.integers(-8, 9, (2, 5))) / 5
    u = np.array([Fraction(-7, 5), Fraction(-1, 2), Fraction(0), Fraction(2, 3), Fraction(6, 5)], object)
    low, high = CLAMPS[activation]
    s = np.broadcast_to(u, (T, 1, 5))
    maps = Affine(s, a) if activation == "identity" else Clamp(s, a, np.full_like(a, low), np.full_like(a, high))
    h = inclusive_scan(maps)(h0)
    assert (h == exact_forward(a, u, h0, activation)).all()
    assert all(type(v) is Fraction for v in h.ravel())


def test_n_leaky_steps_make_n_plus_1_pieces_so_no_fixed_family_is_closed() -> None:
    half = Fraction(1, 2)

    def leaky(z: Fraction) -> Fraction:
        return z if z > 0 else half * z

    def run(a: list[Fraction], h: Fraction) -> Fraction:
        for drive in a:
            h = leaky(drive + h)
        return h

    for n in range(1, 7):
        a: list[Fraction] = []
        for kink in range(1, n + 1):  # step k bends the map at h0 = k, where the map so far has the value −a_k
            a.append(-run(a, Fraction(kink)))
        points = [Fraction(k) for k in range(n + 2)]  # 0, and beyond the last kink; pieces lie between neighbours
        values = [run(a, h) for h in points]
        slopes = [right - left for left, right in pairwise(values)]
        assert slopes == [half ** (n - k) for k in range(n + 1)], "n + 1 pieces, each twice as steep as the one before"
        drives = np.array(a, float)[:, None, None]  # dyadic: floating point is exact
        h0 = np.array(points, float)[None]
        h = ir.recurrence.forward(np.broadcast_to(drives, (n, 1, n + 2)), np.ones(n + 2), h0, "leaky_relu(0.5)")
        assert h[-1, 0].tolist() == values


# The scan.


class Span(NamedTuple):
    """Which elements a row has composed, and how many combines the one that passed most has passed."""

    start: np.ndarray
    stop: np.ndarray
    passed: np.ndarray

    def after(self, earlier: Span) -> Span:
        assert (earlier.stop == self.start).all(), "neighbours, the earlier first"
        return Span(earlier.start, self.stop, np.maximum(earlier.passed, self.passed) + 1)


def spans(T: int) -> Span:
    return Span(np.arange(T), np.arange(T) + 1, np.zeros(T, int))


def by_chunks(elements: Span, L: int) -> Iterator[Span]:
    """Scan as many kernels do: a loop within a chunk, a scan of the totals, and one more composition."""
    rows = [Span(*(v[t:t + 1] for v in elements)) for t in range(len(elements.start))]
    totals: list[Span] = []
    for start in range(0, len(rows), L):
        before = inclusive_scan(Span(*(np.concatenate(v) for v in zip(*totals, strict=True)))) if totals else None
        made = rows[start]
        for t in range(start, min(start + L, len(rows))):
            made = made if t == start else rows[t].after(made)
            yield made if before is None else made.after(Span(*(v[-1:] for v in before)))
        totals.append(made)


@pytest.mark.parametrize("T", [*range(1, 34), 100, 257])
def test_every_prefix_is_composed_in_order_in_as_many_combines_as_said(T: int) -> None:
    start, stop, passed = inclusive_scan(spans(T))
    assert (start == 0).all()
    assert stop.tolist() == list(range(1, T + 1))
    assert passed.tolist() == combines(T).tolist() == [math.ceil(math.log2(t)) for t in range(1, T + 1)]
    for L in (2, 3, 8, 50):
        made = list(by_chunks(spans(T), L))
        assert all((m.start[0], m.stop[0]) == (0, t + 1) for t, m in enumerate(made))
        assert [m.passed[0] for m in made] == combines(T, L).tolist()


def loop_error(bound: Callable[..., np.ndarray], *arguments: object, dtype: np.dtype) -> np.ndarray:
    """Bound the loop: it is the scan whose tree is a comb, t − 1 combines deep, with products in the caller's dtype."""
    T = len(arguments[0])
    return bound(*arguments, passed=np.arange(T), model=scan_rounding.precision(dtype, dtype))


def check_equality_with_the_loop(claim: str, examples: int, longest: int) -> None:
    tally = Tally(claim)

    @given(cases(longest=longest))
    @settings(max_examples=examples)
    def property_(case: Case) -> None:
        x, W, u, b, h0, dh = case.arrays().values()
        name, dtype, a = case.activation, case.dtype, x @ W.T + b
        σ = resolve(name)
        h, ratios = ir.recurrence.forward(a, u, h0, σ), [0.0]
        before = np.concatenate([h0[None], h[:-1]])

        def judge(got: np.ndarray, want: np.ndarray, allowed: np.ndarray) -> None:
            assert got.dtype == want.dtype == dtype
            assert (abs(got - want) <= allowed).all()
            ratios.append(float((abs(got - want) / allowed).max()))

        if name in CLAMPS:
            allowed = forward_error(a, u, h0, σ) + loop_error(forward_error, a, u, h0, σ, dtype=dtype)
            judge(scan.scan_forward(a, u, h0, name), h, allowed)

        got, want = (way(dh, h, a, u, h0, σ) for way in (scan.scan_backward, ir.recurrence.backward))
        slope = σ.pull(np.ones_like(h), a + u * before, h)
        ε, tiny, *_ = tolerance.rounding(np.dtype(dtype).name)
        off = 2 * ε * slope if name.startswith("leaky") else np.zeros_like(slope)  # α is rounded in two precisions
        dz_error = backward_error(dh, slope, u, off) + loop_error(backward_error, dh, slope, u, off, dtype=dtype)
        judge(got.da, want.da, dz_error)
        size = abs(want.da) + dz_error
        roundings = 2 * tolerance.gamma(before[..., 0].size, ε)
        judge(got.du, want.du, (abs(before) * (dz_error + roundings * size)).sum((0, 1)) + 2 * before.size * tiny)
        judge(got.dh0, want.dh0, abs(u) * (dz_error[0] + 2 * ε * size[0]) + 2 * tiny)
        tally.note(remembers(case), max(ratios))

    property_()
    tally.require(0.7)


def test_the_scan_is_the_loop_but_for_rounding() -> None:
    check_equality_with_the_loop("scan = loop", examples=200, longest=70)


@pytest.mark.slow
def test_the_scan_is_the_loop_but_for_rounding_at_length() -> None:
    check_equality_with_the_loop("scan = loop, at length", examples=3000, longest=700)


@pytest.mark.parametrize("activation", [hard_tanh, relu6], ids=lambda σ: σ.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hard_tanh_and_relu6_come_for_free(activation: ir.Activation, dtype: type) -> None:
    rng = np.random.default_rng(6)
    T, B, N = 45, 3, 40
    a, h0, dh = (rng.normal(0, 1.5, shape).astype(dtype) for shape in ((T, B, N), (B, N), (T, B, N)))
    u = rng.uniform(-1.1, 1.1, N).astype(dtype)
    h = ir.recurrence.forward(a, u, h0, activation)
    low, high = scan.ENDS[activation]
    assert all(0.02 < where.mean() < 0.98 for where in (h == low, h == high)), "some steps are clamped at either end"
    got = scan.scan_forward(a, u, h0, activation.name)
    assert (abs(got - h) <= forward_error(a, u, h0, activation)
            + loop_error(forward_error, a, u, h0, activation, dtype=np.dtype(dtype))).all()
    want, gradients = ir.recurrence.backward(dh, h, a, u, h0, activation), scan.scan_backward(
        dh, h, a, u, h0, activation.name)
    slope = activation.slope(a + u * np.concatenate([h0[None], h[:-1]])).astype(dtype)
    assert (abs(gradients.da - want.da) <= backward_error(dh, slope, u)
            + loop_error(backward_error, dh, slope, u, dtype=np.dtype(dtype))).all()


def test_complex_numbers_scan_too_where_nothing_is_clamped() -> None:
    rng = np.random.default_rng(1)
    shapes = ((30, 2, 3), (2, 3), (30, 2, 3))
    a, h0, dh = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in shapes)
    u = np.exp(1j * rng.uniform(0, 6, 3))
    h = ir.recurrence.forward(a, u, h0, "identity")
    got, want = (way(dh, h, None, u, h0, "identity") for way in (scan.scan_backward, ir.recurrence.backward))
    # A complex product is 4 real ones and 2 additions: √2 γ_2 ≤ 3ε, and |u| = 1. Up to 2T roundings on each side.
    unit = 3 * 4 * len(a) * np.finfo(float).eps / 2
    assert (abs(scan.scan_forward(a, u, h0, "identity") - h) <= unit * (abs(h0) + np.cumsum(abs(a), axis=0))).all()
    assert (abs(got.da - want.da) <= unit * np.cumsum(abs(dh)[::-1], axis=0)[::-1]).all()
    with pytest.raises(TypeError, match=r"^a: expected real numbers"):
        scan.scan_forward(a, u, h0, "relu")


# Where a product of many steps could overflow.


def test_in_the_paper_s_range_no_loop_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan.recurrence, "forward", None)
    monkeypatch.setattr(scan.recurrence, "backward", None)
    for T in (1, 10, 5000):
        u = np.array([2 ** (1 / T), -(2 ** (1 / T)), 1e-3, 0], np.float32)
        a = np.random.default_rng(T).standard_normal((T, 1, 4)).astype(np.float32)
        h = scan.scan_forward(a, u, a[0], "relu")
        assert np.isfinite(scan.scan_backward(a, h, None, u, a[0], "relu").da).all()


def test_where_the_product_overflows_the_result_is_the_loop_s_and_finite() -> None:
    T = 1200
    a, u, h0 = np.full((T, 1, 2), -1.0), np.array([2.0, 0.5]), np.ones((1, 2))
    a[:, 0, 1] = 0.5
    with np.errstate(over="ignore", invalid="ignore"):
        naive = inclusive_scan(Affine(np.broadcast_to(u, (T, 1, 2)), a))(h0)
    assert np.isnan(naive[-1, 0, 0]), "2^1200 − (2^1200 − 1): the scan alone would have lost it"
    for activation in ("identity", "relu", hard_tanh):
        h = scan.scan_forward(a, u, h0, activation)
        assert (h == 1).all(), "2 · 1 − 1 and 0.5 · 1 + 0.5"
    silent = np.full((T, 1, 1), -1.0)  # the loop is at 0 throughout; s and c of the scan are far beyond any number
    h = scan.scan_forward(silent, np.array([8.0]), np.zeros((1, 1)), "relu")
    assert (h == 0).all()
    gradients = scan.scan_backward(silent, h, None, np.array([8.0]), np.zeros((1, 1)), "relu")
    assert not any(v.any() for v in gradients)


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_up_to_the_edge_of_overflow_the_scan_is_finite_where_the_loop_is(activation: str) -> None:
    by_loop = set()
    for T in range(1000, 1030):
        a, u, h0 = np.ones((T, 1, 2)), np.array([2.0, -2.0]), np.ones((1, 2))
        with np.errstate(all="ignore"):
            want = ir.recurrence.forward(a, u, h0, activation)
        got = scan.scan_forward(a, u, h0, activation)
        assert (np.isfinite(got) == np.isfinite(want)).all()
        by_loop.add(bool(scan._may_overflow(np.broadcast_to(u, (T, 1, 2)), a, h0[0]).any()))
    assert by_loop == {True, False}, "both sides of the edge were seen"


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e38, -3e38])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_inf_nan_and_the_largest_numbers_flow_through_as_in_the_loop(activation: str, bad: float) -> None:
    rng = np.random.default_rng(8)
    a, h0, dh = (rng.standard_normal(shape).astype(np.float32) for shape in ((20, 2, 4), (2, 4), (20, 2, 4)))
    u = np.array([0.5, -1.5, 0, 1], np.float32)
    a[7, 0, :3], dh[11, 1, :3] = bad, bad
    a[12, 1, 0] = -10  # a silent neuron just after the cotangent: where it is selected away, 0 · inf must not arise
    with np.errstate(all="ignore"):
        h = ir.recurrence.forward(a, u, h0, activation)
        want = ir.recurrence.backward(dh, h, None, u, h0, activation)
    got = scan.scan_forward(a, u, h0, activation), *scan.scan_backward(dh, h, None, u, h0, activation)
    for name, one, other in zip(("h", "da", "du", "dh0"), got, (h, *want), strict=True):
        assert (np.isfinite(one) == np.isfinite(other)).all(), name
        assert np.array_equal(one[..., 0:1], other[..., 0:1], equal_nan=True), f"{name} of the neuron run by the loop"


def test_a_product_that_underflows_loses_nothing() -> None:
    a, u, h0 = np.zeros((400, 1, 1)), np.array([1e-3]), np.ones((1, 1))
    for activation in ("identity", "relu", relu6):
        h = scan.scan_forward(a + 0.25, u, h0, activation)
        assert (abs(h - ir.recurrence.forward(a + 0.25, u, h0, activation)) <= forward_error(
            a + 0.25, u, h0, activation) + loop_error(forward_error, a, u, h0, activation, dtype=a.dtype)).all()
        assert h[-1, 0, 0] > 0.25


# The door.


def test_a_scan_needs_an_activation_whose_steps_compose() -> None:
    one = np.ones((2, 1, 1))
    for activation in ("tanh", "sigmoid", "softplus", "leaky_relu", "leaky_relu(0.125)"):
        with pytest.raises(ValueError, match=r"^activation: expected one whose steps compose to a clamp, identity"):
            scan.scan_forward(one, one[0, 0], one[0], activation)
    with pytest.raises(ValueError, match=r"^activation: expected one of .*got 'swish'"):
        scan.scan_forward(one, one[0, 0], one[0], "swish")
    with pytest.raises(TypeError, match=r"^activation: expected a name"):
        scan.scan_backward(one, one, one, one[0, 0], one[0], 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^a: expected the drive"):
        scan.scan_backward(one, one, None, one[0, 0], one[0], "tanh")
    with pytest.raises(ValueError, match=r"^u: expected shape \(1,\)"):
        scan.scan_forward(one, np.ones(2), one[0])
    for bad, error in ((0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"^steps: expected a whole number above 0"):
            combines(bad)
        with pytest.raises(error, match=r"^chunk: expected a whole number above 0"):
            combines(4, bad)
    with pytest.raises(TypeError, match=r"^maps: expected Affine, Clamp, or the like; got list"):
        scan.inclusive_scan([one, one])  # type: ignore[type-var]
    with pytest.raises(TypeError, match=r"^maps\[1\]: expected a NumPy or CuPy array; got float"):
        scan.inclusive_scan(scan.Affine(one, 1.0))  # type: ignore[arg-type]
    for bad_maps in (scan.Affine(one, one[:1]), scan.Affine(one[:0], one[:0])):
        with pytest.raises(ValueError, match=r"^maps: expected arrays with the same first axis"):
            scan.inclusive_scan(bad_maps)
