"""The benchmark on a GPU, on a pretended one: what is wrong gets no time, and ratios are what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pretended_gpu
import pytest

from indrnn_np import cli
from indrnn_np.activations import resolve
from indrnn_np.bench import gpu, gpu_check, gpu_peers, gpu_report
from indrnn_np.bench.gpu_clock import Clock, Copy, Times
from indrnn_np.engines import cuda
from indrnn_np.oracle import installation

ROOT = Path(__file__).parent.parent
SHAPE = (20, 1, 3)
BRIEF = ["bench", "--device", "gpu", "--shape", "20,1,3", "--repeats", "2", "--activation", "relu"]
compiled = pytest.mark.program("g++")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    cuda._function.cache_clear()
    yield pretended_gpu.install(monkeypatch)
    cuda._function.cache_clear()


@pytest.fixture
def without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "peers", lambda *given: ([], {}))


def taking(seconds: float) -> Times:
    return Times([seconds], [seconds], [seconds], ahead=True)


def rewritten(monkeypatch: pytest.MonkeyPatch, kernel: str, old: str, new: str) -> None:
    """Plant a mistake in one kernel."""
    right = cuda.source

    def source(name: str, plan: cuda.Plan) -> str:
        text = right(name, plan)
        if name == kernel:
            assert old in text
            text = text.replace(old, new)
        return text

    monkeypatch.setattr(cuda, "source", source)


@compiled
def test_every_plan_is_checked_and_timed_and_json_has_every_sample(cupy, capsys, tmp_path) -> None:
    assert cli.main([*BRIEF, "--json", str(tmp_path / "found.json")]) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["device"]["device"] == "pretended GPU"
    assert found["right"]
    for line in found["lines"]:
        assert line["right"]
        assert len(line["times"]["cold"]) == len(line["times"]["warm"]) == len(line["times"]["host"]) == 2
        assert line["roofline"] > 0
        assert gpu_report.name_of(cuda.Plan(**line["plan"])) in shown
    kernels = [(line["direction"], line["plan"]["kernel"]) for line in found["lines"]]
    assert set(kernels) == set(product(("forward", "backward"), ("plain", "prefetch", "slices")))
    assert "bits" in shown
    assert max(map(len, shown.split("Left out")[0].splitlines())) <= 100
    named = {peer["name"] for peer in found["peers"]} | set(found["left_out"])
    assert named == {gpu_peers.LOOP, gpu_peers.SCAN, gpu_peers.LSTM}


@compiled
@pytest.mark.parametrize(("kernel", "old", "new"), [
    ("backward_prefetch", "du_sum = sum(du_sum, product(dz, now.h_prev));", "du_sum = sum(du_sum, dz);"),
    ("forward_plain", "h[t * columns + c] = h_prev;", "h[t * columns + c] = h_prev * real(1.0000001);"),
    ("forward_plain", "z : real(0);", "z : real(-0.0);"),
], ids=["du is wrong", "h is right but for its last bit", "h is right but for the sign of zero"])
def test_a_wrong_plan_gets_no_time_and_the_command_exits_1(cupy, without_peers, monkeypatch, capsys, tmp_path, kernel,
                                                           old, new) -> None:
    rewritten(monkeypatch, kernel, old, new)
    assert cli.main([*BRIEF, "--json", str(tmp_path / "found.json")]) == 1
    direction, _, plan = kernel.partition("_")
    for line in json.loads((tmp_path / "found.json").read_text("utf-8"))["lines"]:
        is_wrong = (line["direction"], line["plan"]["kernel"]) == (direction, plan)
        assert line["right"] is not is_wrong
        assert (line["times"] is None) is is_wrong
    shown = capsys.readouterr().out
    assert f"WRONG: {direction} relu float32 (20, 1, 3), {plan}" in shown


@compiled
def test_bits_that_differ_from_run_to_run_are_wrong(cupy, without_peers, monkeypatch) -> None:
    right, calls = cuda.forward, []

    def forward(*arguments: Any) -> Any:
        h = right(*arguments)
        calls.append(h)
        h[0] *= np.float32(1 + len(calls) % 2 * 1e-6)
        return h

    monkeypatch.setattr(cuda, "forward", forward)
    outcome = gpu.measure([SHAPE], activation="relu", repeats=1)
    lines = [line for line in outcome.lines if line.direction == "forward"]
    assert len(lines) == 4
    assert not any(line.right or line.times for line in lines)
    assert any("two runs gave different bits" in note for sheet in gpu_report.sheets(outcome) for note in sheet.notes)


def test_a_plan_that_does_not_run_is_told_of_and_wrong_only_where_it_is_the_choice(cupy, without_peers,
                                                                                  monkeypatch) -> None:
    def refused(checker: gpu_check.Checker, direction: str, plan: cuda.Plan) -> Any:
        raise RuntimeError("too many resources requested")

    monkeypatch.setattr(gpu, "checked", refused)
    outcome = gpu.measure([SHAPE], activation="relu", repeats=1)
    assert [line.right for line in outcome.lines] == [not line.chosen for line in outcome.lines]
    assert not outcome.right
    notes = "\n".join(note for sheet in gpu_report.sheets(outcome) for note in sheet.notes)
    assert "Did not run: forward relu float32 (20, 1, 3), plain: RuntimeError: too many resources requested" in notes
    assert "WRONG: backward relu float32 (20, 1, 3), prefetch 48" in notes


@pytest.mark.parametrize(("direction", "activation", "dtype", "per_element"), [
    ("forward", "relu", "float32", 8), ("forward", "tanh", "float64", 16),
    ("backward", "relu", "float32", 12), ("backward", "softplus", "float32", 12),
    ("backward", "tanh", "float32", 16), ("backward", "sigmoid", "float64", 32)])
def test_the_roofline_is_the_bytes_that_must_be_moved_at_the_bandwidth_of_a_copy(direction, activation, dtype,
                                                                                per_element) -> None:
    outcome = gpu.Outcome({}, Copy(1000, taking(0.5)))  # 2000 bytes moved in half a second
    line = gpu.Line((5, 4, 3), dtype, activation, direction, cuda.Plan("plain"), chosen=True, times=taking(3.0))
    assert outcome.to_roofline(line) == 3.0 / (60 * per_element / 4000)
    outcome.step["tanh", "float64"] = 0.25
    in_chain = (direction, activation) == ("forward", "tanh")
    assert outcome.to_chain(line) == (3.0 / (5 * 0.25) if in_chain else None)


@pytest.mark.parametrize("sweep", [False, True])
def test_whatever_the_engine_may_choose_is_among_the_plans(sweep: bool) -> None:
    shapes = ((9, 1, 1), (784, 32, 128), (5000, 1, 512), (64, 1, 1 << 14), (5000, 50, 128), (150, 128, 2048))
    for direction, name, dtype in product(("forward", "backward"), installation.NAMES, installation.DTYPES):
        plans = gpu.plans(direction, name, dtype, sweep)
        assert len(set(plans)) == len(plans)
        assert all(plan.columns * plan.slices <= 1024 for plan in plans)
        assert {cuda.fastest(direction, resolve(name), np.dtype(dtype), shape) for shape in shapes} <= set(plans)


def test_a_sweep_goes_on_to_growing_rows(cupy, without_peers, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "CROSSOVER", ((70, 1, 2), (70, 1, 4)))
    monkeypatch.setattr(gpu, "checked", lambda checker, direction, plan: (
        gpu_check.Verdict(True, True, 0.0, True, True), lambda: None))
    outcome = gpu.measure([SHAPE], repeats=1, sweep=True)
    count = {shape: sum(line.shape == shape for line in outcome.lines) for shape in (SHAPE, *gpu.CROSSOVER)}
    assert count[SHAPE] > 50
    assert count[70, 1, 2] == count[70, 1, 4] == 4 + 2 + 4 + 4
    assert outcome.right
    assert len(list(gpu_report.sheets(outcome))) == 1 + 3 * 2 + 1


def test_a_run_that_launches_slower_than_it_runs_is_marked(cupy, monkeypatch) -> None:
    """First the GPU is given more to do, up to a limit."""
    fills = []
    monkeypatch.setattr(cupy.ndarray, "fill", lambda array, value: fills.append(value), raising=False)
    monkeypatch.setattr(pretended_gpu.Event, "done", property(lambda event: len(fills) < 10), raising=True)
    assert Clock(1).measure(lambda: None).ahead
    assert 10 <= len(fills) <= 32
    monkeypatch.setattr(pretended_gpu.Event, "done", True)
    times = Clock(1).measure(lambda: None)
    assert not times.ahead
    outcome = gpu.Outcome({}, Copy(1000, times))
    verdict = gpu_check.Verdict(True, True, 0.0, True, True)
    line = gpu.Line(SHAPE, "float32", "relu", "forward", cuda.Plan("plain"), chosen=True, verdict=verdict, times=times)
    assert gpu_report._row(outcome, line)[1] == "plain * !"


@compiled
@pytest.mark.extra("torch")
@pytest.mark.extra("jax")
def test_peers_are_held_to_the_same_account_and_timed_in_the_same_run(cupy, monkeypatch) -> None:
    monkeypatch.setattr(gpu_peers, "BATCH", 2)
    monkeypatch.setattr(gpu_peers, "WIDTH", 5)
    found, left_out = gpu_peers.peers([(9, 2, 3)], "relu", Clock(2), device="cpu", lengths=(4,))
    assert left_out == {}
    assert [peer.name for peer in found] == [gpu_peers.LOOP, gpu_peers.SCAN, gpu_peers.LSTM]
    for peer in found:
        assert peer.right
        assert len(peer.theirs) == len(peer.ours) == 2

    loop = gpu_peers.torch_loop
    monkeypatch.setattr(gpu_peers, "torch_loop", lambda given, whole_layer, device: lambda: [
        loop(given, whole_layer, device)()[0], loop(given, whole_layer, device)()[1] * 1.01])
    (wrong, *_), _ = gpu_peers.peers([(9, 2, 3)], "relu", Clock(2), device="cpu", lengths=())
    assert not wrong.right
    assert wrong.theirs == wrong.ours == []


def test_without_a_gpu_the_command_exits_2_and_says_why(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert cli.main(["bench", "--device", "gpu"]) == 2
    assert "indrnn-np: CuPy is not installed." in capsys.readouterr().err
    assert cli.main(["bench", "--sweep"]) == 2
    assert "--sweep, --dtype: expected with --device gpu alone." in capsys.readouterr().err


def test_a_step_that_fails_is_noted_and_stops_no_other(tmp_path: Path) -> None:
    """Python is replaced by a program that fails where it is asked to verify."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\ncase "$*" in *verify*) echo "all wrong"; exit 7;; esac\n', "utf-8")
    python.chmod(0o755)
    command = [str(ROOT / ".ci" / "gpu"), "--here", "--results", str(tmp_path / "results")]
    path = {"PATH": f"{python.parent}:/usr/bin:/bin"}
    assert subprocess.run(command, env=os.environ | path, capture_output=True, check=False).returncode == 1
    steps = (tmp_path / "results" / "steps.txt").read_text("utf-8").splitlines()
    noted = dict(line.split(maxsplit=1) for line in steps)
    assert list(noted) == ["device", "versions", "verify", "kernels", "memcheck", "racecheck", "tests", "gpu-tests",
                           "bench", "sweep"]
    assert noted["verify"].startswith("exit code 7")
    assert (tmp_path / "results" / "verify.txt").read_text("utf-8") == "all wrong\n"
    for name in ("device", "kernels", "tests", "gpu-tests", "bench", "sweep"):
        assert noted[name].startswith("exit code 0")


@pytest.mark.slow
@compiled
def test_everything_that_is_run_on_a_gpu_can_be_rehearsed(tmp_path: Path) -> None:
    subprocess.run([str(ROOT / ".ci" / "gpu"), "--rehearse", "--results", str(tmp_path)], check=True)
    noted = (tmp_path / "steps.txt").read_text("utf-8")
    assert noted.count("exit code 0") + noted.count("not run: compute-sanitizer") + noted.count("not rehearsed") == len(
        noted.splitlines())
    assert json.loads((tmp_path / "device.txt").read_text("utf-8"))["device"] == "pretended GPU"
    assert json.loads((tmp_path / "bench.json").read_text("utf-8"))["right"]
