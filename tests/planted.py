"""Plant each mistake of the catalogue in a right layer, to see whether the oracle catches and names it.

`python tests/planted.py` prints the table of `indrnn_np/oracle/mistakes/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from remembering import remembering

import indrnn_np as ir
from indrnn_np.oracle import installation, references, verification
from indrnn_np.oracle.inputs import STANDARD, Case
from indrnn_np.oracle.mistakes import BACKWARD, FORWARD, Mistake
from indrnn_np.oracle.verification import Check

TABLE = Path(__file__).parent.parent / "indrnn_np" / "oracle" / "mistakes" / "README.md"
EVERY = (*FORWARD, *BACKWARD)
QUICK = (Check("specification", verification._from({id: recipe for id, recipe in STANDARD.items()
                                                    if recipe.T <= 60 and recipe.N < 20 and recipe.B < 50
                                                    and (recipe.inputs or 0) < 100}),
               remembering(references.specification), on_own_h=True),)  # most mistakes leave h as it is
PARAMETERS = {"UClamped": 1.0, "UClampedFromZero": np.inf, "WClamped": 1.0, "OtherLeak": 0.2, "StateClipped": 1.0,
              "SoftplusCut": 5.0, "SoftplusSlopeCut": 5.0, "UScaled": 0.9, "Truncated": 4, "LastSteps": 3,
              "ClippedInside": 0.7, "TotalClippedInside": 0.7, "CarryClipped": 0.3, "CarriedClipped": 0.5,
              "SlopeAtKink": 0.5, "DuBlocked": 1.0, "ClippedAfter": 0.7, "NormClipped": 1.5, "Scaled": 0.5}


def parameter(mistake: type[Mistake], activation: str) -> Any:
    """Choose what the planted mistake is about."""
    if mistake.__name__ in ("OtherActivation", "OtherSlope"):
        return "softplus" if activation != "softplus" else "tanh"
    return PARAMETERS.get(mistake.__name__)


def plant(mistake: type[Mistake], guess: Any) -> verification.Candidate:
    """Return a layer that makes this mistake, and is right otherwise."""
    def candidate(activation: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        case = Case("", activation, **arrays)
        if mistake in FORWARD:
            nothing = {"h": np.zeros_like(case.dh)}
            h = mistake(case, nothing, guess).forward()["h"].astype(case.dtype)
            gradients = Mistake(case, {"h": h}).backward()
        else:
            h = ir.forward(case.x, case.W, case.u, case.b, case.h0, activation).h
            gradients = mistake(case, {"h": h}, guess).backward()
        return {"h": h, **{name: value.astype(case.dtype) for name, value in gradients.items()}}
    return candidate


def changes_something(mistake: type[Mistake], activation: str) -> bool:
    """Whether the mistake changes a number in any of the cases, whatever the oracle says of it."""
    names = ("h",) if mistake in FORWARD else ("dx", "dW", "du", "db", "dh0")
    wrong = plant(mistake, parameter(mistake, activation))
    for case in QUICK[0].cases(activation, "float32"):
        got = wrong(**case.arrays(), activation=activation)
        value, allowed = QUICK[0].expected(case, got["h"])
        if any((abs(got[name] - value[name]) > allowed[name]).any() for name in names):
            return True
    return False


def outcome(mistake: type[Mistake], activation: str) -> str:
    """Say what the oracle makes of a planted mistake: "named", "caught", "missed" or "–" where nothing changes."""
    if not changes_something(mistake, activation):
        return "–"
    report = ir.oracle.verify(plant(mistake, parameter(mistake, activation)), (activation,), ("float32",))
    if report.passed:
        return "missed"
    said = " ".join(finding.diagnosis or "" for finding in report.findings)
    return "named" if mistake.text.partition("{guess")[0].replace("{{", "{").replace("}}", "}") in said else "caught"


def outcomes(activation: str) -> Iterator[tuple[type[Mistake], str]]:
    """Plant the whole catalogue."""
    before, verification.CHECKS = verification.CHECKS, QUICK
    try:
        with np.errstate(all="ignore"):
            for mistake in EVERY:
                yield mistake, outcome(mistake, activation)
    finally:
        verification.CHECKS = before


def column(activation: str) -> list[str]:
    """Return what the oracle makes of each mistake in one activation."""
    return [found for _, found in outcomes(activation)]


def shown() -> dict[str, list[str]]:
    """Return the columns of the table that is committed."""
    rows = [line.split("|")[:-1][-len(installation.NAMES):] for line in TABLE.read_text(encoding="utf-8").splitlines()
            if line.startswith("| ") and not line.startswith("| mistake")]
    return {activation: [row[k].strip() for row in rows] for k, activation in enumerate(installation.NAMES)}


def table(columns: dict[str, list[str]]) -> str:
    """Return the table of all mistakes and activations, as Markdown."""
    lines = ["# The catalogue of mistakes", "",
             f"{len(EVERY)} known mistakes, each planted in a right layer and given to the oracle in float32. *named*: "
             "caught, and the diagnosis says what it is; *caught*: wrong, but nothing known fits; –: the mistake "
             "changes no number in that activation. Made by `python tests/planted.py`; a test keeps it true.", "",
             "| mistake | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for k, mistake in enumerate(EVERY):
        text = mistake.text.replace("{{", "{").replace("}}", "}").replace("|", "\\|")
        for form in ("{guess:.6g}", "{guess:.4g}", "{guess:g}", "{guess}"):
            text = text.replace(form, "…")
        lines.append(f"| {text} | " + " | ".join(found[k] for found in columns.values()) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table({name: column(name) for name in installation.NAMES}), encoding="utf-8")
