"""The suite as a picture, black and white: how many times as fast as the fastest peer we are, and memory could be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contenders import BUFFERS, FOOTPRINT, PEERS

FONT = 11  # points, on 8 inches
HATCHES = {"new memory": "", "into buffers": "///", "limit": "..."}


def check(path: str | Path) -> None:
    """Raise where no picture could be written into a file, before minutes are spent on measuring for it."""
    kinds = _figure()(dpi=120).canvas.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".") not in kinds:
        raise ValueError(f"--plot: expected a name that ends in .{', .'.join(sorted(kinds))}; got {str(path)!r}.")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"--plot: expected a file in a folder that is there; got {str(path)!r}.")


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError("matplotlib is not installed. For pictures: pip install 'indrnn-np[plot]'.") from None
    return Figure


def save(suite: Mapping[str, Any], path: str | Path) -> None:
    """Draw the recurrence alone, ReLU, one core, by shape, and write it into a file; needs the extra `plot`."""
    figure = _figure()(figsize=(8.0, 4.4), layout="constrained")
    ax = figure.subplots()
    rows = [row for row in suite["results"]
            if (row["subject"], row["activation"], row["cores"]) == ("recurrence", "relu", 1)]
    fastest = next(name.removesuffix(f" {BUFFERS}") for name in rows[0]["seconds"] if name.endswith(BUFFERS))
    called = {"new memory": f"{fastest}, both", "into buffers": f"{fastest} {BUFFERS}", "limit": FOOTPRINT}
    meant = {"new memory": f"{fastest}, new memory", "into buffers": f"{fastest}, into buffers",
             "limit": "the limit: copies"}
    shades = {"new memory": "0.2", "into buffers": "0.65", "limit": "1.0"}
    compared = [row for row in rows if any(peer in row["seconds"] for peer in PEERS)]
    for number, (kind, name) in enumerate(called.items()):
        heights = [min(row["seconds"][peer] for peer in PEERS if peer in row["seconds"]) / row["seconds"][name]
                   for row in compared]
        bars = ax.bar([k + 0.27 * (number - 1) for k in range(len(compared))], heights, 0.25, color=shades[kind],
                      edgecolor="black", hatch=HATCHES[kind], label=meant[kind])
        ax.bar_label(bars, [f"{height:.2g}" for height in heights], fontsize=FONT - 1, padding=2)
    ax.set_yscale("log")
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.2)
    ax.set_xticks(range(len(compared)), [",".join(map(str, row["shape"])) for row in compared])
    ax.set_title("Forward and backward, ReLU, float32, one core", loc="left", fontsize=FONT + 1)
    ax.set_xlabel("T, B, N", fontsize=FONT + 1)
    ax.set_ylabel("speed ÷ fastest of PyTorch and JAX", fontsize=FONT + 1)
    ax.tick_params(labelsize=FONT)
    figure.legend(fontsize=FONT, frameon=False, ncols=3, loc="outside lower center")
    figure.savefig(path, dpi=120)
