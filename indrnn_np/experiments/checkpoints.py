"""A checkpoint: all that a run needs to go on as if nothing had happened, in one .npz file without pickle.

It holds named arrays (parameters, moments, running statistics) and, as JSON text, plain data: the number of updates,
the states of the random generators and of the schedule, and the configuration, so that no other run takes it for its
own. Python writes a float in JSON with all its digits, and so reads the same one again. The file is written in one
step (`files.write`); that it is undamaged, the checksums of the zip archive say.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..array_module import Array, to_numpy
from . import files

STATE = "state"  # the member that holds the plain data


class BadCheckpoint(ValueError):
    """The file is no checkpoint, is damaged, or belongs to another configuration; the message names it."""


class Checkpoint(NamedTuple):
    """Named arrays, on the CPU, and plain data."""

    arrays: dict[str, Array]
    state: dict[str, Any]


def save(path: Path, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step.

    Parameters
    ----------
    path : where, by custom checkpoint.npz
    arrays : NumPy's or CuPy's, by name; "/" in a name is fine, the name "state" is taken
    state : plain data; its "configuration" is compared when the checkpoint is loaded

    Raises
    ------
    OSError
        It cannot be written; the checkpoint that was there is still there.
    """
    text = np.array(json.dumps(state))
    files.write(path, lambda file: np.savez(file, allow_pickle=False, **{STATE: text},
                                            **{name: to_numpy(array) for name, array in arrays.items()}))


def load(path: Path, configuration: Any, like: Mapping[str, Array]) -> Checkpoint:
    """Read a checkpoint of this configuration.

    Parameters
    ----------
    path : where
    configuration : plain data that must equal the state's "configuration"
    like : arrays by name; those of the checkpoint must have the same names, shapes and dtypes

    Returns
    -------
    Checkpoint

    Raises
    ------
    BadCheckpoint
        The file is damaged or no checkpoint, or another configuration's; the message names the file and what differs.
    OSError
        There is no such file, or it cannot be read.
    """
    contents = path.read_bytes()
    try:
        arrays, state = _parse(contents)
    except Exception as error:  # zipfile, zlib, struct and NumPy raise a dozen types over damaged bytes
        raise BadCheckpoint(f"{path}: expected a checkpoint; got a damaged file or another kind "
                            f"({str(error) or type(error).__name__}).") from error
    if (difference := differing(state["configuration"], configuration)) is not None:
        raise BadCheckpoint(f"{path}: expected a checkpoint of this configuration; got one with {difference}.")
    if kinds(arrays) != kinds(like):
        name = min(name for name, _ in set(kinds(arrays).items()) ^ set(kinds(like).items()))
        raise BadCheckpoint(f"{path}: {name}: expected {kinds(like).get(name, 'nothing of that name')}; "
                            f"got {kinds(arrays).get(name, 'nothing of that name')}.")
    return Checkpoint(arrays, state)


def kinds(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Say of each named array what it is: its dtype and shape."""
    return {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}


def differing(got: Any, expected: Any, where: str = "") -> str | None:
    """Name the first place where two plain data differ, as "model.hidden 64, not 128"; None where they are equal."""
    if isinstance(got, dict) and isinstance(expected, dict):
        for key in [*expected, *(key for key in got if key not in expected)]:
            inside = differing(got.get(key), expected.get(key), f"{where}.{key}" if where else str(key))
            if inside is not None:
                return inside
        return None
    plain = json.loads(json.dumps(expected))  # tuples are lists in JSON
    return None if got == plain else f"{where or 'configuration'} {got!r}, not {plain!r}"


def _parse(contents: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read every member, which checks its checksum, and insist on the state."""
    with np.load(io.BytesIO(contents), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    state = json.loads(str(arrays.pop(STATE)))
    if not isinstance(state, dict) or "configuration" not in state:
        raise ValueError("its state has no configuration")
    return arrays, state
