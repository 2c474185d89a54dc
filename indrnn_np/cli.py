"""The command `indrnn-np`: parses, calls the package, and lets `screen` show what came."""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import __version__, bench, screen
from .activations import is_builtin, resolve
from .analysis import memory_length, recurrent_weight_range
from .array_module import NoGPU
from .bench import gpu, gpu_report
from .experiments import command
from .oracle import installation, write_vectors
from .oracle.isolation import CannotRun, Isolated
from .oracle.precision import HALF
from .oracle.tolerance import ORDERS
from .oracle.verification import DTYPES, OPTIONAL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code (0: right, 1: something is wrong, 2: could not be run)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no ÷ gets a question mark, not a traceback
            stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(prog="indrnn-np", description="IndRNN: verify it, measure it, train it.")
    parser.add_argument("--version", action="version", version=f"indrnn-np {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    verify = commands.add_parser("verify", help="verify an implementation, or every engine of this installation",
                                 description="Verify an implementation against complex-step derivatives, exact "
                                 "vectors, Eq. 4 and the specification. Exit code 0: right, 1: wrong, 2: cannot run.")
    verify.add_argument("target", nargs="?", metavar="FILE.py:FUNCTION",
                        help="your implementation, or package.module:function; it runs in a process of its own. "
                        "Without it, every engine of this installation is verified")
    verify.add_argument("--engine", action=_Once, help="without a target: this engine (or torch.nn.RNN) alone")
    verify.add_argument("--activation", action=_Once,
                        help="this activation alone (default: relu for a target, else all)")
    verify.add_argument("--dtype", action=_Once, choices=DTYPES,
                        help="this dtype alone (default: float32 and float64)")
    verify.add_argument("--precision", choices=HALF, help="the target computes in this, on float32 arrays")
    verify.add_argument("--order", choices=ORDERS, default="loop",
                        help="scan: the target is parallel in time, so it may round more")
    verify.add_argument("--without", choices=OPTIONAL, action="append", default=[],
                        help="the target has no bias (b), or no initial state (h0); may be given twice")
    verify.add_argument("--case", action=_Once, metavar="ID", help="this case alone, as a finding names it")
    verify.add_argument("--timeout", type=float, default=screen.TIMEOUT, metavar="SECONDS",
                        help="limit of one call of the target (default 60)")
    verify.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    verify.set_defaults(run=run_verify)

    vectors = commands.add_parser("vectors", help="copy out the conformance vectors",
                                  description="Write the conformance vectors, JSON for any language, into a folder.")
    vectors.add_argument("folder", metavar="FOLDER")
    vectors.set_defaults(run=run_vectors)

    bounds = commands.add_parser("bounds", help="which recurrent weights keep a gradient, or let it explode",
                                 description="Print the ranges of |u| for a horizon: Table 1 of the follow-up paper, "
                                 "for sup|σ'| of the activation. The ends are float64, rounded inward, so that "
                                 "|u|^T does not exceed gamma for the numbers printed.")
    bounds.add_argument("--steps", type=_count, required=True, metavar="T", help="the horizon")
    bounds.add_argument("--gamma", type=float, default=2.0, help="largest tolerable gradient (default 2)")
    bounds.add_argument("--epsilon", type=float, default=1e-3, help="smallest gradient that counts (default 1e-3)")
    bounds.add_argument("--activation", default="relu", help="whose largest slope is taken (default relu)")
    bounds.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    bounds.set_defaults(run=run_bounds)

    measure = commands.add_parser("bench", help="measure the engines against PyTorch, JAX and memory itself",
                                  description="Time forward and backward in float32, side by side: our engines, "
                                  "PyTorch and JAX where installed, and copies of memory.")
    measure.add_argument("--device", choices=("cpu", "gpu"), default="cpu",
                         help="gpu: check and time every plan of the kernels, against copies, PyTorch, JAX and cuDNN")
    measure.add_argument("--shape", type=_shape, metavar="T,B,N",
                         help="steps, sequences, neurons (default 784,32,128; on a GPU four shapes)")
    measure.add_argument("--activation", help="a built-in one (default relu; on a GPU those that matter)")
    measure.add_argument("--subject", choices=bench.SUBJECTS, default="recurrence",
                         help="the recurrence alone (default), or a whole layer with its matrix products")
    measure.add_argument("--cores", type=_count, default=1, help="how many everybody may use (default 1)")
    measure.add_argument("--suite", action="store_true",
                         help="five shapes, both subjects, three activations, one core and two, and growth")
    measure.add_argument("--plot", metavar="FILE", help="of the suite: draw its ratios into a picture")
    measure.add_argument("--dtype", choices=installation.DTYPES, action="append",
                         help="on a GPU: in this, or in both if given twice (default float32)")
    measure.add_argument("--sweep", action="store_true", help="on a GPU: all sizes of the kernels, and B·N growing")
    measure.add_argument("--repeats", type=_count, help="timed rounds (default 15, on a GPU 50)")
    measure.add_argument("--json", nargs="?", const="-", metavar="FILE",
                         help="print one JSON object instead of the table, or write it into a file beside the table")
    measure.set_defaults(run=run_bench)

    command.add(commands)

    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except BrokenPipeError:  # whoever read our output has gone; nothing can be told
        sys.stdout = None
        return 2
    except (ValueError, ImportError, NoGPU, CannotRun, OSError, MemoryError) as error:
        print(f"indrnn-np: {error or type(error).__name__}", file=sys.stderr)
        return 2
    return code


