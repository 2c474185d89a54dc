"""Cases for other people's property tests: any of them can be verified, and what is wrong is found by them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import candidates, strategies

mine = candidates.from_engine("numpy")


def test_a_right_layer_matches_every_drawn_case() -> None:
    tally = Tally("drawn cases, verified one by one")

    @given(strategies.cases(activations=("relu", "tanh", "softplus"), longest=20))
    @settings(max_examples=60)
    def claim(case) -> None:
        ir.oracle.assert_matches(mine, case)
        tally.note(remembers(case))

    claim()
    tally.require(0.7)


def test_a_wrong_layer_is_found_by_a_drawn_case() -> None:
    @given(strategies.cases(longest=8))
    @settings(max_examples=100)
    def claim(case) -> None:
        ir.oracle.assert_matches(lambda **given: {**mine(**given), "dh0": mine(**given)["dh0"] * 2}, case)

    with pytest.raises(AssertionError, match=r"(?s)case relu-float\d\d-drawn.*dh0\["):
        claim()


def test_extreme_cases_overflow_underflow_and_meet_kinks_and_no_right_layer_is_accused() -> None:
    tally, seen = Tally("extreme cases: those that over- or underflow, or lie on a kink"), set()

    @given(strategies.cases(activations=("relu", "leaky_relu", "tanh"), longest=30, extreme=True))
    @settings(max_examples=250)
    def claim(case) -> None:
        with np.errstate(all="ignore"):
            ir.oracle.assert_matches(mine, case)
            got, single = mine(**case.arrays(), activation=case.activation), np.finfo(case.dtype)
        size = np.concatenate([np.abs(value).ravel() for value in got.values()])
        kinds = {"overflow": not np.isfinite(size).all(), "underflow": ((size > 0) & (size < single.tiny)).any(),
                 "kink": (np.abs(got["h"]) < 1e-5 * np.abs(case.x).max()).any()}
        seen.update(kind for kind, there in kinds.items() if there)
        tally.note(any(kinds.values()))

    claim()
    tally.require(0.3)
    assert seen == {"overflow", "underflow", "kink"}


@pytest.mark.parametrize(("how", "message"), [
    ({"longest": 0}, "longest: expected a whole number above 0; got 0"),
    ({"activations": ("gelu",)}, "activation: expected one of"),
    ({"order": "tree"}, "order: expected 'loop' or 'scan'; got 'tree'"),
])
def test_bad_input_is_refused_by_name(how, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        strategies.cases(**how)


def test_the_oracle_does_not_import_hypothesis_and_without_it_the_strategies_name_the_extra() -> None:
    code = ("import sys, indrnn_np.oracle; assert 'hypothesis' not in sys.modules; "
            "sys.modules['hypothesis'] = None; import indrnn_np.oracle.strategies")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: Hypothesis is not installed: pip install 'indrnn-np[test]'." in done.stderr
