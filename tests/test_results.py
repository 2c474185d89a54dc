"""What the text says of trained networks is what the committed tables say. `python tests/test_results.py` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import indrnn_np.experiments

ROOM = Path(indrnn_np.experiments.__file__).parent
FIGURE2 = ROOM / "results" / "figure2.json"
EFFECTS = ROOM / "results" / "effects.json"
CALLED = {"Plain, 2 layers": "IndRNN, 2 layers", "LSTM": "LSTM, forget bias 1", "LSTM, chrono": "LSTM, chrono"}


def rows(path: Path = FIGURE2) -> list[dict[str, Any]]:
    return json.loads(path.read_text("utf-8"))


def lines() -> list[str]:
    """Write the table of Fig. 2: each seed's mean squared error on the test set."""
    found = ["| model | T = 100 | T = 500 | T = 1000 | T = 5000 |", "|---|---|---|---|---|"]
    for model in dict.fromkeys(row["called"] for row in rows()):
        cells = {row["steps"]: ", ".join("diverged" if value is None else f"{value:.2g}" for value in row["values"])
                 for row in rows() if row["called"] == model}
        found.append(f"| {CALLED.get(model, model)} | "
                     + " | ".join(cells.get(T, "–") for T in (100, 500, 1000, 5000)) + " |")
    return found


def effects() -> list[str]:
    """Write the table of what each part is good for: each seed's accuracy or mean squared error on the test set."""
    found = ["| task | network | each seed |", "|---|---|---|"]
    for row in rows(EFFECTS):
        form = "{:.1%}".format if row["score"] == "test_accuracy" else "{:.2g}".format
        values = ", ".join(form(value).replace("%", " %") for value in row["values"])
        found.append(f"| {row['task']} | {row['called'].replace('Plain', 'plain').replace('Residual', 'residual')} | "
                     f"{values} |")
    return found


def test_the_table_of_effects_is_the_one_that_the_text_shows() -> None:
    assert "\n".join(effects()) in (ROOM / "README.md").read_text("utf-8")


def test_what_the_text_says_of_the_effects_is_so() -> None:
    found = {(row["task"], row["called"]): row["values"] for row in rows(EFFECTS)}
    assert all(len(values) == 3 for values in found.values())
    with_norm, without = found["digits", "Plain, 4 layers, batch norm"], found["digits", "Plain, 4 layers"]
    lost = [100 * (a - b) for a, b in zip(with_norm, without, strict=True)]
    assert (int(min(lost) + 0.5), int(max(lost) + 0.5)) == (6, 22)
    assert all(found["digits", f"{kind}, 21 layers"] == [0.1] * 3 for kind in ("Plain", "Residual"))
    assert min(found["digits", "Plain, 21 layers, batch norm"]) > 0.96
    assert min(found["digits", "Residual, 101 layers, batch norm"]) > 0.96
    assert min(found["digits", "Residual, 21 layers, batch norm, last u uniform"]) > 0.96
    assert max(found["adding", "Plain, 2 layers"]) < 0.005
    assert min(found["adding", "Plain, 2 layers, last u uniform"]) > 0.16


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
    assert {len(seeds) for seeds in solved.values()} == {3}


if __name__ == "__main__":
    print("\n".join([*lines(), "", *effects()]))
