"""Verify an implementation: run it on every case, compare every tensor with every reference that applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..activations import resolve
from ..array_module import Array
from . import references, vectors
from .cases import EQUATION_4, SMALL, STANDARD, Case, Recipe, draw
from .report import Finding, Report, judge

Candidate = Callable[..., Mapping[str, Array]]
TENSORS = vectors.RESULTS


class Check(NamedTuple):
    """A reference, the cases on which it is asked, and whether it takes gradients on the h that came."""

    name: str
    cases: Callable[[str, str], list[Case]]
    expected: Callable[[Case, Array], references.Expected]
    on_own_h: bool


@lru_cache(maxsize=512)
def _drawn(id: str, recipe: Recipe, activation: str, dtype: str) -> Case:
    return draw(id, recipe, activation, dtype)


def _from(recipes: Mapping[str, Recipe]) -> Callable[[str, str], list[Case]]:
    return lambda activation, dtype: [_drawn(id, recipe, activation, dtype) for id, recipe in recipes.items()]


CHECKS = (
    Check("specification", _from(STANDARD), references.specification, on_own_h=True),
    Check("complex step", _from(SMALL), references.by_complex_step, on_own_h=False),
    Check("exact vectors", vectors.cases, references.exact, on_own_h=False),
    Check("Eq. 4", _from(EQUATION_4), references.equation_4, on_own_h=True),
)


def verify(candidate: Candidate, activations: Sequence[str] = ("relu",),
           dtypes: Sequence[str] = ("float32", "float64")) -> Report:
    """Verify an IndRNN layer, forward and backward, in this process.

    It is run on named cases and compared, element by element, with the specification, with complex-step
    derivatives, with exact vectors and with Eq. 4. What rounding may do to a right implementation is derived for
    every element (`indrnn_np.oracle.tolerance`), so a pass means something and no right one is accused.

    Parameters
    ----------
    candidate : callable
        `candidate(x, W, u, b, h0, dh, activation)`, called by keyword, returns a mapping with h, dx, dW, du, db, dh0
        as NumPy arrays of the arguments' dtype. b and h0 are always arrays, and seldom zero; activation is a name;
        dh[t] is the partial derivative of J by h_t, not through later steps.
    activations : names
        "identity", "relu", "leaky_relu", "tanh", "sigmoid", "softplus"; "leaky_relu(0.125)" for another slope.
    dtypes : "float32", "float64" or both

    Returns
    -------
    Report : `.passed`, `.findings`, and `print(report)`

    Raises
    ------
    TypeError, ValueError
        candidate cannot be called, or a name is unknown. What the candidate itself raises becomes a finding.
    """
    if not callable(candidate):
        raise TypeError(f"candidate: expected a callable; got {type(candidate).__name__}.")
    for activation in _several("activations", activations):
        if not isinstance(activation, str):
            raise TypeError(f"activations: expected names; got {type(activation).__name__}.")
    names = [resolve(activation).name for activation in activations]
    for dtype in _several("dtypes", dtypes):
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtypes: expected 'float32' or 'float64'; got {dtype!r}.")
    report = Report()
    for activation in names:
        for dtype in dtypes:
            for check in CHECKS:
                for case in check.cases(activation, dtype):
                    _try(candidate, case, check, report)
    if not report.findings and not any(j.judged for j in report.judgements):
        report.findings.append(Finding("nothing judged", "all", ", ".join(names), ", ".join(dtypes), "all"))
    return report


def _try(candidate: Candidate, case: Case, check: Check, report: Report) -> None:
    """Run one case, and add to the report what it gave."""
    def found(verdict: str, name: str = "", detail: str = "") -> None:
        report.findings.append(Finding(verdict, case.id, case.activation, case.dtype.name, check.name, name,
                                       detail=detail))

    given = case.arrays()
    try:
        returned = candidate(**given, activation=case.activation)
        if not isinstance(returned, Mapping):
            raise TypeError(f"expected a mapping with {', '.join(TENSORS)}; got {type(returned).__name__}")
        outputs = {name: returned[name] for name in TENSORS if name in returned}
    except Exception as error:  # whatever it is, it is the candidate's, and the report's to tell
        return found("crashed", detail=f"{type(error).__name__}: {error}")
    for name, array in case.arrays().items():
        if not np.array_equal(given[name], array):
            found("modifies its inputs", name)

    shapes = _shapes(case)
    for name in TENSORS:
        if name not in outputs:
            found("missing", name, f"expected shape {shapes[name]}, {case.dtype}")
        elif (wrong := _unlike(outputs[name], shapes[name], case.dtype)):
            found("wrong shape or dtype", name, wrong)
            del outputs[name]
    if "h" not in outputs or not np.isfinite(outputs["h"]).all():  # the gradients are judged on this h
        if "h" in outputs:
            found("not finite", "h", "every state of this case is finite")
        return None

    expected = check.expected(case, outputs["h"])
    for name in (name for name in TENSORS if name in expected.value and name in outputs):
        judgement = judge(check.name, case.id, case.activation, name, outputs[name], expected.value[name],
                          expected.allowed[name])
        report.judgements.append(judgement)
        if not judgement.right:
            report.findings.append(judgement.finding())
            if name == "h" and not check.on_own_h:  # the gradients belong to another h: they are not backward's fault
                break
    return None


def _shapes(case: Case) -> dict[str, tuple[int, ...]]:
    shapes = {"d" + name: array.shape for name, array in case.arrays().items() if name != "dh"}
    return {"h": case.dh.shape, **shapes}


def _unlike(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Say how an output differs from what it should look like; empty where it does not."""
    if not isinstance(array, np.ndarray):
        return f"expected a NumPy array; got {type(array).__name__}"
    if array.shape != shape or array.dtype != dtype:
        swapped = len(shape) == 3 and array.shape == (shape[1], shape[0], shape[2])
        hint = ". It looks batch-first: swap its first two axes" if swapped else ""
        return f"expected shape {shape}, {dtype}; got {array.shape}, {array.dtype}{hint}"
    return ""


def _several(name: str, values: Sequence[str]) -> Sequence[str]:
    if isinstance(values, str) or not values:
        raise ValueError(f"{name}: expected a non-empty sequence of names, such as ({str(values) or 'relu'!r},); "
                         f"got {values!r}.")
    return values
