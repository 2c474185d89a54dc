"""Sweeps: many configurations, each trained in a folder of its own, on the cores of this machine or on a cluster.

What travels is plain data: a configuration and the name of a folder go out, a result comes back. A worker may be
killed at any moment; whoever takes its run over goes on from the last checkpoint and ends with the same bits, so that
the table is the same in the end, whatever happened on the way and however many workers there were. Running a sweep
again trains what is missing and reads what is there.

On this machine each run is a process (`worker`) with one thread for matrix products. On a cluster it is a task of
Dask's; the folder must then be one that all workers see, or a run that moves to another machine begins anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module
from pathlib import Path
from typing import Any

from ..analysis import _checks
from . import files
from .configuration import Configuration, from_dict
from .training import Diverged, about, train

Report = Callable[[int, int], None]  # runs done, of how many
SCORES = ("test_mse", "test_accuracy", "test_loss")
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
                            "NUMBA_NUM_THREADS"), "1")


def seeded(configurations: Iterable[Configuration], seeds: Iterable[int]) -> list[Configuration]:
    """Return each configuration with each seed, the seeds of one next to each other."""
    every = list(seeds)
    return [configuration.replace(seed=seed) for configuration in configurations for seed in every]


def folder_of(root: Path, configuration: Configuration) -> Path:
    """Return the folder of one run: a readable name and a digest of all that decides how the run ends."""
    data = configuration.as_dict()
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:10]
    steps = f"-{data['task']['steps']}" if "steps" in data["task"] else ""
    return root / f"{data['task']['name']}{steps}-{data['model']['kind'].lower()}-seed{data['seed']}-{digest}"


def run_locally(configurations: Sequence[Configuration], root: Path, processes: int | None = None, kills: int = 5,
                report: Report | None = None) -> list[dict[str, Any]]:
    """Train every configuration on this machine, several at once, each in a process of its own.

    Parameters
    ----------
    configurations : what to train
    root : folder for the runs' folders
    processes : how many at once; None for as many as there are cores
    kills : how often one run may be killed by others before it is given up
    report : called after each run with how many are done, and of how many

    Returns
    -------
    results : one for each configuration, in their order; as `train` returns it, or with "diverged" or "failed" in it,
        a sentence each

    Raises
    ------
    TypeError, ValueError
        processes is no whole number above 0.
    OSError
        A folder cannot be written to.
    """
    at_once = _checks.whole("processes", processes) if processes is not None else os.cpu_count() or 1
    folders = [_prepared(root, configuration) for configuration in configurations]
    workers, pool = _Workers(_checks.whole("kills", kills, least=0)), ThreadPoolExecutor(at_once)
    try:
        futures = [pool.submit(workers.train, folder) for folder in folders]
        for done, _ in enumerate(as_completed(futures), 1):
            if report:
                report(done, len(futures))
        return [about(configuration) | future.result()
                for configuration, future in zip(configurations, futures, strict=True)]
    finally:  # also where we are interrupted: nothing is left running
        workers.close()
        pool.shutdown(cancel_futures=True)


def run_on_cluster(configurations: Sequence[Configuration], root: Path, client: Any,
                   report: Report | None = None) -> list[dict[str, Any]]:
    """Train every configuration on the workers of a Dask cluster.

    Parameters
    ----------
    configurations : what to train
    root : folder for the runs' folders, as the workers see it
    client : dask.distributed.Client; each of its workers should have one thread
    report : as in `run_locally`

    Returns
    -------
    results : as `run_locally`
    """
    finished = import_module("dask.distributed").as_completed
    futures = [client.submit(run, configuration.as_dict(), str(folder_of(root.absolute(), configuration)), pure=False)
               for configuration in configurations]
    for done, _ in enumerate(finished(futures), 1):
        if report:
            report(done, len(futures))
    return [future.result() if future.status == "finished"
            else about(configuration) | {"failed": str(future.exception()) or future.status}
            for configuration, future in zip(configurations, futures, strict=True)]


def connect(address: str | None) -> Any:
    """Return a Client of the Dask scheduler at an address.

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed; the message names the extra.
    OSError
        No scheduler answers there.
    """
    try:
        distributed = import_module("dask.distributed")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("dask.distributed is not installed. For a cluster: "
                                  "pip install 'indrnn-np[cluster]'.") from None
    return distributed.Client(address, timeout="10s")


def run(configuration: dict[str, Any], folder: str) -> dict[str, Any]:
    """Train one configuration, plain data, in a folder, or go on with it; return its result, plain data.

    This is what a worker of a cluster calls. A run that diverges has "diverged" in its result.
    """
    try:
        return train(from_dict(configuration), Path(folder), resume=True)
    except Diverged:
        return files.read_json(Path(folder) / "result.json")


def table(configurations: Sequence[Configuration], results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gather the seeds of each configuration into a row; it holds nothing that depends on how fast the runs were.

    Parameters
    ----------
    configurations, results : as given to and returned by `run_locally` or `run_on_cluster`

    Returns
    -------
    rows : task, steps, model, options (those of the model), called (see `called`), score (its name), values (of each
        seed; None where it has none), median of those there are, and seeds, updates, diverged and failed: lists of a
        seed's number each
    """
    groups: dict[str, list[tuple[Configuration, dict[str, Any]]]] = {}
    for configuration, result in zip(configurations, results, strict=True):
        same = json.dumps(configuration.as_dict() | {"seed": None}, sort_keys=True)
        groups.setdefault(same, []).append((configuration, result))
    return [_row(group) for group in groups.values()]


