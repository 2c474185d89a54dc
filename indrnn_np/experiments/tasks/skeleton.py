"""The .skeleton format of NTU RGB+D: what a Kinect saw of the people before it, in lines of numbers.

    the number of frames
    for each frame:     the number of bodies
    for each body:      a line of 10: its identity, and nine more that are not read
                        the number of joints, 25
    for each joint:     a line of 12: x, y, z in metres, and nine more that are not read

What is not read is counted and not judged: NaN may stand there. What is read must be right.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...array_module import Array
from .files import DataError

JOINTS, BODY_FIELDS, JOINT_FIELDS = 25, 10, 12
LARGEST = float(np.finfo(np.float32).max) / 2  # so that a difference of two is finite
NUMBER = rb"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
JOINT = re.compile(rb"\s*(%b)\s+(%b)\s+(%b)(?:\s+\S+){%d}\s*" % (NUMBER, NUMBER, NUMBER, JOINT_FIELDS - 3))
COUNT = re.compile(rb"\s*(\d{1,9})\s*")


class Body(NamedTuple):
    """One body under one identity: the frames (K,) that it is in, counted from 0, and its joints there (K, 25, 3)."""

    frames: Array
    joints: Array


class Recording(NamedTuple):
    """How many frames there are, and the bodies in them by identity, in order of appearance."""

    frames: int
    bodies: dict[bytes, Body]


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a .skeleton file.

    Parameters
    ----------
    path : the file

    Returns
    -------
    Recording : the joints in float32, in metres, as the Kinect has its axes

    Raises
    ------
    DataError
        It is no such file: cut off, too long, or with a line that is not what it should be; the message names the file
        and the line.
    OSError
        It cannot be opened.
    """
    lines = _Lines(Path(path))
    frames: dict[bytes, list[int]] = {}
    joints: dict[bytes, list[list[float]]] = {}
    total = lines.count("the number of frames", least=1)
    for frame in range(total):
        for _ in range(lines.count(f"the number of bodies in frame {frame + 1} of {total}")):
            identity = lines.body()
            seen = frames.setdefault(identity, [])
            if seen and seen[-1] == frame:
                raise lines.wrong(f"expected a body that frame {frame + 1} does not have yet; got {_quoted(identity)} "
                                  "once more.")
            seen.append(frame)
            if (number := lines.count("the number of joints")) != JOINTS:
                raise lines.wrong(f"expected {JOINTS} joints; got {number}.")
            joints.setdefault(identity, []).append(lines.joints())
    lines.end(f"the {total} frames that the first line says")
    return Recording(total, {identity: Body(np.array(seen), np.array(joints[identity], np.float32)
                                            .reshape(-1, JOINTS, 3))
                             for identity, seen in frames.items()})


class _Lines:
    """The lines of a file, one after another; it knows which one it is at."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes().rstrip()
        self.path, self.lines, self.number = path, data.split(b"\n"), 0
        self.plain = b"_" not in data  # Python reads 1_0 as a number

    def wrong(self, what: str) -> DataError:
        """Return the error that says what is wrong with the line at hand."""
        return DataError(self.path, f"line {self.number}", what)

    def next(self, what: str) -> bytes:
        self.number += 1
        if self.number > len(self.lines):
            raise self.wrong(f"expected {what}; the file ends here.")
        return self.lines[self.number - 1]

    def count(self, what: str, least: int = 0) -> int:
        line = self.next(what)
        match = COUNT.fullmatch(line)
        if match is None or int(match[1]) < least:
            raise self.wrong(f"expected {what}, a whole number of at least {least}; got {_quoted(line)}.")
        return int(match[1])

    def body(self) -> bytes:
        fields = self.next("a body").split()
        if len(fields) != BODY_FIELDS:
            raise self.wrong(f"expected a body in {BODY_FIELDS} numbers; got {len(fields)}.")
        return fields[0]

    def joints(self) -> list[float]:
        """Return x, y and z of the joints in the next lines, one after another.

        Nearly all time goes by here. So all lines are tried at once, and one by one where something may be wrong.
        """
        fields = [line.split() for line in self.lines[self.number:self.number + JOINTS]]
        if self.plain and len(fields) == JOINTS and all(len(numbers) == JOINT_FIELDS for numbers in fields):
            try:
                positions = [float(number) for numbers in fields for number in numbers[:3]]
            except ValueError:
                positions = [math.nan]
            if sum(map(abs, positions)) <= LARGEST:  # not where one of them is NaN
                self.number += JOINTS
                return positions
        return [number for j in range(JOINTS) for number in self.joint(j + 1)]

    def joint(self, j: int) -> tuple[float, ...]:
        line = self.next(f"joint {j} of {JOINTS}")
        match = JOINT.fullmatch(line)
        position = tuple(map(float, match.groups())) if match else ()
        if not position or max(map(abs, position)) > LARGEST:
            fields = line.split()
            if len(fields) != JOINT_FIELDS:
                raise self.wrong(f"expected joint {j} of {JOINTS} in {JOINT_FIELDS} numbers; got {len(fields)}.")
            raise self.wrong(f"expected x, y and z of joint {j}, finite numbers; "
                             f"got {_quoted(b' '.join(fields[:3]))}.")
        return position

    def end(self, after: str) -> None:
        if self.number < len(self.lines):
            self.number += 1
            raise self.wrong(f"expected the end, after {after}; got {_quoted(self.lines[self.number - 1])}.")


def _quoted(line: bytes) -> str:
    """Show a line in a message, cut where it is long."""
    text = line.strip().decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:60] + "…")
