"""The commands `indrnn-np train` and `indrnn-np sweep`: they parse, call this room, and draw.

Parsing imports nothing of the room, so that the other commands begin no later; who does the work says which names there
are.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__, screen
from ..analysis import _checks

RUNS = Path("runs")  # in the current folder, unless --folder says otherwise


def add(commands: Any) -> None:
    """Add both commands to the parser of `indrnn-np`."""
    train = commands.add_parser("train", help="train a network on one of the papers' tasks",
                                description="Train a network on one of the papers' tasks, and leave a folder with its "
                                "configuration, metrics, checkpoint, result and a plot of the loss. Exit code 0: "
                                "trained, 1: diverged, 2: cannot run.")
    train.add_argument("task", metavar="TASK", help="adding, digits, mnist, ntu, ptb-characters or ptb-words")
    train.add_argument("--model", default="indrnn",
                       help="indrnn (default: layers of it), residual, dense, rnn, irnn, lstm or gru")
    train.add_argument("--preset", metavar="NAME", help="fast (default, where the task needs no download) or paper")
    train.add_argument("--steps", type=int, metavar="T", help="length of the sequences, where the task leaves it open")
    train.add_argument("--updates", type=int, help="how many updates of the optimiser")
    train.add_argument("--layers", type=int, help="of the network; odd for residual")
    train.add_argument("--hidden", type=int, help="neurons of each layer")
    train.add_argument("--batch", type=int, help="sequences in an update")
    train.add_argument("--rate", type=float, help="learning rate of the first update")
    train.add_argument("--stop-below", type=float, metavar="LOSS",
                       help="end once the mean training loss of the last 50 updates is below it")
    train.add_argument("--seed", type=int, default=0, help="of everything drawn by chance (default 0)")
    train.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    train.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="gpu: with CuPy (default cpu)")
    train.add_argument("--chrono", action="store_true", help="lstm: gate biases drawn for T, not the forget bias 1")
    train.add_argument("--permuted", action="store_true", help="digits, mnist: the pixels in a fixed random order")
    train.add_argument("--data", metavar="FOLDER", help="mnist, ptb-characters, ptb-words, ntu: where the files are")
    train.add_argument("--folder", metavar="FOLDER", help=f"of the run (default: a new one in {RUNS})")
    train.add_argument("--resume", action="store_true",
                       help="go on from the last checkpoint in the folder (default: the newest one of these settings)")
    train.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    train.set_defaults(run=run_train)

    sweep = commands.add_parser("sweep", help="train many configurations, on all cores or on a cluster",
                                description="Train a set of configurations, each with some seeds and in a folder of "
                                "its own. Started again it trains what is missing.")
    sweep.add_argument("name", metavar="NAME",
                       help="figure2 (of the paper) or effects (of batch norm, residual connections, depth and u)")
    sweep.add_argument("--folder", metavar="FOLDER", help=f"of the runs' folders (default: {RUNS}/NAME)")
    sweep.add_argument("--seeds", type=int, default=3, help="how many, from 0 on (default 3)")
    sweep.add_argument("--preset", metavar="NAME", help="figure2: fast (default) or paper")
    sweep.add_argument("--processes", type=int, help="at once on this machine (default: one for each core)")
    sweep.add_argument("--cluster", metavar="ADDRESS", help="of a Dask scheduler, whose workers train instead")
    sweep.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    sweep.set_defaults(run=run_sweep)


def run_train(options: argparse.Namespace) -> int:
    """Train, show how it goes, and say how it went."""
    from .memory import keep_freed_memory
    from .plots import draw_run
    from .training import Diverged, Learner, finish
    keep_freed_memory()
    try:
        learner = Learner(_configuration(options))
    except (TypeError, RuntimeError) as error:  # options that do not go together, and no GPU, in a sentence each
        raise ValueError(str(error)) from error
    folder = _folder(options, learner.configuration)
    try:
        with _Bar(f"{options.task}, {options.model}", learner.configuration.updates) as bar:
            result = finish(learner, folder, options.resume, bar.step)
    except Diverged as error:
        print(f"indrnn-np: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"indrnn-np: interrupted; the same command with --folder {folder} --resume goes on.", file=sys.stderr)
        return 2
    plot, why = _draw(lambda: draw_run(folder))
    if options.json:
        score = {name: result[name] for name in ("test_mse", "test_accuracy", "test_loss") if name in result}
        print(json.dumps({"task": options.task, "model": options.model, "steps": result["steps"],
                          "seed": result["seed"], **score, "seconds": result["seconds"], "updates": result["updates"],
                          "train_loss": result["train_loss"], "folder": str(folder), "plot": plot,
                          "version": __version__}))
        return 0
    print(f"{_score(options.task, result)} after {result['updates']} updates and {result['seconds']:.1f} s, seed "
          f"{result['seed']}.")
    print(f"In {folder}: configuration.json, metrics.jsonl, checkpoint.npz, result.json"
          + (f", {Path(plot).name}." if plot else f". No plot: {why}"))
    return 0


def run_sweep(options: argparse.Namespace) -> int:
    """Train all, show how it goes, and the table in the end; exit 1 where a run failed."""
    from . import files, sweeps
    from .plots import draw_sweep
    from .presets import SWEEPS
    _checks.one_of("name", options.name, tuple(SWEEPS))
    if options.preset is not None and options.name != "figure2":
        raise ValueError(f"--preset: expected with figure2 alone; got it with {options.name}.")
    preset = {"name": options.preset} if options.preset is not None else {}
    configurations = SWEEPS[options.name](seeds=options.seeds, **preset)
    root = Path(options.folder) if options.folder is not None else RUNS / options.name
    try:
        with _Bar(options.name, len(configurations)) as bar:
            if options.cluster is None:
                results = sweeps.run_locally(configurations, root, options.processes, report=bar.step)
            else:
                with sweeps.connect(options.cluster) as client:
                    results = sweeps.run_on_cluster(configurations, root, client, bar.step)
    except KeyboardInterrupt:
        print("indrnn-np: interrupted; the same command goes on.", file=sys.stderr)
        return 2
    rows = sweeps.table(configurations, results)
    files.write_json(root / "table.json", rows)
    plot, why = _draw(lambda: draw_sweep(root, configurations))
    if options.json:
        print(json.dumps({"name": options.name, "folder": str(root), "rows": rows, "plot": plot,
                          "version": __version__}))
    else:
        screen.sweep(options.name, rows)
        print(f"In {root}: table.json, a folder of each run" + (f", {Path(plot).name}." if plot else
                                                                f". No plot: {why}"))
    for configuration, result in zip(configurations, results, strict=True):
        if "failed" in result:
            print(f"indrnn-np: {sweeps.folder_of(root, configuration)}: {result['failed']}", file=sys.stderr)
    return 1 if any("failed" in result for result in results) else 0


def _configuration(options: argparse.Namespace) -> Any:
    """Return the preset's configuration with what the options change in it."""
    from .presets import preset
    from .tasks import TASKS
    _checks.one_of("task", options.task, tuple(TASKS))
    if options.data is None and "folder" in inspect.signature(TASKS[options.task]).parameters:
        raise ValueError(f"--data: expected the folder that holds the files of {options.task}; got none.")
    task = {"steps": options.steps, "folder": options.data, "permuted": options.permuted or None}
    model = {"chrono": options.chrono or None}
    given = preset(options.task, options.model, options.preset, layers=options.layers, hidden=options.hidden,
                   model_options={name: value for name, value in model.items() if value is not None},
                   **{name: value for name, value in task.items() if value is not None})
    changes = {name: getattr(options, name) for name in ("updates", "batch", "stop_below", "seed", "dtype", "device")}
    if options.rate is not None:
        changes["adam"] = {**given.adam, "rate": options.rate}
    return given.replace(**{name: value for name, value in changes.items() if value is not None})


