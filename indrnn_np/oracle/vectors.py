"""Conformance vectors: inputs and right results, as plain JSON that a program in any language can read.

The exact ones are dyadic rationals, made by rational arithmetic: small multiples of powers of two, so that every
intermediate result of Eq. 2 and of its derivative is a float32. Whatever the order of summation, with FMA or
without, a right implementation computes them bit for bit (+0 and −0 count as equal). Some pre-activations are
exactly zero, which shows the slope taken at the kink.

The others are computed with 60 digits and rounded once, and carry the error allowed to every element of a result, for
a computation in float32 and for one in float64: the theorem of `tolerance`, where the h that came is not known.

The generators are two more implementations of IndRNN, among the tests; they import nothing from here. In the folder,
`manifest.json` says what the numbers mean, and `schema.json` how a file is laid out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import reprlib
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..activations import ACTIVATIONS, leaky_relu
from ..array_module import Array
from .inputs import Case

FORMAT = 1
MANIFEST = "manifest.json"
ARGUMENTS = ("x", "W", "u", "b", "h0", "dh")
RESULTS = ("h", "dx", "dW", "du", "db", "dh0")
DTYPES = ("float32", "float64")
SHAPES = {"x": "TBM", "W": "NM", "u": "N", "b": "N", "h0": "BN", "dh": "TBN",
          "dx": "TBM", "dW": "NM", "du": "N", "db": "N", "dh0": "BN", "h": "TBN"}


@dataclass(frozen=True, eq=False)
class Vector:
    """One conformance vector: arguments, the right results, and how far from them a computation may be.

    Attributes
    ----------
    id : its name
    activation : a name that this library knows, "leaky_relu(0.125)" among them
    flags : what is special about it; the manifest tells what mistakes each flag shows
    arguments : x, W, u, b, h0, dh by name, float64 arrays whose numbers are float32 too
    results : h, dx, dW, du, db, dh0 by name, float64 arrays
    allowed : by dtype ("float32", "float64"), then by result: the largest right |got − result| of each element
    """

    id: str
    activation: str
    flags: tuple[str, ...]
    arguments: dict[str, Array]
    results: dict[str, Array]
    allowed: dict[str, dict[str, Array]]

    @property
    def exact(self) -> bool:
        """Whether every bit must agree."""
        return "exact" in self.flags

    def case(self, dtype: str) -> Case:
        """Return the arguments as a case of that dtype, in arrays of its own."""
        return Case(self.id, self.activation, *(self.arguments[name].astype(dtype) for name in ARGUMENTS))


def write_vectors(folder: str | os.PathLike[str]) -> list[Path]:
    """Copy the conformance vectors into a folder.

    Each file appears whole or not at all, the manifest last; files of other names are left alone.

    Parameters
    ----------
    folder : path
        Made if it is not there.

    Returns
    -------
    list of Path : the files, in the order written

    Raises
    ------
    TypeError, ValueError
        folder is not a path, or an empty one.
    OSError
        It cannot be written to; the message names the file.
    """
    target = _path(folder)
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted((source for source in _package_data().iterdir() if source.name.endswith(".json")),
                     key=lambda source: (source.name == MANIFEST, source.name))
    for source in sources:
        _write_whole(target / source.name, source.read_bytes())
    return [target / source.name for source in sources]


def read_vectors(folder: str | os.PathLike[str]) -> list[Vector]:
    """Read a folder of conformance vectors, as `write_vectors` writes it, and check all of it.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Vector

    Raises
    ------
    TypeError
        folder is not a path.
    FileNotFoundError
        The manifest, or a file that it names, is not there.
    ValueError
        A file is not what it should be; the message names the file, what was expected and what came.
    """
    return _read(_path(folder))


def cases(activation: str, dtype: str) -> list[Case]:
    """Return the exact cases of an activation (by name), none where its values are not rational."""
    return [vector.case(dtype) for vector in _exact().values() if vector.activation == activation]


def expected(id: str) -> dict[str, Array]:
    """Return the exact h, dx, dW, du, db and dh0 of a case, as float64, which holds them all."""
    return {name: array.copy() for name, array in _exact()[id].results.items()}


@cache
def _exact() -> dict[str, Vector]:
    return {vector.id: vector for vector in _read(_package_data()) if vector.exact}


def _package_data() -> Traversable:
    return files(__package__).joinpath("data")


def _path(folder: str | os.PathLike[str]) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder: expected a path; got {type(folder).__name__}.")
    if not os.fspath(folder):
        raise ValueError("folder: expected a path; got an empty one.")
    return Path(folder)


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, then rename: a reader finds the old file or the new one, never a part."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


# Reading. What is in a folder is a stranger's: nothing is used before it is checked.


def _read(folder: Traversable) -> list[Vector]:
    path = folder / MANIFEST
    manifest = _parse(path, _bytes(path))
    _has_keys(path, manifest, ("format", "files", "flags"))
    _is_format(path, manifest)
    notes, listed = manifest["flags"], manifest["files"]
    if not isinstance(notes, dict):
        _refuse(f"{path}, flags", "notes by flag", notes)
    if not isinstance(listed, dict) or not listed:
        _refuse(f"{path}, files", "files by name", listed)

    vectors = [vector for name, about in listed.items() for vector in _read_file(folder, name, about, notes)]
    seen: set[str] = set()
    for vector in vectors:
        if vector.id in seen:
            _refuse(path, "cases with an id each, over all files", f"{vector.id!r} twice")
        seen.add(vector.id)
    return vectors


def _read_file(folder: Traversable, name: str, about: Any, notes: Mapping[str, Any]) -> list[Vector]:
    """Read one file that the manifest names; `about` has its sha256 and its number of cases."""
    manifest = folder / MANIFEST
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}\.json", name):
        _refuse(f"{manifest}, files", "names of .json files in its own folder", name)
    _has_keys(f"{manifest}, {name}", about, ("sha256", "cases"))
    path = folder / name
    data = _bytes(path)
    if (digest := hashlib.sha256(data).hexdigest()) != about["sha256"]:
        _refuse(path, f"the sha256 that {MANIFEST} has, {_shown(about['sha256'])}", digest)
    document = _parse(path, data)
    _has_keys(path, document, ("format", "cases"), only=True)
    _is_format(path, document)
    entries = document["cases"]
    if not isinstance(entries, list) or type(about["cases"]) is not int or len(entries) != about["cases"]:
        _refuse(path, f"a list of as many cases as {MANIFEST} has, {_shown(about['cases'])}", entries)
    return [_vector(f"{path}, case {number}", entry, notes) for number, entry in enumerate(entries)]


def _vector(where: str, entry: Any, notes: Mapping[str, Any]) -> Vector:
    """Check one case of a file."""
    id, name, flags = _labels(where, entry, notes)
    leaky, exact = name == "leaky_relu", "exact" in flags
    bounds = {} if exact else {(dtype, key): f"{key}_allowed_{dtype}" for dtype in DTYPES for key in RESULTS}
    _has_keys(where, entry, ("id", "activation", "flags", *(["alpha"] if leaky else []), *"TBMN", *ARGUMENTS, *RESULTS,
                             *bounds.values()), only=True)
    for letter in "TBMN":
        if type(entry[letter]) is not int or entry[letter] < 1:
            _refuse(f"{where}, {letter}", "a whole number above 0", entry[letter])

    def array(key: str, shaped_as: str) -> Array:
        shape = tuple(entry[letter] for letter in SHAPES[shaped_as])
        return _array(f"{where}, {key}", entry[key], shape)

    arguments = {key: array(key, key) for key in ARGUMENTS}
    for key in ARGUMENTS:
        _is_float32(f"{where}, {key}", arguments[key])
    results = {key: array(key, key) for key in RESULTS}
    allowed = {dtype: {key: np.zeros_like(value) for key, value in results.items()} for dtype in DTYPES}
    for (dtype, result), key in bounds.items():
        allowed[dtype][result] = array(key, result)
        if (allowed[dtype][result] < 0).any():
            _refuse(f"{where}, {key}", "no number below 0", float(allowed[dtype][result].min()))
    return Vector(id, leaky_relu(_alpha(where, entry["alpha"])).name if leaky else name, flags, arguments, results,
                  allowed)


def _labels(where: str, entry: Any, notes: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Check a case's id, activation and flags, which decide what else it has."""
    _has_keys(where, entry, ("id", "activation", "flags"))
    id, name, flags = entry["id"], entry["activation"], entry["flags"]
    if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_.()-]{1,100}", id):
        _refuse(f"{where}, id", "a short name", id)
    if not isinstance(name, str) or name not in ACTIVATIONS:
        _refuse(f"{where}, activation", f"one of {', '.join(ACTIVATIONS)}", name)
    if not isinstance(flags, list) or not all(isinstance(flag, str) and flag in notes for flag in flags):
        _refuse(f"{where}, flags", f"a list of flags of {MANIFEST}", flags)
    return id, name, tuple(flags)


