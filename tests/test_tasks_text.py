"""Texts: every token a target once, streams that go on, and files that are read as they stand or refused by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import survives
from tally import Tally

from indrnn_np.experiments import tasks
from indrnn_np.experiments.tasks import DataError, Text

NAMES = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
TRAIN = " the cat <unk> on the N mats \n a dog sat \n"
VALID = " the dog sat \n"
TEST = " a cat on the mats \n\n the mouse sat \n"


def folder_with(where: Path, train: Any = TRAIN, valid: Any = VALID, test: Any = TEST) -> Path:
    for name, text in zip(NAMES, (train, valid, test), strict=True):
        (where / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return where


def spelt(task: Text, part: str, between: str = " ") -> str:
    """Return a text of token numbers in letters again."""
    return between.join(task.vocabulary[k] for k in getattr(task, part))


def counting(length: int, steps: int) -> Text:
    """A text whose token k is k, so that every token says where it stands."""
    return Text("counting", steps, tuple(map(str, range(length))), *(np.arange(length, dtype=np.int32),) * 3)


def test_by_words_a_text_is_its_words_and_an_eos_a_line(tmp_path: Path) -> None:
    task = tasks.named("ptb-words", folder=folder_with(tmp_path), steps=3)
    assert isinstance(task, Text)
    assert (task.name, task.readout, task.loss, task.tokens) == ("ptb-words", "every", "cross entropy", True)
    assert task.vocabulary == ("<eos>", "<unk>", "N", "a", "cat", "dog", "mats", "on", "sat", "the")
    assert task.inputs == task.outputs == 10
    assert spelt(task, "train") == "the cat <unk> on the N mats <eos> a dog sat <eos>"
    assert spelt(task, "validation") == "the dog sat <eos>"
    assert spelt(task, "test") == "a cat on the mats <eos> <eos> the <unk> sat <eos>", "mouse is not known"


def test_by_characters_a_text_is_its_characters_without_the_blanks_at_the_ends_of_lines(tmp_path: Path) -> None:
    task = tasks.named("ptb-characters", folder=folder_with(tmp_path, test=TEST.replace("mouse", "hound")), steps=3)
    assert isinstance(task, Text)
    assert task.name == "ptb-characters"
    assert "".join(task.vocabulary) == "".join(sorted(set("the cat <unk> on the N mats\na dog sat\n")))
    assert spelt(task, "train", "") == "the cat <unk> on the N mats\na dog sat\n"
    assert spelt(task, "test", "") == "a cat on the mats\n\nthe hound sat\n"


def test_characters_beyond_ascii_are_characters_like_others(tmp_path: Path) -> None:
    text = "größe ∂J/∂h 𝛔\n"
    task = tasks.ptb_characters(folder_with(tmp_path, text, text, text), steps=5)
    assert spelt(task, "test", "") == text
    assert task.inputs == len(set(text))


def test_lines_may_end_as_windows_has_it_and_the_last_may_not_end_at_all(tmp_path: Path) -> None:
    task = tasks.ptb_words(folder_with(tmp_path, "a b\r\nc\r\n", "a", "c b"), steps=2)
    assert [spelt(task, part) for part in ("train", "validation", "test")] \
        == ["a b <eos> c <eos>", "a <eos>", "c b <eos>"]


def test_training_windows_are_pieces_of_the_text_from_everywhere_each_with_the_next_tokens() -> None:
    task, rng, begun = counting(12, 4), np.random.default_rng(0), set()
    for dtype in ("float32", "float64"):
        x, target, lengths = task.batch(rng, 100, dtype)
        assert (x.shape, target.shape, lengths) == ((4, 100), (4, 100), None)
        assert x.dtype == target.dtype == np.int64
        assert np.array_equal(x, x[0] + np.arange(4)[:, None])
        assert np.array_equal(target, x + 1)
        begun |= set(x[0].tolist())
    assert begun == set(range(12 - 4)), "the last window ends with the text's last token as a target"


def wrong(task: Text, batches: list[tasks.Batch], rows: int) -> list[str]:
    """Say what contradicts the promise of streams, for a text that counts."""
    found, seen, last = [], [], np.full(rows, -1)
    for k, (x, target, lengths) in enumerate(batches):
        counts = np.arange(len(x))[:, None] < (np.full(x.shape[1], len(x)) if lengths is None else lengths)
        if x.shape != target.shape or len(x) > task.steps or not counts[0].all():
            found.append("shape")
        if (target != x + 1)[counts].any():
            found.append("target")
        if k and (x[0] != last[: x.shape[1]] + 1).any():
            found.append("continuation")
        last = x[-1]
        seen += target[counts].tolist()
    if sorted(seen) != list(range(1, len(task.test))):
        found.append("once")
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_in_streams_every_token_is_a_target_once_and_rows_go_on_where_they_stopped(steps: int) -> None:
    uneven = 0
    for length in range(steps + 1, 26):
        for size in range(1, 8):
            task = counting(length, steps)
            batches = list(task.test_batches(size))
            assert wrong(task, batches, size) == []
            assert batches[0].x.shape[1] == min(size, length - 1)
            uneven += batches[-1].lengths is not None
    assert uneven > 0 or steps == 1, "a window of one step has no row that is shorter"


@pytest.mark.parametrize("mistake", ["target", "continuation", "once"])
def test_a_planted_mistake_in_streams_is_found(mistake: str) -> None:
    task = counting(32, 4)
    batches = list(task.streams("validation", 3))
    match mistake:
        case "target":
            batches[0].target[1, 1] += 1
        case "continuation":
            batches[1] = tasks.Batch(batches[1].x[:, ::-1], batches[1].target[:, ::-1], None)
        case _:
            batches.pop()
    assert mistake in wrong(task, batches, 3)


@pytest.mark.parametrize(("load", "texts", "message"), [
    (tasks.ptb_words, {"train": b""}, "ptb.train.txt: expected text; got none."),
    (tasks.ptb_characters, {"test": b" \n \n"}, "ptb.test.txt: expected text; got none."),
    (tasks.ptb_words, {"valid": b"the\ncat \xff sat\n"}, "ptb.valid.txt, line 2, byte 8: expected text in UTF-8; got "
                                                        "the byte ff: invalid start byte."),
    (tasks.ptb_characters, {"valid": "größe".encode("latin-1")}, "valid.txt, line 1, byte 2: expected text in UTF-8"),
    (tasks.ptb_characters, {"train": "the €".encode()[:-1]}, "line 1, byte 4: expected text in UTF-8; got the byte e2"),
    (tasks.ptb_words, {"train": b"a\nb\n\0"}, "ptb.train.txt, line 3: expected text; got the character NUL."),
    (tasks.ptb_characters, {"test": "the cat\non the map\n"}, "ptb.test.txt, line 2: expected characters that the "
                                                             "training text has; got 'p'."),
    (tasks.ptb_words, {"train": "a cat\n", "valid": "a\n", "test": "a\nmouse\n"},
     "ptb.test.txt, line 2: expected words that the training text has, since it has no <unk>; got 'mouse'."),
    (tasks.ptb_words, {"train": "a\nb <eos>\n"}, "line 2: expected words; got <eos>, which stands for the line's end."),
])
def test_a_wrong_text_is_named_with_the_line(tmp_path: Path, load: Any, texts: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        load(folder_with(tmp_path, **texts), steps=1)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path))


def tokens(load: Any) -> Any:
    """Return a reader of a training text: its tokens, the test text's being the same."""
    def read(path: Path) -> Any:
        path.with_name(NAMES[1]).write_bytes(path.read_bytes())
        path.with_name(NAMES[2]).write_bytes(path.read_bytes())
        task = load(path.parent, steps=1)
        assert np.array_equal(task.train, task.test)
        return [task.vocabulary[k] for k in task.train]
    return read


