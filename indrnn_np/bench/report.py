"""The tables that the README shows, written from a suite's plain data; and suites of single shapes made one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .contenders import BUFFERS, COLUMN, FOOTPRINT, LOOP, PEERS

Row = Mapping[str, Any]


def merge(suites: Sequence[Row]) -> dict[str, Any]:
    """Return one suite with the results of all; growth and first call are the last one's.

    Raises
    ------
    ValueError
        They come from different machines or versions.
    """
    own = {"results", "growth", "first"}
    for suite in suites[1:]:
        if differs := [key for key in suite if key not in own and suite[key] != suites[0][key]]:
            raise ValueError(f"suites: expected all from one machine and its versions; got {differs[0]} "
                             f"{suites[0][differs[0]]!r} and {suite[differs[0]]!r}.")
    return {**suites[-1], "results": [row for suite in suites for row in suite["results"]]}


def tables(suite: Row) -> list[str]:
    """Write two tables in Markdown: ReLU, the recurrence alone, on one core; and everything else, against peers."""
    rows = {(row["subject"], row["activation"], row["cores"], tuple(row["shape"])): row for row in suite["results"]}
    shapes = list(dict.fromkeys(tuple(row["shape"]) for row in suite["results"]))
    fastest = _fastest(suite["results"])
    found = [f"| T, B, N | {fastest}, ÷ peer | into buffers, ÷ peer | the limit, ÷ peer | {fastest}, time ÷ limit "
             "| time ÷ one column's | numpy, ÷ PyTorch loop |", "|---" * 7 + "|"]
    for shape in shapes:
        row = rows["recurrence", "relu", 1, shape]
        seconds, ours = row["seconds"], f"{fastest}, both"
        found.append("| " + " | ".join([
            _name(shape), *(_times(row, name) for name in (ours, f"{fastest} {BUFFERS}", FOOTPRINT)),
            f"{seconds[ours] / seconds[FOOTPRINT]:.1f}", f"{seconds[ours] / seconds[COLUMN]:.1f}",
            f"{seconds[LOOP] / seconds['numpy, both']:.1f} ×" if LOOP in seconds else "–"]) + " |")
    kinds = {"tanh": ("recurrence", "tanh", 1), "sigmoid": ("recurrence", "sigmoid", 1), "layer": ("layer", "relu", 1),
             "layer, tanh": ("layer", "tanh", 1), "ReLU, two cores": ("recurrence", "relu", 2),
             "layer, two cores": ("layer", "relu", 2)}
    found += ["", f"| {fastest}, ÷ peer | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    found += ["| " + " | ".join([_name(shape), *(_times(rows.get((*kind, shape)), f"{fastest}, both")
                                                 for kind in kinds.values())]) + " |" for shape in shapes]
    return found


def versions(suite: Row) -> str:
    """Name processor and versions."""
    called = {"numpy": "NumPy", "numba": "Numba", "torch": "PyTorch", "jax": "JAX"}
    return ", ".join([suite["processor"], *(f"{name} {suite[key]}" for key, name in called.items() if suite[key])])


def _fastest(results: Sequence[Row]) -> str:
    return next(name for name in results[0]["seconds"] if name.endswith(BUFFERS)).removesuffix(f" {BUFFERS}")


def _times(row: Row | None, name: str) -> str:
    """Say how many times as fast as the fastest peer."""
    peers = [row["seconds"][peer] for peer in PEERS if peer in row["seconds"]] if row else []
    return f"{min(peers) / row['seconds'][name]:.1f} ×" if row and peers else "–"


def _name(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
