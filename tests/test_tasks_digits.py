"""scikit-learn's digits, pixel by pixel: nothing lost, nothing shared between training and test."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from indrnn_np.experiments import tasks
from indrnn_np.experiments.tasks.pixels import Images, Pixels, shuffled


@pytest.mark.extra("experiments")
def test_the_two_parts_are_the_whole_bundle_and_share_no_image() -> None:
    from sklearn.datasets import load_digits

    task, bundle = tasks.digits(), load_digits()
    assert (task.train.pixels.shape, task.test.pixels.shape) == ((1437, 64), (360, 64))
    assert task.train.pixels.dtype == np.uint8
    both = np.concatenate([task.train.pixels, task.test.pixels])
    labels = np.concatenate([task.train.labels, task.test.labels])
    rows = sorted(zip(both.tolist(), labels.tolist(), strict=True))
    assert rows == sorted(zip(bundle.data.astype(int).tolist(), bundle.target.tolist(), strict=True))
    assert len({row.tobytes() for row in both}) == len(both), "no image occurs twice, so the parts share none"


@pytest.mark.extra("experiments")
def test_every_class_has_a_fifth_of_its_images_in_the_test_set() -> None:
    task = tasks.digits()
    for digit in range(10):
        tested, trained = (np.count_nonzero(part.labels == digit) for part in (task.test, task.train))
        assert abs(tested - (tested + trained) / 5) < 1


@pytest.mark.extra("experiments")
def test_batches_hold_the_pixels_in_sixteenths_row_by_row_or_in_the_fixed_order() -> None:
    plain, permuted, other = tasks.digits(), tasks.named("digits", permuted=True), tasks.digits(permuted=True, seed=1)
    assert (plain.steps, plain.inputs, plain.outputs, plain.readout, plain.loss) == (64, 1, 10, "last", "cross entropy")
    for dtype in ("float32", "float64"):
        row_by_row = next(plain.test_batches(360, dtype))
        assert row_by_row.x.dtype == dtype
        assert np.array_equal(row_by_row.x[:, :, 0].T * 16, plain.test.pixels)  # sixteenths are exact
        assert np.array_equal(row_by_row.target, plain.test.labels)
        mixed = next(permuted.test_batches(360, dtype))
        assert np.array_equal(mixed.x, row_by_row.x[permuted.order])
        assert np.array_equal(mixed.target, row_by_row.target)
    assert permuted.order is not None
    assert sorted(permuted.order) == sorted(other.order) == list(range(64))
    assert not np.array_equal(permuted.order, other.order)


@pytest.mark.extra("experiments")
def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'indrnn-np\[experiments\]'"):
        tasks.digits()


def small(order: np.ndarray | None = None) -> Pixels:
    """Six training images of four pixels that name themselves, and three test images."""
    pixels = np.arange(36, dtype=np.uint8).reshape(9, 4)
    return Pixels("small", Images(pixels[:6], np.arange(6)), Images(pixels[6:], np.arange(3)), 6, 255, order)


def test_training_batches_hold_different_training_images_each_with_its_label() -> None:
    task, rng, seen = small(np.array([2, 0, 3, 1])), np.random.default_rng(0), set()
    for size in (1, 4, 6):
        for _ in range(20):
            x, labels, lengths = task.batch(rng, size, "float64")
            assert (x.shape, lengths) == ((4, size, 1), None)
            assert len(set(labels.tolist())) == size
            want = task.train.pixels[labels][:, [2, 0, 3, 1]] / np.float64(255)
            assert np.array_equal(x[:, :, 0].T, want)
            seen.update(labels.tolist())
    assert seen == set(range(6))
    with pytest.raises(ValueError, match=r"^size: expected at most 6, as many training sequences as there are; got 7"):
        task.batch(rng, 7)


def test_test_batches_hold_every_test_image_once_in_order() -> None:
    task = small()
    for size in (1, 2, 3, 8):
        batches = list(task.test_batches(size))
        assert [len(batch.target) for batch in batches][:-1] == [size] * (len(batches) - 1)
        assert np.concatenate([batch.target for batch in batches]).tolist() == [0, 1, 2]
        assert np.concatenate([batch.x for batch in batches], axis=1).shape == (4, 3, 1)


def test_the_fixed_orders_never_change() -> None:
    """A published error rate is of one permutation: this one."""
    assert shuffled(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]


@pytest.mark.parametrize(("options", "message"), [
    ({"permuted": 1}, "permuted: expected True or False; got int."),
    ({"seed": -1}, "seed: expected a whole number of at least 0; got -1."),
    ({"seed": 0.5}, "seed: expected a whole number of at least 0; got float."),
])
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        tasks.named("digits", **options)
    assert str(error.value) == message
