"""What a run reports while it trains: a line of JSON for each update and each evaluation, in metrics.jsonl.

The lines hold no time of day and no duration, so that a run that was killed and resumed ends with the same file, byte
by byte, as an undisturbed one. To that end a checkpoint notes how many bytes the file had (`Metrics.size`), and
resuming cuts it back to them: what a killed run wrote after its last checkpoint is written again.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any


class Metrics:
    """The open file, to be used in a `with`.

    Parameters
    ----------
    path : where; begun if it is not there
    size : bytes to keep, as an earlier run's `size` said; the rest is cut off

    Raises
    ------
    ValueError
        The file has fewer bytes than that; the message names it.
    OSError
        It cannot be written.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        there = path.stat().st_size if path.exists() else 0
        if there < size:
            raise ValueError(f"{path}: expected at least the {size} bytes that the checkpoint counted; got {there}.")
        self._file = path.open("ab")
        self._file.truncate(size)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, **numbers: float | int | None) -> None:
        """Append a line; a NaN or an infinity is written as null, since JSON has neither."""
        plain = {name: value if value is not None and math.isfinite(value) else None for name, value in numbers.items()}
        self._file.write(json.dumps(plain).encode() + b"\n")

    def size(self) -> int:
        """Bring all lines to the disk, and count the bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


def read(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a file; a last one that a killed process has left unfinished is left out.

    Raises
    ------
    ValueError
        A line is no JSON object; the message names the file and the line.
    OSError
        It cannot be read.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object; got {line[:40]!r}.")
        rows.append(row)
    return rows
