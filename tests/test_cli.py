"""The command: one table a person can read, exit codes a script can use."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from indrnn_np import bench, cli, engines, layer
from indrnn_np.engines import numpy as numpy_engine
from indrnn_np.oracle import installation

ONE_ROW = ["verify", "--engine", "numpy", "--activation", "relu", "--dtype", "float32"]


def test_verify_prints_one_row_per_engine_activation_and_dtype_and_exits_0(capsys) -> None:
    assert cli.main(["verify", "--activation", "relu", "--engine", "numpy"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith("numpy ")] == [
        ["numpy", "relu", "float32"], ["numpy", "relu", "float64"]]
    assert "2 of 2 rows right" in shown
    assert shown.count("equal") == 2
    assert "WRONG" not in shown


def test_verify_of_a_wrong_engine_names_the_tensor_and_exits_1(capsys, monkeypatch) -> None:
    right = numpy_engine.backward

    def wrong(*arguments):
        da, du, dh0 = right(*arguments)
        return da, 1.01 * du, dh0

    monkeypatch.setattr(numpy_engine, "backward", wrong)
    assert cli.main(ONE_ROW) == 1
    shown = capsys.readouterr().out
    assert "WRONG" in shown
    assert "du[" in shown
    assert "0 of 1 rows right" in shown


def test_verify_json_is_one_object(capsys) -> None:
    assert cli.main([*ONE_ROW, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["passed"] is True
    (row,) = outcome["rows"]
    assert (row["engine"], row["activation"], row["dtype"]) == ("numpy", "relu", "float32")
    assert row["worst"]["exact vectors"] == 0
    assert 0 < row["worst"]["specification"] <= 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["--engine", "nunpy"], "indrnn-np: engine: expected one of reference, numpy"),
    (["--activation", "Relu"], "indrnn-np: activation: expected one of identity, relu,"),
])
def test_verify_of_something_unknown_exits_2_and_says_what_there_is(capsys, arguments, message) -> None:
    assert cli.main(["verify", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(message)
    assert not said.out


def test_verify_takes_any_slope_of_a_leaky_relu(capsys) -> None:
    assert cli.main(["verify", "--engine", "numpy", "--activation", "leaky_relu(0.3)"]) == 0
    assert "2 of 2 rows right" in capsys.readouterr().out


def test_a_table_in_a_pipe_fits_80_columns_and_has_no_colours() -> None:
    run = subprocess.run([sys.executable, "-m", "indrnn_np", *ONE_ROW], capture_output=True, text=True, check=True)
    table = run.stdout.split("1 of 1")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in run.stdout
    assert "…" not in table
    assert run.stderr == ""


def test_bench_reports_every_engine_against_copies(capsys) -> None:
    assert cli.main(["bench", "--shape", "20,2,3", "--repeats", "2", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["shape"] == [20, 2, 3]
    assert outcome["rounds"] == 2
    for engine in engines.on_the_cpu():
        for direction in ("forward", "backward", "both"):
            assert outcome["seconds"][f"{engine}, {direction}"] > 0
    assert outcome["copies"][bench.contenders.COPY] == 1
    assert cli.main(["bench", "--shape", "20,2,3", "--repeats", "1"]) == 0
    assert "numpy, both" in capsys.readouterr().out


def test_bench_of_a_layer_and_of_another_activation(capsys) -> None:
    assert cli.main(["bench", "--shape", "20,2,3", "--repeats", "1", "--subject", "layer", "--activation", "tanh"]) == 0
    shown = capsys.readouterr().out
    assert "The layer, tanh, float32, T=20 B=2 N=3, 1 core(s)" in shown
    assert "÷ footprint" in shown
    assert cli.main(["bench", "--activation", "tan"]) == 2
    assert cli.main(["bench", "--shape", "2,1,1", "--cores", "1000"]) == 2
    assert "cores: expected from 1 to" in capsys.readouterr().err


def test_the_suite_prints_ratios_growth_and_what_was_left_out(capsys, monkeypatch) -> None:
    monkeypatch.setattr(bench.measuring, "GROWTH", (4, 2, 3))
    monkeypatch.setattr(bench.measuring, "TURN", 0.0)
    monkeypatch.setattr(bench.suite, "first_use", lambda: {"fresh cache": 1.5, "later": 0.0001})
    for module in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    assert cli.main(["bench", "--suite", "--shape", "6,2,3", "--repeats", "1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^recurrence +6,2,3 +relu +1 ", shown, re.MULTILINE)
    assert "numpy, ns per element as T doubles from (4, 2, 3): " in shown
    assert "First call, T=20 B=4 N=16: fresh cache 1.5e+03 ms, later 0.1 ms" in shown
    assert "Left out: PyTorch loop (not installed: pip install 'indrnn-np[torch]')" in shown
    assert "Left out: JAX scan (not installed: pip install 'indrnn-np[jax]')" in shown
    assert cli.main(["bench", "--suite", "--shape", "6,2,3", "--repeats", "1", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert {result["subject"] for result in outcome["results"]} == {"recurrence", "layer"}
    assert all(result["peak"]["numpy"] > 0 and not result["speedup"] for result in outcome["results"])
    assert outcome["numpy"] == np.__version__
    assert {len(line["nanoseconds"]) for line in outcome["growth"]} == {7}


def test_an_option_whose_second_value_would_replace_the_first_is_refused(capsys) -> None:
    for option, values in (("--activation", ("relu", "tanh")), ("--dtype", ("float32", "float64")),
                           ("--case", ("small", "one")), ("--engine", ("numpy", "reference"))):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["verify", option, values[0], option, values[1]])
        assert f"{option}: expected once; got '{values[0]}' and '{values[1]}'" in capsys.readouterr().err


def test_a_picture_is_of_the_suite_alone(capsys) -> None:
    assert cli.main(["bench", "--plot", "it.png"]) == 2
    assert "--plot: expected with --suite alone" in capsys.readouterr().err


@pytest.mark.extra("plot")
@pytest.mark.parametrize(("file", "message"), [("it.gif5", "expected a name that ends in "),
                                               ("nowhere/it.png", "expected a file in a folder that is there")])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(
        file: str, message: str, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(bench.suite, "run", lambda *more: pytest.fail("measured"))
    assert cli.main(["bench", "--suite", "--plot", str(tmp_path / file)]) == 2
    assert message in capsys.readouterr().err


def test_measuring_leaves_the_cores_as_they_were() -> None:
    before = bench.cores()
    bench.measure((2, 1, 1), range(2))
    assert bench.cores() == before


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_peer_in_the_benchmark_computes_the_same_gradients() -> None:
    given = bench.contenders.draw((9, 2, 3), "relu")
    da, du = (gradient.numpy() for gradient in bench.contenders.torch_loop(given, False)())
    h = engines.recurrent_forward(given.a, given.u)
    ours = engines.recurrent_backward(given.dh, h, None, given.u)
    assert np.array_equal(da, ours.da)
    assert (abs(du - ours.du) <= 20 * 2.0**-24 * abs(ours.da).sum((0, 1)) * abs(h).max()).all()


@pytest.mark.extra("jax")
@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_scan_in_the_benchmark_computes_the_same_states(activation: str) -> None:
    given = bench.contenders.draw((9, 2, 3), activation)
    for whole_layer, ours in ((False, engines.recurrent_forward(given.a, given.u, activation=activation)),
                              (True, layer.forward(given.x, given.W, given.u, given.b, activation=activation).h)):
        h, gradients = bench.contenders.jax_scan(given, whole_layer)()
        assert (abs(np.asarray(h) - ours) <= 200 * 2.0**-24 * (1 + abs(ours).max())).all()
        assert len(gradients) == (4 if whole_layer else 2)


@pytest.mark.parametrize(("arguments", "message"), [
    (["bench", "--shape", "3,4"], "expected three numbers T,B,N; got '3,4'"),
    (["bench", "--shape", "3,4,0"], "expected a whole number above 0; got '0'"),
    (["bench", "--repeats", "-1"], "expected a whole number above 0; got '-1'"),
    (["verify", "--dtype", "float8"], "invalid choice: 'float8'"),
    ([], "the following arguments are required: COMMAND"),
    (["verfy"], "invalid choice: 'verfy'"),
])
def test_a_bad_option_exits_2_and_names_it(capsys, arguments, message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_too_few_rounds_to_measure_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds: expected at least two"):
        bench.measure((2, 1, 1), range(1))


RIGHT = """
import numpy as np
import indrnn_np as ir

