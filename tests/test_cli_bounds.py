"""The command `bounds`: Table 1 for a horizon, in numbers that hold as printed."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import pytest

from indrnn_np import cli
from indrnn_np.analysis import memory_length, recurrent_weight_range


def shown(capsys, *arguments: str) -> str:
    assert cli.main(["bounds", *arguments]) == 0
    return capsys.readouterr().out


def test_the_table_has_the_three_classes_with_their_ends_and_memories(capsys) -> None:
    low, high = map(float, recurrent_weight_range(5000, 1e-3))
    table = shown(capsys, "--steps", "5000", "--gamma", "2", "--epsilon", "1e-3")
    rows = [line.split() for line in table.splitlines()]
    assert ["short-term", "below", f"{low!r}", "below", "0.001", "at", "most", "5000"] in rows
    assert ["long-term", f"{low!r}", "0.001", "5001"] in rows
    assert ["to", f"{high!r}", "to", "2", "to", "never"] in rows
    assert ["exploding", "above", f"{high!r}", "above", "2", "never"] in rows
    assert Fraction(high) ** 5000 <= 2
    assert "every ∂h_T/∂h_k is at most 2 in size" in table
    assert "Not guaranteed: the size of h, of ∂h_T/∂u, or of a gradient summed over many losses." in table


def test_the_defaults_are_gamma_2_and_epsilon_a_thousandth_for_relu(capsys) -> None:
    explicit = ("--gamma", "2", "--epsilon", "0.001", "--activation", "relu")
    assert shown(capsys, "--steps", "50") == shown(capsys, "--steps", "50", *explicit)


@pytest.mark.parametrize(("activation", "slope"), [("relu", 1.0), ("sigmoid", 0.25), ("tanh", 1.0),
                                                   ("leaky_relu(1.5)", 1.5)])
def test_json_is_one_object_and_takes_the_largest_slope(capsys, activation: str, slope: float) -> None:
    got = json.loads(shown(capsys, "--steps", "784", "--activation", activation, "--json"))
    low, high = recurrent_weight_range(784, 1e-3, 2.0, slope)
    assert got.pop("version")
    assert got == {"steps": 784, "epsilon": 1e-3, "gamma": 2.0, "activation": activation, "slope": slope, "low": low,
                   "high": high, "memory_at_low": memory_length(low, 1e-3, slope), "memory_at_high": None}


def test_what_has_no_end_is_null_in_json_and_left_out_of_the_table(capsys) -> None:
    without = ("--steps", "100", "--epsilon", "0", "--gamma", "inf")
    got = json.loads(shown(capsys, *without, "--json"), parse_constant=pytest.fail)
    assert (got["low"], got["high"], got["gamma"], got["memory_at_low"], got["memory_at_high"]) == (
        0, None, None, 1, None)
    table = shown(capsys, *without)
    assert "short-term" not in table
    assert "exploding" not in table
    assert "Guaranteed," not in table


def test_a_gamma_below_1_guarantees_the_whole_lag_alone(capsys) -> None:
    table = shown(capsys, "--steps", "784", "--gamma", "0.5", "--epsilon", "0.1")
    high = recurrent_weight_range(784, 0.1, 0.5)[1]
    assert "∂h_T/∂h_0, though not each later ∂h_T/∂h_k, is at most 0.5" in table
    assert high > 0.5, "so at lag 1 it is above gamma"
    assert f"at least {memory_length(high, 0.1):.0f}" in table


def test_a_range_without_a_float_has_no_row(capsys) -> None:
    table = shown(capsys, "--steps", str(10**17), "--epsilon", "1.5")
    assert "long-term" not in table


def test_the_table_in_a_pipe_fits_80_columns() -> None:
    run = subprocess.run([sys.executable, "-m", "indrnn_np", "bounds", "--steps", "5000"], capture_output=True,
                         text=True, check=True, encoding="utf-8", env={"PYTHONIOENCODING": "utf-8"})
    table = run.stdout.split("Guaranteed")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    assert "\x1b" not in run.stdout


@pytest.mark.parametrize(("arguments", "message"), [
    (["--epsilon", "2"], "indrnn-np: epsilon: expected less than gamma, 2; got 2.\n"),
    (["--epsilon", "3"], "indrnn-np: epsilon: expected at most gamma, 2; got 3."),
    (["--epsilon", "nan"], "indrnn-np: epsilon: expected a finite number of at least 0; got nan.\n"),
    (["--epsilon=-1"], "indrnn-np: epsilon: expected a finite number of at least 0; got -1.0.\n"),
    (["--gamma", "nan"], "indrnn-np: gamma: expected a number of at least 0; got nan.\n"),
    (["--gamma=-2"], "indrnn-np: gamma: expected a number of at least 0; got -2.0.\n"),
    (["--activation", "Relu"], "indrnn-np: activation: expected one of identity, relu,"),
])
def test_bad_numbers_exit_2_with_a_reason(capsys, arguments: list[str], message: str) -> None:
    assert cli.main(["bounds", "--steps", "100", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1
    assert not said.out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--steps", "0"], "expected a whole number above 0; got '0'"),
    (["--steps", "-5"], "expected a whole number above 0; got '-5'"),
    (["--steps", "2.5"], "expected a whole number above 0; got '2.5'"),
    (["--steps", "9", "--gamma", "two"], "invalid float value: 'two'"),
    ([], "the following arguments are required: --steps"),
])
def test_a_bad_option_exits_2_and_names_it(capsys, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["bounds", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