def _folder(options: argparse.Namespace, configuration: Any) -> Path:
    """Return the folder of the run: the one asked for, or a numbered one below RUNS, the newest where it is resumed."""
    if options.folder is not None:
        return Path(options.folder)
    from .sweeps import folder_of
    first = folder_of(RUNS, configuration)
    tried = [first]
    while tried[-1].exists():
        tried.append(first.with_name(f"{first.name}-{len(tried) + 1}"))
    return tried[-2] if options.resume and len(tried) > 1 else tried[-1]


def _draw(picture: Callable[[], Path]) -> tuple[str | None, str]:
    """Draw; return the picture's path, or None and why there is none."""
    try:
        return str(picture()), ""
    except (ModuleNotFoundError, ValueError) as error:  # no matplotlib; or no run that got as far as a loss
        return None, str(error)


def _score(task: str, result: dict[str, Any]) -> str:
    """Say how good it is on the test set, in the unit that is usual for the task."""
    if "test_mse" in result:
        return f"Test MSE {result['test_mse']:.3g}"
    if task == "ptb-characters":
        return f"Test {result['test_loss'] / math.log(2):.3f} bits per character"
    if task == "ptb-words":
        return f"Test perplexity {math.exp(result['test_loss']):.2f}"
    return f"Test accuracy {100 * result['test_accuracy']:.2f} %"


class _Bar:
    """A progress bar with the loss and the time left, on a terminal; nothing in a pipe."""

    def __init__(self, title: str, of: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                  TextColumn("{task.fields[loss]}"), TimeRemainingColumn(),
                                  console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(title, total=of, loss="")
        self._last = -math.inf

    def __enter__(self) -> _Bar:
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def step(self, done: int, of: int, loss: float | None = None) -> None:
        """Show how many are done, and the loss, at most ten times a second."""
        now = time.monotonic()
        if now > self._last + 0.1 or done == of:
            self._last = now
            self._progress.update(self._task, completed=done, loss="" if loss is None else f"loss {loss:.3g}")
