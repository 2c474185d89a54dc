"""The benchmark times only what is right, and its tables and pictures say what it found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indrnn_np as ir
from indrnn_np import bench
from indrnn_np.bench import contenders, first_use, measuring, plot, report, right, suite
from indrnn_np.oracle import installation

ROOM = Path(bench.__file__).parent
CPU = ROOM / "results" / "cpu.json"
NUMPY = "numpy, both"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """One run is enough where nobody looks at the clock."""
    monkeypatch.setattr(measuring, "TURN", 0.0)


def judged(subject: str, name: str, change, activation: str = "relu") -> dict[str, str]:
    """Let one contender's gradients be changed, and ask who is wrong."""
    small = contenders.draw(right.SMALL, activation)
    run = contenders.ours(subject, small)[name]
    return right.wrong({name: lambda: change(run())}, small, subject)


@pytest.mark.parametrize("subject", bench.SUBJECTS)
@pytest.mark.parametrize("activation", installation.NAMES)
def test_every_engine_of_ours_is_right_and_a_tenth_more_in_any_gradient_is_not(subject, activation) -> None:
    for engine in ir.engines.on_the_cpu():
        name = f"{engine}, both"
        assert judged(subject, name, lambda g: g, activation) == {}
        for k, letter in enumerate("xuWb" if subject == "layer" else "au"):
            told = judged(subject, name, lambda g, k=k: [v * np.float32(1 + 0.1 * (i == k)) for i, v in enumerate(g)],
                          activation)
            assert re.match(f"its d{letter} is wrong by up to ", told[name])


@settings(max_examples=20)
@given(st.integers(0, right.SMALL[0] - 1), st.integers(0, 1), st.integers(0, 4))
def test_one_element_that_is_nan_is_wrong(t, b, n) -> None:
    def spoilt(gradients):
        gradients[0][t, b, n] = np.nan
        return gradients
    assert judged("recurrence", NUMPY, spoilt)[NUMPY].startswith("its da is wrong")


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_peer_that_is_wrong_is_not_timed_but_named_with_the_reason(monkeypatch) -> None:
    loop = contenders.torch_loop
    result = bench.measure((5, 2, 3), range(2))
    assert result.left_out == {}
    assert contenders.LOOP in result.seconds
    monkeypatch.setattr(contenders, "torch_loop", lambda given, whole: lambda: [1.1 * v for v in loop(given, whole)()])
    result = bench.measure((5, 2, 3), range(2))
    assert contenders.LOOP not in result.seconds
    assert result.left_out["PyTorch loop"].startswith("its da is wrong by up to ")


def test_an_engine_of_ours_that_is_wrong_stops_the_benchmark(monkeypatch) -> None:
    module = ir.engines.get("numpy")
    backward = module.backward

    def wrong(*arguments):
        da, du, dh0 = backward(*arguments)
        return ir.recurrence.RecurrenceGradients(da, -du, dh0)
    monkeypatch.setattr(module, "backward", wrong)
    with pytest.raises(ArithmeticError, match=r"numpy.*, both: its du is wrong by up to"):
        bench.measure((5, 2, 3), range(2))


