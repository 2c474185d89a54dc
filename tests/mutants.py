"""Wrong implementations: the heart, or an engine, with one line changed, which the checks must catch.

Each mutant names the mistake, the text that it replaces (which must occur exactly once in the function named), and the
activations in which it changes no number.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import NamedTuple

from indrnn_np import recurrence
from indrnn_np.engines import numpy as numpy_engine


class Mutant(NamedTuple):
    name: str
    function: str
    right: str
    wrong: str
    harmless_in: tuple[str, ...] = ()
    module: ModuleType = recurrence


G = "g = dh[t] + u * dz"
DZ = "da[t] = σ.pull(g, z, h[t])"
DU = "du += (dz * h_prev).sum(axis=0)"
END = "return RecurrenceGradients(da, du, u * dz)"
Z = "z = a[t] + u * h_prev"

MUTANTS = [
    Mutant("h0 ignored in forward", "forward", "if t > 0 else h0", "if t > 0 else 0 * h0"),
    Mutant("h_t forgets its past after the first step", "forward", Z, "z = a[t] + (u * h_prev if t < 1 else 0)"),
    Mutant("u squared in forward", "forward", Z, "z = a[t] + u * u * h_prev"),
    Mutant("u taken absolute", "forward", Z, "z = a[t] + abs(u) * h_prev"),
    Mutant("recurrence outside the activation", "forward", "h[t] = σ(z)", "h[t] = σ(a[t]) + u * h_prev", ("identity",)),
    Mutant("drive of the step before", "forward", Z, "z = a[max(t - 1, 0)] + u * h_prev"),
    Mutant("u clamped at 1", "forward", Z, "z = a[t] + u.clip(-1, 1) * h_prev"),
    Mutant("cotangents reversed in time", "backward", G, G.replace("dh[t]", "dh[len(h) - 1 - t]")),
    Mutant("last cotangent at every step", "backward", G, G.replace("dh[t]", "dh[-1]")),
    Mutant("cotangents shifted by a step", "backward", G, G.replace("dh[t]", "dh[t - 1]")),
    Mutant("last cotangent dropped", "backward", G, G.replace("dh[t]", "(dh[t] if t < len(h) - 1 else 0)")),
    Mutant("earlier cotangents dropped", "backward", G, G.replace("dh[t]", "(dh[t] if t == len(h) - 1 else 0)")),
    Mutant("u missing in the carry", "backward", G, G.replace("u * dz", "dz")),
    Mutant("u squared in the carry", "backward", G, G.replace("u * dz", "u * u * dz")),
    Mutant("no carry: truncated after one step", "backward", G, G.replace(" + u * dz", "")),
    Mutant("truncated after four steps", "backward", G, G.replace("u * dz", "(u * dz if t % 4 != 3 else 0)")),
    Mutant("slope on the direct part only", "backward", DZ, "da[t] = σ.pull(dh[t], z, h[t]) + u * dz",
           ("identity",)),
    Mutant("slope forgotten", "backward", DZ, "da[t] = g", ("identity",)),
    Mutant("slope at the step before", "backward", DZ,
           DZ.replace("z, h[t])", "None if z is None else a[t - 1] + u * h[t - 2], h[t - 1])"), ("identity",)),
    Mutant("slope of the drive, without the recurrence", "backward", "z = a[t] + u * h_prev if", "z = a[t] if",
           ("identity", "relu", "leaky_relu", "leaky_relu(0.125)", "softplus")),
    Mutant("du with h_t for h_{t−1}", "backward", DU, DU.replace("h_prev", "h[t]")),
    Mutant("du without the first step", "backward", DU, f"{DU} if t > 0 else 0"),
    Mutant("du a mean over the batch", "backward", DU, DU.replace("sum(axis=0)", "mean(axis=0)")),
    Mutant("du of one sequence only", "backward", DU, "du += (dz * h_prev)[0]"),
    Mutant("dh0 without u", "backward", END, END.replace("u * dz", "dz")),
    Mutant("dh0 zero", "backward", END, END.replace("u * dz", "0 * dz")),
    Mutant("gradient clipped inside the recurrence", "backward", G, G.replace("dz", "dz.clip(-1, 1)")),
    Mutant("du off by 1 %", "backward", END, END.replace("da, du", "da, du * u.dtype.type(1.01)")),
    Mutant("a block's first h_{t−1} is its own h", "backward", "h[start - 1:block.stop - 1] if start > 0",
           "h[block] if start > 0", module=numpy_engine),
    Mutant("the carry lost between blocks", "backward", "    for start in reversed(range(0, T, steps)):\n",
           "    for start in reversed(range(0, T, steps)):\n        dz = np.zeros((B, N), h.dtype)\n",
           module=numpy_engine),
    Mutant("du of the last block only", "backward",
           "_add_up(multiply(da[block], h_prev, scratch[:len(h_prev)]), du_rows)",
           "du_rows = np.add.reduce(da[block] * h_prev, axis=0)", module=numpy_engine),
    Mutant("u reversed over the neurons", "forward", "np.broadcast_to(u, h0.shape).copy()",
           "np.resize(u[::-1], h0.shape)", module=numpy_engine),
]


def build(mutant: Mutant) -> ModuleType:
    """Return the mutant's module with its line in place."""
    source = inspect.getsource(mutant.module)
    function = inspect.getsource(getattr(mutant.module, mutant.function))
    assert function.count(mutant.right) == 1, f"{mutant.name}: {mutant.right!r} is not there exactly once"
    module = ModuleType("indrnn_np.mutant")
    module.__package__ = mutant.module.__name__.rpartition(".")[0]
    changed = source.replace(function, function.replace(mutant.right, mutant.wrong))
    exec(compile(changed, mutant.name, "exec"), module.__dict__)
    return module
