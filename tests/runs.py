"""Small runs that the tests of training share: seconds for a thousand updates, and every kind of state in use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

import indrnn_np
from indrnn_np.experiments.configuration import Configuration

# Batch normalisation has running statistics, dropout a generator, the plateau a state of its own.
SMALL = Configuration(
    task={"name": "adding", "steps": 6, "test_sequences": 7},
    model={"kind": "Plain", "hidden": 4, "layers": 2, "batch_norm": "after", "dropout": 0.2},
    updates=30, batch=3, adam={"rate": 0.02}, schedule={"name": "plateau", "factor": 0.5}, clip=0.5, evaluate_every=5,
    checkpoint_every=10, window=4)
PLAIN = SMALL.replace(model={"kind": "Plain", "hidden": 4, "layers": 2}, schedule={"name": "cosine"},
                      evaluate_every=None)
LASTING = SMALL.replace(updates=1_000_000)  # nobody waits for its end
# What a process needs to find the package that is under test, and this folder.
SEES_US = os.environ | {"PYTHONPATH": os.pathsep.join(
    [str(Path(indrnn_np.__file__).parent.parent), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}


def arrays(folder: Path) -> dict[str, Any]:
    """Return the bytes of each array in the checkpoint of a run, and its plain data without the seconds."""
    with np.load(folder / "checkpoint.npz", allow_pickle=False) as archive:
        found = {name: archive[name].tobytes() for name in archive.files if name != "state"}
        state = json.loads(str(archive["state"]))
    return found | {name: value for name, value in state.items() if name != "seconds"}


def ends(folder: Path) -> dict[str, Any]:
    """Return all that a run leaves but its durations."""
    result = json.loads((folder / "result.json").read_text())
    return {"metrics": (folder / "metrics.jsonl").read_bytes(), "checkpoint": arrays(folder),
            "result": {name: value for name, value in result.items() if name != "seconds"}}
