"""NTU RGB+D: say which of 60 actions one or two skeletons perform (Li et al. 2018, §5.4).

The files `SsssCcccPpppRrrrAaaa.skeleton` name setup, camera, subject, repetition and action. They are not part of this
library, which downloads nothing: name the folder that holds them. The data's authors split them in two ways:

cross-subject    20 of the 40 subjects are for training, the others for testing
cross-view       cameras 2 and 3 are for training, camera 1 for testing

What a network sees:

bodies    At most two. The Kinect gives a body a new identity when it has lost it, so identities are put into two
          places: the one seen in most frames first, each in the first place that is free in all frames it is in; one
          that finds none is left out. An absent body is all zeros. A frame without anybody is dropped.
centre    Coordinates are in metres from the middle of the spine in the first place, where it is first seen: one origin
          for the whole sequence, so that walking is not lost.
frames    The sequence is cut into T parts of equal length (T = 20), and one frame is taken from each: in training any,
          by the generator; in testing the middle one. Where it is shorter than T, some frames come more than once.

Recordings in which no frame has a body are left out, and those that the user lists: the data's authors list 302 whose
skeletons are incomplete, and ask not to use them. The task tells the names of all that were left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...analysis import _checks
from ...array_module import Array
from . import skeleton
from .files import DataError, existing_folder
from .task import Batch, Loss, Readout, check_batch, check_size, choose, slices

TRAINING_SUBJECTS = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
TRAINING_CAMERAS = frozenset((2, 3))
SPLITS = ("cross-subject", "cross-view")
BODIES, SPINE_MIDDLE, ACTIONS = 2, 1, 60
NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})\.skeleton", re.ASCII)
LIMITS = {"setup": 17, "camera": 3, "subject": 40, "repetition": 2, "action": ACTIONS}
IN_120 = ("setup", "subject", "action")  # of which the larger data set has more


class Clips(NamedTuple):
    """Sequences, each (F, 150) float32 of its own length F; labels (S,), int64."""

    frames: tuple[Array, ...]
    labels: Array


@dataclass(frozen=True, eq=False)
class Skeletons:
    """Recognise an action. `ntu` makes it.

    Parameters
    ----------
    steps : T
    train, test : Clips
    left_out : names of the files that were there and are not used
    """

    steps: int
    train: Clips = field(repr=False)
    test: Clips = field(repr=False)
    left_out: tuple[str, ...] = field(default=(), repr=False)
    name: str = field(default="ntu", init=False)
    inputs: int = field(default=BODIES * skeleton.JOINTS * 3, init=False)
    outputs: int = field(default=ACTIONS, init=False)
    readout: Readout = field(default="last", init=False)
    loss: Loss = field(default="cross entropy", init=False)
    tokens: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        _checks.whole("steps", self.steps)

    def batch(self, rng: np.random.Generator, size: int, dtype: Any = "float32") -> Batch:
        """Draw different training sequences, and from each part of each a frame.

        Parameters
        ----------
        rng : NumPy's Generator
        size : B, at most the number of training sequences
        dtype : float32 or float64

        Returns
        -------
        Batch : x (T, B, 150), body by body, joint by joint, x, y, z; target (B,) labels, action A being A − 1

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        B, kind = check_batch(rng, size, dtype)
        which = choose(rng, len(self.train.labels), B)
        return self._batch(self.train, which, rng.random((B, self.steps)), kind)

    def test_batches(self, size: int, dtype: Any = "float32") -> Iterator[Batch]:
        """Go through the test sequences in the order of their names, with the middle frame of each part.

        Parameters
        ----------
        size : B; the last batch may have fewer
        dtype : float32 or float64

        Returns
        -------
        iterator of Batch, as `batch` makes them

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value; the message names it.
        """
        B, kind = check_size(size, dtype)
        every = np.arange(len(self.test.labels))
        return (self._batch(self.test, every[part], np.full((len(every[part]), self.steps), 0.5), kind)
                for part in slices(len(every), B))

    def _batch(self, clips: Clips, which: Array, where: Array, dtype: np.dtype[Any]) -> Batch:
        """Take the frame that lies at `where` (B, T), from 0 to 1, in each part of these sequences."""
        x = np.empty((self.steps, len(which), self.inputs), dtype)
        for b, s in enumerate(which):
            x[:, b] = clips.frames[s][frames_of_parts(len(clips.frames[s]), where[b])]
        return Batch(x, clips.labels[which], None)


def frames_of_parts(frames: int, where: Array) -> Array:
    """Cut 0 … frames − 1 into as many parts as `where` is long; return the number at `where`, in [0, 1), of each."""
    T = len(where)
    first, end = np.arange(T) * frames // T, np.arange(1, T + 1) * frames // T
    return first + (where * np.maximum(end - first, 1)).astype(np.int64)


