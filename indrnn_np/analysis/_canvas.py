"""What the pictures share: Axes without pyplot, fonts, limits of logarithmic axes, and names at the ends of lines."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..array_module import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (6.4, 4.2)  # inches; what is 12 points here is 6 at half the size
SMALL, LARGE = 11, 12
STYLES = ("-", "--", "-.", ":", (0, (9, 3)), (0, (6, 2, 1, 2, 1, 2)))
DECADES = 280  # a logarithmic axis reaches no further than this on either side of 1: matplotlib computes beside it


def figure(width: float, height: float) -> Any:
    """Return a Figure that pyplot knows nothing of."""
    return _part("figure").Figure(figsize=(width, height), layout="constrained")


def axes(ax: Axes | None) -> Any:
    """Return ax, or new Axes on a Figure of their own."""
    if ax is None:
        return figure(*SIZE).subplots()
    if not isinstance(ax, _part("axes").Axes):
        raise TypeError(f"ax: expected one Axes of matplotlib, or None; got {type(ax).__name__}.")
    return ax


def _part(name: str) -> Any:
    """Return a part of matplotlib."""
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("matplotlib is not installed. For pictures: pip install 'indrnn-np[plot]'.") from None


def dress(ax: Any, title: str, x: str, y: str) -> None:
    """Write the title and name the axes, in letters that survive half the size."""
    ax.set_title(title, loc="left", fontsize=LARGE)
    ax.set_xlabel(x, fontsize=LARGE)
    ax.set_ylabel(y, fontsize=LARGE)
    ax.tick_params(labelsize=SMALL)


def whole_ticks(axis: Any) -> None:
    """Let an axis have its ticks at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator
    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def widen(ends: Array, share: float) -> Array:
    """Return [low, high] moved apart by this share of their distance each; by 1 where they are equal."""
    low, high = ends
    more = share * (high - low) or 1.0
    return np.array([low - more, high + more])


def limits(values: Array) -> tuple[float, float]:
    """Return limits for a logarithmic axis on which all positive numbers among the values are well inside."""
    seen = values[np.isfinite(values)]
    low, high = 10 ** np.clip(widen(np.log10([seen.min(), seen.max()]), 0.07), -DECADES, DECADES)
    return float(low), float(high)


def decade_ticks(low: float, high: float) -> tuple[list[float], list[str]] | None:
    """Return powers of ten from low to high and their labels, at most nine; None where fewer than three are there.

    matplotlib's own choice overflows next to the largest float.
    """
    first, last = int(np.ceil(np.log10(low))), int(np.floor(np.log10(high)))
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100) if (last - first) / step <= 8)
    powers = [p for p in range(first, last + 1) if p % every == 0]
    return ([10.0**p for p in powers], [f"$10^{{{p}}}$" for p in powers]) if len(powers) > 2 else None


def summary(start: str, values: Array, zero: str) -> str:
    """Say from where to where the values go, and on a second line how many are 0 or infinite, which are only marked."""
    plain = values[(values > 0) & np.isfinite(values)]
    ends = list(dict.fromkeys(f"{end:.3g}" for end in (plain.min(), plain.max()))) if len(plain) else []
    line = f"{start}: {' to '.join(ends) or 'all 0 or inf'}"
    marked = {f"0 ({zero})": values == 0, "inf (▲)": np.isinf(values)}
    return "\n".join([line, *filter(None, ["; ".join(f"{where.sum()} of {where.size} are {what}"
                                                     for what, where in marked.items() if where.any())])])


def to_name(last: Array, most: int = 6) -> list[int]:
    """Choose the neurons to be named: all if they are few, else those with the largest, middle and smallest number."""
    if len(last) <= most:
        return list(range(len(last)))
    order = np.argsort(last, kind="stable")
    return [int(order[-1]), int(order[len(order) // 2]), int(order[0])]


def name_ends(ax: Any, ends: list[tuple[float, str]], apart: float = 0.075) -> None:
    """Write names at the right of the axes, each at the height where its line ends, moved until none overlap."""
    low, high = np.log(ax.get_ylim())
    heights = [float(np.clip((np.log(y) - low) / (high - low), 0, 1)) for y, _ in ends]
    order = sorted(range(len(ends)), key=lambda k: heights[k])
    places = np.array([heights[k] for k in order])
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + apart)
    places -= max(0.0, places[-1] - 1)
    for k in reversed(range(len(places) - 1)):
        places[k] = min(places[k], places[k + 1] - apart)
    for place, k in zip(places, order, strict=True):
        ax.annotate(ends[k][1], (1, heights[k]), (1.05, place), "axes fraction", annotation_clip=False, va="center",
                    fontsize=SMALL, arrowprops={"arrowstyle": "-", "linewidth": 0.7, "color": "0.4", "shrinkB": 0})


def scale_about_one(ax: Any, values: Array) -> None:
    """Give ax a vertical axis for positive values next to 1: logarithmic on either side, linear about 1 itself.

    The place of v is arcsinh(ln v / unit), with the value nearest to 1 a unit away. Ticks are 1, 1 ± 0.1, 1 ± 0.01 and
    so on, as room allows. Values of 0 are below the axis.
    """
    seen = np.append(values[values > 0], 1.0)
    logs = np.abs(np.log(seen))
    unit = float(logs[logs > 0].min(initial=1.0))

    def place(v: Any) -> Any:
        return np.arcsinh(np.log(np.maximum(v, 10.0**-DECADES)) / unit)

    def value(y: Any) -> Any:
        return 10.0 ** np.clip(unit * np.sinh(np.clip(y, 2 * bottom, 2 * top)) / np.log(10), -DECADES, DECADES)

    bottom, top = widen(place(np.array([seen.min(), seen.max()])), 0.12)
    ax.set_yscale("function", functions=(place, value))
    ax.set_ylim(value(bottom), value(top))

    near = [10.0**-k for k in range(1, 13)]
    wanted = [1.0, *(v for δ in near for v in (1 + δ, 1 - δ)), 2.0, 0.5, 10.0, 0.1, 100.0, 0.01, 1000.0, 0.001]
    ticks: list[float] = []
    for v in wanted:
        if seen.min() <= v <= seen.max() and all(abs(place(v) - place(t)) > 0.05 * (top - bottom) for t in ticks):
            ticks.append(v)
    ax.set_yticks(sorted(ticks), [f"{v:.12g}" for v in sorted(ticks)])
    ax.set_yticks([], minor=True)