def right(x, W, u, b, h0, dh, activation):
    trace = ir.forward(x, W, u, b, h0, activation)
    return {"h": trace.h, **ir.backward(dh, trace)._asdict()}

def no_carry(x, W, u, b, h0, dh, activation):
    result = right(x, W, u, b, h0, dh, activation)
    return {**result, "dh0": 0 * result["dh0"]}

def dies(**given):
    import os
    os._exit(7)

def hangs(**given):
    while True:
        pass
"""


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(RIGHT, encoding="utf-8")
    return file


def test_an_implementation_in_a_file_is_verified_and_exits_0(mine, capsys) -> None:
    assert cli.main(["verify", f"{mine}:right", "--activation", "tanh", "--dtype", "float32"]) == 0
    assert "1 of 1 rows right" in capsys.readouterr().out


def test_a_wrong_one_exits_1_with_the_cause_and_a_line_that_shows_it_again(mine, capsys) -> None:
    assert cli.main(["verify", f"{mine}:no_carry", "--dtype", "float32"]) == 1
    shown = capsys.readouterr().out
    assert "Looks like: a gradient is zero" in shown
    line = next(line for line in shown.splitlines() if line.startswith("Reproduce: indrnn-np "))
    assert cli.main(shlex.split(line)[2:]) == 1
    assert "dh0[" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "verdict"), [("dies", "crashed: exit status 7"),
                                               ("hangs", "timed out: no answer within 1 s")])
def test_one_that_dies_or_hangs_is_a_finding_and_exits_1(name, verdict, mine, capsys) -> None:
    arguments = ["verify", f"{mine}:{name}", "--dtype", "float32", "--timeout", "1"]
    assert cli.main(arguments) == 1
    assert verdict in capsys.readouterr().out


@pytest.mark.parametrize(("target", "message"), [
    ("nothere.py:right", "target: expected a file that is there; got 'nothere.py'"),
    ("{mine}:left", "expected one of right, no_carry, dies, hangs; got 'left'"),
    ("{mine}", "target: expected"),
])
def test_one_that_cannot_be_run_exits_2_with_one_sentence(target, message, mine, capsys) -> None:
    assert cli.main(["verify", target.format(mine=mine)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_vectors_are_copied_out(tmp_path, capsys) -> None:
    assert cli.main(["vectors", str(tmp_path / "here")]) == 0
    written = capsys.readouterr().out.splitlines()
    assert {"manifest.json", "exact.json"} <= {path.name for path in (tmp_path / "here").iterdir()}
    assert len(written) == len(list((tmp_path / "here").iterdir()))
    (tmp_path / "file").write_text("")
    assert cli.main(["vectors", str(tmp_path / "file")]) == 2


@pytest.mark.parametrize("arguments", [["bench", "--device", "gpu"], ["verify", "--engine", "cuda"]])
@pytest.mark.parametrize("installed", [False, True], ids=["no CuPy", "no GPU"])
def test_without_a_gpu_what_needs_one_says_so(arguments, installed, capsys, monkeypatch) -> None:
    def answer() -> None:
        raise OSError("no driver")

    cupy = SimpleNamespace(__version__="14", cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=answer)))
    monkeypatch.setitem(sys.modules, "cupy", cupy if installed else None)
    assert cli.main(arguments) == 2
    said = "CuPy 14 is installed, but no GPU answers: no driver" if installed else "CuPy is not installed. For a GPU:"
    assert capsys.readouterr().err.startswith(f"indrnn-np: {said}")
