"""One tensor against its reference: what is counted, which element is shown, and when a comparison says anything."""

from __future__ import annotations

import numpy as np
import pytest

from indrnn_np.oracle.precision import FORMATS
from indrnn_np.oracle.report import COARSE, SHARP, Judgement, judge

INF, NAN = np.inf, np.nan


def judged(got: list, want: list, allowed: list, name: str = "du", precision: str = "",
           dtype: str = "float32") -> Judgement:
    precisely = np.array(want, np.longdouble), np.array(allowed, np.longdouble)
    return judge("check", "case", "relu", name, np.array(got, dtype), *precisely, *([precision] if precision else []))


@pytest.mark.parametrize(("got", "want", "allowed", "right", "ratio"), [
    (1.0, 1.0, 0.0, True, 0.0),
    (1.25, 1.0, 0.25, True, 1.0),
    (0.75, 1.0, 0.5, True, 0.5),
    (1.5, 1.0, 0.25, False, 2.0),
    (-1.0, 1.0, 0.25, False, 8.0),
    (1.5, 1.0, 0.0, False, INF),
    (-0.0, 0.0, 0.0, True, 0.0),
    (NAN, 1.0, 0.25, False, INF),
    (INF, 1.0, 0.25, False, INF),
    (INF, INF, 0.25, True, 0.0),
    (-INF, INF, 0.25, False, INF),
    (NAN, 1.0, INF, True, 0.0),
    (INF, 1.0, INF, True, 0.0),
    (7.0, 1.0, INF, True, 0.0),
])
def test_an_element_is_right_within_what_is_allowed(got, want, allowed, right: bool, ratio: float) -> None:
    for place in range(3):
        row = [[1.0] * 3 for _ in range(3)]
        for values, value in zip(row, (got, want, allowed), strict=True):
            values[place] = value
        j = judged(*row)
        assert (j.right, j.wrong, j.size) == (right, int(not right), 3)
        assert j.ratio == ratio
        if ratio:
            assert j.index == (place,)
            assert np.array_equal((j.got, j.want, j.allowed), (got, want, allowed), equal_nan=True)
    assert (j.check, j.case, j.activation, j.name, j.dtype) == ("check", "case", "relu", "du", "float32")


def test_the_element_shown_is_off_by_most_in_units_of_what_is_allowed() -> None:
    j = judged([[1.0, 3.0], [1.25, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [[1.0, 4.0], [0.25, 1.0]])
    assert (j.index, j.ratio, j.got, j.want, j.allowed) == ((1, 0), 1.0, 1.25, 1.0, 0.25)


def test_all_elements_that_are_off_are_counted() -> None:
    j = judged([[2.0, 3.0], [1.0, NAN]], [[1.0, 1.0], [1.0, 1.0]], [[0.5, 1.0], [0.5, 0.5]])
    assert (j.wrong, j.size) == (3, 4)


@pytest.mark.parametrize("precision", sorted(FORMATS))
def test_a_tensor_is_judged_where_the_median_of_what_is_allowed_is_small_against_its_values(precision: str) -> None:
    limit = max(0.01, 128 * 2.0 ** -{"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[precision])
    assert limit == max(SHARP, COARSE * 2.0 ** -FORMATS[precision].bits)
    want = [-2.0, 1e-3, 7.0, 0.0, 0.0]  # zeros have no share
    for share, sharp in ((0.99 * limit, True), (limit, True), (1.01 * limit, False)):
        allowed = [2 * share, INF, 0.0, 1.0, 1.0]
        assert judged(want, want, allowed, precision=precision, dtype="float64").judged == sharp
        assert judged([*want[:2], 8.0, 0.0, 0.0], want, allowed, precision=precision, dtype="float64").judged, "wrong"
    assert judged([0.0], [0.0], [1.0]).judged, "all zero, and known to be"


@pytest.mark.parametrize(("name", "first"), [("h", 1), ("dx", 3)])
def test_a_tensor_goes_wrong_first_where_its_pass_meets_it(name: str, first: int) -> None:
    want = np.ones((5, 2, 2))
    got, allowed = want.copy(), 0.01 * want
    assert judged(got, want, allowed, name).first_bad_step is None
    got[1, 0, 1], got[2, 1, 1], got[3, 1, 0] = 2, 2, 2
    assert judged(got, want, allowed, name).first_bad_step == first
    assert judged(got[:, 0], want[:, 0], allowed[:, 0], "dh0").first_bad_step is None, "without time"


def test_a_judgement_is_made_of_python_s_own_numbers_which_json_knows() -> None:
    j = judged(np.full((1, 1, 1), 2.0), np.ones((1, 1, 1)), np.full((1, 1, 1), 0.5), "h")
    assert [type(v) for v in (j.ratio, j.got, j.want, j.allowed)] == [float] * 4
    assert [type(v) for v in (*j.index, j.wrong, j.size, j.first_bad_step)] == [int] * 6
    assert type(j.judged) is bool
