"""Verify an implementation: run it on every case, compare every tensor with every reference that applies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..activations import resolve
from ..array_module import Array
from . import references, vectors
from .diagnosis import Evidence, explain, is_kink_convention, lower_precision
from .inputs import EQUATION_4, SMALL, STANDARD, Case, Recipe, draw
from .report import Finding, Report, judge

Candidate = Callable[..., Mapping[str, Array]]
TENSORS = vectors.RESULTS
HOPELESS = ("timed out", "out of memory")
REPEATED = ("small", "wide")  # cases that are run twice, to see that the bits are the same


class Check(NamedTuple):
    """A reference, the cases on which it is asked, and whether it takes gradients on the h that came."""

    name: str
    cases: Callable[[str, str], list[Case]]
    expected: Callable[[Case, Array | None], references.Expected]
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
           dtypes: Sequence[str] = ("float32", "float64"), case: str | None = None,
           diagnose: bool = True) -> Report:
    """Verify an IndRNN layer, forward and backward, in this process.

    It is run on named cases and compared, element by element, with the specification, with complex-step
    derivatives, with exact vectors and with Eq. 4. What rounding may do to a right implementation is derived for
    every element (`indrnn_np.oracle.tolerance`), so a pass means something and no right one is accused.

    Parameters
    ----------
    candidate : callable
        `candidate(x, W, u, b, h0, dh, activation)`, called by keyword, returns a mapping with h, dx, dW, du, db, dh0
        as NumPy arrays of the arguments' dtype; what it leaves out is not checked, and the report says so. b and h0 are
        always arrays, and seldom zero; activation is a name; dh[t] is the partial derivative of J by h_t, not through
        later steps.
    activations : names
        "identity", "relu", "leaky_relu", "tanh", "sigmoid", "softplus"; "leaky_relu(0.125)" for another slope.
    dtypes : "float32", "float64" or both
    case : name of a case, to run that one alone
    diagnose : whether to look for the cause of what is wrong, which takes a second or two where something is

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
    activations, dtypes = _several("activations", activations), _several("dtypes", dtypes)
    for activation in activations:
        if not isinstance(activation, str):
            raise TypeError(f"activations: expected names; got {type(activation).__name__}.")
    names = [resolve(activation).name for activation in activations]
    for dtype in dtypes:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtypes: expected 'float32' or 'float64'; got {dtype!r}.")
    report = Report()
    for activation in names:
        for dtype in dtypes:
            _verify_one(candidate, activation, dtype, case, report, diagnose)
    if case is not None and not report.judgements and not report.findings:
        raise ValueError(f"case: expected the name of a case of these activations; got {case!r}.")
    if not report.findings and not any(j.judged for j in report.judgements):
        report.findings.append(Finding("nothing judged", "all", ", ".join(names), ", ".join(dtypes), "all"))
    return report


def _verify_one(candidate: Candidate, activation: str, dtype: str, only: str | None, report: Report,
                diagnose: bool) -> None:
    """Verify one activation in one dtype: run every case, then ask why what is wrong is wrong."""
    part, evidence = Report(), []
    for check in CHECKS:
        for case in check.cases(activation, dtype):
            if only in (None, case.id):
                if any(finding.verdict in HOPELESS for finding in part.findings):
                    break  # it would cost the time limit again, in every case
                outputs = _try(candidate, case, check, part)
                if outputs and "h" in outputs and check.name in ("specification", "exact vectors"):
                    evidence.append(Evidence(case, outputs, _for_diagnosis(case, outputs, check)))
    report.judgements += part.judgements
    report.findings += _diagnosed(part.findings, evidence, dtype) if diagnose else part.findings
    report.not_given |= part.not_given


def _for_diagnosis(case: Case, outputs: dict[str, Array], check: Check) -> references.Expected:
    """Return what is right given the candidate's h; the exact values where that h is exact."""
    expected = check.expected(case, outputs["h"])
    if not check.on_own_h and not np.array_equal(outputs["h"], expected.value["h"]):
        expected = references.specification(case, outputs["h"])
    return _fairest(case, outputs, expected)


