"""The allowed error is sound, for any order of operations, and sharp enough to see one per cent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.activations import resolve
from indrnn_np.oracle import references, tolerance
from indrnn_np.oracle.inputs import Case, draw
from indrnn_np.oracle.report import judge
from indrnn_np.oracle.verification import STANDARD


def summed(terms: np.ndarray, order: str, rng: np.random.Generator) -> np.ndarray:
    """Add along the last axis one by one, in an order chosen to hurt; float32 stays float32."""
    if order == "random":
        terms = rng.permuted(terms, axis=-1)
    elif order == "largest first":
        terms = np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=-1), axis=-1)
    elif order == "positive first":
        terms = np.flip(np.sort(terms, axis=-1), axis=-1)
    total = np.zeros(terms.shape[:-1], terms.dtype)
    for k in range(terms.shape[-1]):
        total = total + terms[..., k]
    return total


def naive(case: Case, order: str, seed: int, fused: bool) -> dict[str, np.ndarray]:
    """A right implementation, written without any care for rounding: every sum in the order given.

    `fused` emulates FMA in u·h + a and u·dz + dh: the product is kept exact and rounded once, with the sum.
    """
    rng = np.random.default_rng(seed)
    x, W, u, b, h0, dh = case.arrays().values()
    σ, dtype = resolve(case.activation), case.dtype
    T, B, _ = x.shape
    N = len(u)

    def multiply_add(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        if not fused:
            return p * q + r
        return (p.astype(np.longdouble) * q + r).astype(dtype)

    h, z = np.zeros((T, B, N), dtype), np.zeros((T, B, N), dtype)
    for t in range(T):
        products = np.concatenate([x[t, :, None, :] * W, np.broadcast_to(b[:, None], (B, N, 1))], axis=-1)
        z[t] = multiply_add(u, h[t - 1] if t else h0, summed(products, order, rng))
        h[t] = σ(z[t])
    before = np.concatenate([h0[None], h[:-1]])
    if case.activation == "tanh":
        slope = 1 - h * h  # as many write it: right to an absolute error only
    elif case.activation == "sigmoid":
        slope = h * (1 - h)
    else:
        slope = σ.slope(z)
    dz, carry = np.zeros((T, B, N), dtype), np.zeros((B, N), dtype)
    for t in reversed(range(T)):
        dz[t] = carry = slope[t] * multiply_add(u, carry, dh[t])
    rows = dz.reshape(T * B, N)
    return {"h": h, "dx": summed(np.moveaxis(dz[..., None] * W, 2, -1), order, rng),
            "dW": summed(np.moveaxis(rows[..., None] * x.reshape(T * B, 1, -1), 0, -1), order, rng),
            "du": summed((rows * before.reshape(T * B, N)).T, order, rng), "db": summed(rows.T, order, rng),
            "dh0": u * dz[0]}


def check_soundness(claim: str, examples: int, longest: int) -> None:
    tally = Tally(claim)

    @given(cases(longest=longest), st.sampled_from(("forward", "random", "largest first", "positive first")),
           st.integers(0, 2**32), st.booleans())
    @settings(max_examples=examples)
    def property_(case: Case, order: str, seed: int, fused: bool) -> None:
        got = naive(case, order, seed, fused)
        expected = references.specification(case, got["h"])
        judgements = [judge("", case.id, case.activation, name, got[name], want, expected.allowed[name])
                      for name, want in expected.value.items()]
        assert all(j.right for j in judgements), [j for j in judgements if not j.right]
        tally.note(remembers(case), max(j.ratio for j in judgements))

    property_()
    tally.require(0.7)


def test_no_right_implementation_is_accused_whatever_its_order_of_operations() -> None:
    check_soundness("right implementations, adversarial order, FMA", examples=400, longest=60)


@pytest.mark.slow
def test_no_right_implementation_is_accused_at_length() -> None:
    check_soundness("right implementations, adversarial order, FMA, at length", examples=10_000, longest=300)


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
@pytest.mark.parametrize("name", ["dW", "du", "db", "dx", "dh0", "h"])
def test_one_element_off_by_one_per_cent_is_seen_in_float32(activation: str, name: str) -> None:
    case = draw("small", STANDARD["small"], activation, "float32")
    got = naive(case, "forward", 0, fused=False)
    expected = references.specification(case, got["h"])
    want, allowed = expected.value[name], expected.allowed[name]
    for index in np.ndindex(want.shape):
        if abs(want[index]) > 0.05 * abs(want).max():
            spoiled = np.array(want, np.float32)
            spoiled[index] *= np.float32(1.01)
            judgement = judge("", "small", activation, name, spoiled, want, allowed)
            assert (judgement.wrong, judgement.index) == (1, index)


def test_a_pre_activation_on_the_kink_allows_both_slopes_and_nothing_else() -> None:
    one = np.ones((1, 1, 1))  # z = −1 + 1 · 1, which rounding might have put on either side
    case = Case("kink", "relu", -one, np.ones((1, 1)), np.ones(1), np.zeros(1), np.ones((1, 1)), 3 * one)
    expected = references.specification(case, 0 * one)
    for dx, allowed in ((0.0, True), (3.0, True), (1.5, True), (3.1, False), (-3.1, False)):
        assert judge("", "", "", "dx", dx * one, expected.value["dx"], expected.allowed["dx"]).right == allowed


def test_a_pre_activation_that_is_zero_without_rounding_has_one_slope() -> None:
    zero, one = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    case = Case("kink", "relu", zero, np.ones((1, 1)), np.ones(1), np.zeros(1), np.zeros((1, 1)), 3 * one)
    expected = references.specification(case, zero)
    for dx, allowed in ((0.0, True), (1.5, False), (3.0, False)):
        assert judge("", "", "", "dx", dx * one, expected.value["dx"], expected.allowed["dx"]).right == allowed


def test_where_rounding_could_be_everything_nothing_is_judged() -> None:
    want = np.array([1.0, 2.0], np.longdouble)
    vague = judge("", "", "", "du", np.array([1.0, 2.0]), want, 0.02 * want)
    assert not vague.judged
    assert vague.right
    outside = judge("", "", "", "du", np.array([1.5, 2.0]), want, 0.02 * want)
    assert outside.judged, "an error beyond any rounding is one, however vague the rest"
    assert not outside.right
    report = ir.oracle.Report([vague])
    assert not report.passed, "nothing judged is not a pass"


def test_the_reference_is_more_precise_than_any_candidate() -> None:
    for dtype in ("float32", "float64"):
        model = tolerance.rounding(dtype)
        assert np.finfo(dtype).eps / 2 <= model.unit <= np.finfo(dtype).eps / 2 * 1.01 or (
            np.finfo(np.longdouble).eps == np.finfo(dtype).eps)
    assert tolerance.gamma(10**9, tolerance.rounding("float32").unit) == np.inf
