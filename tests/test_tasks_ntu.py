"""NTU RGB+D: the format read to the letter, the official splits, and what a network sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import survives
from hypothesis import given, settings
from hypothesis import strategies as st
from skeletons import Frame, random_frames, understood, written
from tally import Tally

from indrnn_np.experiments import tasks
from indrnn_np.experiments.tasks import DataError, Skeletons, skeleton
from indrnn_np.experiments.tasks.ntu import Clips, aligned, frames_of_parts


def read(where: Path, frames: list[Frame]) -> skeleton.Recording:
    (where / "a").write_bytes(written(frames))
    return skeleton.read(where / "a")


def plain(frames: list[Frame] | None) -> Any:
    """Return frames as lists, which compare."""
    return frames and [{identity: joints.tolist() for identity, joints in frame.items()} for frame in frames]


def as_frames(path: Path) -> Any:
    """Read a recording, and return it frame by frame, as lists."""
    recording = skeleton.read(path)
    frames: list[Frame] = [{} for _ in range(recording.frames)]
    for identity, body in recording.bodies.items():
        for frame, joints in zip(body.frames, body.joints, strict=True):
            frames[frame][identity.decode("latin-1")] = joints
    return plain(frames)


@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True, max_size=4), min_size=1, max_size=6),
       st.integers(0, 2**32))
@settings(max_examples=60)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, present: list[list[str]], seed: int) -> None:
    frames = random_frames(np.random.default_rng(seed), present)
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(written(frames))
    assert plain(understood(written(frames))) == as_frames(path) == plain(frames)


WHOLE = written(random_frames(np.random.default_rng(0), [["7"], [], ["7", "8"]]))
LIKELY = b"0129 \r\n.-e_N"


def understood_as_lists(data: bytes) -> Any:
    return plain(understood(data))


def test_damage_is_refused_by_name_or_leaves_a_file_that_says_what_is_read(tmp_path: Path) -> None:
    tally = Tally("skeleton: damage; non-trivial: refused")
    survives(as_frames, understood_as_lists, tmp_path / "a", WHOLE, LIKELY, tally.note)
    tally.require(0.3)


def as_if_it_were(changed: Any) -> Any:
    """Return a reader that overlooks what `changed` mends."""
    def read_changed(path: Path) -> Any:
        path.write_bytes(changed(path.read_bytes()))
        return as_frames(path)
    return read_changed


def with_enough_fields(data: bytes) -> bytes:
    return b"\n".join(line + b" 0" if len(line.split()) == 11 else line for line in data.split(b"\n"))


def without_underscores(data: bytes) -> bytes:
    return data.replace(b"_", b"")


def raises_what_comes(path: Path) -> Any:
    lines = path.read_bytes().split(b"\n")
    return as_frames(path) if int(lines[0]) == 3 else None


@pytest.mark.parametrize(("reader", "likely"), [
    (as_if_it_were(with_enough_fields), b" "), (as_if_it_were(without_underscores), b"_"), (raises_what_comes, b"x")])
def test_a_careless_reader_is_found(tmp_path: Path, reader: Any, likely: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        survives(reader, understood_as_lists, tmp_path / "a", WHOLE, likely)


GOOD = written(random_frames(np.random.default_rng(0), [["7"], ["7", "8"]])).split(b"\r\n")


def with_line(number: int, line: bytes) -> bytes:
    return b"\n".join([*GOOD[:number - 1], line, *GOOD[number:]])


@pytest.mark.parametrize(("data", "message"), [
    (b"", "line 1: expected the number of frames, a whole number of at least 1; got ''."),
    (b"0\n", "line 1: expected the number of frames, a whole number of at least 1; got '0'."),
    (b"\x80\x04\x95 pickled", "line 1: expected the number of frames, a whole number of at least 1; got '\\\\x80\\x04"),
    (b"3\n0\n0\n", "line 4: expected the number of bodies in frame 3 of 3; the file ends here."),
    (b"2\n0\n-1\n", "line 3: expected the number of bodies in frame 2 of 2, a whole number of at least 0; got '-1'."),
    (with_line(3, b"7 0 1 1 1 1 0 0 0"), "line 3: expected a body in 10 numbers; got 9."),
    (with_line(4, b"24"), "line 4: expected 25 joints; got 24."),
    (with_line(5, b"1 2 3 4 5 6 7 8 9 10 11"), "line 5: expected joint 1 of 25 in 12 numbers; got 11."),
    (with_line(7, b"1 NaN 3 4 5 6 7 8 9 10 11 12"), "line 7: expected x, y and z of joint 3, finite numbers; "
                                                     "got '1 NaN 3'."),
    (with_line(7, b"1 2 1e39 4 5 6 7 8 9 10 11 12"), "finite numbers; got '1 2 1e39'."),
    (with_line(7, b"1_0 2 3 4 5 6 7 8 9 10 11 12"), "finite numbers; got '1_0 2 3'."),
    (with_line(29, b"\xef\xbc\x91 2 3 4 5 6 7 8 9 10 11 12"), "line 29: expected x, y and z of joint 25"),
    (b"\n".join(GOOD[:40]), "line 41: expected joint 9 of 25; the file ends here."),
    (b"\n".join([*GOOD, b"1"]), "line 85: expected the end, after the 2 frames that the first line says; got ''."),
    (with_line(58, GOOD[30]), "line 58: expected a body that frame 2 does not have yet; got '7' once more."),
    (with_line(5, b"9" * 100_000), "line 5: expected joint 1 of 25 in 12 numbers; got 1."),
    (with_line(2, b"9" * 100), f"a whole number of at least 0; got '{'9' * 60}…'."),
], ids=lambda value: "data" if isinstance(value, bytes) else None)
def test_a_wrong_file_is_named_with_the_line(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError) as error:
        skeleton.read(tmp_path / "a")
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'a'}, line ")


def test_at_most_two_bodies_are_kept_those_seen_longest_and_a_new_identity_takes_the_old_one_s_place(
        tmp_path: Path) -> None:
    present = ["c", "ab", "ab", "abc", "bd", "", "bd", "d"]  # a goes and d comes; c is never alone with one of them
    frames = random_frames(np.random.default_rng(1), present)
    origin = frames[1]["b"][1]  # b is seen longest, in five frames
    want = np.zeros((6, 2, 25, 3), np.float32)
    for row, frame in enumerate((1, 2, 3, 4, 6, 7)):  # in frame 0 only c is seen, who finds no place, in 5 nobody
        for identity, joints in frames[frame].items():
            if identity in "bad":
                want[row, 0 if identity == "b" else 1] = joints - origin
    assert np.array_equal(aligned(read(tmp_path, frames)).reshape(-1, 2, 25, 3), want)


def test_two_absent_at_times_leave_zeros_and_the_origin_is_one_point_of_the_sequence(tmp_path: Path) -> None:
    frames = random_frames(np.random.default_rng(2), ["a", "ab", "ab", "a"])
    got = aligned(read(tmp_path, frames)).reshape(4, 2, 25, 3)
    assert not got[[0, 3], 1].any()
    assert not got[0, 0, 1].any(), "the middle of the spine is joint 2 of 25"
    for frame in range(4):
        for place, identity in enumerate("ab"):
            if identity in frames[frame]:
                assert np.array_equal(got[frame, place], frames[frame][identity] - frames[0]["a"][1])
    assert aligned(read(tmp_path, [{}, {}])).shape == (0, 150)


@given(st.integers(1, 200), st.integers(1, 30), st.integers(0, 2**32))
@settings(max_examples=100)
def test_every_part_of_a_sequence_gives_one_frame_of_its_own(frames: int, T: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for where in (rng.random(T), np.zeros(T), np.full(T, 0.5), np.full(T, np.nextafter(1, 0))):
        got = frames_of_parts(frames, where)
        first, end = np.arange(T) * frames // T, np.arange(1, T + 1) * frames // T
        assert ((first <= got) & (got < np.maximum(end, first + 1)) & (got < frames)).all()
        assert (np.diff(got) >= (1 if frames >= T else 0)).all()


def name(camera: int = 1, subject: int = 1, action: int = 1, setup: int = 1, repetition: int = 1) -> str:
    return f"S{setup:03}C{camera:03}P{subject:03}R{repetition:03}A{action:03}.skeleton"


def everyone(where: Path) -> Path:
    """Every subject before every camera, each doing the action of their own number; who it was stands in the joints."""
    for subject in range(1, 41):
        for camera in (1, 2, 3):
            frame = {"9": np.full((25, 3), 100 * camera + subject, np.float32)}
            frame["9"][1] = 0
            (where / name(camera, subject, subject)).write_bytes(written([frame]))
    return where


@pytest.mark.parametrize("split", ["cross-subject", "cross-view"])
def test_the_splits_are_the_official_ones(tmp_path: Path, split: str) -> None:
    task = tasks.named("ntu", folder=everyone(tmp_path), split=split, steps=2)
    assert isinstance(task, Skeletons)
    assert (task.name, task.steps, task.inputs, task.outputs, task.readout, task.loss, task.tokens) \
        == ("ntu", 2, 150, 60, "last", "cross entropy", False)
    training = [1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38]
    who = {True: [], False: []}
    for is_training, clips in ((True, task.train), (False, task.test)):
        who[is_training] = [int(frames[0, 0]) for frames in clips.frames]
        assert [number % 100 - 1 for number in who[is_training]] == clips.labels.tolist()
    if split == "cross-subject":
        assert {number % 100 for number in who[True]} == set(training)
        assert {number % 100 for number in who[False]} == set(range(1, 41)) - set(training)
    else:
        assert {number // 100 for number in who[True]} == {2, 3}
        assert {number // 100 for number in who[False]} == {1}
    assert sorted(who[True] + who[False]) == sorted(100 * c + s for c in (1, 2, 3) for s in range(1, 41))


def numbered(*lengths: int) -> Skeletons:
    """A task in five steps, whose frames tell the number of their sequence and their own."""
    clips = Clips(tuple(np.arange(n, dtype=np.float32)[:, None] + np.full(150, 1000 * s, np.float32)
                        for s, n in enumerate(lengths)), np.arange(len(lengths)))
    return Skeletons(5, clips, clips)


def test_training_takes_any_frame_of_each_part_and_testing_the_middle_one() -> None:
    task, rng = numbered(5, 3, 14, 50), np.random.default_rng(0)
    taken: dict[int, list[set[int]]] = {s: [set() for _ in range(5)] for s in range(4)}
    for _ in range(200):
        x, labels, lengths = task.batch(rng, 3, "float64")
        assert (x.shape, x.dtype, lengths) == ((5, 3, 150), np.float64, None)
        assert len(set(labels.tolist())) == 3
        assert (x == x[:, :, :1]).all()
        for b, s in enumerate(labels.tolist()):
            for t in range(5):
                sequence, frame = divmod(int(x[t, b, 0]), 1000)
                assert sequence == s
                taken[s][t].add(frame)
    assert taken[0] == [{t} for t in range(5)]
    assert taken[1] == [{0}, {0}, {1}, {1}, {2}]
    assert taken[2] == [{0, 1}, {2, 3, 4}, {5, 6, 7}, {8, 9, 10}, {11, 12, 13}]
    assert taken[3] == [set(range(10 * t, 10 * t + 10)) for t in range(5)], "missed once in 10^6 draws of the seed"
    for size in (1, 3, 9):
        x = np.concatenate([batch.x for batch in task.test_batches(size)], axis=1)
        assert x.dtype == np.float32
        assert (x[:, :, 7].T % 1000).tolist() == [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2], [1, 3, 6, 9, 12],
                                                  [5, 15, 25, 35, 45]]
        labels = np.concatenate([batch.target for batch in task.test_batches(size)])
        assert labels.tolist() == [0, 1, 2, 3]


def test_files_in_which_nobody_is_seen_are_left_out_by_name(tmp_path: Path) -> None:
    seen = written(random_frames(np.random.default_rng(0), ["a"]))
    for file, data in ((name(2), seen), (name(1), seen), (name(3), written([{}, {}])), ("README", b"not read")):
        (tmp_path / file).write_bytes(data)
    task = tasks.named("ntu", folder=tmp_path, split="cross-view")
    assert isinstance(task, Skeletons)
    assert task.left_out == (name(3),)
    assert (len(task.train.frames), len(task.test.frames)) == (1, 1)


HEADING = b"Some samples have missing or incomplete skeleton data.\r\nPlease ignore them.\r\n\r\n"


@pytest.mark.parametrize(("heading", "ending"), [(b"", ""), (HEADING, ""), (HEADING, ".skeleton")])
def test_recordings_on_the_list_of_incomplete_ones_are_not_even_read(tmp_path: Path, heading: bytes,
                                                                     ending: str) -> None:
    seen = written(random_frames(np.random.default_rng(0), ["a"]))
    for camera in (1, 2, 3):
        (tmp_path / name(camera)).write_bytes(seen.replace(b"25", b"24") if camera == 3 else seen)
    with pytest.raises(DataError, match="expected 25 joints"):
        tasks.named("ntu", folder=tmp_path, split="cross-view")
    names = [name(3), name(3, subject=7)]  # the second is not there
    lines = "\r\n".join(file.removesuffix(".skeleton") + ending for file in names)
    (tmp_path / "list.txt").write_bytes(heading + lines.encode() + b"\r\n\r\n")
    task = tasks.named("ntu", folder=tmp_path, split="cross-view", incomplete=str(tmp_path / "list.txt"))
    assert isinstance(task, Skeletons)
    assert task.left_out == (name(3),)
    assert len(task.train.frames) == 1


@pytest.mark.parametrize(("data", "message"), [
    (b"", ": expected names of recordings, SsssCcccPpppRrrrAaaa, one a line; got none."),
    (HEADING + b"S1C1", ": expected names of recordings"),
    (HEADING + b"S001C001P001R001A001\n\nS001C001P001R001\n",
     ", line 6: expected the name of a recording, as above it; got 'S001C001P001R001'."),
    (b"S001C001P001R001A001\n\xff\n", ", line 2: expected the name of a recording"),
], ids=lambda value: "data" if isinstance(value, bytes) else None)
def test_a_wrong_list_is_named_with_the_line(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(DataError) as error:
        tasks.named("ntu", folder=tmp_path, incomplete=tmp_path / "list.txt")
    assert str(error.value).startswith(f"{tmp_path / 'list.txt'}{message}")


@pytest.mark.parametrize(("file", "message"), [
    ("S001C001P001R001.skeleton", "its name: expected SsssCcccPpppRrrrAaaa.skeleton, such as"),
    ("S1C1P1R1A1.skeleton", "got S1C1P1R1A1.skeleton."),
    ("s001c001p001r001a001.skeleton", "its name: expected"),
    ("S001C001P001R001A٠٠١.skeleton", "its name: expected"),
    (name(action=61), "its name: expected the action from 1 to 60; got 61. It may be of NTU RGB+D 120."),
    (name(action=0), "action from 1 to 60; got 0."),
    (name(subject=41), "its name: expected the subject from 1 to 40; got 41. It may be of NTU RGB+D 120."),
    (name(camera=4), "its name: expected the camera from 1 to 3; got 4."),
    (name(setup=18), "its name: expected the setup from 1 to 17; got 18."),
    (name(repetition=3), "its name: expected the repetition from 1 to 2; got 3."),
])
def test_a_wrong_name_is_named(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / file).write_bytes(written([{}]))
    with pytest.raises(DataError) as error:
        tasks.named("ntu", folder=tmp_path)
    assert str(error.value).startswith(f"{tmp_path / file}, its name")
    assert message in str(error.value)


def test_an_empty_part_of_a_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected sequences to train on in the cross-subject split; got none among 0"):
        tasks.named("ntu", folder=tmp_path)
    (tmp_path / name(2)).write_bytes(written(random_frames(np.random.default_rng(0), ["a"])))
    (tmp_path / name(1)).write_bytes(written([{}]))
    with pytest.raises(DataError, match="expected sequences to test on in the cross-view split; got none among 2 "
                                        r"\.skeleton files \(1 of them left out\)\.$"):
        tasks.named("ntu", folder=tmp_path, split="cross-view")


@pytest.mark.parametrize(("options", "message"), [
    ({"split": "cross subject"}, "split: expected one of cross-subject, cross-view; got 'cross subject'."),
    ({"steps": 0}, "steps: expected a whole number above 0; got 0."),
    ({"incomplete": 3}, "incomplete: expected the path of a list of recordings; got int."),
    ({"incomplete": "nowhere"}, "incomplete: expected a list of recordings; there is no file nowhere."),
    ({"folder": b"x"}, "folder: expected the path of a folder with the .skeleton files of NTU RGB+D; got bytes."),
])
def test_bad_options_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, FileNotFoundError)) as error:
        tasks.named("ntu", **{"folder": tmp_path, **options})
    assert str(error.value) == message
