"""MNIST from IDX files: read as they are, and refused by file and byte where they are not what they say."""

from __future__ import annotations

import gzip
import os
import pickle
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import survives
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import understood, written
from tally import Tally

from indrnn_np.experiments import tasks
from indrnn_np.experiments.tasks import DataError, idx

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def parts(train: int = 7, test: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (count, 28, 28), np.uint8) if "images" in name
            else rng.integers(0, 10, count, np.uint8)
            for name, count in zip(NAMES, (train, train, test, test), strict=True)}


def folder_with(where: Path, arrays: dict[str, Any], packed: tuple[str, ...] = ()) -> Path:
    for name, array in arrays.items():
        data = array if isinstance(array, bytes) else written(array)
        (where / f"{name}.gz" if name in packed else where / name).write_bytes(
            gzip.compress(data) if name in packed else data)
    return where


@pytest.mark.parametrize("packed", [(), NAMES, NAMES[1:3]])
def test_the_four_files_are_read_as_they_are_or_packed(tmp_path: Path, packed: tuple[str, ...]) -> None:
    arrays = parts()
    task = tasks.named("mnist", folder=str(folder_with(tmp_path, arrays, packed)))
    assert (task.name, task.steps, task.inputs, task.outputs, task.readout, task.loss) \
        == ("mnist", 784, 1, 10, "last", "cross entropy")
    batches = list(task.test_batches(2, "float64"))
    x = np.concatenate([batch.x for batch in batches], axis=1)
    assert np.array_equal(x[:, :, 0].T, arrays[NAMES[2]].reshape(3, 784) / 255)
    assert np.concatenate([batch.target for batch in batches]).tolist() == arrays[NAMES[3]].tolist()
    trained = task.batch(np.random.default_rng(0), 7, "float64")
    images = {image.tobytes(): label for image, label in zip(arrays[NAMES[0]], arrays[NAMES[1]], strict=True)}
    for b in range(7):
        assert images[np.rint(trained.x[:, b, 0] * 255).astype(np.uint8).tobytes()] == trained.target[b]


def test_permuted_the_same_pixels_come_in_one_order_for_all(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, parts())
    plain, permuted = tasks.mnist(folder), tasks.mnist(folder, permuted=True, seed=4)
    assert permuted.order is not None
    assert sorted(permuted.order) == list(range(784))
    assert not np.array_equal(permuted.order, np.arange(784))
    for one, other in zip(plain.test_batches(2), permuted.test_batches(2), strict=True):
        assert np.array_equal(one.x[permuted.order], other.x)
        assert np.array_equal(one.target, other.target)


