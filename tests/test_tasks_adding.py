"""The adding problem is what the paper says, and its test set is fixed."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import Tally

from indrnn_np.experiments import tasks


def hoeffding(draws: int, width: float = 1.0) -> float:
    """How far a mean of independent draws, each from an interval this wide, may lie off: further once in 10^12."""
    return width * sqrt(log(2e12) / (2 * draws))


def wrong(x: np.ndarray, target: np.ndarray) -> list[str]:
    """Say what in a batch contradicts the definition; the sum is taken in rational numbers."""
    T, B, _ = x.shape
    values, marks = x[..., 0], x[..., 1]
    found = []
    if not ((values >= 0) & (values < 1)).all():
        found.append("value")
    halves = (marks[: T // 2], marks[T // 2 :])
    if not np.isin(marks, (0, 1)).all() or not all((half.sum(axis=0) == 1).all() for half in halves):
        found.append("marks")
    for b in range(B):
        exact = sum(Fraction(float(v)) for v in values[marks[:, b] == 1, b])
        if float(target[b, 0]) != x.dtype.type(exact):
            found.append("target")
    return found


def test_each_half_has_one_mark_and_the_target_is_the_sum_of_the_marked_values() -> None:
    tally = Tally("adding: definition")

    @given(st.integers(2, 60), st.integers(1, 9), st.sampled_from(["float32", "float64"]), st.integers(0, 2**40))
    @settings(max_examples=150)
    def claim(T: int, B: int, dtype: str, seed: int) -> None:
        x, target, lengths = tasks.Adding(T).batch(np.random.default_rng(seed), B, dtype)
        assert (x.shape, target.shape, lengths) == ((T, B, 2), (B, 1), None)
        assert x.dtype == target.dtype == dtype
        assert wrong(x, target) == []
        tally.note(T > 3)  # with a choice where the marks are

    claim()
    tally.require(0.6)


@pytest.mark.parametrize("mistake", ["value", "marks", "target"])
def test_a_planted_mistake_is_found(mistake: str) -> None:
    x, target, _ = tasks.Adding(10).batch(np.random.default_rng(0), 4)
    if mistake == "value":
        x[0, 0, 0] = 1
    elif mistake == "marks":
        x[:, 1, 1] = np.roll(x[:, 1, 1], 5)
        x[x[:, 1, 1].argmax(), 1, 1] = 0
    else:
        target[2] = np.nextafter(target[2], np.float32(2))
    assert mistake in wrong(x, target)


def test_values_and_marks_are_uniform_and_saying_1_costs_a_sixth() -> None:
    T, B = 6, 40_000
    x, target, _ = tasks.Adding(T).batch(np.random.default_rng(1), B, "float64")
    for half in (x[:3, :, 1], x[3:, :, 1]):
        assert (abs(half.mean(axis=1) - 1 / 3) <= hoeffding(B)).all()
    for power in (1, 2, 3):
        assert abs((x[..., 0] ** power).mean() - 1 / (power + 1)) <= hoeffding(T * B)
    assert abs(((target - 1) ** 2).mean() - 1 / 6) <= hoeffding(B)


def test_training_data_is_fresh_and_the_generator_alone_decides_it() -> None:
    task = tasks.Adding(20)
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    first, second = task.batch(rng, 3), task.batch(rng, 3)
    assert not np.array_equal(first.x, second.x)
    assert np.array_equal(first.x, task.batch(again, 3).x)
    assert np.array_equal(second.x, task.batch(again, 3).x)


def test_the_test_set_is_the_same_however_it_is_cut_and_in_either_precision() -> None:
    task = tasks.Adding(12, test_sequences=23)
    whole = next(task.test_batches(23, "float64"))
    for size in (1, 7, 23, 100):
        for dtype in ("float32", "float64"):
            batches = list(task.test_batches(size, dtype))
            assert max(len(batch.target) for batch in batches) <= size
            x = np.concatenate([batch.x for batch in batches], axis=1)
            assert x.dtype == dtype
            assert np.array_equal(x, whole.x)
            target = np.concatenate([batch.target for batch in batches])
            assert np.array_equal(target, whole.target.astype(dtype))
    assert wrong(*whole[:2]) == []


def test_the_test_set_has_a_seed_of_its_own_and_no_sequence_twice() -> None:
    task = tasks.Adding(12, test_sequences=50)
    x = next(task.test_batches(50)).x
    assert len({x[:, b].tobytes() for b in range(50)}) == 50
    assert not np.array_equal(x, next(dataclasses.replace(task, test_seed=1).test_batches(50)).x)
    trained_on = {task.batch(np.random.default_rng(seed), 1).x.tobytes() for seed in range(50)}
    assert not trained_on & {x[:, b].tobytes() for b in range(50)}


def test_it_is_made_for_any_length() -> None:
    assert tasks.Adding(2).batch(np.random.default_rng(0), 2).x[..., 1].tolist() == [[1, 1], [1, 1]]
    x, target, _ = tasks.Adding(50_000).batch(np.random.default_rng(0), 2)
    assert wrong(x, target) == []


@pytest.mark.parametrize(("call", "message"), [
    (lambda: tasks.Adding(1), "steps: expected a whole number from 2, one step for each marker; got 1."),
    (lambda: tasks.Adding(2.0), "steps: expected a whole number above 0; got float."),
    (lambda: tasks.Adding(5, test_sequences=0), "test_sequences: expected a whole number above 0; got 0."),
    (lambda: tasks.Adding(5, test_seed=-1), "test_seed: expected a whole number of at least 0; got -1."),
    (lambda: tasks.Adding(5).batch(0, 2), "rng: expected a numpy.random.Generator, such as "
                                          "numpy.random.default_rng(0); got int."),
    (lambda: tasks.Adding(5).batch(np.random.default_rng(0), 0), "size: expected a whole number above 0; got 0."),
    (lambda: tasks.Adding(5).batch(np.random.default_rng(0), 1, "int8"), "dtype: expected float32 or float64; got"),
    (lambda: tasks.Adding(5).test_batches(True), "size: expected a whole number above 0; got bool."),
    (lambda: tasks.Adding(5).test_batches(2, None), "dtype: expected float32 or float64; got None."),
])
def test_bad_input_is_named_at_the_door(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert message in str(error.value)
