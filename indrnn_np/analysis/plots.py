"""Four pictures: gradients over the lag, the range of |u|, memory lengths, and gradients over layers and time.

Each function draws numbers that you already have on Axes of matplotlib, yours or new ones, and returns them;
`.figure.savefig("name.png")` writes the picture. Nothing here touches pyplot, so no window opens and no figure stays
open behind your back. matplotlib is imported when a picture is drawn: pip install 'indrnn-np[plot]'. CuPy's arrays are
copied to the CPU.

The pictures are black and white: line styles, grey and hatching, with the names at the lines, so that they can be read
in print and at half their size. On a logarithmic axis 0 has no place: it is marked × at the floor, or hatched; and an
infinite number is marked with a triangle at the ceiling. Neither is dropped, and the title counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import array_module
from ..array_module import Array
from . import _canvas as canvas
from ._checks import number
from ._plot_checks import first, increasing, magnitudes
from .ranges import memory_length, recurrent_weight_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_gradient_over_lag(gradients: Array, ax: Axes | None = None) -> Axes:
    """Draw |∂h_T/∂h_k| over the lag T − k, a line for each neuron and sequence, on a logarithmic axis (Eq. 4).

    Up to six neurons are named at their lines, n counting from 0. Of more, those with the largest, the middle and the
    smallest gradient at the longest lag are, and the others are thin and grey. Where a gradient is exactly 0 its line
    ends, and × at the floor says from which lag on; where it is infinite, a triangle at the ceiling does.

    Parameters
    ----------
    gradients : (T+1, N) or (T+1, B, N) entry k is ∂h_T/∂h_k; so the last is all ones
    ax : Axes to draw on; new ones where None

    Returns
    -------
    Axes : those drawn on

    Raises
    ------
    TypeError, ValueError
        gradients is no such array, has a NaN, or ends otherwise than in ones; or ax is no Axes.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    size = magnitudes("gradients", gradients, {2: "(T+1, N)", 3: "(T+1, B, N)"})
    if len(size) < 2 or (size[-1] != 1).any():
        raise ValueError("gradients: expected ones in the last of T + 1 entries, which is ∂h_T/∂h_T, and at least one "
                         f"entry before it; got {len(size)} entries, the last from {size[-1].min():.3g} to "
                         f"{size[-1].max():.3g}. Time comes first.")
    ax = canvas.axes(ax)
    by_lag = size[::-1].reshape(len(size), -1, size.shape[-1])
    T, _, N = len(size) - 1, *by_lag.shape[1:]
    drawn = np.where((by_lag > 0) & np.isfinite(by_lag), by_lag, np.nan)
    low, high = canvas.limits(drawn)
    ax.set(autoscale_on=False, xlim=(0, T), ylim=(low, high))
    ax.set_yscale("log")
    if ticks := canvas.decade_ticks(low, high):
        ax.set_yticks(*ticks)
        ax.minorticks_off()
    named = canvas.to_name(by_lag[-1].max(axis=0))
    for n in range(N):
        if n in named:
            ax.plot(range(T + 1), drawn[:, :, n], linestyle=canvas.STYLES[named.index(n)], color="black", linewidth=1.6,
                    zorder=3)
        else:
            ax.plot(range(T + 1), drawn[:, :, n], color="0.65", linewidth=0.8)
    for where, height, marker in ((by_lag == 0, low, "x"), (np.isinf(by_lag), high, "^")):
        lag, b, n = (where & ~np.concatenate([np.zeros_like(where[:1]), where[:-1]])).nonzero()  # where it sets in
        if len(lag):
            ax.plot(lag, np.full(len(lag), height), marker, color="black", markersize=7, clip_on=False, zorder=4)
            ours = np.isin(n, named)
            ax.vlines(lag[ours], drawn[lag - 1, b, n][ours], height, linestyle=":", color="0.4", linewidth=0.9)
    canvas.name_ends(ax, [_end_of_line(n, by_lag[:, :, n], low, high) for n in named])
    canvas.dress(ax, canvas.summary(f"Gradients over T = {T} steps", by_lag[-1], "×"),
                 "lag T − k, steps", r"$|\partial h_T\,/\,\partial h_k|$")
    return ax


