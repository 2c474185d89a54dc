"""What a verification found: one `Judgement` per tensor, `Finding`s for what failed, a `Report` over all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..array_module import Array
from .inputs import Case
from .precision import FORMATS
from .swapped_axes import BATCH_FIRST, TIME_FIRST

SHARP = 0.01  # a tensor is judged where the allowed error is below this share of its values, in the median
COARSE = 128   # or below so many units of roundoff, where that is more: in half precision few roundings are a per cent


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    verdict : "wrong"; "imprecise" (the right function, but in a lower precision than its dtype's); "kink convention"
        (another slope at z = 0, and nothing else); "not deterministic"; "modifies its inputs"; "wrong shape or dtype";
        "not finite"; "no such result" (a name that is none of the six); "left out" (a tensor that came in other
        cases); "crashed"; "timed out"; "out of memory"; or "nothing judged"
    case, activation, dtype, check : which input, and which of the checks
    name : the tensor; empty where the verdict is not about one
    index : the element of that tensor with the largest error, in units of what is allowed
    got, want, allowed : there; None where there is no number to show
    diagnosis : the likely cause; None where nothing known fits
    detail : the verdict in words, where numbers do not tell it
    """

    verdict: str
    case: str
    activation: str
    dtype: str
    check: str
    name: str = ""
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    allowed: float | None = None
    diagnosis: str | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON: the attributes, with None for numbers that are not finite, and all in words."""
        numbers = {name: value if value is None or np.isfinite(value) else None
                   for name in ("got", "want", "allowed") for value in [getattr(self, name)]}
        return {**asdict(self), **numbers, "text": str(self)}

    @property
    def said(self) -> str:
        """The verdict in words, without names and numbers."""
        begun = self.detail.startswith(self.verdict)
        return self.detail if begun else f"{self.verdict}{': ' if self.detail else ''}{self.detail}"

    def __str__(self) -> str:
        where = f"(case {self.case}, {self.activation}, {self.dtype}; {self.check})"
        if self.got is None:
            return f"{f'{self.name}: ' if self.name else ''}{self.said} {where}"
        index = ", ".join(map(str, self.index or ()))
        digits = 9 if self.dtype == "float32" else 17
        extra = f". {self.detail}" if self.detail else ""
        extra += f". Looks like: {self.diagnosis}" if self.diagnosis else ""
        verdict = "" if self.verdict in ("wrong", "not finite") else f"{self.verdict}, "
        return (f"{self.name}[{index}]: {verdict}got {self.got:.{digits}g}, want {self.want:.{digits}g}, "
                f"allowed error {self.allowed:.2g} {where}{extra}")


@dataclass(frozen=True)
class Judgement:
    """One tensor of one case against one reference.

    Attributes
    ----------
    ratio : the largest error ÷ allowed error; at most 1 where right, inf for a NaN or where nothing is allowed
    judged : False where nothing is wrong, but the allowed error is too large against the values for that to mean much
    wrong, size : how many elements are off by more than allowed, of how many
    first_bad_step : row of time where it goes wrong: the first one for h, the last for dx, which backward meets first;
        None for tensors without time, and where nothing is wrong
    where : the sequences, neurons or inputs to which it is confined, in words; empty where it is everywhere
    """

    check: str
    case: str
    activation: str
    dtype: str
    name: str
    ratio: float
    index: tuple[int, ...]
    got: float
    want: float
    allowed: float
    wrong: int
    size: int
    judged: bool
    first_bad_step: int | None = None
    where: str = ""

    @property
    def right(self) -> bool:
        """Whether no element is off by more than allowed."""
        return self.wrong == 0

    def finding(self) -> Finding:
        """Return this judgement as a finding."""
        detail = f"{self.wrong} of {self.size} elements are off"
        if self.first_bad_step is not None:
            walking = "forward" if self.name == "h" else "backward"
            detail += f", first at [{self.first_bad_step}] walking {walking} in time"
        detail += self.where
        return Finding("wrong" if np.isfinite(self.got) else "not finite", self.case, self.activation, self.dtype,
                       self.check, self.name, self.index, self.got, self.want, self.allowed, detail=detail)


def judge(check: str, case: str, activation: str, name: str, got: Array, want: Array, allowed: Array,
          precision: str = "") -> Judgement:
    """Compare a tensor with its reference, element by element.

    Parameters
    ----------
    check, case, activation, name : for the report
    got : what the implementation returned
    want, allowed : the exact values and the errors allowed, of got's shape; where inf is allowed, so is NaN
    precision : the format that it computed in, if not got's dtype
    """
    precision = precision or got.dtype.name
    unbounded = np.isinf(allowed)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(want.dtype) - want)
        wrong = ~((error <= allowed) | (got == want) | unbounded)  # a NaN is never within what is allowed
        ratio = np.where((got == want) | unbounded, 0.0, np.where(np.isnan(error), np.inf, error / allowed))
        nonzero = want != 0
        share = np.median(allowed[nonzero] / np.abs(want[nonzero])) if nonzero.any() else 0.0
    index = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    sharp = share <= max(SHARP, COARSE * 2.0**-FORMATS[precision].bits)
    judged = bool(sharp or wrong.any())  # too large an error is one, however much was allowed
    return Judgement(check, case, activation, precision, name, float(ratio[index]), tuple(map(int, index)),
                     float(got[index]), float(want[index]), float(allowed[index]),
                     int(wrong.sum()), got.size, judged, _first_bad_step(name, wrong), _where(name, wrong))


AXES = {"h": ("", "sequence", "neuron"), "dx": ("", "sequence", "input"), "dW": ("neuron", "input"),
        "du": ("neuron",), "db": ("neuron",), "dh0": ("sequence", "neuron")}


def _where(name: str, wrong: Array) -> str:
    """Say to which sequences, neurons or inputs the wrong elements are confined."""
    places = []
    for axis, kind in enumerate(AXES[name]):
        others = tuple(each for each in range(wrong.ndim) if each != axis)
        found = np.flatnonzero(wrong.any(axis=others))
        if kind and 0 < len(found) < wrong.shape[axis]:
            places.append(f"{kind}{'s' * (len(found) > 1)} {_listed(found)}")
    return f", in {' and '.join(places)} alone" if places else ""


def _listed(found: Array) -> str:
    """Write indices as runs: "0 to 3", "0, 1 and 3", "0 to 3 and 6"; the first five runs of many."""
    runs = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    shown = [text for run in runs for text in (map(str, run) if len(run) < 3 else [f"{run[0]} to {run[-1]}"])]
    if len(shown) > 5:
        return ", ".join([*shown[:5], "…"])
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _first_bad_step(name: str, wrong: Array) -> int | None:
    if wrong.ndim != 3 or not wrong.any():
        return None
    steps = np.flatnonzero(wrong.any(axis=(1, 2)))
    return int(steps[0] if name == "h" else steps[-1])


class Call(NamedTuple):
    """One call of the candidate.

    Attributes
    ----------
    case : on which input
    returned : names of what it returned; empty where it failed, or where an h of another shape is all that came
    failed : the verdict, where it did not return
    """

    case: Case
    returned: frozenset[str] = frozenset()
    failed: str = ""


@dataclass
class Report:
    """The outcome of a verification; `print(report)` shows it.

    Attributes
    ----------
    judgements : every tensor that was compared
    findings : failures only
    calls : every call of the candidate
    order : in which the candidate may add up, "loop" or "scan"
    without : what it does not have, of b and h0
    precision : that it computes in, where its arrays are float32 all the same; else None
    named : whether its cases can be run again by their names
    """

    judgements: list[Judgement] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    order: str = "loop"
    without: tuple[str, ...] = ()
    precision: str | None = None
    named: bool = True

    def add(self, part: Report) -> None:
        """Take in what was found of another activation or precision."""
        self.judgements += part.judgements
        self.findings += part.findings
        self.calls += part.calls

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, and something was judged at all."""
        return not self.findings and any(j.judged for j in self.judgements)

    @property
    def not_given(self) -> set[str]:
        """Tensors that the candidate never returned, though it returned others: these are not checked."""
        returned = {name for call in self.calls for name in call.returned}
        return set(AXES) - {"d" + name for name in self.without} - returned if returned else set()

    @property
    def not_judged(self) -> int:
        """How many tensors are within an allowed error that is too large for that to mean much."""
        return sum(not j.judged for j in self.judgements)

    def worst(self, check: str) -> Judgement | None:
        """Return the judgement of that check that came closest to its limit, or passed it most."""
        of_check = [j for j in self.judgements if j.check == check and j.judged]
        return max(of_check, key=lambda j: j.ratio, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        checks = dict.fromkeys(j.check for j in self.judgements)
        return {"passed": self.passed, "compared": len(self.judgements), "not_judged": self.not_judged,
                "worst": {check: worst.ratio if np.isfinite(worst.ratio) else None
                          for check in checks if (worst := self.worst(check))},
                "not_given": sorted(self.not_given), "findings": [finding.as_dict() for finding in self.findings]}

    def summary(self) -> list[tuple[str, Finding]]:
        """Return a line for each kind of fault, and the first finding of it, which that line shows.

        Numbers are a kind of their own for each tensor; what is told in words is told once, with where it applies.
        """
        groups: dict[tuple[str, ...], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(_kind(finding), []).append(finding)
        return [_line(members) for members in groups.values()]

    def not_checked(self) -> list[str]:
        """Return a sentence for each thing that this report says nothing about."""
        sentences = []
        if self.not_given:
            sentences.append(f"Not checked, since not returned: {', '.join(sorted(self.not_given))}")
        if self.without:
            sentences.append(f"Not checked, since declared not to be there: {', '.join(self.without)}; nor the exact "
                             "vectors, which all have both b and h0")
        if self.order == "scan":
            sentences.append("Judged as parallel in time: with the larger rounding errors of composed steps, exact "
                             "vectors included")
        return sentences

    def table(self, activation: str) -> list[str]:
        """Return cases × tensors, a line each: the largest error ÷ allowed error in any precision and by any check.

        No line at all where nothing was compared.
        """
        names = ("h", "dx", "dW", "du", "db", "dh0")
        calls = [call for call in self.calls if call.case.activation == activation]
        cells: dict[str, dict[str, Judgement]] = {call.case.id: {} for call in calls}
        for j in self.judgements:
            if j.activation == activation:
                row = cells.setdefault(j.case, {})
                row[j.name] = max(row.get(j.name, j), j, key=lambda each: (not each.right, each.judged, each.ratio))
        if not any(cells.values()):
            return []
        crashed = {call.case.id for call in calls if call.failed == "crashed"}
        wide = max(map(len, cells), default=0)
        each = min(9, max(7, (80 - wide) // len(names)))  # at least a WRONG and two blanks
        lines = [f"{'case':<{wide}}" + "".join(f"{name:>{each}}" for name in names)]
        for case, row in cells.items():
            shown = ("crash" if case in crashed else _cell(row.get(name)) for name in names)
            lines.append(f"{case:<{wide}}" + "".join(f"{cell:>{each}}" for cell in shown))
        return lines

    def __str__(self) -> str:
        lines = [f"{'PASSED' if self.passed else 'FAILED'}: {len(self.judgements)} tensors compared"
                 + (f", {self.not_judged} of them loosely (allowed error large against the values)"
                    if self.not_judged else ""), *self.not_checked()]
        groups = dict.fromkeys((j.activation, j.dtype, j.check) for j in self.judgements)
        if groups:
            lines += ["", f"{'activation':<18}{'dtype':<9}{'check':<15}worst error ÷ allowed"]
        for activation, dtype, check in groups:
            part = Report([j for j in self.judgements if (j.activation, j.dtype) == (activation, dtype)])
            lines.append(f"{activation:<18}{dtype:<9}{check:<15}{describe(part.worst(check))}")
        for activation in dict.fromkeys(activation for activation, _, _ in groups):
            lines += ["", f"{activation}: error ÷ allowed error; ~ compared loosely, – not compared",
                      *self.table(activation)]
        if self.findings:
            wrong = {finding.name for finding in self.findings}
            right = [name for name in dict.fromkeys(j.name for j in self.judgements) if name not in wrong]
            for line, finding in self.summary():
                lines += ["", line, *([self.reproduce(finding)] if self.named and finding.case != "all" else [])]
            lines += [f"Right wherever compared: {', '.join(right)}"] if right else []
        return "\n".join(lines)

    def reproduce(self, finding: Finding) -> str:
        """Return a line of Python that shows a finding again."""
        what = f"precision={self.precision!r}" if self.precision else f"dtypes=({finding.dtype!r},)"
        how = "".join([f", order={self.order!r}" if self.order != "loop" else "",
                       f", without={self.without!r}" if self.without else ""])
        return (f"Reproduce: ir.oracle.verify(candidate, activations=({finding.activation!r},), {what}, "
                f"case={finding.case!r}{how})")


def _kind(finding: Finding) -> tuple[str, ...]:
    """Return what findings have in common that are shown as one."""
    if finding.diagnosis in (BATCH_FIRST, TIME_FIRST):
        return (finding.diagnosis,)
    if finding.got is not None:
        return finding.verdict, finding.name
    if finding.verdict == "crashed":  # the message may tell numbers of the case
        place = re.search(r"\([^()]*, line \d+", finding.detail)
        return finding.verdict, finding.detail.partition(":")[0] if place else finding.detail, place[0] if place else ""
    return finding.verdict, re.sub(r"\d+", "#", finding.detail)


def _line(members: Sequence[Finding]) -> tuple[str, Finding]:
    """Show findings of one kind in a line; return it with the one that it shows."""
    first = next((finding for finding in members if finding.got is None), members[0])
    others = len(members) - 1
    if first.diagnosis in (BATCH_FIRST, TIME_FIRST):
        as_it_is = replace(first, diagnosis=None)
        return f"{first.diagnosis}. As it is: {as_it_is}" + (f"; {others} more findings" if others else ""), first
    if first.got is not None or not others:
        return f"{first}" + (f"; {others} more like it" if others else ""), first
    names, activations, dtypes, cases = (list(dict.fromkeys(filter(None, (getattr(each, key) for each in members))))
                                         for key in ("name", "activation", "dtype", "case"))
    where = f"{len(cases)} cases, first {first.case}" if len(cases) > 1 else f"case {first.case}"
    about = f"{', '.join(names)}: " if names else ""
    return f"{about}{first.said} ({where}; {', '.join(activations)}; {', '.join(dtypes)})", first


def _cell(judgement: Judgement | None) -> str:
    if judgement is None:
        return "–"
    if not judgement.right:
        return "WRONG"
    return f"{judgement.ratio:.2f}" if judgement.judged else f"~{judgement.ratio:.2f}"


def describe(worst: Judgement | None) -> str:
    """Say how close the worst tensor of a check came, and which it was."""
    if worst is None:
        return "not judged"
    if worst.allowed == 0:
        return "equal in every bit" if worst.right else f"differ  ({worst.name}, {worst.case})"
    return f"{worst.ratio:.3g}  ({worst.name}, {worst.case})"
