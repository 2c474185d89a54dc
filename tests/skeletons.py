"""Small .skeleton files, as NTU RGB+D has them, and another reader of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Frame = dict[str, np.ndarray]  # joints (25, 3) by identity


NOT_READ = ("277.1", "191.5", "NaN", "-1.#IND", "0.2", "-0.1", "0.9", "0.03", "2")


def written(frames: Sequence[Frame]) -> bytes:
    """Write frames as the data has them: Windows' line ends, and NaN among the numbers that nobody needs."""
    lines = [str(len(frames))]
    for frame in frames:
        lines.append(str(len(frame)))
        for identity, joints in frame.items():
            lines += [f"{identity} 0 1 1 1 1 0 0.02764709 0.05745083 2", str(len(joints))]
            lines += [" ".join([*map(repr, joint.tolist()), *NOT_READ]) for joint in joints]
    return ("\r\n".join(lines) + "\r\n").encode()


def random_frames(rng: np.random.Generator, present: Sequence[Sequence[str]]) -> list[Frame]:
    """Draw joints for the bodies present in each frame."""
    return [{identity: rng.standard_normal((25, 3)).astype(np.float32) for identity in bodies} for bodies in present]


def understood(data: bytes) -> list[Frame] | None:
    """Read a file another way: None where it is no .skeleton file."""
    lines = data.rstrip().split(b"\n")[::-1]
    try:
        frames: list[Frame] = [{} for _ in range(_whole(lines.pop()))]
        for frame in frames:
            for _ in range(_whole(lines.pop())):
                fields = lines.pop().split()
                identity = fields[0].decode("latin-1")
                if len(fields) != 10 or _whole(lines.pop()) != 25 or identity in frame:
                    return None
                joints = [lines.pop().split() for _ in range(25)]
                if {len(joint) for joint in joints} != {12}:
                    return None
                xyz = [[_finite(number) for number in joint[:3]] for joint in joints]
                frame[identity] = np.array(xyz).astype(np.float32)
    except (IndexError, ValueError):
        return None
    return None if lines or not frames else frames


def _whole(line: bytes) -> int:
    digits = line.split()
    if len(digits) != 1 or not set(digits[0]) <= set(b"0123456789") or len(digits[0]) > 9:
        raise ValueError(line)
    return int(digits[0])


def _finite(field: bytes) -> float:
    if not set(field) <= set(b"0123456789.+-eE"):
        raise ValueError(field)
    number = float(field)
    if not math.isfinite(number) or abs(number) > 1.7e38:
        raise ValueError(field)
    return number
