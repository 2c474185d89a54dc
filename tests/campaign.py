"""Is a right implementation ever accused? Thousands of random cases, all that is at hand, both dtypes.

    python tests/campaign.py 10000

runs PyTorch's autograd over a loop, `torch.nn.RNN` with a diagonal matrix, JAX's `lax.scan` and our own engines on
that many cases in each dtype, on two processes, and prints for each the largest error ÷ allowed error. Overflow,
underflow, saturation and kinks are among the cases. There are 49 shapes, so that JAX compiles seldom.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
from rich.progress import track

from indrnn_np import engines
from indrnn_np.oracle import candidates, installation, references, tolerance
from indrnn_np.oracle.inputs import Case, Recipe, draw
from indrnn_np.oracle.report import Finding
from indrnn_np.oracle.strategies import EXTREME, REGIMES
from indrnn_np.oracle.verification import SPECIFICATION, Candidate, _run

CHUNK = 250


@dataclass
class Outcome:
    """What was seen, by implementation and dtype, and in which kinds of cases."""

    compared: Counter[tuple[str, str]] = field(default_factory=Counter)
    loosely: Counter[tuple[str, str]] = field(default_factory=Counter)
    worst: dict[tuple[str, str], float] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in another part."""
        self.compared += other.compared
        self.loosely += other.loosely
        self.kinds += other.kinds
        self.findings += other.findings
        for key, ratio in other.worst.items():
            self.worst[key] = max(ratio, self.worst.get(key, 0.0))


def shapes() -> list[tuple[int, int, int, int]]:
    """Return (T, B, N, extra), seven for each activation in turn; the smallest and some long ones are among them."""
    rng = np.random.default_rng(49)
    drawn = [(int(rng.integers(2, 60)), *map(int, rng.integers(1, 5, 2)), int(rng.integers(0, 4))) for _ in range(35)]
    return [(1, 1, 1, 0)] * 7 + [(150, 2, 2, 1)] * 7 + drawn


def recipe(number: int) -> Recipe:
    """Draw what the case of that number is like."""
    rng = np.random.default_rng([2026, number])
    T, B, N, extra = shapes()[number % 49]
    regime = str(rng.choice([*REGIMES, *EXTREME, *EXTREME]))
    return Recipe(T, B, N, extra, signs=str(rng.choice(["both", "+", "-"])),
                  firing=[(1.0, 0.5, 0.9), (1.0,), (0.0, 1.0), (0.3,)][rng.integers(4)],
                  cotangent=str(rng.choice(["every", "every", "last", "first"])),
                  size=float(rng.choice([1.0, 1.0, 0.1, 5.0, 50.0, 1e-30, 1e-38, 1e15, 1e33])),
                  kinks=float(rng.choice([0.0, 0.0, 0.3])), **(REGIMES | EXTREME)[regime])


def case(number: int, dtype: str) -> Case:
    """Draw the case of that number."""
    return draw("drawn", recipe(number), installation.NAMES[number % len(installation.NAMES)], dtype, number)


def peers() -> dict[str, tuple[Candidate, tuple[str, ...]]]:
    """Return every implementation at hand, with the activations that it has."""
    found = {name: (candidates.from_engine(name), installation.NAMES) for name in engines.available()
             if name != "cuda"}  # which may cut time into slices, and is then judged as a scan
    if find_spec("torch"):
        found["torch.nn.RNN"] = candidates.torch_rnn(), candidates.TORCH_ACTIVATIONS
        found["PyTorch loop"] = torch_loop(), installation.NAMES
    if find_spec("jax"):
        found["JAX scan"] = jax_scan(), installation.NAMES
    return found


def torch_loop() -> Candidate:
    """PyTorch's autograd through a loop over `torch.unbind`."""
    import torch

    import indrnn_np as ir

    torch.set_num_threads(1)
    functional = torch.nn.functional
    σ: dict[str, Callable] = {
        "identity": lambda z: z, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
        "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
        "leaky_relu(0.125)": lambda z: functional.leaky_relu(z, 0.125),
        "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),  # functional.softplus is z itself above 20
    }

    def forward(x, W, u, b, h0, activation):
        h, states = h0, []
        for a_t in torch.unbind(x @ W.T + b):
            h = σ[activation](a_t + u * h)
            states.append(h)
        return torch.stack(states)
    return ir.oracle.from_torch(forward)


