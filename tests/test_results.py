"""What the text says of trained networks is what the committed tables say. `python tests/test_results.py` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import indrnn_np.experiments

ROOM = Path(indrnn_np.experiments.__file__).parent
FIGURE2 = ROOM / "results" / "figure2.json"
CALLED = {"Plain, 2 layers": "IndRNN, 2 layers", "LSTM": "LSTM, forget bias 1", "LSTM, chrono": "LSTM, chrono"}


def rows() -> list[dict[str, Any]]:
    return json.loads(FIGURE2.read_text("utf-8"))


def lines() -> list[str]:
    """Write the table of Fig. 2: each seed's mean squared error on the test set."""
    found = ["| model | T = 100 | T = 500 | T = 1000 | T = 5000 |", "|---|---|---|---|---|"]
    for model in dict.fromkeys(row["called"] for row in rows()):
        cells = {row["steps"]: ", ".join("diverged" if value is None else f"{value:.2g}" for value in row["values"])
                 for row in rows() if row["called"] == model}
        found.append(f"| {CALLED.get(model, model)} | "
                     + " | ".join(cells.get(T, "–") for T in (100, 500, 1000, 5000)) + " |")
    return found


def test_the_table_of_figure_2_is_the_one_that_the_text_shows() -> None:
    assert "\n".join(lines()) in (ROOM / "README.md").read_text("utf-8")


def test_what_the_text_says_of_figure_2_is_so() -> None:
    """The IndRNN solves each length from each seed; among the others only the LSTM with gates drawn for T does."""
    solved = {(row["called"], row["steps"]): [value is not None and value < 0.01 for value in row["values"]]
              for row in rows()}
    assert all(all(seeds) for (model, _), seeds in solved.items() if model in ("Plain, 2 layers", "LSTM, chrono"))
    assert all(solved["IRNN", 100])
    assert sum(solved["LSTM", 100]) == 1
    others = [seeds for (model, T), seeds in solved.items()
              if model == "RNN" or (model in ("IRNN", "LSTM") and T > 100)]
    assert len(others) == 7
    assert not any(map(any, others))
    assert {len(seeds) for (_, T), seeds in solved.items() if T < 5000} == {3}


if __name__ == "__main__":
    print("\n".join(lines()))