def run_verify(options: argparse.Namespace) -> int:
    """Verify the rows that the options leave, show them, and say whether all are right."""
    how = {"precision": options.precision, "order": options.order, "without": tuple(options.without)}
    with ExitStack() as stack:
        if options.target is not None:
            candidate = stack.enter_context(Isolated(options.target, timeout=options.timeout))
            name = re.split(r"[/\\]", options.target)[-1]
            rows = installation.rows_of(candidate, name, options.activation or "relu", options.dtype, **how)
        elif options.precision or options.order != "loop" or options.without:
            raise ValueError("--precision, --order, --without: expected with a target FILE.py:FUNCTION alone.")
        else:
            rows = installation.rows(options.engine, options.activation, options.dtype)
        bar = stack.enter_context(screen.Bar("Verifying", sum(row.size(options.case) for row in rows)))
        reports = [(row, row.verify(options.case, bar.step)) for row in rows]
    passed = all(report.passed for _, report in reports)
    if options.json:
        print(json.dumps({"passed": passed, "version": __version__, "rows": [
            {"engine": row.implementation, "activation": row.activation, "dtype": row.dtype, **how, **report.as_dict()}
            for row, report in reports]}))
    else:
        screen.verification(reports)
        screen.findings(reports, options)
    return 0 if passed else 1


def run_vectors(options: argparse.Namespace) -> int:
    """Copy out the conformance vectors, and say what was written."""
    for path in write_vectors(options.folder):
        print(path)
    return 0


def run_bounds(options: argparse.Namespace) -> int:
    """Compute the ranges of |u| for a horizon, and show what they mean."""
    σ = resolve(options.activation)
    T, ε, γ, L = options.steps, options.epsilon, options.gamma, σ.max_slope
    low, high = map(float, recurrent_weight_range(T, ε, γ, L))
    if ε == γ:
        raise ValueError(f"epsilon: expected less than gamma, {γ:g}; got {ε:g}.")
    shortest, longest = (memory_length(end, ε, L) if end < math.inf else math.inf for end in (low, high))
    if options.json:
        numbers = {"low": low, "high": high, "memory_at_low": shortest, "memory_at_high": longest}
        print(json.dumps({"version": __version__, "steps": T, "epsilon": ε, "gamma": None if γ == math.inf else γ,
                          "activation": σ.name, "slope": L,
                          **{name: value if value < math.inf else None for name, value in numbers.items()}}))
        return 0
    screen.bounds((low, high), (shortest, longest), options, L)
    return 0


def run_bench(options: argparse.Namespace) -> int:
    """Measure, and show ratios; on a GPU, say whether all that was measured is right."""
    if options.activation is not None and not is_builtin(resolve(options.activation)):
        raise ValueError(f"activation: expected a built-in one; got {options.activation!r}.")
    if options.device == "gpu":
        return _run_bench_on_a_gpu(options)
    if options.sweep or options.dtype:
        raise ValueError("--sweep, --dtype: expected with --device gpu alone.")
    rounds = range((options.repeats or 15) + 1)
    if options.plot is not None:
        if not options.suite:
            raise ValueError("--plot: expected with --suite alone.")
        bench.plot.check(options.plot)
    if options.suite:
        return _run_suite(options, rounds)
    outcome = bench.measure(options.shape or (784, 32, 128), screen.progress(rounds, "Measuring"),
                            options.activation or "relu", options.cores, options.subject)
    _deliver(options, outcome.as_dict() | bench.describe(), lambda: screen.measurement(outcome))
    return 0


def _run_suite(options: argparse.Namespace, rounds: range) -> int:
    suite = bench.suite.run([options.shape] if options.shape else bench.SHAPES, len(rounds) - 1,
                            lambda cells: screen.progress(list(cells), "Measuring"))
    _deliver(options, suite.as_dict(), lambda: screen.suite(suite))
    if options.plot:
        bench.plot.save(suite.as_dict(), options.plot)
    return 0


def _run_bench_on_a_gpu(options: argparse.Namespace) -> int:
    outcome = gpu.measure([options.shape] if options.shape else gpu.SHAPES, tuple(options.dtype or ("float32",)),
                          options.activation, options.repeats or 50, options.sweep,
                          lambda cells: screen.progress(cells, "Measuring"))
    _deliver(options, outcome.as_dict(), lambda: screen.sheets(gpu_report.sheets(outcome)))
    return 0 if outcome.right else 1


def _deliver(options: argparse.Namespace, found: dict[str, object], show: Callable[[], None]) -> None:
    """Print JSON, or show the tables and write JSON where there is a file for it."""
    if options.json == "-":
        print(json.dumps(found))
        return
    show()
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", "utf-8")


class _Once(argparse.Action):
    """An option of which a second value would replace the first, and is refused."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object,
                 option_string: str | None = None) -> None:
        """Keep the value."""
        if (before := getattr(namespace, self.dest)) is not None:
            parser.error(f"{option_string}: expected once; got {before!r} and {values!r}")
        setattr(namespace, self.dest, values)


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"expected three numbers T,B,N; got {text!r}")
    T, B, N = (_count(part) for part in parts)
    return T, B, N


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0; got {text!r}")
    return value