def understood(data: bytes, by_words: bool) -> Any:
    """Read a text another way: None where it is none."""
    text = data.decode(errors="replace")
    if text.encode() != data or not text.strip() or "\0" in text:
        return None
    lines = [line.strip() for line in (text if text.endswith("\n") else text + "\n").split("\n")[:-1]]
    found: list[str] = []
    for line in lines:
        found += [*line.split(), "<eos>"] if by_words else [*line, "\n"]
    return found


SAMPLE, LIKELY = "a cat on the mats\nthe dog – or a – sat\n".encode(), b"\n\r \0\xe2ate"


@pytest.mark.parametrize("load", [tasks.ptb_characters, tasks.ptb_words])
def test_damage_is_refused_by_name_or_leaves_a_text_that_says_what_is_read(tmp_path: Path, load: Any) -> None:
    tally = Tally(f"{load.__name__}: damage; non-trivial: refused")
    survives(tokens(load), lambda data: understood(data, load is tasks.ptb_words), tmp_path / NAMES[0], SAMPLE, LIKELY,
             tally.note)
    tally.require(0.2)


def splits_everywhere(path: Path) -> Any:
    """A careless reader: a carriage return in a line, or what is no UTF-8, is taken as it comes."""
    return [*path.read_text(errors="replace")]


def raises_what_comes(path: Path) -> Any:
    return [*path.read_bytes().decode()]


@pytest.mark.parametrize("reader", [splits_everywhere, raises_what_comes])
def test_a_careless_reader_is_found(tmp_path: Path, reader: Any) -> None:
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        survives(reader, lambda data: understood(data, by_words=False), tmp_path / NAMES[0], SAMPLE, LIKELY)


def test_bad_options_are_named(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    with pytest.raises(ValueError, match=r"^steps: expected fewer than the 12 tokens of the training text"):
        tasks.ptb_words(folder, steps=12)
    with pytest.raises(TypeError, match=r"^steps: expected a whole number above 0; got str\.$"):
        tasks.ptb_words(folder, steps="3")  # type: ignore[arg-type]
    task = tasks.ptb_words(folder, steps=11)
    with pytest.raises(ValueError, match=r"^part: expected one of train, validation, test; got 'valid'\.$"):
        task.streams("valid", 2)
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random\.Generator"):
        task.batch(None, 2)  # type: ignore[arg-type]
    (folder / NAMES[2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"^folder: expected a file ptb\.test\.txt in "):
        tasks.ptb_words(folder)