def plot_weight_range(steps: Sequence[int] | Array, epsilon: float, gamma: float, ax: Axes | None = None) -> Axes:
    """Draw the range of |u| over T in which the gradient over T steps of slope 1 stays from ε to γ (§3.1).

    The ends are those of `recurrent_weight_range`; both close on 1 as T grows. The axis of |u| is logarithmic on either
    side of 1, so that 2^{1/5000}, which is 1.000139, can be told from 1.

    Parameters
    ----------
    steps : the T to draw the range for, increasing whole numbers above 0, at least two
    epsilon, gamma : smallest gradient that is useful, from 0; largest that is tolerable, above it
    ax : Axes to draw on; new ones where None

    Returns
    -------
    Axes : those drawn on

    Raises
    ------
    TypeError, ValueError
        An argument is not as above; the message names it.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    T = increasing("steps", steps)
    ε, γ = number("epsilon", epsilon), number("gamma", gamma)
    if γ <= ε:
        raise ValueError(f"gamma: expected a number above epsilon, {ε}; got {γ}.")
    ax = canvas.axes(ax)
    low, high = np.array([recurrent_weight_range(steps, ε, γ) for steps in T]).T
    ax.set(xscale="log", xlim=(T[0], T[-1]))
    canvas.scale_about_one(ax, np.concatenate([low, high]))
    ax.fill_between(T, low, high, color="0.88", linewidth=0)
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.plot(T, high, "-", color="black", linewidth=1.8)
    ax.plot(T, low, "--", color="black", linewidth=1.8)
    for y, text in ((0.95, f"above γ$^{{1/T}}$, γ = {γ:g} (solid): may explode"),
                    (0.05, f"below ε$^{{1/T}}$, ε = {ε:g} (dashed): forgets" if ε else "ε = 0: no lower end")):
        ax.text(0.97, y, text, transform=ax.transAxes, fontsize=canvas.SMALL, ha="right", va="center")
    title = "The range of |u| closes on 1" if ε else "The upper end of |u| closes on 1"
    at_end = f"from {low[-1]:.7g} to {high[-1]:.7g}" if ε else f"up to {high[-1]:.7g}"
    canvas.dress(ax, f"{title}\nfor T = {T[-1]} it is {at_end}", "T, steps", "|u|")
    return ax


def plot_memory(u: Array, epsilon: float, ax: Axes | None = None) -> Axes:
    """Draw a histogram of memory lengths: the steps of slope 1 after which the gradient |u|^k has fallen to ε.

    The lengths are those of `memory_length`, whole steps; where |u| ≤ ε, and so for u = 0, it is one. The bins are
    [1, 2), [2, 5), [5, 10), [10, 20) and so on, or whole decades where the lengths span more than four. Apart from
    them, hatched, on the right stand the neurons with |u| ≥ 1, which never forget.

    Parameters
    ----------
    u : (N,) recurrent weight
    epsilon : smallest gradient that is useful, above 0 and below 1
    ax : Axes to draw on; new ones where None

    Returns
    -------
    Axes : those drawn on; its patches are the bars, from left to right

    Raises
    ------
    TypeError, ValueError
        u is no such array or has a NaN or an infinite number, epsilon is not between 0 and 1, or ax is no Axes.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    weight = magnitudes("u", u, {1: "(N,)"})
    if np.isinf(weight).any():
        raise ValueError(f"u: expected finite numbers; got inf at {first(np.isinf(weight))}.")
    ε = number("epsilon", epsilon)
    if not 0 < ε < 1:
        raise ValueError(f"epsilon: expected a number above 0 and below 1; got {ε}.")
    ax = canvas.axes(ax)
    length = memory_length(weight, ε)
    finite = length[np.isfinite(length)]

    edges = _memory_edges(finite)
    counts = [*np.histogram(finite, edges)[0].tolist(), len(length) - len(finite)]
    x, apart = np.log10(edges), 0.12 * np.log10(edges[-1] / edges[0])
    lefts, widths = [*x[:-1], x[-1] + apart], [*np.diff(x), 1.2 * apart]
    for left, width, count, hatch in zip(lefts, widths, counts, [""] * (len(x) - 1) + ["////"], strict=True):
        ax.bar(left, count, width, align="edge", facecolor="0.85", edgecolor="black", linewidth=1.0, hatch=hatch)
        if count:
            ax.text(left + width / 2, count, f"{count}", ha="center", va="bottom", fontsize=canvas.SMALL)
    powers = [round(p) for p in x if abs(p - round(p)) < 0.01]
    ax.set_xticks([*powers, x[-1] + 1.6 * apart],
                  [*(f"{10**p}" if p < 4 else f"$10^{{{p}}}$" for p in powers), "∞"])
    ax.set(xlim=(x[0] - 0.4 * apart, x[-1] + 2.6 * apart), ylim=(0, 1.12 * max(counts)))
    canvas.whole_ticks(ax.yaxis)
    title = f"{counts[-1]} of {len(length)} neurons never forget"
    if len(finite):
        title += f"\nthe median memory of the others is {float(f'{np.median(finite):.3g}'):,.15g} steps"
    canvas.dress(ax, title, rf"memory: steps until $|u|^{{\mathrm{{steps}}}}$ is at most ε = {ε:g}", "neurons")
    return ax