def ntu(folder: str | os.PathLike[str], split: str = "cross-subject", steps: int = 20,
        incomplete: str | os.PathLike[str] | None = None) -> Skeletons:
    """Return the task of recognising actions in NTU RGB+D.

    All files are read before it returns, which takes minutes for the whole data set; what is kept of them stays in
    memory, 600 bytes a frame.

    Parameters
    ----------
    folder : holds the .skeleton files; others in it are not looked at
    split : "cross-subject" or "cross-view"
    steps : T
    incomplete : a text with the names of recordings that are not even to be read, one a line, with or without
        .skeleton; what stands above the first name is its heading. The authors' list is one. None: all are read

    Returns
    -------
    Skeletons : 60 classes

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder or list; the message names it.
    DataError
        A file's name or a line in it is not what it should be, or a part of the split has no sequence; the message
        names the file and the line.
    TypeError, ValueError
        An argument has the wrong type or value; the message names it.
    """
    _checks.one_of("split", split, SPLITS)
    _checks.whole("steps", steps)
    home = existing_folder(folder, "the .skeleton files of NTU RGB+D")
    unwanted = frozenset[str]() if incomplete is None else listed(_list_file(incomplete))
    files = {path: facts(path) for path in sorted(home.glob("*.skeleton"))}
    clips: dict[bool, list[tuple[Array, int]]] = {True: [], False: []}
    left_out = []
    for path, (_, camera, subject, _, action) in files.items():
        if path.stem in unwanted or len(frames := aligned(skeleton.read(path))) == 0:
            left_out.append(path.name)
            continue
        training = subject in TRAINING_SUBJECTS if split == "cross-subject" else camera in TRAINING_CAMERAS
        clips[training].append((frames, action - 1))
    for training, purpose in ((True, "to train on"), (False, "to test on")):
        if not clips[training]:
            raise DataError(home, "", f"expected sequences {purpose} in the {split} split; got none among "
                            f"{len(files)} .skeleton files ({len(left_out)} of them left out).")
    train, test = (Clips(tuple(frames for frames, _ in clips[training]), np.array([a for _, a in clips[training]]))
                   for training in (True, False))
    return Skeletons(steps, train, test, tuple(left_out))


def _list_file(incomplete: Any) -> Path:
    """Return the path of the list, which must be there."""
    if not isinstance(incomplete, str | os.PathLike) or isinstance(os.fspath(incomplete), bytes):
        raise TypeError(f"incomplete: expected the path of a list of recordings; got {type(incomplete).__name__}.")
    if not Path(incomplete).is_file():
        raise FileNotFoundError(f"incomplete: expected a list of recordings; there is no file {incomplete}.")
    return Path(incomplete)


def listed(path: Path) -> frozenset[str]:
    """Read a list of recordings: their names, without .skeleton.

    Raises
    ------
    DataError
        It has no name, or below the first name a line that is none.
    """
    names: list[str] = []
    for n, line in enumerate(path.read_bytes().decode("utf-8", "replace").split("\n"), 1):
        name = line.strip().removesuffix(".skeleton")
        if NAME.fullmatch(f"{name}.skeleton"):
            names.append(name)
        elif names and name:
            raise DataError(path, f"line {n}", f"expected the name of a recording, as above it; got {line.strip()!r}.")
    if not names:
        raise DataError(path, "", "expected names of recordings, SsssCcccPpppRrrrAaaa, one a line; got none.")
    return frozenset(names)


def facts(path: Path) -> tuple[int, ...]:
    """Return what a file's name says: setup, camera, subject, repetition, action.

    Raises
    ------
    DataError
        It is not named so, or a number lies outside NTU RGB+D.
    """
    match = NAME.fullmatch(path.name)
    if match is None:
        raise DataError(path, "its name", "expected SsssCcccPpppRrrrAaaa.skeleton, such as "
                        f"S001C002P003R002A013.skeleton; got {path.name}.")
    numbers = tuple(map(int, match.groups()))
    for (what, most), number in zip(LIMITS.items(), numbers, strict=True):
        if not 1 <= number <= most:
            raise DataError(path, "its name", f"expected the {what} from 1 to {most}; got {number}."
                            + (" It may be of NTU RGB+D 120." if what in IN_120 and number > most else ""))
    return numbers


def aligned(recording: skeleton.Recording) -> Array:
    """Put the bodies of a recording into two places, as the top of this file says; return (F, 150) float32."""
    x = np.zeros((recording.frames, BODIES, skeleton.JOINTS, 3), np.float32)
    taken = np.zeros((recording.frames, BODIES), bool)
    for body in sorted(recording.bodies.values(), key=lambda body: -len(body.frames)):  # stable: the earlier first
        place = next((p for p in range(BODIES) if not taken[body.frames, p].any()), None)
        if place is not None:
            x[body.frames, place], taken[body.frames, place] = body.joints, True
    if taken.any():
        x -= np.where(taken[:, :, None, None], x[taken[:, 0].argmax(), 0, SPINE_MIDDLE], np.float32(0))
    return x[taken.any(axis=1)].reshape(-1, BODIES * skeleton.JOINTS * 3)
