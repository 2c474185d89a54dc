"""Pictures of runs: the loss over the updates, and the states of a layer over a sequence, on Axes of matplotlib.

The histogram of u as memory lengths (Fig. 4) is `analysis.plots.plot_memory`.

As those of the analysis they are black and white, touch no pyplot, and import matplotlib when they are drawn:
pip install 'indrnn-np[plot]'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis import _canvas as canvas
from ..analysis import _checks
from ..array_module import Array, to_numpy
from . import files, metrics
from .configuration import Configuration
from .sweeps import called, folder_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 200  # of a line, at most: each is the mean of as many updates as it takes


def plot_losses(runs: Mapping[str, Sequence[Mapping[str, Any]]], ax: Axes | None = None, *,
                reference: tuple[str, float] | None = None) -> Axes:
    """Draw the training loss of some runs over their updates, on a logarithmic axis.

    Each point of a line is a mean over neighbouring updates, so that at most 200 are drawn.

    Parameters
    ----------
    runs : {name: rows}, the rows as `metrics.read` returns them
    ax : Axes to draw on; new ones where None
    reference : (name, loss) of a dotted line, such as that of the best constant answer

    Returns
    -------
    Axes : those drawn on

    Raises
    ------
    ValueError
        There is no run, or one has no losses; the message names it.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    if not runs:
        raise ValueError("runs: expected at least one; got none.")
    ax = canvas.axes(ax)
    drawn = {name: smoothed(name, rows) for name, rows in runs.items()}
    everything = np.concatenate([loss for _, loss in drawn.values()])
    values = np.append(everything, reference[1]) if reference else everything
    low, high = canvas.limits(values[values > 0]) if (values > 0).any() else (0.1, 1.0)
    ax.set(autoscale_on=False, xlim=(0, max(update[-1] for update, _ in drawn.values())), ylim=(low, high))
    ax.set_yscale("log")
    for number, (name, (update, loss)) in enumerate(drawn.items()):
        style = canvas.STYLES[number % len(canvas.STYLES)]
        ax.plot(update, loss, linestyle=style, color=str(0.4 * (number // len(canvas.STYLES) % 2)), linewidth=1.4,
                label=name)
    if reference:
        ax.axhline(reference[1], linestyle=":", color="0.5", linewidth=1.0, label=reference[0])
    if len(runs) > 1 or reference:
        ax.legend(fontsize=canvas.SMALL, frameon=False)
    canvas.dress(ax, "Training loss", "updates", "loss")
    return ax


def smoothed(name: str, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Return updates and mean losses of at most 200 neighbourhoods of a run; a loss that is not finite is left out."""
    found = [(row["update"], row["loss"]) for row in rows if row.get("loss") is not None]
    if not found:
        raise ValueError(f"{name}: expected rows with a loss; got none.")
    width = math.ceil(len(found) / POINTS)
    parts = [np.array(found[k:k + width], float) for k in range(0, len(found), width)]
    return np.array([part[-1, 0] for part in parts]), np.array([part[:, 1].mean() for part in parts])


def plot_states(h: Array, marked: Sequence[int] = (), chosen: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw the states of one layer over one sequence, a line for each neuron in units of its largest (Fig. 3).

    Silent neurons have no line; the title counts them.

    Parameters
    ----------
    h : (T, N) states
    marked : steps, from 0 on, at which a vertical line is drawn, such as those with a marker
    chosen : a neuron that is drawn in black before the others, which are grey
    ax : Axes to draw on; new ones where None

    Returns
    -------
    Axes : those drawn on

    Raises
    ------
    TypeError, ValueError
        h is no such array or has a number that is not finite, or there is no such neuron.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    state = to_numpy(h)
    if state.ndim != 2 or 0 in state.shape:
        raise ValueError(f"h: expected shape (T, N), the states of one sequence; got {state.shape}.")
    _checks.all_finite("h", state)
    if chosen is not None and _checks.whole("chosen", chosen, least=0) >= state.shape[1]:
        raise ValueError(f"chosen: expected one of the {state.shape[1]} neurons of h, from 0 on; got {chosen}.")
    ax = canvas.axes(ax)
    largest = np.abs(state).max(axis=0)
    for step in marked:
        ax.axvline(step, linestyle=":", color="0.3", linewidth=1.0)
    for n in np.flatnonzero(largest):
        first = n == chosen
        ax.plot(state[:, n] / largest[n], color="black" if first else "0.7", linewidth=1.6 if first else 0.6,
                zorder=3 if first else 2, linestyle="-")
    silent = int((largest == 0).sum())
    canvas.dress(ax, f"{state.shape[1]} neurons" + (f", {silent} of them silent" if silent else ""), "step",
                 "h / max |h|")
    return ax


def draw_sweep(root: Path, configurations: Sequence[Configuration]) -> Path:
    """Draw the losses of a sweep into losses.png in its folder, a panel for each task; return its path.

    Of runs that differ in their seed alone the first is drawn. For `presets.figure2` this is Fig. 2 of Li et al. 2018.

    Raises
    ------
    ValueError, OSError
        No run in the folder has losses.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    panels: dict[str, dict[str, Any]] = {}
    for configuration in configurations:
        task = dict(configuration.task)
        title = ", ".join([task.pop("name"), *(f"{name} = {value}" for name, value in task.items())])
        path = folder_of(root, configuration) / "metrics.jsonl"
        rows = metrics.read(path) if path.exists() else []
        if any(row.get("loss") is not None for row in rows):
            panels.setdefault(title.replace("steps", "T"), {}).setdefault(called(configuration), rows)
    if not panels:
        raise ValueError(f"folder: expected one with runs that have losses; got none in {root}.")
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = canvas.figure(6.4 * columns, 4.4 * lines)
    for ax, (title, runs) in zip(figure.subplots(lines, columns, squeeze=False).flat, panels.items(), strict=False):
        plot_losses(runs, ax, reference=("always 1", 1 / 6) if title.startswith("adding") else None)
        ax.set_title(title, loc="left", fontsize=canvas.LARGE)
    path = root / "losses.png"
    files.write(path, lambda file: figure.savefig(file, format="png", dpi=110))
    return path


def draw_run(folder: Path) -> Path:
    """Draw the losses of the run in a folder into losses.png beside them; return its path.

    Raises
    ------
    ValueError, OSError
        The folder has no run with losses.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    rows = metrics.read(folder / "metrics.jsonl")
    task = files.read_json(folder / "configuration.json")["task"]["name"]
    constant = {"adding": ("always 1", 1 / 6)}.get(task)
    figure: Any = plot_losses({task: rows}, reference=constant).figure
    path = folder / "losses.png"
    files.write(path, lambda file: figure.savefig(file, format="png", dpi=150))
    return path
