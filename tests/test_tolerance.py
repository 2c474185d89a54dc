"""The allowed error is sound, for any order of operations, and sharp enough to see one per cent."""

from __future__ import annotations

import numpy as np
import pytest
import right
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import references, tolerance
from indrnn_np.oracle.inputs import STANDARD, Case, draw
from indrnn_np.oracle.report import judge


def check_soundness(claim: str, examples: int, longest: int) -> None:
    tally = Tally(claim)

    @given(cases(longest=longest), st.sampled_from(right.ORDERS), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=examples)
    def property_(case: Case, order: str, seed: int, fused: bool) -> None:
        got = right.loop(case, order, seed, fused)
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
    got = right.loop(case, "forward", 0, fused=False)
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
