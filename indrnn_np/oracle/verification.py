"""Verify an implementation: run it on every case, compare every tensor with every reference that applies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..activations import resolve
from ..array_module import Array
from . import answers, inputs, references, swapped_axes, vectors
from .answers import TENSORS, Candidate, Unfit
from .diagnosis import Evidence, explain, is_kink_convention, lower_precision
from .inputs import Case, Recipe, draw
from .precision import HALF
from .report import Call, Finding, Report, judge
from .tolerance import ORDERS
from .worker import told

Progress = Callable[[int, int], None]
DTYPES = ("float32", "float64", "float16")
OPTIONAL = ("b", "h0")
HOPELESS = ("timed out", "out of memory")
REPEATED = ("small", "wide", "blocks", "many-sequences", "half-short")  # run twice, to see that the bits are the same


class Check(NamedTuple):
    """A reference, the cases on which it is asked, and whether it takes gradients on the h that came.

    `cases(activation, precision, dtype=…, order=…, without=…)` lists them.
    """

    name: str
    cases: Callable[..., list[Case]]
    expected: Callable[[Case, Array | None], references.Expected]
    on_own_h: bool


@lru_cache(maxsize=4096)
def _drawn(id: str, recipe: Recipe, activation: str, precision: str, **how: Any) -> Case:
    return draw(id, recipe, activation, precision, **how)


def _from(recipes: Mapping[str, Recipe], half: Mapping[str, Recipe] = {}) -> Callable[..., list[Case]]:
    """List the cases of these recipes, or of the others where the precision is half."""
    return lambda activation, precision, **how: [
        _drawn(id, recipe, activation, precision, **how)
        for id, recipe in (half if precision in HALF else recipes).items()]


def _exact(activation: str, precision: str, dtype: str = "", order: str = "loop",
           without: tuple[str, ...] = ()) -> list[Case]:
    """List the exact vectors; they are not exact in half precision, and all have b and h0."""
    if precision in HALF or without:
        return []
    return [replace(case, order=order) for case in vectors.cases(activation, precision)]


SPECIFICATION = Check("specification", _from(inputs.STANDARD, inputs.HALF_STANDARD), references.specification,
                      on_own_h=True)
COMPLEX_STEP = Check("complex step", _from(inputs.SMALL, inputs.HALF_SMALL), references.by_complex_step,
                     on_own_h=False)
CHECKS = (
    SPECIFICATION,
    COMPLEX_STEP,
    Check("exact vectors", _exact, references.exact, on_own_h=False),
    Check("Eq. 4", _from(inputs.EQUATION_4, inputs.HALF_EQUATION_4), references.equation_4, on_own_h=True),
)
FEW = 200  # coordinates of a case of somebody else's, up to which it is differentiated by a complex step


def verify(candidate: Candidate, activations: Sequence[str] = ("relu",),
           dtypes: Sequence[str] = ("float32", "float64"), case: str | None = None, diagnose: bool = True, *,
           precision: str | None = None, order: str = "loop", without: Sequence[str] = (),
           progress: Progress | None = None) -> Report:
    """Verify an IndRNN layer, forward and backward, in this process.

    It is run on named cases and compared, element by element, with the specification, with complex-step
    derivatives, with exact vectors and with Eq. 4. What rounding may do to a right implementation is derived for
    every element (`indrnn_np.oracle.tolerance`), so a pass means something and no right one is accused.

    Parameters
    ----------
    candidate : callable
        `candidate(x, W, u, b, h0, dh, activation)`, called by keyword with NumPy arrays, returns a mapping with h, dx,
        dW, du, db, dh0 as NumPy or CuPy arrays of their dtype; what it leaves out is not checked, and the report says
        so; any other name is a fault, since it may be a misspelt one. b and h0 are always arrays, and seldom zero;
        activation is a name; dh[t] is the partial derivative of J by h_t, not through later steps.
    activations : names
        "identity", "relu", "leaky_relu", "tanh", "sigmoid", "softplus"; "leaky_relu(0.125)" for another slope.
    dtypes : some of "float32", "float64", "float16"
    case : name of a case, to run that one alone
    diagnose : whether to look for the cause of what is wrong, which takes a second or two where something is
    precision : "bfloat16" or "float16", where the candidate computes in it but takes and returns float32 arrays; every
        number that it is given is then one of that format. dtypes has no say.
    order : "loop", or "scan" for a candidate that is parallel in time: composing steps adds up terms that a loop has
        already cancelled, so that more rounding is allowed
    without : "b", "h0" or both, where the candidate has no bias or no initial state: it is then called without them
    progress : called as progress(done, of) after each case

    Returns
    -------
    Report : `.passed`, `.findings`, and `print(report)`

    Raises
    ------
    TypeError, ValueError
        candidate cannot be called, its adapter cannot set it up, or a name is unknown. What the candidate itself raises
        becomes a finding.
    """
    if not callable(candidate):
        raise TypeError(f"candidate: expected a callable; got {type(candidate).__name__}.")
    names, precisions, how = checked(activations, dtypes, precision, order, without)
    parts = [plan(name, each, only=case, **how) for name in names for each in precisions]
    if case is not None and not any(parts):
        raise ValueError(_no_such_case(case, names, precisions, how))
    report = Report(order=order, without=how["without"], precision=precision)
    done, of = itertools.count(1), sum(map(len, parts))
    for part in parts:
        report.add(_run(candidate, part, diagnose, lambda: progress(next(done), of) if progress else None))
    if not report.findings:
        report.findings += _left_out(report.calls)
    if not report.findings and not any(j.judged for j in report.judgements):
        report.findings.append(Finding("nothing judged", "all", ", ".join(names), ", ".join(precisions), "all"))
    return report


def verify_case(candidate: Candidate, case: Case) -> Report:
    """Verify an implementation on one case, a named one or any other, by every reference that can tell.

    A case that is none of the named is compared with the specification and, if it is small, differentiated by a
    complex step.

    Raises
    ------
    TypeError, ValueError
        candidate cannot be called, or case is none; the message names what is wrong with it.
    """
    if not callable(candidate):
        raise TypeError(f"candidate: expected a callable; got {type(candidate).__name__}.")
    if not isinstance(case, Case):
        raise TypeError(f"case: expected one of indrnn_np.oracle.cases(); got {type(case).__name__}.")
    inputs.check(case)
    named = plan(case.activation, case.precision, only=case.id, dtype=case.dtype.name, order=case.order,
                 without=case.without)
    part = named = [(check, each) for check, each in named if _same_arrays(each, case)]
    if not named:
        few = sum(array.size for array in case.arrays().values()) <= FEW
        part = [(SPECIFICATION, case), *([(COMPLEX_STEP, case)] if few else [])]
    report = Report(order=case.order, without=case.without,
                    precision=case.precision if case.precision != case.dtype.name else None)
    report.named = bool(named)
    report.add(_run(candidate, part, True, lambda: None))
    return report


def plan(activation: str, precision: str, only: str | None = None, **how: Any) -> list[tuple[Check, Case]]:
    """List what an implementation is tried on in one activation and precision."""
    return [(check, case) for check in CHECKS for case in check.cases(activation, precision, **how)
            if only in (None, case.id)]


def checked(activations: Sequence[str], dtypes: Sequence[str], precision: str | None = None, order: str = "loop",
            without: Sequence[str] = ()) -> tuple[list[str], Sequence[str], dict[str, Any]]:
    """Check the names that `verify` takes; return activations, precisions, and what `plan` takes besides."""
    activations, dtypes = _several("activations", activations, "relu"), _several("dtypes", dtypes, "float32")
    for activation in activations:
        if not isinstance(activation, str):
            raise TypeError(f"activations: expected names; got {type(activation).__name__}.")
    names = [resolve(activation).name for activation in activations]
    for dtype in dtypes:
        if dtype == "bfloat16":
            raise ValueError("dtypes: NumPy has no bfloat16, so it travels in float32 arrays: precision='bfloat16'.")
        _one_of("dtypes", dtype, DTYPES)
    if precision is not None:
        _one_of("precision", precision, HALF)
    _one_of("order", order, ORDERS)
    if not isinstance(without, str | Iterable):
        raise TypeError(f"without: expected names, such as ('b',); got {type(without).__name__}.")
    without = (without,) if isinstance(without, str) else tuple(without)
    for name in without:
        _one_of("without", name, OPTIONAL)
    how = {"dtype": "float32" if precision else "", "order": order, "without": tuple(sorted(set(without)))}
    return names, (precision,) if precision else tuple(dict.fromkeys(dtypes)), how


def _no_such_case(case: str, activations: Sequence[str], precisions: Sequence[str], how: dict[str, Any]) -> str:
    """Say that nothing is to be run of that name: it is misspelt, or these precisions have other cases."""
    here = _ids(plan(name, each, **how) for name in activations for each in precisions)
    if case in _ids(plan(name, each) for name in activations for each in DTYPES):
        what = " and ".join(precisions) + "".join(f" without {name}" for name in how["without"])
        return f"case: of {what} there are other cases: {', '.join(here)}; got {case!r}."
    near = get_close_matches(str(case), here, n=1)
    return (f"case: expected the name of a case of these activations; got {case!r}."
            + (f" Did you mean {near[0]!r}?" if near else ""))


def _ids(plans: Iterable[list[tuple[Check, Case]]]) -> list[str]:
    return list(dict.fromkeys(case.id for part in plans for _, case in part))


def _one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, known))}; got {value!r}.")


def _run(candidate: Candidate, part: Sequence[tuple[Check, Case]], diagnose: bool,
         tick: Callable[[], None]) -> Report:
    """Run the cases of one activation and precision, then ask why what is wrong is wrong."""
    report, evidence = Report(), []
    for check, case in part:
        if any(finding.verdict in HOPELESS for finding in report.findings):
            break  # it would cost the time limit again, in every case
        outputs = _try(candidate, case, check, report)
        if outputs and "h" in outputs and check.name != "Eq. 4":
            evidence.append((check, case, outputs))
        tick()
    if diagnose and (suspicion := swapped_axes.suspicion(candidate, _failing(report, part))):
        report.findings = [replace(finding, diagnosis=suspicion) for finding in report.findings]
    elif diagnose and any(finding.verdict == "wrong" for finding in report.findings):  # else nobody asks for evidence
        gathered = [Evidence(case, outputs, _for_diagnosis(case, outputs, check)) for check, case, outputs in evidence]
        report.findings = _diagnosed(report.findings, gathered, part[0][1].precision)
    return report


def _failing(report: Report, part: Sequence[tuple[Check, Case]]) -> list[Case]:
    """List the cases on which the candidate crashed, or returned an h of another form."""
    ids = {finding.case for finding in report.findings
           if finding.verdict == "crashed" or (finding.verdict, finding.name) == ("wrong shape or dtype", "h")}
    return [case for _, case in part if case.id in ids]


def _left_out(calls: Sequence[Call]) -> list[Finding]:
    """Find the tensors that came in some cases and not in others: those cases would go unchecked."""
    every = {name for call in calls for name in call.returned}
    first = {name: next((call.case for call in calls if name not in call.returned), None) for name in every}
    return [Finding("left out", case.id, case.activation, case.precision, "all", name, detail="returned in other cases")
            for name, case in sorted(first.items()) if case is not None]


@np.errstate(all="ignore")  # a wrong h may overflow what is right of it
def _for_diagnosis(case: Case, outputs: dict[str, Array], check: Check) -> references.Expected:
    """Return what is right given the candidate's h; the exact values where that h is exact."""
    expected = check.expected(case, outputs["h"])
    if not check.on_own_h and not np.array_equal(outputs["h"], expected.value["h"]):
        expected = references.specification(case, outputs["h"])
    return _fairest(case, outputs, expected)


