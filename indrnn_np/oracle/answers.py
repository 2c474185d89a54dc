"""What a candidate answers to a call: whether it has the form that was asked for, and in which words it has not."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..array_module import Array, to_numpy
from . import vectors
from .inputs import Case

Candidate = Callable[..., Mapping[str, Any]]
TENSORS = vectors.RESULTS


class Unfit(Exception):
    """What was called returned something else than was expected of it.

    Attributes
    ----------
    verdict, detail : what happened, in the words of the report
    name : the tensor, empty where it is not about one
    """

    def __init__(self, verdict: str, detail: str, name: str = "") -> None:
        super().__init__(f"{name}: {detail}" if name else detail)
        self.verdict, self.detail, self.name = verdict, detail, name


class Refusal(ValueError):
    """An adapter cannot make a candidate of what it was given: bad input, and nothing that a case has found."""

    is_refusal = True  # by which the worker knows it, without importing anything


def answer(candidate: Candidate, arguments: dict[str, Array], case: Case) -> dict[str, Any]:
    """Call a candidate; return copies of what it returned, names that are none of a result's included.

    Raises
    ------
    Unfit
        It returned no mapping.
    Exception
        Whatever the candidate raises.
    """
    returned = candidate(**arguments, activation=case.activation)
    require_mapping(returned, TENSORS)
    return {name if isinstance(name, str) else repr(name): _own(value) for name, value in returned.items()}


def require_mapping(returned: Any, names: Iterable[str]) -> None:
    """Insist on a mapping with these names; raise `Unfit`."""
    if not isinstance(returned, Mapping):
        raise Unfit("crashed", f"TypeError: expected a mapping with {', '.join(names)}; got {type(returned).__name__}")


def no_such_result(name: str, names: Collection[str]) -> str:
    """Say that there is no result of that name, and which may have been meant: one of other case, else a near one."""
    same = [known for known in names if known.lower() == name.lower()]
    near = same or get_close_matches(name, names, n=1, cutoff=0.5)
    return "no such result; " + (f"did you mean {near[0]}?" if near else f"expected {', '.join(names)}")


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what an implementation of this case has to return, by name."""
    gradients = {"d" + name: array.shape for name, array in case.arguments().items() if name != "dh"}
    return {"h": case.dh.shape, **gradients}


def unlike(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Say how an output differs from what it should look like; empty where it does not."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        return f"expected a NumPy array; got {type(array).__name__}"
    if array.shape != shape:
        swapped = len(shape) == 3 and array.shape == (shape[1], shape[0], shape[2])
        hint = ". It looks batch-first: swap its first two axes" if swapped else ""
        return f"expected shape {shape}, {dtype}; got {array.shape}, {array.dtype}{hint}"
    return "" if array.dtype == dtype else f"expected {dtype}; got {array.dtype}"


def lacks(detail: str, case: Case) -> str:
    """Return a hint where a crash was that the implementation takes no b or no h0; else nothing."""
    found = re.search(r"unexpected keyword argument '(b|h0)'", detail)
    if found is None or found[1] in case.without:
        return ""
    return f". If it has no {found[1]}, say so: without=({found[1]!r},), or --without {found[1]}"


def _own(value: Any) -> Any:
    """Return a plain copy of an array, on the CPU: its memory may be used again by the next call."""
    value = to_numpy(value)
    plain = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    return np.array(value, subok=False) if plain else value