def called(configuration: Configuration) -> str:
    """Return what a model is called among others on the same task: "Plain, 4 layers, batch norm", "LSTM, chrono", …."""
    given = configuration.model
    traits = [f"{given['layers']} layers" if "layers" in given and given["kind"] == "Plain" else None,
              f"{2 * given['blocks'] + 1} layers" if "blocks" in given else None,
              "batch norm" if given.get("batch_norm", "none") != "none" else None,
              "last u uniform" if given.get("last_u") == "uniform" else None,
              "chrono" if given.get("chrono") else None]
    return ", ".join([given["kind"], *filter(None, traits)])


def _row(group: Sequence[tuple[Configuration, dict[str, Any]]]) -> dict[str, Any]:
    first, _ = group[0]
    score = next((name for name in SCORES for _, result in group if name in result), None)
    values = [result.get(score) if score else None for _, result in group]
    there = [value for value in values if value is not None and math.isfinite(value)]
    return {"task": first.task["name"],
            "steps": next((result["steps"] for _, result in group if "steps" in result), None),
            "model": first.model["kind"], "called": called(first),
            "options": {key: value for key, value in first.model.items() if key != "kind"},
            "score": score, "values": values, "median": statistics.median(there) if there else None,
            "seeds": [configuration.seed for configuration, _ in group],
            "updates": [result.get("updates") for _, result in group],
            **{end: [configuration.seed for configuration, result in group if end in result]
               for end in ("diverged", "failed")}}


def _prepared(root: Path, configuration: Configuration) -> Path:
    """Make the folder of a run, with its configuration for the worker to find."""
    folder = folder_of(root, configuration)
    folder.mkdir(parents=True, exist_ok=True)
    if not (path := folder / "configuration.json").exists():
        files.write_json(path, configuration.as_dict())
    return folder


class _Workers:
    """The worker processes that are alive, and the means to end them all."""

    def __init__(self, kills: int) -> None:
        self._kills, self._alive, self._closed = kills, set[subprocess.Popen[bytes]](), False
        self._lock = threading.Lock()

    def train(self, folder: Path) -> dict[str, Any]:
        """Have a process train the run in a folder, and another one each time it is killed; return the result."""
        path = folder / "result.json"
        for _ in range(1 + self._kills):
            if path.exists():
                return files.read_json(path)
            code, said = self._run(folder)
            if code > 0:  # it ended by itself, and said why
                return {"failed": said}
        return files.read_json(path) if path.exists() else {"failed": f"killed {1 + self._kills} times"}

    def close(self) -> None:
        """Kill all, and start no more."""
        with self._lock:
            self._closed = True
            for process in self._alive:
                process.kill()

    def _run(self, folder: Path) -> tuple[int, str]:
        """Run one worker to its end; return its exit code and the last line that it wrote to standard error."""
        command = [sys.executable, "-m", f"{__package__}.worker", str(folder)]
        with self._lock:
            if self._closed:
                return 1, "interrupted"
            process = subprocess.Popen(command, env=os.environ | ONE_THREAD, stdin=subprocess.PIPE,
                                       stderr=subprocess.PIPE, start_new_session=True)
            self._alive.add(process)
        with process:  # the pipe to it stays open as long as we live, by which it knows that we do
            said = process.stderr.read() if process.stderr else b""
            process.wait()
        with self._lock:
            self._alive.discard(process)
        return process.returncode, (said.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
