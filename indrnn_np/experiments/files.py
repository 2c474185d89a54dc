"""Files that are whole or not there, whenever the process is killed, and a folder that one process at a time writes to.

A file is written under another name in the same folder, brought to the disk, and given its name in one step
(`os.replace`). Whoever opens it by its name finds the old contents or the new ones, never a part.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file in one step.

    Parameters
    ----------
    path : where; its folder must be there
    fill : called with an open binary file, which it writes to

    Raises
    ------
    OSError
        It cannot be written; what was there before is still there.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())  # the contents are on the disk before the name is
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    with suppress(OSError), _opened(path.parent) as folder:  # the name too; not every system lets folders be synced
        os.fsync(folder)


def write_json(path: Path, data: Any) -> None:
    """Write plain data in one step, as JSON that a person can read; NaN and infinity are refused."""
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    write(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """Read plain data.

    Raises
    ------
    ValueError
        The file holds something else; the message names it.
    OSError
        It cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON; got something else: {error}.") from None


def clear_parts(folder: Path) -> None:
    """Remove the unfinished files that killed processes have left in a folder; call it inside `alone`."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other process trains in it; the system lets go of it when the holder dies.

    Raises
    ------
    ValueError
        Another process holds it; the message names the folder.
    """
    with _opened(folder / ".lock", os.O_RDWR | os.O_CREAT) as handle:
        try:
            import fcntl
        except ModuleNotFoundError:  # no such locks on this system: then it is the user's business
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"folder: expected one that nobody trains in; another process does in {folder}.") from None
        yield


@contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    handle = os.open(path, flags, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)
