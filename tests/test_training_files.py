"""The files of a run: whole or not there, what was put in comes out, and damage is named."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from tally import Tally

from indrnn_np.experiments import checkpoints, files, metrics
from indrnn_np.experiments.checkpoints import BadCheckpoint

CONFIGURATION = {"task": {"name": "adding", "steps": 10}, "seed": 3, "rates": [0.1, 0.2]}
DTYPES = ("float32", "float64", "int64")


def draw(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"params/layers/0/W": rng.standard_normal((3, 2), dtype="float32"), "moments/count": np.array(7)}


def same_bits(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> bool:
    return some.keys() == others.keys() and all(
        some[name].tobytes() == others[name].tobytes() and some[name].dtype == others[name].dtype for name in some)


def test_a_checkpoint_gives_back_every_bit_and_every_number(tmp_path) -> None:
    path, seen = tmp_path / "checkpoint.npz", Tally("a checkpoint gives back what was put in")

    @settings(max_examples=40)
    @given(st.data())
    def holds(data) -> None:
        seen.note(gives_back(path, data))

    holds()
    seen.require(0.4)


def gives_back(path, data) -> bool:
    """Save and load a drawn checkpoint; say whether it had arrays and numbers."""
    names = data.draw(st.lists(st.sampled_from(["a", "b/c", "b/d", "layers/10/u"]), min_size=1, unique=True), "names")
    kept = {name: data.draw(arrays_of.arrays(data.draw(st.sampled_from(DTYPES)), arrays_of.array_shapes(min_dims=0)))
            for name in names}
    numbers = data.draw(st.lists(st.floats(allow_nan=False)), "numbers")
    generator = np.random.default_rng(data.draw(st.integers(0, 2**64)))
    state = {"configuration": CONFIGURATION, "losses": numbers, "rng": generator.bit_generator.state}
    checkpoints.save(path, kept, state)
    found = checkpoints.load(path, CONFIGURATION, kept)
    assert same_bits(found.arrays, kept)
    assert found.state == state
    again = np.random.default_rng()
    again.bit_generator.state = found.state["rng"]
    assert again.random() == generator.random()
    return bool(names and numbers)


def test_a_damaged_checkpoint_is_refused_or_harmless_whichever_byte_is_hit(tmp_path) -> None:
    """Bytes that no one reads, such as the time in the archive, may be hit: then what comes out is unhurt."""
    path = tmp_path / "checkpoint.npz"
    state = {"configuration": CONFIGURATION, "update": 5}
    checkpoints.save(path, draw(), state)
    whole = path.read_bytes()
    refused = harmless = 0
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        hurt = bytearray(whole)
        hurt[place] ^= int(rng.integers(1, 256))
        path.write_bytes(hurt)
        try:
            found = checkpoints.load(path, CONFIGURATION, draw())
        except BadCheckpoint as error:
            refused += str(path) in str(error)
        else:
            harmless += same_bits(found.arrays, draw()) and found.state == state
    assert refused + harmless == len(whole)
    assert refused > 0.8 * len(whole)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint, match=r"checkpoint\.npz: expected a checkpoint; got a damaged file"):
            checkpoints.load(path, CONFIGURATION, draw())


def test_nothing_in_a_checkpoint_can_run_code(tmp_path) -> None:
    path = tmp_path / "checkpoint.npz"
    np.savez(path, state=np.array(json.dumps({"configuration": CONFIGURATION})), evil=np.array([print], dtype=object))
    with pytest.raises(BadCheckpoint, match="allow_pickle=False"):
        checkpoints.load(path, CONFIGURATION, {})


@pytest.mark.parametrize(("change", "said"), [
    ({"seed": 4}, "got one with seed 3, not 4"),
    ({"task": {"name": "adding", "steps": 11}}, "got one with task.steps 10, not 11"),
    ({"rates": (0.1, 0.3)}, r"got one with rates \[0.1, 0.2\], not \[0.1, 0.3\]"),
    ({"more": 1}, "got one with more None, not 1"),
])
def test_a_checkpoint_of_another_configuration_is_refused_and_the_difference_named(tmp_path, change, said) -> None:
    path = tmp_path / "checkpoint.npz"
    checkpoints.save(path, draw(), {"configuration": CONFIGURATION})
    with pytest.raises(BadCheckpoint, match=said) as caught:
        checkpoints.load(path, CONFIGURATION | change, draw())
    assert str(path) in str(caught.value)
    assert checkpoints.load(path, CONFIGURATION | {"rates": (0.1, 0.2)}, draw())  # a tuple is a list in JSON


@pytest.mark.parametrize(("like", "said"), [
    (draw() | {"u": np.ones(3)}, r"u: expected float64 \(3,\); got nothing of that name"),
    ({}, r"moments/count: expected nothing of that name; got int64 \(\)"),
    (draw() | {"params/layers/0/W": np.ones((3, 2))},
     r"params/layers/0/W: expected float64 \(3, 2\); got float32 \(3, 2\)"),
])
def test_a_checkpoint_with_other_arrays_is_refused_and_the_first_named(tmp_path, like, said) -> None:
    path = tmp_path / "checkpoint.npz"
    checkpoints.save(path, draw(), {"configuration": CONFIGURATION})
    with pytest.raises(BadCheckpoint, match=said):
        checkpoints.load(path, CONFIGURATION, like)


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_no_litter(tmp_path) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {"a": 1})

    def breaks(file) -> None:
        file.write(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        files.write(path, breaks)
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": math.nan})
    assert files.read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {"a": 1})
    code = ("import os, signal, sys; from pathlib import Path; from indrnn_np.experiments import files\n"
            "def dies(file): file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
            "files.write(Path(sys.argv[1]), dies)")
    child = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert child.returncode != 0
    assert files.read_json(path) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 2
    files.clear_parts(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_what_is_no_json_is_named(tmp_path) -> None:
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json: expected JSON"):
        files.read_json(tmp_path / "result.json")


def test_a_folder_is_held_by_one_at_a_time(tmp_path) -> None:
    pytest.importorskip("fcntl", reason="this system has no such locks")
    with (files.alone(tmp_path), pytest.raises(ValueError, match="folder: expected one that nobody trains in"),
          files.alone(tmp_path)):
        pass
    with files.alone(tmp_path):
        pass


def test_metrics_are_lines_of_json_in_which_a_nan_is_null(tmp_path) -> None:
    with metrics.Metrics(tmp_path / "metrics.jsonl") as file:
        file.write(update=1, loss=0.1 + 0.2)
        file.write(update=2, loss=math.nan, rate=None)
    assert metrics.read(tmp_path / "metrics.jsonl") == [{"update": 1, "loss": 0.1 + 0.2},
                                                        {"update": 2, "loss": None, "rate": None}]


def test_metrics_are_cut_back_to_what_a_checkpoint_counted(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    with metrics.Metrics(path) as file:
        file.write(update=1)
        size = file.size()
        file.write(update=2)
    with metrics.Metrics(path, size) as file:
        file.write(update=3)
    assert metrics.read(path) == [{"update": 1}, {"update": 3}]
    with pytest.raises(ValueError, match=r"metrics\.jsonl: expected at least the 1000 bytes that the checkpoint"):
        metrics.Metrics(path, 1000)


def test_a_line_that_was_cut_off_is_left_out_and_a_wrong_one_named(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"update": 1}\n{"upd')
    assert metrics.read(path) == [{"update": 1}]
    path.write_bytes(b'{"update": 1}\n[2]\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: expected a JSON object; got b'\[2\]'"):
        metrics.read(path)