def jax_scan() -> Candidate:
    """JAX's `lax.scan` and its derivative, compiled together."""
    import jax

    jax.config.update("jax_enable_x64", True)
    numpy = jax.numpy

    def leaky(alpha):
        return lambda z: numpy.where(z > 0, z, numpy.asarray(alpha, z.dtype) * z)

    σ = {"identity": lambda z: z, "relu": jax.nn.relu, "tanh": numpy.tanh, "sigmoid": jax.nn.sigmoid,
         "softplus": jax.nn.softplus, "leaky_relu": leaky(0.01), "leaky_relu(0.125)": leaky(0.125)}

    def forward(activation, x, W, u, b, h0):
        def step(h, a_t):
            h = σ[activation](a_t + u * h)
            return h, h
        return jax.lax.scan(step, h0, x @ W.T + b)[1]

    def both(activation, dh, *arguments):
        h, pull = jax.vjp(lambda *given: forward(activation, *given), *arguments)
        return h, pull(dh)

    compiled = jax.jit(both, static_argnums=0)

    def candidate(x, W, u, b, h0, dh, activation):
        h, gradients = compiled(activation, dh, x, W, u, b, h0)
        return {"h": np.asarray(h), **{name: np.asarray(value) for name, value in
                                       zip(("dx", "dW", "du", "db", "dh0"), gradients, strict=True)}}
    return candidate


def run(numbers: range) -> Outcome:
    """Run everything on these cases, in both dtypes."""
    outcome, every = Outcome(), peers()
    for number in numbers:
        for dtype in installation.DTYPES:
            given = case(number, dtype)
            for name, (candidate, known) in every.items():
                if given.activation in known:
                    _judge(name, candidate, given, outcome)
    return outcome


def _judge(name: str, candidate: Candidate, given: Case, outcome: Outcome) -> None:
    """Run one implementation on one case.

    Where rounding decides the sign of a z, the ratio says nothing: it may be 1. And where a neuron overflows, a dense
    matrix with u on its diagonal is no IndRNN: the other neurons meet 0 · ∞.
    """
    overflown = False

    def watched(**arguments):
        nonlocal overflown
        results = candidate(**arguments)
        overflown = not all(np.isfinite(value).all() for value in results.values())
        if name == "numpy":
            outcome.kinds.update(_kinds(given, results))
        return results

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = _run(watched, [(SPECIFICATION, given)], False, lambda: None)
    if name == "torch.nn.RNN" and overflown:
        return
    key = name, given.dtype.name
    outcome.compared[key] += len(report.judgements)
    outcome.loosely[key] += report.not_judged
    ratios = [j.ratio for j in report.judgements if j.judged and not _sign_is_open(given)]
    outcome.worst[key] = max([outcome.worst.get(key, 0.0), *ratios])
    outcome.findings += report.findings


def _sign_is_open(given: Case) -> bool:
    """Whether rounding decides the sign of some z, so a slope at a kink, or the end at which σ saturates."""
    exact = references._forward(given, tolerance.rounding(given.precision))
    return bool((np.abs(exact.z) <= exact.errors.z).any())


def _kinds(given: Case, results: dict[str, np.ndarray]) -> Iterator[str]:
    """Say what is special about this case."""
    yield "all"
    sizes = np.concatenate([np.abs(value).ravel() for value in results.values()])
    if not np.isfinite(sizes).all():
        yield "overflow"
    if ((sizes > 0) & (sizes < np.finfo(given.dtype).tiny)).any():
        yield "underflow"
    h, a = results["h"], given.x @ given.W.T + given.b
    if given.activation in ("tanh", "sigmoid") and (np.abs(h) > 1 - np.finfo(given.dtype).eps).any():
        yield "saturation"
    z = a + given.u * np.concatenate([given.h0[None], h[:-1]])
    size = np.abs(given.x) @ np.abs(given.W).T + np.abs(given.b)
    if (np.abs(z) <= 8 * np.finfo(given.dtype).eps * size).any():
        yield "kink"


def table(outcome: Outcome) -> list[str]:
    """Return the outcome in lines."""
    lines = [f"{'':<16}{'dtype':<9}{'tensors':>9}{'loosely':>9}   largest error ÷ allowed"]
    lines += [f"{name:<16}{dtype:<9}{outcome.compared[name, dtype]:>9}{outcome.loosely[name, dtype]:>9}   {ratio:.3f}"
              for (name, dtype), ratio in sorted(outcome.worst.items())]
    total = outcome.kinds["all"]
    lines.append("; ".join([f"{total} cases", *(f"{count} with {kind}" for kind, count in
                                                sorted(outcome.kinds.items()) if kind != "all")]))
    return [*lines, f"{len(outcome.findings)} accused", *map(str, outcome.findings[:20])]


def main() -> int:
    """Run the campaign; exit with 1 if anything was accused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=int, nargs="?", default=10_000, help="how many, in each dtype")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chunks = [range(start, min(start + CHUNK, options.cases)) for start in range(0, options.cases, CHUNK)]
    outcome = Outcome()
    with ProcessPoolExecutor(options.processes) as pool:
        for part in track(pool.map(run, chunks), "Judging", total=len(chunks)):
            outcome.add(part)
    print("\n".join(table(outcome)))
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
