"""Schedules: the learning rate of each update, as a function of the update's number.

Updates are counted from 0: `rate = cosine(update, rate=1e-2, updates=2000)` is that of update 0, 1, …. Three of them
know the future from the number alone and keep nothing. The plateau depends on what happened, so it has a state: plain
data, a dict of numbers and None, which goes into a checkpoint as it is.

The papers' recipes: ÷10 every 20000 updates (adding problem; Li et al. 2018, §5.1) is `step(…, every=20000)`; ÷5 when
the validation no longer improves (PTB) is `Plateau(factor=0.2, …)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..analysis import _checks


def constant(update: int, rate: float) -> float:
    """Return the rate, whatever the update.

    Parameters
    ----------
    update : whole number of at least 0
    rate : number of at least 0

    Raises
    ------
    TypeError, ValueError
        An argument is no such number; the message names it.
    """
    _checks.whole("update", update, least=0)
    return _checks.number("rate", rate)


def step(update: int, rate: float, every: int, factor: float = 0.1) -> float:
    """Multiply the rate by a factor after every so many updates: rate · factor^⌊update / every⌋.

    Parameters
    ----------
    update : whole number of at least 0
    rate : number of at least 0, that of the first updates
    every : whole number above 0
    factor : number of at least 0

    Raises
    ------
    TypeError, ValueError
        An argument is no such number; the message names it.
    """
    past = _checks.whole("update", update, least=0) // _checks.whole("every", every)
    return _checks.number("rate", rate) * _checks.number("factor", factor) ** past


def cosine(update: int, rate: float, updates: int, final: float = 0.0) -> float:
    """Fall from rate to final along half a cosine wave: final + (rate − final) (1 + cos(π · update / updates)) / 2.

    Parameters
    ----------
    update : whole number of at least 0; from `updates` on the rate stays at final
    rate : number of at least 0, that of update 0
    updates : whole number above 0, how long it takes
    final : number of at least 0

    Raises
    ------
    TypeError, ValueError
        An argument is no such number; the message names it.
    """
    k, K = _checks.whole("update", update, least=0), _checks.whole("updates", updates)
    first, last = _checks.number("rate", rate), _checks.number("final", final)
    return last + (first - last) * (1 + math.cos(math.pi * k / K)) / 2 if k < K else last


@dataclass(frozen=True)
class Plateau:
    """Multiply the rate by a factor when a value, such as the validation loss, has stopped falling.

    Parameters
    ----------
    factor : number of at least 0
    patience : whole number of at least 0: so many values in a row may be no better than the best
    threshold : number of at least 0: better means below best − threshold, which
        no NaN is and no inf
    """

    factor: float = 0.2
    patience: int = 0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        _checks.number("factor", self.factor)
        _checks.whole("patience", self.patience, least=0)
        _checks.number("threshold", self.threshold)

    def initial(self, rate: float) -> dict[str, Any]:
        """Return the state before the first value: {"rate": rate, "best": None, "waited": 0}."""
        return {"rate": _checks.number("rate", rate), "best": None, "waited": 0}

    def update(self, state: dict[str, Any], value: float) -> dict[str, Any]:
        """Return the state after one more value; its "rate" is the one to go on with.

        Parameters
        ----------
        state : what `initial` or `update` returned; it is left as it is
        value : number, to be made small; it may be inf or NaN
        """
        best = math.inf if state["best"] is None else state["best"] - self.threshold
        if value < best:
            return {"rate": state["rate"], "best": float(value), "waited": 0}
        if state["waited"] < self.patience:
            return state | {"waited": state["waited"] + 1}
        return {"rate": state["rate"] * self.factor, "best": state["best"], "waited": 0}
