"""Adam (Kingma & Ba 2015), in place, with what an IndRNN asks of it: another rate for u, no weight decay of u.

For each parameter p with the gradient g = ∂J/∂p, at the k-th update, k = 1, 2, …, elementwise:

    m ← β₁ m + (1 − β₁) g                                   running mean of the gradient                    (i)
    v ← β₂ v + (1 − β₂) g²                                  and of its square, from m = v = 0               (ii)
    p ← p − η · (m / (1 − β₁^k)) / (√(v / (1 − β₂^k)) + ε)                                                  (iii)

Both means start at 0, so that after k updates of a constant g they hold (1 − β^k) of it: (iii) divides this out. The
step is then about η in size whatever the size of g, which is why u needs a rate of its own: |u| moves by η per update,
and a gradient over T steps feels it T-fold. `factors` multiplies η by parameter, chosen by name.

Weight decay λ shrinks matrices alone. u, biases and the scales of batch norm are vectors and are spared: the follow-up
paper decays no recurrent weight (arXiv 1910.06251), and decay of u would be decay of memory. It is λp added to g, as in
the paper's recipes, or p ← (1 − ηλ) p apart from the means where `decoupled` (Loshchilov & Hutter 2019).

A gradient with an inf or a NaN, or one so large that its square overflows, would spoil m or v for good. It is refused
with a FloatingPointError that names the parameter, before anything is changed: the run has diverged, and its
parameters and moments are still those of the last good update.

All state is in the tree of moments: the two means and the number of updates, arrays all, so `trees.flatten` makes a
checkpoint of it. Large arrays are worked through in blocks that fit the cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from ..analysis import _checks
from ..array_module import Array, namespace
from . import trees
from ._blocks import blocks, largest
from .trees import Tree


@dataclass(frozen=True)
class Adam:
    """Adam's numbers; plain data, it keeps no state.

    Parameters
    ----------
    rate : number of at least 0, η; `update` may be given another
    beta1, beta2 : numbers of at least 0 and below 1
    epsilon : number above 0
    weight_decay : number of at least 0, λ; of arrays with two or more axes alone
    decoupled : whether weight decay bypasses the means

    Raises
    ------
    TypeError, ValueError
        An argument is no such number; the message names it.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        _checks.number("rate", self.rate)
        for name in ("beta1", "beta2"):
            if _checks.number(name, getattr(self, name)) >= 1:
                raise ValueError(f"{name}: expected a number of at least 0 and below 1; got {getattr(self, name)}.")
        _checks.number("epsilon", self.epsilon, above_zero=True)
        _checks.number("weight_decay", self.weight_decay)
        _checks.flag("decoupled", self.decoupled)

    def initial(self, params: Tree) -> Tree:
        """Return the moments before the first update.

        Parameters
        ----------
        params : tree of float32 or float64 arrays

        Returns
        -------
        moments : {"first": m, "second": v, "updates": 0}; m and v are trees like params, of zeros, and "updates" is an
            int64 array of no axes, on the CPU

        Raises
        ------
        TypeError, ValueError
            params is no such tree; the message names the place.
        """
        for path, p in trees.flatten(params).items():
            _checks.real_array(path, p)
        return {"first": trees.map(_zeros, params), "second": trees.map(_zeros, params),
                "updates": np.zeros((), np.int64)}

    def update(self, params: Tree, grads: Tree, moments: Tree, rate: float | None = None,
               factors: Mapping[str, float] | None = None) -> None:
        """Do one update, in place: params and moments are changed, grads are not.

        Parameters
        ----------
        params, grads : trees of arrays, alike
        moments : what `initial` returned, since then changed by `update` alone
        rate : number of at least 0, η of this update; None takes that of the description
        factors : {name: number of at least 0} by which the rate is multiplied where the flattened name of a parameter
            is that, or matches it as a shell pattern in which * stands for "/" too ("*/u", "layers/1/*"). Where
            several fit, the last one counts; with 0 a parameter stays as it is

        Raises
        ------
        TypeError, ValueError
            An argument is no such thing, the trees are not alike, or one of the factors fits no parameter; the message
            names it.
        FloatingPointError
            A gradient is inf or NaN, or too large to be squared; the message names it. Nothing was changed.
        """
        η = self.rate if rate is None else _checks.number("rate", rate)
        p, g = trees.flatten(params), trees.require_like("grads", grads, "params", params)
        m, v = (trees.require_like(name, moments[name], "params", params) for name in ("first", "second"))
        factor = _by_name(factors or {}, p)
        for name in p:
            _refuse_unusable(name, g[name])

        moments["updates"] += 1
        k = int(moments["updates"])
        for name in p:
            decay = self.weight_decay if p[name].ndim > 1 else 0.0
            for block in blocks(p[name]):
                self._step(p[name][block], g[name][block], m[name][block], v[name][block],
                           η * factor[name], k, decay)

    def _step(self, p: Array, g: Array, m: Array, v: Array, η: float, k: int, decay: float) -> None:
        """Update one block of one parameter: (i) to (iii)."""
        xp = namespace(p)
        β1, β2 = self.beta1, self.beta2
        with np.errstate(under="ignore"):  # a mean that decays to nothing
            if decay and self.decoupled:
                p *= 1 - η * decay
            elif decay:
                g = g + decay * p
            m *= β1
            m += (1 - β1) * g                                                   # (i)
            v *= β2
            step = xp.square(g, out=xp.empty_like(g))
            step *= 1 - β2
            v += step                                                           # (ii)
            xp.sqrt(v, out=step)
            step *= 1 / math.sqrt(1 - β2**k)
            step += self.epsilon
            xp.divide(m, step, out=step)
            step *= η / (1 - β1**k)
            p -= step                                                           # (iii)


def _zeros(array: Array) -> Array:
    return namespace(array).zeros(array.shape, array.dtype)


def _refuse_unusable(name: str, g: Array) -> None:
    """Raise where a gradient has an inf or a NaN, or a number whose square is none."""
    size = largest(g)
    if size <= math.sqrt(float(np.finfo(g.dtype).max)):
        return
    if math.isfinite(size):
        raise FloatingPointError(f"grads {name}: expected numbers whose squares {g.dtype} can hold; got one of "
                                 f"{size:.3g}. The run has diverged, or its gradients need clipping.")
    raise FloatingPointError(f"grads {name}: expected finite numbers; got inf or NaN. The run has diverged.")


def _by_name(factors: Mapping[str, float], names: Mapping[str, Array]) -> dict[str, float]:
    """Return the factor of each parameter."""
    chosen = dict.fromkeys(names, 1.0)
    for pattern, factor in factors.items():
        value = _checks.number(f"factors {pattern!r}", factor)
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            raise ValueError(f"factors {pattern!r}: expected the name of a parameter, or a pattern that fits one of "
                             f"{', '.join(names)}; got neither.")
        chosen |= dict.fromkeys(fitting, value)
    return chosen
