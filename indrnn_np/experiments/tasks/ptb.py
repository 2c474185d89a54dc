"""Penn Treebank, by characters and by words (Li et al. 2018, §5.3), from the three texts as they are distributed.

`ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt` have a sentence a line, its words separated by blanks, rare words
written <unk>. The files are not part of this library, which downloads nothing: name the folder that holds them.

By characters, a line is its characters without the blanks at its two ends, and then the line's end as one more. By
words, it is its words, and then <eos>. The vocabulary is that of the training text, in alphabetical order. A word of
the other texts that the training text does not have is taken for <unk>, if the training text has that, and is an error
otherwise; a character that it does not have is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...array_module import Array
from .files import DataError, existing_file, existing_folder
from .text import Text

TRAIN, *OTHERS = FILES = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
EOS, UNKNOWN = "<eos>", "<unk>"


def ptb_characters(folder: str | os.PathLike[str], steps: int = 50) -> Text:
    """Return the task of predicting the next character.

    Parameters
    ----------
    folder : holds the three texts
    steps : T

    Returns
    -------
    Text

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        The folder or a file is missing; the message names it.
    DataError
        A file is no text, is empty, or has a character that the training text has not; the message names the line.
    TypeError, ValueError
        An argument has the wrong type or value; the message names it.
    """
    paths = _paths(folder)
    train, *others = ["\n".join([*_lines(path), ""]) for path in paths]
    known = np.unique(_code_points(train))
    texts = [_characters(text, known, path) for text, path in zip((train, *others), paths, strict=True)]
    return Text("ptb-characters", steps, tuple(map(chr, known)), *texts)


def ptb_words(folder: str | os.PathLike[str], steps: int = 50) -> Text:
    """Return the task of predicting the next word.

    Parameters
    ----------
    folder : holds the three texts
    steps : T

    Returns
    -------
    Text

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        The folder or a file is missing; the message names it.
    DataError
        A file is no text, is empty, has the word <eos>, or has a word that the training text has not, while that has no
        <unk> either; the message names the line.
    TypeError, ValueError
        An argument has the wrong type or value; the message names it.
    """
    paths = _paths(folder)
    lines = [[line.split() for line in _lines(path)] for path in paths]
    vocabulary = tuple(sorted({EOS, *(word for line in lines[0] for word in line)}))
    number = {word: k for k, word in enumerate(vocabulary)}
    texts = [np.fromiter(_words(text, number, path), np.int32) for text, path in zip(lines, paths, strict=True)]
    return Text("ptb-words", steps, vocabulary, *texts)


def _paths(folder: str | os.PathLike[str]) -> list[Path]:
    """Find the three texts."""
    home = existing_folder(folder, f"the texts {', '.join(FILES)}")
    return [existing_file(home, name) for name in FILES]


def _lines(path: Path) -> list[str]:
    """Read a text's lines, without the blanks at their ends; at least one of them has something in it."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(path, f"line {line}, byte {error.start}",
                        f"expected text in UTF-8; got the byte {data[error.start]:02x}: {error.reason}.") from None
    if (at := text.find("\0")) >= 0:
        raise DataError(path, f"line {_line(text, at)}", "expected text; got the character NUL.")
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if not any(lines):
        raise DataError(path, "", "expected text; got none.")
    return lines


def _line(text: str, at: int) -> int:
    """Return the number of the line that a character stands in."""
    return text.count("\n", 0, at) + 1


def _code_points(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _characters(text: str, known: Array, path: Path) -> Array:
    """Number a text's characters; `known` has their code points in order."""
    points = _code_points(text)
    number = np.minimum(np.searchsorted(known, points), len(known) - 1)
    if (unknown := np.flatnonzero(known[number] != points)).size:
        at = int(unknown[0])
        raise DataError(path, f"line {_line(text, at)}", "expected characters that the training text has; "
                        f"got {text[at]!r}.")
    return number.astype(np.int32)


def _words(lines: list[list[str]], number: dict[str, int], path: Path) -> Iterator[int]:
    """Number a text's words, line by line."""
    for n, line in enumerate(lines, 1):
        for word in line:
            if word == EOS:
                raise DataError(path, f"line {n}", f"expected words; got {EOS}, which stands for the line's end.")
            known = number.get(word, number.get(UNKNOWN))
            if known is None:
                raise DataError(path, f"line {n}", f"expected words that the training text has, since it has no "
                                f"{UNKNOWN}; got {word!r}.")
            yield known
        yield number[EOS]