def plot_gradient_heat(gradients: Array | Sequence[Array], ax: Axes | None = None) -> Axes:
    """Draw the size of a gradient over layers and time as a map, dark for large, on a logarithmic scale.

    A cell is the largest magnitude of that layer and step, over all sequences and neurons. For another measure, hand
    in an array of it. A cell that is exactly 0 is hatched; one that is infinite is black with a white triangle.

    Parameters
    ----------
    gradients : (layers, T), or a list with an array (T, …) for each layer; the first is the one at the input
    ax : Axes to draw on, from which the scale takes some room; new ones where None

    Returns
    -------
    Axes : those drawn on; `.images[0]` is the map, whose masked cells are 0 or infinite

    Raises
    ------
    TypeError, ValueError
        gradients is nothing of that kind, is empty, or has a NaN; or ax is no Axes.
    ModuleNotFoundError
        matplotlib is not installed; the message names the extra.
    """
    size = _layers_by_time(gradients)
    ax = canvas.axes(ax)
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.patches import Rectangle

    L, T = size.shape
    shown = np.ma.masked_where((size == 0) | np.isinf(size), size)
    values = shown.compressed()
    ends = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    low, high = np.clip(ends, 10.0**-canvas.DECADES, 10.0**canvas.DECADES)
    low, high = (low, high) if low < high else (low / 2, high * 2)
    greys = ListedColormap(colormaps["Greys"](np.linspace(0.1, 1, 256)), "from light grey to black")
    ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, facecolor="white", edgecolor="0.35", hatch="////",
                           linewidth=0, zorder=-1))
    placed: dict[str, Any] = {"aspect": "auto", "origin": "lower", "interpolation": "none",
                              "extent": (0.5, T + 0.5, 0.5, L + 0.5)}
    image = ax.imshow(shown, cmap=greys, norm=LogNorm(low, high), **placed)
    ax.imshow(np.ma.masked_where(~np.isinf(size), np.ones_like(size)), cmap=ListedColormap(["black"]), **placed)
    layer, step = np.isinf(size).nonzero()
    ax.plot(step + 1, layer + 1, "^", color="white", markersize=8)
    ax.set(xlim=(0.5, T + 0.5), ylim=(0.5, L + 0.5))
    canvas.whole_ticks(ax.xaxis)
    canvas.whole_ticks(ax.yaxis)
    bar = ax.figure.colorbar(image, ax=ax)
    if ticks := canvas.decade_ticks(low, high):
        bar.set_ticks(ticks[0], labels=ticks[1])
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=canvas.SMALL)
    bar.set_label("largest |gradient|", fontsize=canvas.LARGE)
    canvas.dress(ax, canvas.summary("Gradients by layer and step", size, "hatched"),
                 "step t", "layer, 1 at the input")
    return ax


def _layers_by_time(gradients: Array | Sequence[Array]) -> Array:
    if isinstance(gradients, np.ndarray) or array_module.is_cupy(gradients):
        return magnitudes("gradients", cast(Array, gradients), {2: "(layers, T)"})
    if not isinstance(gradients, list | tuple):
        raise TypeError("gradients: expected an array (layers, T), or a list with an array (T, …) for each layer; got "
                        f"{type(gradients).__name__}.")
    if not gradients:
        raise ValueError("gradients: expected at least one layer; got none.")
    shapes = {1: "(T,)", 2: "(T, N)", 3: "(T, B, N)"}
    rows = [magnitudes(f"gradients[{layer}]", array, shapes) for layer, array in enumerate(gradients)]
    for layer, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"gradients[{layer}]: expected {len(rows[0])} steps, as gradients[0] has; got {len(row)}.")
    return np.array([row.reshape(len(row), -1).max(axis=1) for row in rows])


def _end_of_line(n: int, by_lag: Array, low: float, high: float) -> tuple[float, str]:
    """Return the height at which neuron n's longest line leaves the picture, and its name; by_lag is (T+1, B)."""
    longest = by_lag[:, ((by_lag > 0) & np.isfinite(by_lag)).sum(axis=0).argmax()]
    for height, what, where in ((low, "0", longest == 0), (high, "inf", np.isinf(longest))):
        if where[-1]:
            return height, f"n = {n}: {what} from {int(where.argmax())}"
    return float(longest[-1]), f"n = {n}"


def _memory_edges(lengths: Array) -> Array:
    """Return edges 1, 2, 5, 10, … or 1, 10, 100, … that hold all the lengths, each of 1 or more."""
    shortest, longest = lengths.min(initial=np.inf), lengths.max(initial=1.0)
    first, last = (int(np.floor(np.log10(end))) for end in (min(shortest, longest), longest))
    steps = (1, 2, 5) if last - first < 4 else (1,)
    return np.array([step * 10.0**d for d in range(first, last + 1) for step in steps] + [10.0**(last + 1)])
