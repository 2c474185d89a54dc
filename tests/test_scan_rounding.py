"""The allowed error of a scan: sound for a tree of any shape in either precision, and too sharp for a wrong formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rational import CLAMPS, exact_backward, exact_forward, fractions
from tally import SUMMARIES, Tally

import indrnn_np as ir
from indrnn_np.analysis import Affine, Clamp, combines, inclusive_scan, scan, scan_rounding
from indrnn_np.analysis import scan_backward_error as backward_error
from indrnn_np.analysis import scan_forward_error as forward_error
from indrnn_np.oracle import tolerance

SIZES = {"small": (0.01, 0.3), "about 1": (0.9, 1.0), "above 1": (1.0, 1.1), "steep": (1.5, 3.0), "minute": (0, 1e-30)}


class Drawn(NamedTuple):
    a: np.ndarray
    u: np.ndarray
    h0: np.ndarray
    dh: np.ndarray


@st.composite
def inputs(draw: st.DrawFn, longest: int) -> Drawn:
    """Draw exact floats: any sign of u, drives that cancel, sizes that differ by powers of two, some zeros."""
    T = draw(st.sampled_from((1, 2)) | st.integers(3, longest) | st.integers(longest // 2, longest))
    regime = draw(st.sampled_from(("small", "about 1", "about 1", "above 1", "above 1", "above 1", "steep", "minute")))
    low, high = SIZES[regime if T < 50 else regime.replace("steep", "above 1")]  # 3^80 is the end of float32
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread, drift = draw(st.sampled_from((0, 0, 10))), draw(st.sampled_from((0, 0, 1)))
    dtype, N = draw(st.sampled_from((np.float32, np.float64))), 8

    def numbers(*shape: int) -> np.ndarray:
        return ((rng.standard_normal(shape) + drift) * 2.0 ** rng.integers(-spread, spread + 1, shape)).astype(dtype)

    u = rng.uniform(low, high, N) * rng.choice([-1, 1], N)
    return Drawn(numbers(T, 1, N), u.astype(dtype), numbers(1, N) * dtype(rng.integers(0, 2)), numbers(T, 1, N))


def error(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got − exact|, itself exact before it becomes a float."""
    return abs(fractions(got) - exact).astype(float)


def ratio(errors: np.ndarray, bound: np.ndarray) -> float:
    assert (errors <= bound).all(), "beyond the bound"
    assert np.isfinite(bound).all()
    return float((errors / bound).max())


def exactly(values: Drawn) -> Drawn:
    return Drawn(*map(fractions, values))


def check_forward(claim: str, examples: int, longest: int) -> None:
    tally = Tally(claim)

    @given(inputs(longest), st.sampled_from(tuple(CLAMPS)))
    @settings(max_examples=examples)
    def property_(values: Drawn, activation: str) -> None:
        a, u, h0, _ = values
        wanted = exact_forward(*exactly(values)[:3], activation)
        errors = error(scan.scan_forward(a, u, h0, activation), wanted)
        tally.note(len(a) > 2 and errors.any(), ratio(errors, forward_error(a, u, h0, activation)))

    property_()
    tally.require(0.7)


def check_backward(claim: str, examples: int, longest: int) -> None:
    tally = Tally(claim)

    @given(inputs(longest), st.sampled_from((*ir.ACTIVATIONS, "hard_tanh", "relu6")))
    @settings(max_examples=examples)
    def property_(values: Drawn, activation: str) -> None:
        a, u, h0, dh = values
        σ = {"hard_tanh": ir.analysis.hard_tanh, "relu6": ir.analysis.relu6}.get(activation) or activation
        σ = ir.activations.resolve(σ)
        h = ir.recurrent_forward(a, u, h0, σ)
        slope = σ.pull(np.ones_like(h), a + u * np.concatenate([h0[None], h[:-1]]), h).astype(h.dtype)
        off = np.finfo(h.dtype).eps * slope if activation == "leaky_relu" else np.zeros_like(slope)  # 0.01 is rounded
        wanted = exact_backward(fractions(dh), fractions(slope), fractions(u))
        errors = error(scan.scan_backward(dh, h, a, u, h0, σ).da, wanted)
        tally.note(len(a) > 2 and errors.any(), ratio(errors, backward_error(dh, slope, u, off)))

    property_()
    tally.require(0.7)