@pytest.mark.extra("torch")
@pytest.mark.extra("jax")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("subject", bench.SUBJECTS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_all_peers_are_right(subject: str, activation: str) -> None:
    small = contenders.draw(right.SMALL, activation)
    found, left_out = contenders.contenders(subject, small)
    assert left_out == {}
    peers = {name: run for name, run in found.items() if name in contenders.PEERS}
    assert len(peers) == 2 + (subject == "layer" and activation != "sigmoid")
    assert right.wrong(peers, small, subject) == {}


def test_ratios_are_of_the_same_run() -> None:
    seconds = {contenders.FOOTPRINT: 2.0, contenders.COPY: 1.0, NUMPY: 4.0, contenders.LOOP: 12.0, contenders.SCAN: 8.0}
    result = bench.Result("recurrence", (2, 1, 1), "relu", 1, 1, seconds, {}, {})
    assert (result.copies(NUMPY), result.to_limit(NUMPY), result.fastest_peer()) == (4.0, 2.0, contenders.SCAN)
    assert (result.speedup(NUMPY), result.speedup(NUMPY, contenders.LOOP), result.limit_to_peer()) == (2.0, 3.0, 4.0)
    assert result.speedup(contenders.LOOP) is None


def test_the_first_call_is_measured_on_a_fresh_cache_and_the_second_finds_it(monkeypatch) -> None:
    folders = []

    def pretend(command, env, **how):
        folder = Path(env["NUMBA_CACHE_DIR"])
        folders.append((folder, list(folder.iterdir())))
        (folder / "compiled").touch()
        return SimpleNamespace(stdout=json.dumps([9.0, 1.0] if len(folders) == 1 else [3.0, 0.5]))
    monkeypatch.setattr(first_use.subprocess, "run", pretend)
    assert first_use.first_use() == {"fresh cache": 9.0, "from disk": 3.0, "later": 0.5}
    (first, empty), (second, full) = folders
    assert first == second
    assert (len(empty), len(full)) == (0, 1)
    assert not first.exists()


def test_what_the_first_call_runs_runs() -> None:
    shown = subprocess.run([sys.executable, "-c", first_use.CALLS], capture_output=True, text=True, check=True).stdout
    first, later = json.loads(shown)
    assert first > 0 < later


def measured(shape: tuple[int, int, int]) -> dict:
    """Return a suite of one shape, as the command would write it."""
    results = [bench.measure(shape, range(2), activation, 1, subject)
               for subject, activation in (("recurrence", "relu"), ("recurrence", "tanh"), ("layer", "relu"))]
    return suite.Suite(results, [], {}).as_dict()


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_suites_of_single_shapes_are_one_table_and_those_of_two_machines_are_not() -> None:
    one, other = measured((3, 2, 2)), measured((4, 1, 3))
    merged = report.merge([one, other])
    lines = report.tables(merged)
    for start in ("| 3, 2, 2 | ", "| 4, 1, 3 | "):
        assert sum(line.startswith(start) for line in lines) == 2
    seconds = one["results"][0]["seconds"]
    fastest = ir.engines.on_the_cpu()[-1]
    peer = min(seconds[name] for name in contenders.PEERS if name in seconds)
    assert f"| 3, 2, 2 | {peer / seconds[f'{fastest}, both']:.1f} ×" in lines[2]
    assert len({line.count("|") for line in lines[:4]}) == 1
    with pytest.raises(ValueError, match="from one machine and its versions; got numpy "):
        report.merge([one, other | {"numpy": "0.1"}])


@pytest.mark.extra("plot")
@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_picture_has_three_bars_for_each_shape(tmp_path, monkeypatch) -> None:
    from matplotlib.axes import Axes
    drawn = []
    bar = Axes.bar
    monkeypatch.setattr(Axes, "bar", lambda ax, x, heights, *more, **how: drawn.append(heights) or bar(
        ax, x, heights, *more, **how))
    found = report.merge([measured((3, 2, 2)), measured((4, 1, 3))])
    plot.save(found, tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
    seconds = found["results"][0]["seconds"]
    peer = min(seconds[name] for name in contenders.PEERS if name in seconds)
    assert [len(heights) for heights in drawn] == [2, 2, 2]
    assert drawn[2][0] == peer / seconds[contenders.FOOTPRINT]


def test_without_matplotlib_the_picture_names_the_extra(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"indrnn-np\[plot\]"):
        plot.save({"results": []}, tmp_path / "it.png")


def kept() -> list[str]:
    """Write what forward keeps for backward, in bytes per element of (T, B, N): measured on the Trace."""
    found = ["| | " + " | ".join(installation.NAMES) + " |", "|---" * (len(installation.NAMES) + 1) + "|"]
    for engine in ("reference", "numpy", "numba"):
        cells = []
        for activation in installation.NAMES:
            sizes = []
            for dtype in installation.DTYPES:
                x = np.ones((6, 2, 3), dtype)
                trace = ir.forward(x, np.ones((4, 3), dtype), np.ones(4, dtype), activation=activation, engine=engine)
                sizes.append(sum(array.nbytes for array in (trace.h, trace.a) if array is not None) // trace.h.size)
            cells.append(", ".join(map(str, sizes)))
        found.append(f"| {engine} | " + " | ".join(cells) + " |")
    return found


@pytest.mark.extra("fast")
def test_the_bytes_that_forward_keeps_are_those_that_the_text_states() -> None:
    assert "\n".join(kept()) in (ROOM / "README.md").read_text("utf-8")


def test_the_readmes_show_what_was_measured() -> None:
    found = json.loads(CPU.read_text("utf-8"))
    first, others = "\n".join(report.tables(found)).split("\n\n")
    front, room = ((folder / "README.md").read_text("utf-8") for folder in (ROOM.parent.parent, ROOM))
    assert first in front
    assert report.versions(found) in front
    assert others in room
    one_core = [float(cell) for row in others.splitlines()[2:] for cell in re.findall(r"([\d.]+) ×|–", row)[:4] if cell]
    lowest, highest = min(one_core), max(one_core)
    assert f"are {lowest} to {highest} times as fast as the faster peer" in front
    smooth = [row["seconds"][contenders.LOOP] / row["seconds"][NUMPY] for row in found["results"]
              if (row["subject"], row["cores"]) == ("recurrence", 1) and row["activation"] != "relu"]
    assert f"NumPy engine is {min(smooth):.1f} to {max(smooth):.1f} times as fast as PyTorch's loop" in room


def test_the_measurements_are_complete() -> None:
    """Every shape, subject, activation and number of cores that the suite promises, with all peers."""
    found = json.loads(CPU.read_text("utf-8"))
    had = {(row["subject"], tuple(row["shape"]), row["activation"], row["cores"]) for row in found["results"]}
    assert had == set(suite.plan(measuring.SHAPES, 2))
    for row in found["results"]:
        assert row["left_out"] == {}
        assert {contenders.LOOP, contenders.SCAN} <= row["seconds"].keys()
    assert {(line["engine"], line["letter"]) for line in found["growth"]} == {
        (engine, letter) for engine in ("numpy", "numba") for letter in "TBN"}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        CPU.parent.mkdir(exist_ok=True)
        CPU.write_text(json.dumps(report.merge([json.loads(Path(path).read_text("utf-8")) for path in sys.argv[1:]]),
                                  indent=1) + "\n", "utf-8")
        plot.save(json.loads(CPU.read_text("utf-8")), CPU.with_suffix(".png"))
    there = json.loads(CPU.read_text("utf-8"))
    sys.stdout.write("\n".join([*report.tables(there), "", report.versions(there), "", *kept(), ""]))
