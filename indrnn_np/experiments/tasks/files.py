"""Files that the user has: how they are found, and what is said of one that is not what it should be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """A file is not what it should be. The message names the file, the place in it, what was expected and what came.

    Attributes
    ----------
    path : the file, or the folder where the files together are wrong
    where : the place, such as "byte 16" or "line 3"; empty where it is the file as a whole
    what : what was expected there and what came
    """

    def __init__(self, path: str | os.PathLike[str], where: str, what: str) -> None:
        super().__init__(path, where, what)
        self.path, self.where, self.what = Path(path), where, what

    def __str__(self) -> str:
        return f"{self.path}{', ' if self.where else ''}{self.where}: {self.what}"


def existing_folder(folder: Any, holds: str) -> Path:
    """Return the folder, which must be there.

    Raises
    ------
    TypeError
        folder is no path.
    FileNotFoundError, NotADirectoryError
        There is no such folder; the message says what it should hold.
    """
    if not isinstance(folder, str | os.PathLike) or isinstance(os.fspath(folder), bytes):
        raise TypeError(f"folder: expected the path of a folder with {holds}; got {type(folder).__name__}.")
    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(f"folder: expected one with {holds}; there is no {path}.")
    if not path.is_dir():
        raise NotADirectoryError(f"folder: expected one with {holds}; {path} is a file.")
    return path


def existing_file(folder: Path, *names: str) -> Path:
    """Return the first of these files that is in the folder.

    Raises
    ------
    FileNotFoundError
        None is there.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"folder: expected a file {' or '.join(names)} in {folder}; there is none.")
