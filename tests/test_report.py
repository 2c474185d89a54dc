"""The report: a table of cases and tensors, each fault with a line that shows it again, and what was not checked."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np import cli
from indrnn_np.oracle import candidates
from indrnn_np.oracle.inputs import STANDARD
from indrnn_np.oracle.report import _listed, judge

right = candidates.from_engine("numpy")


def wrong_du(**given: np.ndarray) -> dict[str, np.ndarray]:
    result = right(**given)
    return {**result, "du": result["du"] * np.asarray(1.01, result["du"].dtype)}


def test_the_table_has_every_case_and_says_what_is_wrong_where() -> None:
    report = ir.oracle.verify(wrong_du, dtypes=("float32",))
    lines = report.table("relu")
    assert lines[0].split() == ["case", "h", "dx", "dW", "du", "db", "dh0"]
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert cells.keys() >= {*STANDARD, "few", "bound-40", "exact-relu-growing"}
    assert cells["small"][3] == "WRONG"
    assert all(row[:3] + row[4:] == ["WRONG" if cell == "WRONG" else cell for cell in row[:3] + row[4:]]
               for row in cells.values())
    assert not any("WRONG" in row[:3] + row[4:] for row in cells.values()), "the other tensors are right"
    assert cells["bound-40"][2:5] == ["–", "–", "–"], "Eq. 4 says nothing of dW, du and db"
    for line in lines:
        assert line in str(report)


@pytest.mark.parametrize(("indices", "text"), [
    ([3], "3"), ([0, 1], "0 and 1"), ([0, 1, 3], "0, 1 and 3"), ([0, 1, 2, 3], "0 to 3"),
    ([2, 3, 4, 6], "2 to 4 and 6"), ([0, 2, 4, 6, 8], "0, 2, 4, 6 and 8"), ([0, 2, 4, 6, 8, 10], "0, 2, 4, 6, 8, …")])
def test_indices_are_listed_as_they_are_and_not_from_the_first_to_the_last(indices: list[int], text: str) -> None:
    assert _listed(np.array(indices)) == text


def test_a_finding_names_the_neurons_that_are_wrong_and_no_other() -> None:
    def candidate(**given: np.ndarray) -> dict[str, np.ndarray]:
        result = right(**given)
        du = result["du"].copy()
        du[[0, 2]] *= 2
        return {**result, "du": du}

    report = ir.oracle.verify(candidate, dtypes=("float32",), case="small")
    assert {finding.name for finding in report.findings} == {"du"}
    assert all("in neurons 0 and 2 alone" in finding.detail for finding in report.findings)


def test_a_cell_shows_the_worst_of_all_dtypes_and_checks() -> None:
    report = ir.oracle.verify(right, ("relu",))
    (line,) = (line for line in report.table("relu") if line.startswith("one "))
    ratios = {name: max(j.ratio for j in report.judgements if (j.case, j.name) == ("one", name))
              for name in ("h", "dx", "dW", "du", "db", "dh0")}
    assert line.split()[1:] == [f"{ratio:.2f}" for ratio in ratios.values()]


def test_where_everything_is_allowed_anything_is_right_and_nothing_is_judged() -> None:
    want, allowed = np.array([1.0, 2.0], np.longdouble), np.array([np.inf, np.inf], np.longdouble)
    for got in ([np.nan, np.inf], [1.0, 2.0]):
        judgement = judge("", "", "", "du", np.array(got), want, allowed)
        assert (judgement.right, judgement.judged, judgement.ratio) == (True, False, 0.0)
    half = judge("", "", "", "du", np.array([np.nan, 3.0]), want, np.array([np.inf, 0.1], np.longdouble))
    assert (half.wrong, half.index) == (1, (1,))


@pytest.mark.parametrize("how", [{}, {"order": "scan"}, {"without": ("b",)}, {"without": ("b", "h0")},
                                 {"order": "scan", "without": ("h0",)}])
def test_the_line_that_reproduces_a_finding_does(how: dict) -> None:
    def candidate(**given: np.ndarray) -> dict[str, np.ndarray]:
        return {**right(**given), "du": 2 * right(**given)["du"]}

    report = ir.oracle.verify(candidate, dtypes=("float32",), diagnose=False, **how)
    lines = [line for line in str(report).splitlines() if line.startswith("Reproduce: ")]
    assert lines
    again = eval(lines[0].removeprefix("Reproduce: "), {"ir": ir, "candidate": candidate})
    assert {(f.name, f.case) for f in again.findings} == {("du", report.findings[0].case)}


MINE = """
import numpy as np

