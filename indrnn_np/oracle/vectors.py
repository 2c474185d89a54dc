"""Exact conformance vectors: inputs and results as dyadic rationals, made by rational arithmetic.

All numbers are small multiples of powers of two, so that every intermediate result of Eq. 2 and of its
derivative is a float32: whatever the order of summation, with FMA or without, a right implementation computes
them bit for bit (+0 and −0 count as equal). Some pre-activations are exactly zero, which shows the slope taken
at the kink. The generator is an IndRNN in `fractions.Fraction` among the tests; it imports nothing from here.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from ..array_module import Array
from .cases import Case

ARGUMENTS = ("x", "W", "u", "b", "h0", "dh")
RESULTS = ("h", "dx", "dW", "du", "db", "dh0")


def cases(activation: str, dtype: str) -> list[Case]:
    """Return the exact cases of an activation (by name), none where its values are not rational."""
    return [Case(entry["id"], activation, *(_array(entry, name, dtype) for name in ARGUMENTS))
            for entry in _entries().values() if entry["activation"] == activation]


def expected(id: str) -> dict[str, Array]:
    """Return the exact h, dx, dW, du, db and dh0 of a case, as float64, which holds them all."""
    return {name: _array(_entries()[id], name, "float64") for name in RESULTS}


@cache
def _entries() -> dict[str, dict[str, Any]]:
    text = files(__package__).joinpath("data", "exact.json").read_text(encoding="utf-8")
    return {entry["id"]: entry for entry in json.loads(text)["cases"]}


def _array(entry: dict[str, Any], name: str, dtype: str) -> Array:
    return np.array(entry[name]["values"], dtype).reshape(entry[name]["shape"])
