"""Why is it wrong? Try every known mistake on the cases, and see which gives the candidate's numbers.

A mistake explains a tensor if, on every case that was run, it predicts what came, to within what rounding may do and
half a per cent of the error it is to explain; of h and dx, of the largest error at the same step. Gradients are
predicted on the candidate's own h, so a mistake of the forward pass and one of the backward pass are found side by
side; and each tensor is explained by itself, so two mistakes in two tensors are too. Mistakes that give the same
numbers are named together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..array_module import Array
from .inputs import Case
from .mistakes import BACKWARD, FORWARD, Mistake
from .mistakes.backward import SlopeAtKink
from .precision import FORMATS
from .references import Expected, specification
from .tolerance import rounding

LONGEST = 200  # steps; longer cases add nothing but time
SHARE = 0.005  # of the error, that a mistake may leave unexplained
MOST_GUESSES = 24  # of one mistake: what the first cases suggest must hold in all of them
SLACK = 4      # times the allowed error, that it may leave besides
CLEAR = 40     # times the allowed error, below which an error is too small to tell one mistake from another
VAGUE = 0.5    # of the values, beyond which an allowed error of lower precision explains nothing


class Evidence(NamedTuple):
    """What a candidate returned on one case, and what was right."""

    case: Case
    got: dict[str, Array]
    expected: Expected

    def is_wrong(self, name: str, by: float = 1.0) -> bool:
        """Whether that tensor is off here by more than allowed, or that many times more."""
        if name not in self.got:
            return False
        error = np.abs(self.got[name] - self.expected.value[name])
        return bool((~(error <= by * self.expected.allowed[name])).any())

    def fits(self, name: str, value: Array) -> bool:
        """Whether that tensor is this value, to within what rounding may do and a share of its error, at each step."""
        error = np.abs(self.got[name] - self.expected.value[name])
        largest = error.max(axis=(1, 2), keepdims=True) if error.ndim == 3 else error.max()  # h and dx have steps
        return bool((np.abs(self.got[name] - value) <= SLACK * self.expected.allowed[name] + SHARE * largest).all())


class Explanation(NamedTuple):
    """A mistake that predicts these wrong tensors, and would have changed so many others that are right."""

    text: str
    tensors: frozenset[str]
    contradicted: int
    mistake: type[Mistake]


def explain(evidence: Sequence[Evidence]) -> dict[str, list[Explanation]]:
    """Find the mistakes behind the tensors that are wrong.

    Returns
    -------
    dict : by tensor name, the mistakes that explain it with the fewest right tensors contradicted, and among those the
        most wrong ones explained; an empty list where none does
    """
    evidence = [e for e in evidence if len(e.case.x) <= LONGEST and all(np.isfinite(v).all() for v in e.got.values())]
    wrong = {name for e in evidence for name in e.got if e.is_wrong(name)}
    clear = {name for e in evidence for name in wrong & set(e.got) if e.is_wrong(name, by=CLEAR)}
    found = [*_explanations(FORWARD, clear & {"h"}, evidence), *_explanations(BACKWARD, clear - {"h"}, evidence)]
    best = {}
    for name in wrong:
        fitting = [e for e in found if name in e.tensors]
        rank = {e: (e.contradicted, -len(e.tensors)) for e in fitting}
        best[name] = [e for e in fitting if rank[e] == min(rank.values())]
    return best


def is_kink_convention(explanations: Iterable[Explanation]) -> bool:
    """Whether one explanation is another slope at the kink, which is a convention rather than a mistake."""
    return any(explanation.mistake is SlopeAtKink for explanation in explanations)


def lower_precision(evidence: Sequence[Evidence], precision: str) -> str:
    """Name the arithmetic, less precise than it should be, whose rounding covers every error; empty where none does.

    At least half of the tensors must be wrong, since rounding spares none; and each of them in a case where that
    rounding is small against its values, or it proves nothing.
    """
    known = {"float32": 24, "float16 or TF32": 11, "bfloat16": 8}
    for name, bits in known.items():
        if bits < FORMATS[precision].bits:
            telling: set[str] = set()
            wrong = {tensor for e in evidence for tensor in e.got if e.is_wrong(tensor)}
            if all(_within(e, bits, telling) for e in evidence):
                every = {tensor for e in evidence for tensor in e.got}
                return name if telling == wrong != set() and 2 * len(wrong) >= len(every) else ""
    return ""


def _explanations(catalogue: Iterable[type[Mistake]], wrong: set[str],
                  evidence: Sequence[Evidence]) -> Iterator[Explanation]:
    if not wrong:
        return
    telling = sorted(evidence, key=lambda e: (not any(map(e.is_wrong, wrong)), len(e.case.x) > 40, len(e.case.x) < 3))
    for mistake in catalogue:
        seen = set()
        for guess in _guesses(mistake, wrong, telling):
            tensors, contradicted = _explained(mistake, guess, wrong, telling)
            if mistake.is_in_flow() and contradicted >= len(tensors):
                continue  # it would change dz, and with it all gradients
            if tensors and tensors not in seen:
                seen.add(tensors)
                yield Explanation(mistake.text.format(guess=guess), tensors, contradicted, mistake)


def _guesses(mistake: type[Mistake], wrong: set[str], evidence: Sequence[Evidence]) -> list[Any]:
    """Collect the parameters that the wrong cases suggest, each once, in order."""
    gathered = [guess for e in evidence if any(map(e.is_wrong, wrong)) and "h" in e.got
                and ("dx" in e.got or mistake in FORWARD) for guess in mistake.guesses(e.case, e.got)]
    return list(dict.fromkeys(gathered))[:MOST_GUESSES]


def _explained(mistake: type[Mistake], guess: Any, wrong: set[str],
               evidence: Sequence[Evidence]) -> tuple[frozenset[str], int]:
    """Return the wrong tensors that the mistake predicts on every case, and how many right ones it would change."""
    names = {"h"} if wrong == {"h"} else {name for e in evidence for name in e.got} - {"h"}
    predicted = set(names)
    for e in evidence:
        instance = mistake(e.case, e.got, guess)
        with np.errstate(all="ignore"):
            values = instance.forward() if wrong == {"h"} else instance.backward()
        predicted = {name for name in predicted if name not in e.got or e.fits(name, values[name])}
        if not predicted & wrong:
            break
    return frozenset(predicted & wrong), len(names - wrong - predicted)


def _within(e: Evidence, bits: int, telling: set[str]) -> bool:
    """Whether so many bits allow all of one case; add to `telling` the wrong tensors of which that says much."""
    model = rounding(e.case.precision, e.case.order)._replace(unit=np.longdouble(2) ** -bits)
    expected = specification(e.case, e.got["h"], model)
    for name, got in e.got.items():
        want, allowed = expected.value[name], expected.allowed[name]
        if not (np.abs(got - want) <= allowed).all():
            return False
        if e.is_wrong(name) and np.median(allowed) <= VAGUE * np.median(np.abs(want)):
            telling.add(name)
    return True
