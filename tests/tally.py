"""Count the cases of a property test, and how many of them could have failed."""

from __future__ import annotations

SUMMARIES: list[str] = []


class Tally:
    """Cases seen and non-trivial ones; a property that is mostly trivial proves little and fails."""

    def __init__(self, claim: str) -> None:
        self.claim, self.cases, self.nontrivial, self.worst = claim, 0, 0, 0.0

    def note(self, nontrivial: bool, ratio: float = 0.0) -> None:
        """Count one case; `ratio` is its worst error ÷ allowed error."""
        self.cases += 1
        self.nontrivial += bool(nontrivial)
        self.worst = max(self.worst, ratio)

    def require(self, share: float) -> None:
        """Insist that at least this share was non-trivial, and report the counts."""
        worst = f", worst error ÷ allowed {self.worst:.2f}" if self.worst else ""
        SUMMARIES.append(f"{self.claim}: {self.cases} cases, {self.nontrivial} non-trivial{worst}")
        assert self.nontrivial >= share * self.cases > 0, SUMMARIES[-1]
