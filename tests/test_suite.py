"""For other people's test suites: one test a case, with the report as the message."""

from __future__ import annotations

import pytest

import indrnn_np as ir
from indrnn_np.oracle import candidates

CASES = ir.oracle.cases(("relu", "tanh"), ("float32",))
mine = candidates.from_engine("numpy")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_right_layer_matches(case) -> None:
    ir.oracle.assert_matches(mine, case)


def test_names_are_stable_and_each_case_is_there_once() -> None:
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names) > 30
    assert {"relu-float32-small", "tanh-float32-long", "relu-float32-exact-relu-growing"} <= set(names)


def test_a_wrong_layer_fails_with_the_cause_in_the_message() -> None:
    def wrong(**given):
        result = mine(**given)
        return {**result, "dh0": 0 * result["dh0"]}

    case = next(case for case in CASES if case.id == "small")
    with pytest.raises(AssertionError, match=r"(?s)case relu-float32-small\nFAILED.*dh0\[.*a gradient is zero"):
        ir.oracle.assert_matches(wrong, case)


def test_a_case_that_is_judged_loosely_does_not_fail_a_right_layer() -> None:
    assert all(ir.oracle.verify(mine, ("relu",), ("float32",), case=case.id).findings == []
               for case in CASES if case.activation == "relu" and "long" in case.id)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ir.oracle.cases(("gelu",)), "activation: expected one of"),
    (lambda: ir.oracle.cases(dtypes=("float8",)), "dtypes: expected .float32. or .float64. or .float16.; got .float8."),
    (lambda: ir.oracle.assert_matches(3, CASES[0]), "candidate: expected a callable; got int"),
])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