def scan(x, W, u, dh, activation, b=None, h0=None):
    h, before = np.zeros_like(dh), 0 * dh[0] if h0 is None else h0
    for t in range(len(x)):
        h[t] = before = np.maximum(x[t] @ W.T + u * before + (0 if b is None else b), 0)
    return {"h": h + (h > 1e30), "dx": 0 * x}
"""


@pytest.mark.parametrize("options", ["--order scan", "--without b", "--without b --without h0", "--dtype float32"])
def test_the_command_takes_the_same_and_its_line_reproduces(options: str, tmp_path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    assert cli.main(["verify", f"{file}:scan", *options.split()]) == 1
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("Reproduce: "))
    assert options in line
    assert "dx[" in shown
    assert "h[" not in shown.replace("dh0[", "")
    assert cli.main(shlex.split(line)[2:]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_the_command_verifies_half_precision_and_says_how_in_json(tmp_path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    assert cli.main(["verify", f"{file}:scan", "--precision", "bfloat16", "--json"]) == 1
    outcome = json.loads(capsys.readouterr().out)
    (row,) = outcome["rows"]
    assert (row["precision"], row["order"], row["without"]) == ("bfloat16", "loop", [])
    finding = next(finding for finding in row["findings"] if finding["name"] == "dx")
    assert (finding["verdict"], finding["got"], finding["dtype"]) == ("wrong", 0.0, "bfloat16")
    assert finding["want"] != 0
    assert finding["text"].startswith("dx[")
    assert set(row["not_given"]) == {"dW", "du", "db", "dh0"}


def test_json_has_no_numbers_that_json_does_not_know(tmp_path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def f(**given):\n    return {'h': given['dh'] * float('nan'), 'dx': given['x'] / 0}",
                    encoding="utf-8")
    assert cli.main(["verify", f"{file}:f", "--dtype", "float32", "--json"]) == 1

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert not json.loads(capsys.readouterr().out, parse_constant=refuse)["passed"]


@pytest.mark.parametrize("option", [["--precision", "float16"], ["--order", "scan"], ["--without", "b"]])
def test_engines_are_verified_as_what_they_are(option, capsys) -> None:
    assert cli.main(["verify", *option]) == 2
    assert "expected with a target" in capsys.readouterr().err


NAMES = ("h", "dx", "dW", "du", "db", "dh0")


def shown(candidate, **how) -> str:
    with np.errstate(all="ignore"):
        return str(ir.oracle.verify(candidate, **{"dtypes": ("float32",), "diagnose": False, **how}))


def test_only_what_no_case_returned_is_not_checked_since_not_returned() -> None:
    def fails_often(**given):
        if len(given["x"]) != 7:
            raise ValueError("no")
        return right(**given)

    def turned(**given):
        return {"h": right(**given)["h"].swapaxes(0, 1)}

    def tall(**given):
        return {"h": np.zeros((1, 2, 3, 4), given["x"].dtype)}

    for candidate in (fails_often, tall, lambda **given: 1 / 0):
        assert "not returned" not in shown(candidate)
    assert "not returned" not in shown(turned, case="small")
    assert "Not checked, since not returned: dW\n" in shown(
        lambda **given: {name: value for name, value in right(**given).items() if name != "dW"})


def test_what_came_for_one_activation_and_not_for_another_is_left_out() -> None:
    def candidate(activation, **given):
        result = right(activation=activation, **given)
        return result if activation == "relu" else {"h": result["h"]}

    report = ir.oracle.verify(candidate, ("relu", "tanh"), ("float32",), case="small")
    assert {(f.verdict, f.name, f.activation) for f in report.findings} == {
        ("left out", name, "tanh") for name in NAMES[1:]}
    assert not report.not_given


@pytest.mark.parametrize(("wrong", "meant"), [("dw", "dW"), ("dH0", "dh0"), ("dW_", "dW"), ("output", "")])
def test_a_result_of_an_unknown_name_is_a_fault(wrong: str, meant: str, tmp_path, capsys) -> None:
    name = meant or "dx"

    def candidate(**given):
        result = right(**given)
        return {**{key: value for key, value in result.items() if key != name}, wrong: result[name]}

    said = f"{wrong}: no such result; " + (f"did you mean {meant}?" if meant else "expected h, dx, dW, du, db, dh0")
    report = shown(candidate)
    assert report.startswith("FAILED")
    assert said in report
    file = tmp_path / "mine.py"
    file.write_text(f"def f(**given):\n    return {{'h': given['dh'], {wrong!r}: given['x']}}", encoding="utf-8")
    assert cli.main(["verify", f"{file}:f", "--dtype", "float32", "--case", "small"]) == 1
    assert said in capsys.readouterr().out


def test_a_recurrence_has_results_of_its_own_names() -> None:
    def candidate(a, u, h0, dh, activation):
        return {"h": a, "dA": a}

    report = ir.oracle.verify(ir.oracle.from_recurrence(candidate), dtypes=("float32",), case="small")
    assert {(f.verdict, f.name, f.detail) for f in report.findings} == {
        ("no such result", "dA", "no such result; did you mean da?")}


def test_cases_that_crashed_are_in_the_table_and_a_table_of_nothing_is_left_out() -> None:
    def seldom(**given):
        if len(given["x"]) > 7:
            raise ValueError("too long")
        return right(**given)

    report = ir.oracle.verify(seldom, dtypes=("float32",), diagnose=False)
    cells = {line.split()[0]: line.split()[1:] for line in report.table("relu")[1:]}
    assert cells.keys() >= {*STANDARD, "few-steep", "bound-40"}
    assert cells["long"] == ["crash"] * 6
    assert "crash" not in cells["small"]
    nothing = ir.oracle.verify(lambda **given: 1 / 0, dtypes=("float32",))
    assert nothing.table("relu") == []
    assert "case  " not in str(nothing)


def batch_first(x, W, u, b, h0, dh, activation):
    """A layer that takes and returns time in the second place."""
    result = right(x=x.swapaxes(0, 1), W=W, u=u, b=b, h0=h0, dh=dh.swapaxes(0, 1), activation=activation)
    return {**result, "h": result["h"].swapaxes(0, 1), "dx": result["dx"].swapaxes(0, 1)}


def loop(x, W, u, b, h0):
    """A forward pass of PyTorch that takes and returns time in the second place."""
    import torch

    h, states = h0, []
    for x_t in x.unbind(1):
        h = torch.relu(x_t @ W.T + u * h + b)
        states.append(h)
    return torch.stack(states, 1)


SUSPICION = ("It looks batch-first: say batch_first=True, or swap the first two axes of x and dh on the way in, of h "
             "and dx on the way out")


def test_a_batch_first_layer_is_recognised_where_it_fails_and_no_other_cause_is_given() -> None:
    report = ir.oracle.verify(batch_first, dtypes=("float32",))
    assert not report.passed
    assert {f.diagnosis for f in report.findings} == {SUSPICION}
    assert len(report.summary()) == 1
    lines = str(report).splitlines()
    assert sum(line.startswith(f"{SUSPICION}. As it is: crashed: ") for line in lines) == 1
    assert sum(line.startswith("Reproduce: ") for line in lines) == 1
    assert "Looks like" not in str(report)


def test_a_layer_that_fails_otherwise_is_not_suspected() -> None:
    def wrong(**given):
        return {**batch_first(**given), "h": 2 * batch_first(**given)["h"]}

    for candidate in (wrong, lambda **given: 1 / 0, lambda **given: {"h": right(**given)["h"][:-1]}):
        with np.errstate(all="ignore"):
            report = ir.oracle.verify(candidate, dtypes=("float32",), case="small")
        assert not report.passed
        assert SUSPICION not in str(report)


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_batch_first_said_of_what_is_not_or_not_said_of_what_is_is_recognised() -> None:
    def time_first(x, *others):
        return loop(x.swapaxes(0, 1), *others).swapaxes(0, 1)

    forgotten = ir.oracle.from_torch(lambda *given: loop(*given[:5]))
    assert SUSPICION in str(ir.oracle.verify(forgotten, dtypes=("float32",)))
    superfluous = ir.oracle.from_torch(lambda *given: time_first(*given[:5]), batch_first=True)
    said = str(ir.oracle.verify(superfluous, dtypes=("float32",)))
    assert "It looks time-first: leave out batch_first=True" in said
    assert SUSPICION not in said


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_shape_shown_is_the_one_that_was_returned() -> None:
    short = ir.oracle.from_torch(lambda *given: loop(*given[:5])[:, :-1], batch_first=True)
    said = shown(short, case="small")
    assert "h: wrong shape or dtype: expected shape (3, 7, 5), batch first; got (3, 6, 5) (case small" in said
    assert "not returned" not in said


def test_what_is_told_in_words_is_told_once_with_where_it_applies() -> None:
    def lines(candidate, **how) -> list[str]:
        said = shown(candidate, dtypes=("float32", "float64"), **how).splitlines()
        assert sum(line.startswith("Reproduce: ") for line in said) == 1
        return said

    double = lines(lambda **given: {name: value.astype("f8") for name, value in right(**given).items()})
    assert any(line.startswith("h, dx, dW, du, db, dh0: wrong shape or dtype: expected float32; got float64 (")
               and "cases, first one; relu; float32)" in line for line in double)
    lists = lines(lambda **given: {name: value.tolist() for name, value in right(**given).items()})
    assert any("expected a NumPy array; got list (" in line and line.endswith("; relu; float32, float64)")
               for line in lists)

    def crash(**given):
        raise ValueError(f"no {given['x'].shape}")

    assert any(line.startswith("crashed: ValueError: no (1, 1, 1)") for line in lines(crash))


@pytest.mark.parametrize("lacking", ["b", "h0"])
def test_a_function_without_b_or_h0_is_told_how_to_say_so(lacking: str) -> None:
    given = ", ".join(name for name in ("x", "W", "u", "b", "h0", "dh", "activation") if name != lacking)
    function = eval(f"lambda {given}: None")
    hint = f"If it has no {lacking}, say so: without=('{lacking}',), or --without {lacking}"
    assert hint in shown(function)
    assert hint not in shown(function, without=(lacking,))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dtypes": "float32"}, r"dtypes: expected a non-empty sequence of names, such as \('float32',\); got 'float32'"),
    ({"activations": "relu"}, r"activations: expected .*, such as \('relu',\); got 'relu'"),
    ({"case": "vanish"}, r"case: expected the name of a case of these activations; got 'vanish'. Did you mean "
                         "'vanishing'?"),
    ({"case": "xyz"}, "got 'xyz'.$"),
    ({"case": "small", "dtypes": ("float16",)}, "case: of float16 there are other cases: half-one, .*; got 'small'"),
    ({"case": "small", "precision": "bfloat16"}, "case: of bfloat16 there are other cases: half-one, "),
    ({"case": "half-one"}, "case: of float32 and float64 there are other cases: one, small, "),
    ({"case": "exact-relu-one", "without": "b"}, "case: of float32 and float64 without b there are other cases: one"),
])
def test_a_name_that_is_none_here_is_answered_with_those_that_are(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ir.oracle.verify(right, **arguments)