def _array(where: str, values: Any, shape: tuple[int, ...]) -> Array:
    """Check a flat list of numbers; return it in its shape."""
    if not isinstance(values, list) or not all(_is_number(value) for value in values):
        _refuse(where, "a flat list of finite numbers", values)
    if len(values) != math.prod(shape):
        _refuse(where, f"as many numbers as its shape {_shown(shape)} has", len(values))
    return np.array(values, np.float64).reshape(shape)


def _is_number(value: Any) -> bool:
    """Whether a value from JSON is a number that float64 holds; true, an overflowed 1e999 and 10^400 are not."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_float32(where: str, array: Array) -> None:
    with np.errstate(all="ignore"):
        wrong = array != array.astype(np.float32)
    if wrong.any():
        _refuse(where, "numbers that float32 holds exactly", float(array[wrong][0]))


def _alpha(where: str, value: Any) -> float:
    if not _is_number(value) or float(value) <= 0:
        _refuse(f"{where}, alpha", "a finite number above 0", value)
    return float(value)


def _bytes(path: Traversable) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise FileNotFoundError(f"{path}: expected a file of conformance vectors, as write_vectors writes them; "
                                "there is none.") from None


def _parse(path: Traversable, data: bytes) -> Any:
    """Parse JSON, more strictly than Python does."""
    def refuse_constant(text: str) -> NoReturn:
        raise ValueError(f"got {text}")

    def without_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        pairs = list(pairs)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("got a key twice in one object")
        return found

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON in UTF-8, with finite numbers and each key once; {error}.") from None


def _has_keys(where: object, value: Any, keys: Iterable[str], only: bool = False) -> None:
    """Check that a value is an object with these keys, and with no others if `only`."""
    if not isinstance(value, dict):
        _refuse(where, f"an object with {', '.join(keys)}", value)
    if missing := [key for key in keys if key not in value]:
        raise ValueError(f"{where}: expected {', '.join(missing)}; not there.")
    if only and (unknown := sorted(set(value) - set(keys))):
        _refuse(where, f"the keys {', '.join(keys)} and no others", unknown)


def _is_format(where: object, document: Mapping[str, Any]) -> None:
    if type(document["format"]) is not int or document["format"] != FORMAT:
        _refuse(f"{where}, format", f"{FORMAT}, the one that this version reads", document["format"])


def _refuse(where: object, expected: str, got: object) -> NoReturn:
    raise ValueError(f"{where}: expected {expected}; got {_shown(got)}.")


def _shown(value: object) -> str:
    """Show a stranger's value at a length, and in letters, that fit a message."""
    plain = isinstance(value, str) and len(value) <= 64 and value.isascii() and value.isprintable()
    return str(value) if plain else reprlib.repr(value)
