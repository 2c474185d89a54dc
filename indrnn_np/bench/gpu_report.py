"""What a benchmark on a GPU found, as tables of text; the command draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import NamedTuple

from ..engines.cuda import Plan
from .gpu import Line, Outcome

SHOWN = 4  # plans of a sweep, the fastest, besides the one that the engine would choose


class Sheet(NamedTuple):
    """One table, and sentences below it."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()


def sheets(outcome: Outcome) -> Iterator[Sheet]:
    """Return all tables, in the order of reading."""
    yield _of_copies(outcome)
    for (shape, dtype, direction), lines in groupby(outcome.lines, lambda x: (x.shape, x.dtype, x.direction)):
        T, B, N = shape
        rows = [_row(outcome, line) for line in _shown(list(lines))]
        yield Sheet(f"{direction.title()}, {dtype}, T={T} B={B} N={N}",
                    ("σ", "plan", "cold\nµs", "warm\nµs", "host\nµs", "÷ roof-\nline", "÷ chain", "error ÷\nallowed"),
                    rows)
    if outcome.lines:
        yield Sheet("", (), [], _legend(outcome))
    if outcome.peers:
        yield _of_peers(outcome)
    sentences = [f"WRONG: {_describe(line)}: {line.failure or _why(line)}" for line in outcome.lines if not line.right]
    sentences += [f"Did not run: {_describe(line)}: {line.failure}" for line in outcome.lines
                  if line.right and line.failure]
    sentences += [f"Left out: {name} ({why})" for name, why in outcome.left_out.items()]
    if sentences:
        yield Sheet("", (), [], tuple(sentences))


def name_of(plan: Plan) -> str:
    """Name a plan with its sizes: columns × slices × steps, or steps ahead."""
    if plan.kernel == "slices":
        return f"slices {plan.columns}×{plan.slices}×{plan.steps}"
    return f"{plan.kernel} {plan.ahead}" if plan.ahead else plan.kernel


def _of_copies(outcome: Outcome) -> Sheet:
    rows = [(f"{copy.bytes / 1e6:.4g} MB", *(f"{1e6 * each:.1f}" for each in copy.times.medians()[:2]),
             *(f"{copy.bandwidth(warm) / 1e9:.0f}" for warm in (False, True)))
            for copy in (outcome.copy, *outcome.copies)]
    device = outcome.device
    return Sheet(f"{device['device']}, driver {device['driver']}: copies, read once and written once",
                 ("bytes", "cold µs", "warm µs", "cold GB/s", "warm GB/s"), rows,
                 ("The first one, cold, is the bandwidth of the roofline.",))


def _shown(lines: list[Line]) -> list[Line]:
    """Leave, of each activation, the chosen plan, what is wrong, and the fastest others."""
    found: list[Line] = []
    for _, group in groupby(lines, lambda line: line.activation):
        every = list(group)
        timed = sorted((line for line in every if line.times and not line.chosen), key=_cold)
        found += [*(line for line in every if line.chosen or not line.right), *timed[:SHOWN]]
    return found


def _cold(line: Line) -> float:
    assert line.times is not None
    return median(line.times.cold)


def _row(outcome: Outcome, line: Line) -> tuple[str, ...]:
    plan = name_of(line.plan) + (" *" if line.chosen else "")
    if line.times is None or line.verdict is None:
        return line.activation, plan, "–", "–", "–", "–", "–", "–" if line.right else "WRONG"
    roofline, chain = outcome.to_roofline(line), outcome.to_chain(line)
    times = (f"{1e6 * each:.1f}" for each in line.times.medians())
    exact = "bits" if line.verdict.bits else f"{line.verdict.ratio:.2f}" + ("" if line.verdict.sharp else " ~")
    return (line.activation, plan + ("" if line.times.ahead else " !"), *times, f"{roofline:.2f}",
            f"{chain:.2f}" if chain else "–", exact)


def _legend(outcome: Outcome) -> tuple[str, ...]:
    steps = "; ".join(f"{activation}, {dtype}: {1e9 * seconds:.1f} ns"
                      for (activation, dtype), seconds in outcome.step.items())
    return ("* the engine's choice; ! the GPU waited for Python, so its time is not the kernel's alone.",
            "Roofline: the bytes that must be moved, at the bandwidth of the first copy; times with cold caches.",
            f"Chain: T steps one after the other, each {steps}." if steps else "",
            "bits: h, da and dh0 equal NumPy's in every bit. ~: what is allowed is not small against the values.")


def _of_peers(outcome: Outcome) -> Sheet:
    rows = []
    for peer in outcome.peers:
        what = f"{peer.subject} {','.join(map(str, peer.shape))}"
        if not peer.right:
            rows.append((peer.name, what, "–", "–", "WRONG"))
            continue
        theirs, ours = median(peer.theirs), median(peer.ours)
        rows.append((peer.name, what, f"{1e3 * theirs:.3g}", f"{1e3 * ours:.3g}", f"{theirs / ours:.1f} ×"))
    return Sheet("Peers, float32, forward and backward, until the GPU is idle again",
                 ("", "T, B, N", "ms", "ours, ms", "theirs ÷\nours"), rows)


def _describe(line: Line) -> str:
    return f"{line.direction} {line.activation} {line.dtype} {line.shape}, {name_of(line.plan)}"


def _why(line: Line) -> str:
    assert line.verdict is not None
    if not line.verdict.repeatable:
        return "two runs gave different bits"
    if line.verdict.ratio > 1:
        return f"error {line.verdict.ratio:.3g} times what is allowed"
    return "not NumPy's bits"