@np.errstate(all="ignore")
def _diagnosed(findings: list[Finding], evidence: Sequence[Evidence], precision: str) -> list[Finding]:
    """Add to each wrong number the likely cause, where one is known."""
    causes = explain(evidence)
    like = "" if any(causes.values()) else lower_precision(evidence, precision)
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
        name, detail = ("".join(letter if letter.isprintable() else "?" for letter in text)
                        for text in (name, detail))  # they may come from the candidate
        report.findings.append(Finding(verdict, case.id, case.activation, case.precision, check.name, name,
                                       detail=detail))

    given = case.arguments()
    try:
        outputs = answers.answer(candidate, given, case)
        again = answers.answer(candidate, case.arguments(), case) if case.id in REPEATED else outputs
    except answers.Refusal:
        raise
    except (Exception, SystemExit) as error:  # whatever it is, it is the candidate's, and the report's to tell
        verdict, detail = getattr(error, "verdict", "crashed"), getattr(error, "detail", None) or told(error, "")
        found(verdict, error.name if isinstance(error, Unfit) else "", detail + answers.lacks(detail, case))
        report.calls.append(Call(case, failed=verdict))
        return None
    for name, array in case.arguments().items():
        if not np.array_equal(given[name], array, equal_nan=True):
            found("modifies its inputs", name)

    shapes = answers.shapes(case)
    for name in [name for name in outputs if name not in TENSORS]:
        found("no such result", name, answers.no_such_result(name, tuple(shapes)))
    outputs = {name: outputs[name] for name in shapes if name in outputs}
    returned = frozenset(outputs)
    for name in list(outputs):
        if (wrong := answers.unlike(outputs[name], shapes[name], case.dtype)):
            found("wrong shape or dtype", name, wrong)
            returned -= {"h"} if name == "h" and returned == {"h"} else set()  # a library adapter gives it up there
            del outputs[name]
        elif name not in again or not np.array_equal(outputs[name], again[name], equal_nan=True):
            found("not deterministic", name, "two runs on the same input differ")
    report.calls.append(Call(case, returned))
    if "h" in outputs and not np.isfinite(outputs["h"]).all():  # the gradients are judged on this h
        exact = references.specification(case, None)
        judgement = judge(check.name, case.id, case.activation, "h", outputs["h"], exact.value["h"], exact.allowed["h"],
                          case.precision)
        report.judgements.append(judgement)
        report.findings += [] if judgement.right else [judgement.finding()]
        return None
    if not outputs:
        return outputs

    with np.errstate(all="ignore"):  # a wrong h may overflow what is right of it
        expected = check.expected(case, outputs.get("h"))
        if "h" in outputs and check.on_own_h and resolve(case.activation).needs_z:
            expected = _fairest(case, outputs, expected)
    for name in (name for name in TENSORS if name in expected.value and name in outputs):
        judgement = judge(check.name, case.id, case.activation, name, outputs[name], expected.value[name],
                          expected.allowed[name], case.precision)
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


def _same_arrays(one: Case, other: Case) -> bool:
    ours, theirs = one.arrays(), other.arrays()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)


def _several(name: str, values: Sequence[str], example: str) -> Sequence[str]:
    several = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if not several:
        raise ValueError(f"{name}: expected a non-empty sequence of names, such as ({example!r},); got {values!r}.")
    return several