def _diagnosed(findings: list[Finding], evidence: Sequence[Evidence], dtype: str) -> list[Finding]:
    """Add to each wrong number the likely cause, where one is known."""
    if not any(finding.verdict == "wrong" for finding in findings):
        return findings
    causes = explain(evidence)
    like = "" if any(causes.values()) else lower_precision(evidence, dtype)
    found = []
    for finding in findings:
        if finding.verdict == "wrong" and like:
            finding = replace(finding, verdict="imprecise", diagnosis=f"the right function, as precise as {like}")
        elif finding.verdict == "wrong" and (fitting := causes.get(finding.name)):
            verdict = "kink convention" if is_kink_convention(fitting) else "wrong"
            finding = replace(finding, verdict=verdict, diagnosis=" or: ".join(e.text for e in fitting))
        found.append(finding)
    return found


def _try(candidate: Candidate, case: Case, check: Check, report: Report) -> dict[str, Array] | None:
    """Run one case, add to the report what it gave, and return the outputs that have the right form."""
    def found(verdict: str, name: str = "", detail: str = "") -> None:
        report.findings.append(Finding(verdict, case.id, case.activation, case.dtype.name, check.name, name,
                                       detail=detail))

    given = case.arrays()
    try:
        outputs = _call(candidate, given, case)
        again = _call(candidate, case.arrays(), case) if case.id in REPEATED else outputs
    except (Exception, SystemExit) as error:  # whatever it is, it is the candidate's, and the report's to tell
        found(getattr(error, "verdict", "crashed"),
              detail=getattr(error, "detail", f"{type(error).__name__}: {error}"))
        return None
    for name, array in case.arrays().items():
        if not np.array_equal(given[name], array):
            found("modifies its inputs", name)

    shapes = _shapes(case)
    report.not_given |= set(TENSORS) - set(outputs)
    for name in [name for name in TENSORS if name in outputs]:
        if (wrong := _unlike(outputs[name], shapes[name], case.dtype)):
            found("wrong shape or dtype", name, wrong)
            del outputs[name]
        elif name not in again or not np.array_equal(outputs[name], again[name], equal_nan=True):
            found("not deterministic", name, "two runs on the same input differ")
    if "h" in outputs and not np.isfinite(outputs["h"]).all():  # the gradients are judged on this h
        found("not finite", "h", "every state of this case is finite")
        return None
    if not outputs:
        return None

    expected = check.expected(case, outputs.get("h"))
    if "h" in outputs and check.on_own_h and resolve(case.activation).needs_z:
        expected = _fairest(case, outputs, expected)
    for name in (name for name in TENSORS if name in expected.value and name in outputs):
        judgement = judge(check.name, case.id, case.activation, name, outputs[name], expected.value[name],
                          expected.allowed[name])
        report.judgements.append(judgement)
        if not judgement.right:
            report.findings.append(judgement.finding())
            if name == "h" and not check.on_own_h:  # the gradients belong to another h: they are not backward's fault
                break
    return outputs


def _fairest(case: Case, outputs: dict[str, Array], expected: references.Expected) -> references.Expected:
    """Where h is wrong, let backward take its slopes at z or from h, whichever it does."""
    h_is_wrong = "h" in expected.value and (np.abs(outputs["h"] - expected.value["h"]) > expected.allowed["h"]).any()
    if h_is_wrong:
        at_z = references.specification_at_z(case, outputs["h"])
        names = [name for name in at_z.value if name in outputs and name in expected.value]
        if all((np.abs(outputs[name] - at_z.value[name]) <= at_z.allowed[name]).all() for name in names):
            return references.Expected(*(ours | {name: theirs[name] for name in names}
                                         for ours, theirs in zip(expected, at_z, strict=True)))
    return expected


def _call(candidate: Candidate, arguments: dict[str, Array], case: Case) -> dict[str, Array]:
    returned = candidate(**arguments, activation=case.activation)
    if not isinstance(returned, Mapping):
        raise TypeError(f"expected a mapping with {', '.join(TENSORS)}; got {type(returned).__name__}")
    if unknown := [name for name in returned if name not in TENSORS]:
        raise ValueError(f"expected no other names than {', '.join(TENSORS)}; got {', '.join(map(repr, unknown))}")
    return {name: returned[name] for name in TENSORS if name in returned}


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
    several = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if not several:
        raise ValueError(f"{name}: expected a non-empty sequence of names, such as ('relu',); got {values!r}.")
    return several