@pytest.mark.parametrize("packed", [False, True])
def test_images_stay_bytes_and_are_never_held_twice(tmp_path: Path, packed: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6000, 28, 28), np.uint8)
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(written(images), 1) if packed else written(images))
    tracemalloc.start()
    try:
        read = idx.read(path, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read.dtype == np.uint8
    assert np.array_equal(read, images)
    assert peak < 1.5 * images.nbytes


IMAGES, LABELS = written(np.zeros((2, 28, 28), np.uint8)), written(np.zeros(2, np.uint8))


@pytest.mark.parametrize(("name", "data", "message"), [
    (NAMES[0], b"", "byte 0: expected 4 more bytes of the magic number; the file ends here."),
    (NAMES[0], IMAGES[:3], "byte 3: expected 1 more bytes of the magic number; the file ends here."),
    (NAMES[0], IMAGES[:9], "byte 9: expected 7 more bytes of the size of each dimension; the file ends here."),
    (NAMES[0], LABELS, "byte 0: expected the magic number 00 00 08 03 (unsigned bytes, dimensions: 3); got "
                       "00 00 08 01. It has 1 dimensions, not 3: is it another file under this name?"),
    (NAMES[3], b"\0\0\x0d\x01" + LABELS[4:], "byte 0: expected the magic number 00 00 08 01"),
    (NAMES[1], gzip.compress(LABELS, mtime=0), "It is packed by gzip: give it a name that ends in .gz."),
    (NAMES[0], IMAGES[:-1], "byte 1583: expected 1 more bytes of the 2 × 28 × 28 that the header says"),
    (NAMES[0], IMAGES[:600], "byte 16: expected 1568 bytes, the 2 × 28 × 28 that the header says; the whole file "
                              "has 600."),
    (NAMES[0], IMAGES + b"\0", "byte 1584: expected the end, after the 2 × 28 × 28 that the header says; the file "
                              "goes on."),
    (NAMES[0], written(np.zeros((0, 28, 28), np.uint8)), "byte 4: expected a size above 0; got 0."),
    (NAMES[2], written(np.zeros((2, 14, 56), np.uint8)), "byte 8: expected images of 28 × 28; got 14 × 56."),
    (NAMES[0], IMAGES[:4] + b"\xff" * 12, "byte 16: expected 79228162458924105385300197375 bytes"),
    (NAMES[1], written(np.zeros(3, np.uint8)), f"byte 4: expected 2 labels, one for each image in {NAMES[0]}; got 3."),
    (NAMES[3], LABELS[:-1] + b"\x0a", "byte 9: expected a label from 0 to 9; got 10."),
], ids=lambda value: "data" if isinstance(value, bytes) else None)
def test_a_wrong_file_is_named_with_the_byte(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    good = {n: IMAGES if "images" in n else LABELS for n in NAMES}
    tasks.mnist(folder_with(tmp_path, good))
    with pytest.raises(DataError) as error:
        tasks.mnist(folder_with(tmp_path, {name: data}))
    assert error.value.path == tmp_path / name
    assert str(error.value).startswith(f"{tmp_path / name}, byte ")
    assert message in str(error.value)


PACKED = gzip.compress(IMAGES, mtime=0)


@pytest.mark.parametrize(("data", "message"), [
    (b"", "byte 0: expected 4 more bytes of the magic number; the file ends here."),
    (PACKED[:-9], "cannot be unpacked"),
    (PACKED[:-1], "byte 1584: expected bytes packed by gzip; from about here it cannot be unpacked"),
    (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "CRC check failed"),
    (PACKED + b"more", "byte 1584: expected bytes packed by gzip"),
    (IMAGES, "byte 0: expected bytes packed by gzip"),
    (gzip.compress(IMAGES[:-1], mtime=0), "byte 1583: expected 1 more bytes of the 2 × 28 × 28"),
    (gzip.compress(IMAGES + b"\0", mtime=0), "byte 1584: expected the end"),
    (gzip.compress(IMAGES[:4] + b"\0\x10\0\0\0\0\0\x1c\0\0\0\x1c", mtime=0),
     "byte 16: expected 822083584 bytes, the 1048576 × 28 × 28 that the header says; the whole file has 31, packed."),
], ids=["empty", "no end", "size cut off", "another checksum", "more behind it", "not packed", "too short", "too long",
        "a header that promises the world"])
def test_a_damaged_packed_file_is_named_with_the_byte(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        idx.read(path, 3)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}, byte ")


def listed(path: Path) -> Any:
    """Read an IDX file of three dimensions into lists."""
    return idx.read(path, 3).tolist()


def unpacked(data: bytes) -> Any:
    """Read packed IDX another way."""
    try:
        return understood(gzip.decompress(data), 3)
    except (OSError, EOFError, zlib.error):
        return None


ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_refused_by_name_or_leaves_a_file_that_says_what_is_read(tmp_path: Path, packed: bool) -> None:
    """Whatever is done to a file: what is read is what another reader finds in it, or there is a DataError."""
    tally = Tally(f"idx: damage{', packed' if packed else ''}; non-trivial: refused")
    if packed:
        whole = gzip.compress(written(ARRAY), mtime=0)
        survives(listed, unpacked, tmp_path / "a.gz", whole, b"\x1f\x8b\x08", tally.note)
    else:
        survives(listed, lambda data: understood(data, 3), tmp_path / "a", written(ARRAY), bytes(range(12)), tally.note)
    tally.require(0.3)


def trusts_the_end(path: Path) -> Any:
    data = path.read_bytes()
    sizes = np.frombuffer(data[4:16], ">u4")
    if len(data) < 16 + sizes.prod() or data[:4] != b"\0\0\x08\x03" or 0 in sizes:
        raise DataError(path, "", "")
    return np.frombuffer(data[16:16 + sizes.prod()], np.uint8).reshape(sizes).tolist()


def trusts_the_magic_number(path: Path) -> Any:
    data = path.read_bytes()
    return listed(path) if data[:4] == b"\0\0\x08\x03" else []


def raises_what_comes(path: Path) -> Any:
    data = path.read_bytes()
    return np.frombuffer(data[16:], np.uint8).reshape(np.frombuffer(data[4:16], ">u4")).tolist()


@pytest.mark.parametrize("reader", [trusts_the_end, trusts_the_magic_number, raises_what_comes])
def test_a_careless_reader_is_found(tmp_path: Path, reader: Any) -> None:
    with pytest.raises((AssertionError, ValueError)):
        survives(reader, lambda data: understood(data, 3), tmp_path / "a", written(ARRAY), bytes(range(12)))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=50)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, shape: list[int], packed: bool,
                                 seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path = tmp_path_factory.getbasetemp() / ("any.gz" if packed else "any")
    path.write_bytes(gzip.compress(written(array)) if packed else written(array))
    assert np.array_equal(idx.read(path, len(shape)), array)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "images").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError):
        idx.read(tmp_path / "images", 3)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"the four files of MNIST, {', '.join(NAMES)}; there is no .*nowhere"):
        tasks.mnist(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="is a file"):
        tasks.mnist(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=f"^folder: expected a file {NAMES[0]} or {NAMES[0]}.gz in "):
        tasks.mnist(tmp_path)
    with pytest.raises(TypeError, match="folder: expected the path of a folder with the four files of MNIST"):
        tasks.mnist(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^folder: expected a value, which the task 'mnist' cannot do without"):
        tasks.named("mnist")


def test_an_error_survives_being_sent_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DataError("a.txt", "line 3", "expected a; got b.")))
    assert str(error) == "a.txt, line 3: expected a; got b."
    assert str(DataError("folder", "", "expected c.")) == "folder: expected c."