def test_forward_no_right_scan_leaves_the_bound() -> None:
    check_forward("scan forward, allowed error", examples=300, longest=40)


def test_backward_no_right_scan_leaves_the_bound() -> None:
    check_backward("scan backward, allowed error", examples=300, longest=40)


@pytest.mark.slow
def test_no_right_scan_leaves_the_bound_at_length() -> None:
    check_forward("scan forward, allowed error, at length", examples=2000, longest=130)
    check_backward("scan backward, allowed error, at length", examples=2000, longest=130)


# Any tree, as other people's kernels compose.


def composed(maps: Clamp, rng: np.random.Generator, shape: str) -> tuple[Clamp, int]:
    """Compose all rows in a random tree, storing in the rows' dtypes; return the map and the tree's depth."""
    T = len(maps.c)
    if T == 1:
        return Clamp(*(v[0] for v in maps)), 0
    cut = {"random": int(rng.integers(1, T)), "left": T - 1, "right": 1, "halves": T // 2}[shape]
    (early, one), (late, other) = (composed(Clamp(*(v[part] for v in maps)), rng, shape)
                                   for part in (slice(None, cut), slice(cut, None)))
    made = late.after(early)
    return Clamp(*(new.astype(v.dtype) for new, v in zip(made, maps, strict=True))), max(one, other) + 1


def check_trees(claim: str, examples: int, longest: int) -> None:
    tally = Tally(claim)

    @given(inputs(longest), st.sampled_from(tuple(CLAMPS)), st.sampled_from(("random", "left", "right", "halves")),
           st.booleans(), st.integers(0, 2**32))
    @settings(max_examples=examples)
    def property_(values: Drawn, activation: str, shape: str, wide: bool, seed: int) -> None:
        a, u, h0, _ = values
        products = scan.wide(a.dtype) if wide else a.dtype
        low, high = map(float, CLAMPS[activation])
        maps = Clamp(np.broadcast_to(u.astype(products), a.shape), a, np.full_like(a, low), np.full_like(a, high))
        made, depth = composed(maps, np.random.default_rng(seed), shape)
        errors = error(made(h0).astype(a.dtype), exact_forward(*exactly(values)[:3], activation)[-1])
        model = scan_rounding.precision(a.dtype, products)
        E, comb = (forward_error(a, u, h0, activation, passed=passed, model=model)[-1]
                   for passed in (np.full(len(a), depth), np.arange(len(a))))
        assert (comb >= E).all(), "a comb is the deepest tree"
        tally.note(len(a) > 2 and errors.any(), ratio(errors, E))

    property_()
    tally.require(0.7)


def test_a_tree_of_any_shape_and_products_in_either_precision_stay_within_the_bound_of_its_depth() -> None:
    check_trees("scan by any tree", examples=300, longest=40)


@pytest.mark.slow
def test_a_tree_of_any_shape_stays_within_the_bound_of_its_depth_at_length() -> None:
    check_trees("scan by any tree, at length", examples=2000, longest=130)


# Sharp: searched for over many u, so that a smaller bound is caught.


def searched(dtype: type, products: type, T: int = 256, N: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return error and bound of h_T for u just above 1, h0 = 1 and no drive: the product alone."""
    u = (1 + np.random.default_rng(0).uniform(0, 2 / T, N)).astype(dtype)
    a, h0 = np.zeros((T, 1, N), dtype), np.ones((1, N), dtype)
    h = inclusive_scan(Affine(np.broadcast_to(u.astype(products), a.shape), a))(h0).astype(dtype)
    exact = ir.recurrence.forward(*(v.astype(np.longdouble) for v in (a, u, h0)), "identity")
    E = forward_error(a, u, h0, "identity", model=scan_rounding.precision(dtype, products))
    return abs(h - exact)[-1], E[-1]


def searched_backward(dtype: type, products: type, T: int = 256, N: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return error and bound of dz_1 for u just above 1 and a cotangent at the last step alone."""
    u = (1 + np.random.default_rng(0).uniform(0, 2 / T, N)).astype(dtype)
    dh, slope = np.zeros((T, 1, N), dtype), np.ones((T, 1, N), dtype)
    dh[-1] = 1
    s = np.broadcast_to(u.astype(products), dh.shape)
    dz = inclusive_scan(Affine(s, dh[::-1])).c[::-1]
    exact = ir.recurrence.backward(*(v.astype(np.longdouble) for v in (dh, slope)), None, u.astype(np.longdouble),
                                   slope[0].astype(np.longdouble), "identity").da
    return abs(dz - exact)[0], backward_error(dh, slope, u, model=scan_rounding.precision(dtype, products))[0]


@pytest.mark.parametrize("search", [searched, searched_backward])
def test_the_bound_is_sharp_within_a_quarter_so_that_a_smaller_one_would_be_broken(search: Callable) -> None:
    errors, bound = search(np.float32, np.float32)
    found = ratio(errors, bound)
    SUMMARIES.append(f"scan, product in float32, {search.__name__}: largest error found ÷ bound {found:.2f}")
    assert found > 0.75
    T, roundings = 256, 256 + 9  # the bound is so many of |h| = u^T, or fewer by two of |dz|
    for wrong in (0.75 * roundings, T / 2, combines(T)[-1] + 1, np.sqrt(T)):
        with pytest.raises(AssertionError, match="beyond the bound"):
            ratio(errors, bound * wrong / roundings)


def test_the_rounding_of_a_slope_s_product_is_counted_and_attained() -> None:
    """T = 1: dz = fl(σ' dh), one rounding; none where the slope selects."""
    rng, N = np.random.default_rng(3), 4000
    dh, slope = (rng.uniform(1, 1.01, (1, 1, N)).astype(np.float32) for _ in range(2))
    slope *= np.float32(0.5)
    u = np.ones(N, np.float32)
    errors = abs(dh * slope - dh.astype(np.longdouble) * slope)
    assert 0.95 < ratio(errors, backward_error(dh, slope, u)) <= 1
    selected = backward_error(dh, np.ones_like(dh), u)
    assert (selected <= 16 * np.finfo(np.float32).tiny).all()
    with pytest.raises(AssertionError, match="beyond the bound"):
        ratio(errors, selected)


def test_the_bound_is_sharp_for_mixed_precision_too() -> None:
    """Products in float64: what is left is one store per combine, ⌈log2 T⌉ + 1 of them."""
    rng, T, N = np.random.default_rng(1), 8, 4000
    a, h0 = rng.uniform(0, 1, (T, 1, N)).astype(np.float32), np.ones((1, N), np.float32)
    u = rng.uniform(0.9, 1.1, N).astype(np.float32)
    exact = ir.recurrence.forward(*(v.astype(np.longdouble) for v in (a, u, h0)), "relu")
    found = ratio(abs(scan.scan_forward(a, u, h0, "relu") - exact)[-1], forward_error(a, u, h0, "relu")[-1])
    SUMMARIES.append(f"scan, product in float64: largest error found ÷ bound {found:.2f}")
    assert found > 0.45


def test_the_loop_s_own_bound_would_accuse_a_right_scan() -> None:
    """Why H takes the place of |h|: the first drive cancels h0, which the loop forgets and a scan carries on."""
    T, N = 64, 3000
    rng = np.random.default_rng(4)
    u, h0, a = rng.uniform(0.98, 1, N), rng.uniform(500, 1000, (1, N)), np.empty((T, 1, N))
    before = h0
    for t, h in enumerate(rng.uniform(0.9e-3, 1.1e-3, a.shape)):
        a[t] = h - u * before
        before = a[t] + u * before
    long = [v.astype(np.longdouble) for v in (a, u, h0)]
    for activation in ("identity", "relu"):
        exact = ir.recurrence.forward(*long, activation)
        z = long[0] + u * np.concatenate([h0[None], exact[:-1]])
        loop, composed = (tolerance.of_states(tolerance.Drive(abs(long[0]), 0 * a, 0), *long[1:], exact, z,
                                              ir.ACTIVATIONS[activation], tolerance.rounding(a.dtype.name, order)).h
                          for order in tolerance.ORDERS)
        errors = abs(scan.scan_forward(a, u, h0, activation) - exact)
        assert ratio(errors, forward_error(a, u, h0, activation)) > 0.3
        with pytest.raises(AssertionError, match="beyond the bound"):
            ratio(errors, 1.5 * loop)
        ratio(errors, composed)


# How the running product goes astray, and why it is kept in float64.


def test_the_product_s_rounding_is_one_sided_so_float32_is_not_enough() -> None:
    T, N = 4096, 400
    u = np.random.default_rng(5).uniform(0.5 ** (1 / T), 2 ** (1 / T), N).astype(np.float32)
    exact = np.cumprod(np.broadcast_to(u.astype(np.longdouble), (T, N)), axis=0)
    grown = {}
    for name, dtype in (("float32", np.float32), ("float64", np.float64)):
        s = inclusive_scan(Affine(np.broadcast_to(u.astype(dtype), (T, N)), np.zeros((T, N)))).s
        off = np.array([abs(s[n - 1] / exact[n - 1] - 1) for n in (256, 1024, 4096)]) / (np.finfo(dtype).eps / 2)
        grown[name] = np.sqrt((off**2).mean(axis=1))
        assert (off[-1] <= T).all(), "n roundings at most"
    loop = np.cumprod(np.broadcast_to(u, (T, N)), axis=0)
    walk = np.sqrt(((abs(loop[[255, 1023, 4095]] / exact[[255, 1023, 4095]] - 1)
                     / (np.finfo(np.float32).eps / 2))**2).mean(axis=1))
    of_scan, of_loop = (", ".join(f"{v:.0f}" for v in errors) for errors in (grown["float32"], walk))
    SUMMARIES.append(f"u^256, u^1024, u^4096 in float32, error in units of roundoff: scan {of_scan}, loop {of_loop}")
    # A squaring doubles what is off already: fourfold n, fourfold error.
    assert (grown["float32"][1:] > 3 * grown["float32"][:-1]).all()
    assert (grown["float64"] * np.finfo(np.float64).eps < np.finfo(np.float32).eps / 1000).all()


def test_the_bound_says_where_it_says_nothing() -> None:
    a, h0 = np.ones((200, 1, 2), np.float32), np.ones((1, 2), np.float32)
    E = forward_error(a, np.array([2.0, 1.0], np.float32), h0, "identity")
    assert np.isinf(E[-1, 0, 0])
    assert np.isfinite(E[:100]).all()
    assert np.isfinite(E[:, 0, 1]).all()
    E = backward_error(a, a, np.array([2.0, 1.0], np.float32))
    assert np.isinf(E[0, 0, 0])
    assert np.isfinite(E[-100:]).all()


def test_bad_arguments_are_named() -> None:
    one = np.ones((3, 1, 1))
    with pytest.raises(ValueError, match=r"^activation: expected one whose steps compose to a clamp"):
        forward_error(one, one[0, 0], one[0], "tanh")
    for bad in (np.zeros(2, int), np.zeros(3), 2):
        with pytest.raises(ValueError, match=r"^passed: expected \(3,\) whole numbers"):
            forward_error(one, one[0, 0], one[0], passed=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^slopes: expected shape"):
        backward_error(one, one[:2], one[0, 0])
    with pytest.raises(ValueError, match=r"^slope_error: expected one number of at least 0, or an array"):
        backward_error(one, one, one[0, 0], one[:2])
    with pytest.raises(TypeError, match=r"^model: expected what scan_rounding.precision returns"):
        backward_error(one, one, one[0, 0], model="double")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^dh: expected 3 dimensions"):
        backward_error(one[0], one[0], one[0, 0])
    with pytest.raises(ValueError, match=r"^product_dtype: expected at least the precision of float64"):
        scan_rounding.precision(np.float64, np.float32)
