"""What the command shows: tables, findings, bars of progress. The only module that imports rich."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from . import engines
from .bench import LOOP, Result, Suite, gpu_report
from .oracle import Report, installation
from .oracle.verification import CHECKS

Item = TypeVar("Item")
TIMEOUT = 60.0  # seconds that one call of a target may take, if nothing is said
COLUMNS = 80  # that every table fits, and takes
_HEADINGS = {"specification": "specifi-\ncation", "complex step": "complex\nstep", "exact vectors": "exact\nvectors"}


def verification(reports: Sequence[tuple[installation.Row, Report]]) -> None:
    """Print a line for each implementation, activation and dtype: the largest error of each check."""
    table = _table("Largest error ÷ allowed error (at most 1 is right); exact vectors: every bit")
    _words(table, "engine", "activation")
    table.add_column("dtype", no_wrap=True)
    _numbers(table, *(_HEADINGS.get(check.name, check.name) for check in CHECKS))
    table.add_column("", no_wrap=True)
    for row, report in reports:
        cells = [_cell(report, check.name) for check in CHECKS]
        table.add_row(row.implementation, row.activation, row.dtype, *cells,
                      "[green]ok[/]" if report.passed else "[red]WRONG[/]")
    console = _console()
    console.print(table)
    tensors = sum(len(report.judgements) for _, report in reports)
    loosely = sum(report.not_judged for _, report in reports)
    failed = sum(not report.passed for _, report in reports)
    console.print(f"{len(reports) - failed} of {len(reports)} rows right; {tensors} tensors compared, {loosely} of "
                  "them loosely (allowed error above 1 % of the values).", soft_wrap=True)


def findings(reports: Sequence[tuple[installation.Row, Report]], options: argparse.Namespace) -> None:
    """Print what is wrong, a line for each tensor and kind of fault, each with a command that shows it again."""
    console = Console(highlight=False)
    for row, report in reports:
        what = shlex.quote(options.target) if options.target else f"--engine {row.implementation}"
        how = "".join([f" --precision {options.precision}" if options.precision else f" --dtype {row.dtype}",
                       f" --order {options.order}" if options.order != "loop" else "",
                       *(f" --without {name}" for name in options.without),
                       f" --timeout {options.timeout:g}" if options.timeout != TIMEOUT else ""])
        for line, finding in report.summary():
            console.print(line, markup=False, soft_wrap=True)
            if finding.case != "all":
                console.print(f"Reproduce: indrnn-np verify {what} --activation '{row.activation}'{how} "
                              f"--case '{finding.case}'", markup=False, soft_wrap=True)
        if report.findings and (table := report.table(row.activation)):
            console.print("", *table, "", sep="\n", markup=False, soft_wrap=True)
    for sentence in dict.fromkeys(sentence for _, report in reports for sentence in report.not_checked()):
        console.print(sentence, soft_wrap=True)


def _console() -> Console:
    """Return a console of at least COLUMNS: a narrower terminal breaks the lines itself, and cuts nothing."""
    console = Console(highlight=False)
    console.width = max(console.width, COLUMNS)
    return console


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
                 collapse_padding=True)


def _words(table: Table, *headings: str) -> None:
    """Add columns that give way where a line is full: they go on below."""
    for heading in headings:
        table.add_column(heading, overflow="fold")


def _numbers(table: Table, *headings: str) -> None:
    """Add columns that never give way."""
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def _cell(report: Report, check: str) -> str:
    worst = report.worst(check)
    if worst is None:
        return "–"
    if check == "exact vectors":
        return "equal" if worst.ratio == 0 else "[red]differ[/]"
    return f"{worst.ratio:.2f}" if worst.right else f"[red]{worst.ratio:.3g}[/]"


def bounds(ends: tuple[float, float], memory: tuple[float, float], options: argparse.Namespace, L: float) -> None:
    """Print the ranges of |u|, and what they do and do not guarantee."""
    (low, high), (T, ε, γ) = ends, (options.steps, options.epsilon, options.gamma)
    shortest, longest = (f"{steps:.0f}" if steps < math.inf else "never" for steps in memory)
    table = _table(f"Table 1 for T = {T}, {options.activation}: sup|σ'| = {L:g}")
    _words(table, "", "|u|", "sup|∂h_T/∂h_0|", f"steps until it is {ε:g}")
    if ε > 0:
        table.add_row("short-term", f"below {low!r}", f"below {ε:g}", f"at most {T}")
    if low <= high:
        table.add_row("long-term", f"{low!r}\nto {high!r}", f"{ε:g}\nto {γ:g}", f"{shortest}\nto {longest}")
    if γ < math.inf:
        table.add_row("exploding", f"above {high!r}", f"above {γ:g}",
                      longest if longest == "never" else f"at least {longest}")
    console = _console()
    console.print(table)
    sentences = []
    if γ < math.inf:
        bounded = "every ∂h_T/∂h_k" if γ >= 1 else "∂h_T/∂h_0, though not each later ∂h_T/∂h_k,"
        sentences.append(f"Guaranteed, since |σ'| ≤ {L:g}: up to {high!r}, {bounded} is at most {γ:g} in size.")
    if ε > 0:
        sentences.append(f"Below {low!r}, ∂h_T/∂h_0 is below {ε:g}. From there on it need not be above: "
                         "a smaller slope, such as a silent ReLU's 0, forgets too.")
    sentences.append("Not guaranteed: the size of h, of ∂h_T/∂u, or of a gradient summed over many losses.")
    console.print("\n".join(sentences), markup=False, soft_wrap=True)


def measurement(outcome: Result) -> None:
    """Print a line for each contender."""
    T, B, N = outcome.shape
    table = _table(f"The {outcome.subject}, {outcome.activation}, float32, T={T} B={B} N={N}, {outcome.cores} core(s); "
                   "medians of a run")
    peer = (outcome.fastest_peer() or "peer").removesuffix(", both")
    _words(table, "")
    _numbers(table, "ms", "÷ copy of h", "÷ footprint", f"speed ÷\n{peer}")
    for name, seconds in outcome.seconds.items():
        table.add_row(name, f"{1e3 * seconds:.3g}", f"{outcome.copies(name):.1f}", f"{outcome.to_limit(name):.2f}",
                      _times(outcome.speedup(name)))
    console = _console()
    console.print(table)
    console.print("Footprint: a copied to h, dh and h added to da, all that both directions must move, new memory.")
    for engine, peak in outcome.peak.items():
        console.print(f"{engine}: {peak:.2f} times the memory of the results at most")
    _show_left_out([outcome])


def suite(found: Suite) -> None:
    """Print a line for each measurement: the fastest engine's and the NumPy engine's ratios."""
    results, growth, first = found
    fastest = engines.on_the_cpu()[-1]
    table = _table(f"Engine {fastest}, forward and backward, float32; medians of a run")
    _words(table, "")
    table.add_column("T, B, N", no_wrap=True)
    _words(table, "σ")
    _numbers(table, "cores", "÷ foot-\nprint", "speed ÷\npeer", "limit ÷\npeer", "numpy ÷\nPyTorch", "peak")
    for result in results:
        best = f"{fastest}, both"
        table.add_row(result.subject, ",".join(map(str, result.shape)), result.activation, str(result.cores),
                      f"{result.to_limit(best):.2f}", _times(result.speedup(best)), _times(result.limit_to_peer()),
                      _times(result.speedup("numpy, both", LOOP)),
                      f"{result.peak[fastest]:.2f}")
    console = _console()
    console.print(table)
    for line in growth:
        sizes = ", ".join(f"{cost:.2f}" for cost in line.nanoseconds)
        console.print(f"{line.engine}, ns per element as {line.letter} doubles from {line.shapes[0]}: {sizes}",
                      markup=False, soft_wrap=True)
    console.print("Peer: the fastest that is there. Limit: the footprint. Peak: memory ÷ that of the results.")
    console.print("First call, T=20 B=4 N=16: " + ", ".join(f"{name} {1e3 * seconds:.3g} ms"
                                                            for name, seconds in first.items()), soft_wrap=True)
    _show_left_out(results)


def sheets(all_sheets: Iterable[gpu_report.Sheet]) -> None:
    """Print tables that are already words."""
    console = _console()
    for sheet in all_sheets:
        if sheet.headings:
            table = _table(sheet.title)
            _words(table, *sheet.headings[:2])
            _numbers(table, *sheet.headings[2:])
            for row in sheet.rows:
                table.add_row(*row)
            console.print(table)
        console.print(*filter(None, sheet.notes), "", sep="\n", markup=False, soft_wrap=True)


def sweep(name: str, rows: Iterable[dict[str, Any]]) -> None:
    """Print a line for each configuration: what its seeds reached."""
    table = _table(name)
    _words(table, "task")
    _numbers(table, "T")
    _words(table, "model")
    _numbers(table, "median")
    _words(table, "each seed")
    for row in rows:
        values = ", ".join("–" if value is None else f"{value:.3g}" for value in row["values"])
        ends = "".join(f"; {end}: {len(row[end])}" for end in ("diverged", "failed") if row[end])
        table.add_row(row["task"], str(row["steps"] or "–"), row["called"],
                      "–" if row["median"] is None else f"{row['median']:.3g}", values + ends)
    _console().print(table)


def _show_left_out(results: Sequence[Result]) -> None:
    for name, why in {pair: None for result in results for pair in result.left_out.items()}:
        print(f"Left out: {name} ({why})")  # as long as it is: not wrapped to the terminal


def _times(ratio: float | None) -> str:
    return f"{ratio:.1f} ×" if ratio else "–"


class Bar:
    """A progress bar with time left, on a terminal, from the first second on; nothing in a pipe."""

    def __init__(self, title: str, of: int) -> None:
        self._progress = Progress(*Progress.get_default_columns(), console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(title, total=of)
        self._began = time.monotonic()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def step(self, done: int, of: int) -> None:
        """Advance by one."""
        self._progress.advance(self._task)
        if self._progress.console.is_terminal and time.monotonic() > self._began + 1:
            self._progress.start()


def progress(items: Iterable[Item], title: str) -> Iterable[Item]:
    """Show a bar on a terminal, nothing in a pipe."""
    console = Console(stderr=True)
    return track(items, title, console=console, transient=True) if console.is_terminal else items
