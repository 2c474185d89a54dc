"""What the command shows fits 80 columns, in a pipe as on any terminal, and no word of it is cut."""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np import bench, cli, screen
from indrnn_np.bench.gpu_report import Sheet
from indrnn_np.oracle import candidates, installation
from indrnn_np.oracle.verification import plan

right = candidates.from_engine("numpy")
LONG = "my_recurrence.py:independently_recurrent_neural_network_with_a_fused_step"
SLOPE = "leaky_relu(0.125)"


@pytest.fixture(autouse=True, params=["80", "60", ""], ids=["80 columns", "60 columns", "unknown"])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", request.param)


def table_of(shown: str) -> list[str]:
    """Return the lines below the rule, up to the first sentence; every line of the table is within 80 columns."""
    lines = shown.splitlines()
    (rule,) = (k for k, line in enumerate(lines) if line.startswith("──"))
    end = next((k for k, line in enumerate(lines) if k > rule and line.endswith(".")), len(lines))
    assert max(map(len, lines[:end])) <= 80
    assert "…" not in "".join(lines[:end])
    return lines[rule + 1:end]


def far_off(**given: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(all="ignore"):
        return {name: value * np.asarray(1e290, value.dtype) for name, value in right(**given).items()}


@cache
def found(candidate: candidates.Candidate) -> ir.oracle.Report:
    """Return what a few cases show of it; each check has one of them."""
    report = ir.oracle.Report()
    for case in ("few", "exact-relu-small", "bound-40"):
        report.add(ir.oracle.verify(candidate, ("relu",), ("float64",), case, diagnose=False))
    return report


def test_the_verdict_on_each_row_of_a_verification_is_whole(capsys) -> None:
    rows = [installation.Row(name, SLOPE, "float64", candidate)
            for name, candidate in ((LONG, far_off), ("torch.nn.RNN", far_off), ("numpy", right), (LONG, right))]
    reports = [(row, found(row.candidate)) for row in rows]
    screen.verification(reports)
    lines = table_of(capsys.readouterr().out)
    verdicts = [line.split()[-1] for line in lines if " float64 " in line]
    assert verdicts == ["WRONG", "WRONG", "ok", "ok"]
    numbers = [re.search(r" float64 +(\S+) +(\S+) +(\S+) +(\S+) +(?:ok|WRONG) *$", line) for line in lines]
    for (_, report), cells in zip(reports, filter(None, numbers), strict=True):
        assert cells.groups() == tuple(screen._cell(report, check.name).removeprefix("[red]").removesuffix("[/]")
                                       for check in screen.CHECKS)
    words = "".join(line[:line.find("  ")].strip() for line in lines)
    assert words.count(LONG) == 2, "folded, and not shortened"


@pytest.mark.parametrize("activation", ["relu", SLOPE])
def test_cases_by_tensors_fit_with_each_verdict_whole(activation: str) -> None:
    report = ir.oracle.Report()
    longest = max((case.id for _, case in plan(activation, "float32")), key=len)
    for case in ("one", longest):
        report.add(ir.oracle.verify(far_off, (activation,), ("float32",), case, diagnose=False))
    lines = report.table(activation)
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith(longest)
    cells = [line.split()[1:] for line in lines[1:]]
    assert {len(row) for row in cells} == {6}
    assert {cell for row in cells for cell in row} <= {"WRONG", "–"}


@pytest.mark.parametrize("arguments", [["--steps", "1"], ["--steps", "123456789"],
                                       ["--steps", "784", "--activation", SLOPE, "--epsilon", "1.2345e-300"]])
def test_the_ends_of_the_bounds_are_whole(arguments: list[str], capsys) -> None:
    assert cli.main(["bounds", *arguments]) == 0
    shown = capsys.readouterr().out
    lines = table_of(shown)
    guaranteed = re.search(r"up to (\S+),", shown)
    assert guaranteed is not None
    assert sum(guaranteed[1] in line for line in lines) == 2, "the end of one range and the beginning of the next"


def results() -> list[bench.Result]:
    """Return measurements with every contender's name and ratios of many digits."""
    names = [*bench.contenders.PEERS, bench.contenders.COPY, bench.contenders.COPY_REUSED,
             bench.contenders.FOOTPRINT, bench.contenders.COLUMN, bench.contenders.BUFFERS,
             *(f"{engine}, {direction}" for engine in ("reference", "numpy", "numba")
               for direction in ("forward", "backward", "both"))]
    seconds: Mapping[str, float] = {name: 123.456 / (k + 1) for k, name in enumerate(names)}
    return [bench.Result(subject, (12345, 1234, 12345), SLOPE, 16, 15, {**seconds, "reference, both": 54321.0},
                         {"numpy": 12.345, "numba": 12.345}, {}) for subject in ("recurrence", "layer")]


def test_a_measurement_shows_each_contender_and_its_ratios_whole(capsys) -> None:
    outcome = results()[0]
    screen.measurement(outcome)
    shown = capsys.readouterr().out
    lines = shown[:shown.index("Footprint: ")].splitlines()
    assert len(table_of("\n".join(lines))) >= len(outcome.seconds)
    assert "…" not in shown
    for name, seconds in outcome.seconds.items():
        (line,) = (line for line in lines if line.startswith(name))
        assert line.split()[-4 if outcome.speedup(name) is None else -5] == f"{1e3 * seconds:.3g}"


def test_the_suite_shows_each_shape_and_its_ratios_whole(capsys, monkeypatch) -> None:
    monkeypatch.setattr(screen.engines, "on_the_cpu", lambda: ("reference", "numpy", "numba"))
    screen.suite(bench.suite.Suite(results(), [], {}))
    shown = capsys.readouterr().out
    lines = table_of(shown[:shown.index("Peer: ")])
    assert len([line for line in lines if line.rstrip().endswith("12.35")]) == 2
    assert sum("12345,1234,12345" in line for line in lines) == 2


def test_a_sheet_of_a_gpu_shows_its_last_column_whole(capsys) -> None:
    headings = ("σ", "plan", "cold\nµs", "warm\nµs", "host\nµs", "÷ roof-\nline", "÷ chain", "error ÷\nallowed")
    rows = [(SLOPE, "slices 128×128×1024 * !", *["123456.7"] * 3, "1234.56", "1234.56", verdict)
            for verdict in ("WRONG", "1.23e+208 ~")]
    screen.sheets([Sheet("Forward, float32, T=12345 B=1234 N=12345", headings, rows)])
    lines = table_of(capsys.readouterr().out)
    assert sum(line.rstrip().endswith(" WRONG") for line in lines) == 1
    assert sum(line.rstrip().endswith(" 1.23e+208 ~") for line in lines) == 1
    assert sum("123456.7  123456.7  123456.7" in line for line in lines) == 2


def test_a_sweep_shows_each_seed_and_how_many_failed(capsys) -> None:
    values = [None if seed == 3 else 0.000123 * 10**-seed for seed in range(8)]
    rows = [{"task": task, "steps": 5000, "called": "IndRNN, 6 layers of 2000, batch normalised, residual",
             "median": 1.23e-05, "values": values, "diverged": [3], "failed": []}
            for task in ("adding", "permuted-sequential-mnist")]
    screen.sweep("figure2", rows)
    lines = table_of(capsys.readouterr().out)
    text = " ".join(" ".join(lines).split())
    assert sum(" 1.23e-05 " in line for line in lines) == 2
    for value in filter(None, values):
        assert text.count(f"{value:.3g}") >= 2
    assert text.count("diverged: 1") == 2


def test_bounds_without_ends_are_shown_all_the_same(capsys) -> None:
    options = argparse.Namespace(steps=5, epsilon=0.0, gamma=math.inf, activation="relu")
    screen.bounds((0.0, math.inf), (math.inf, math.inf), options, 1.0)
    assert "long-term" in "".join(table_of(capsys.readouterr().out))


def test_the_command_in_a_pipe_shows_each_verdict_whole() -> None:
    command = [sys.executable, "-m", "indrnn_np", "verify", "--engine", "numpy", "--activation", SLOPE]
    run = subprocess.run([*command, "--case", "few"], capture_output=True, text=True, check=True, timeout=60)
    assert [line.split()[-1] for line in table_of(run.stdout)] == ["ok", "ok"]
    assert "\x1b" not in run.stdout
