"""The activations σ of Eq. 2, in one table: value, derivative, and how a cotangent is pulled back.

Each works on NumPy and CuPy arrays, real or complex. Complex numbers serve the complex step: a kink is decided
by the real part, and every formula is analytic on the branch that it decides.

Two rules run through the table. Where σ is piecewise linear, a cotangent is *selected*, never multiplied by a
slope of 0 or 1, so that 0 · inf cannot arise. And a NaN is neither above nor below a kink: it stays NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from .array_module import Array, namespace


@dataclass(frozen=True)
class Activation:
    """An activation σ and its derivative. Your own needs the first three; the reference engine runs it.

    Parameters
    ----------
    name : str
        How it is called in messages and reports.
    value, slope : callable
        σ(z) and σ'(z), elementwise, on arrays of any shape.
    pull_by_state : callable, optional
        σ'(z) ⊙ g as a function of g and h = σ(z), where h tells the slope without loss. Backward then needs
        neither z nor the drive a. None: it multiplies g by slope(z).
    kink : float, optional
        Where σ' jumps; σ' there is `slope(kink)`, by this library's convention the limit from below.
    max_slope : float
        sup |σ'| over all real z.
    sup_slope, sup_curvature : callable, optional
        Upper bounds of |σ'| and of |σ''| (kinks apart) over the interval from `low` to `high`; the oracle
        derives from them how far rounding may carry a right result.
    alpha : float, optional
        The slope below the kink, for the piecewise linear ones.
    """

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    pull_by_state: Callable[[Array, Array], Array] | None = None
    kink: float | None = None
    max_slope: float = math.inf
    sup_slope: Callable[[Array, Array], Array] | None = None
    sup_curvature: Callable[[Array, Array], Array] | None = None
    alpha: float | None = None

    def __call__(self, z: Array) -> Array:
        """σ(z)."""
        return self.value(z)

    @property
    def needs_z(self) -> bool:
        """Whether the slope must be taken at z, since h has lost it (tanh(20) is 1 to the last bit)."""
        return self.pull_by_state is None

    def pull(self, g: Array, z: Array | None, h: Array) -> Array:
        """σ'(z) ⊙ g, from z or from h = σ(z), whichever tells the slope (see `needs_z`)."""
        if self.pull_by_state is not None:
            return self.pull_by_state(g, h)
        assert z is not None, "checked at the door"
        return self.slope(z) * g


def resolve(activation: str | Activation) -> Activation:
    """Return the activation of that name ("relu", "leaky_relu(0.125)", …); an Activation passes through.

    Raises
    ------
    ValueError
        No activation has that name; the message lists the names and the nearest one.
    TypeError
        It is neither a name nor an Activation.
    """
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        raise TypeError("activation: expected a name or an indrnn_np.Activation; "
                        f"got {type(activation).__name__}.")
    if activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    if match := re.fullmatch(r"leaky_relu\(([-+.\w]+)\)", activation):
        return leaky_relu(_number(match[1]))
    near = get_close_matches(activation.lower(), ACTIVATIONS, n=1)  # "ReLU", as PyTorch has it
    raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}; got {activation!r}."
                     + (f" Did you mean {near[0]!r}?" if near else ""))


def is_builtin(activation: Activation) -> bool:
    """Whether it is this library's own, which every engine knows, rather than a user's."""
    try:
        return resolve(activation.name) is activation
    except ValueError:
        return False


# Piecewise linear: h has the sign of z, so h tells the slope.


def _by_sign(y: Array, above: Any, below: Any) -> Array:
    """`above` where y > 0, `below` where y ≤ 0, and y itself, a NaN, where it is neither."""
    xp = namespace(y)
    return xp.where(y.real > 0, above, xp.where(y.real <= 0, below, y))


def leaky_relu(alpha: float = 0.01) -> Activation:
    """z where z > 0, alpha · z elsewhere (slope alpha at 0, as PyTorch has it).

    Parameters
    ----------
    alpha : float
        Slope below 0, from 1e-30 to 1e30, so that h keeps the sign of z in every dtype. For 0, take "relu".

    Raises
    ------
    TypeError, ValueError
        alpha is not such a number.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.integer | np.floating):
        raise TypeError(f"alpha: expected a number; got {type(alpha).__name__}.")
    if not 1e-30 <= alpha <= 1e30:
        raise ValueError("alpha: expected a slope from 1e-30 to 1e30, so that h keeps the sign of z in every dtype "
                         f"(0 itself is 'relu'); got {alpha}.")
    return _leaky_relu(float(alpha))


@cache  # one object for one slope, so that equal activations are identical
def _leaky_relu(alpha: float) -> Activation:
    steepest = max(1.0, alpha)
    return Activation(
        name="leaky_relu" if alpha == 0.01 else f"leaky_relu({alpha!r})",
        value=lambda z: _by_sign(z, z, alpha * z),
        slope=lambda z: _by_sign(z, 1, alpha),
        pull_by_state=lambda g, h: _by_sign(h, g, alpha * g),
        kink=0.0,
        max_slope=steepest,
        sup_slope=lambda low, high: np.where(high > 0, np.where(low < 0, steepest, 1.0), alpha),
        sup_curvature=lambda low, high: np.zeros_like(low),
        alpha=alpha,
    )


identity = Activation(
    name="identity",
    value=lambda z: z,
    slope=lambda z: namespace(z).ones_like(z),
    pull_by_state=lambda g, h: g,
    max_slope=1.0,
    sup_slope=lambda low, high: np.ones_like(low),
    sup_curvature=lambda low, high: np.zeros_like(low),
)

relu = Activation(
    name="relu",
    value=lambda z: _by_sign(z, z, 0),
    slope=lambda z: _by_sign(z, 1, 0),
    pull_by_state=lambda g, h: _by_sign(h, g, 0),
    kink=0.0,
    max_slope=1.0,
    sup_slope=lambda low, high: np.where(high > 0, 1.0, 0.0),
    sup_curvature=lambda low, high: np.zeros_like(low),
    alpha=0.0,
)


# Smooth. All three are built on e = exp(−|z|), which cannot overflow; for complex z, |z| means ±z with the
# sign that makes the real part positive, which keeps every formula analytic.


def _exp_minus_abs(z: Array) -> Array:
    xp = namespace(z)
    return xp.exp(xp.where(z.real < 0, z, -z) if xp.iscomplexobj(z) else -xp.abs(z))


def _logistic(z: Array) -> Array:
    """1 / (1 + exp(−z)), accurate relative to its value in both tails."""
    e = _exp_minus_abs(z)
    return namespace(z).where(z.real < 0, e, 1) / (1 + e)


def _logistic_slope(z: Array) -> Array:
    """The derivative of the logistic function, e / (1 + e)²: a bump, even in z, with no cancellation."""
    e = _exp_minus_abs(z)
    return e / (1 + e) ** 2


def _logistic_curvature(z: Array) -> Array:
    """|second derivative| of the logistic function, for real z."""
    e = _exp_minus_abs(z)
    return e * (1 - e) / (1 + e) ** 3


def _sech2(z: Array) -> Array:
    """tanh'(z) = sech²(z), which is four times the logistic slope at 2z; 1 − tanh² would be 0 from z = 19."""
    return 4 * _logistic_slope(2 * z)


def _tanh_curvature(z: Array) -> Array:
    return 8 * _logistic_curvature(2 * z)


def _log1p(e: Array) -> Array:
    """log(1 + e), keeping small e also where e is complex (NumPy's complex log1p forms 1 + e first)."""
    xp = namespace(e)
    if not xp.iscomplexobj(e):
        return xp.log1p(e)
    log_modulus = xp.log1p(2 * e.real + e.real**2 + e.imag**2) / 2
    return log_modulus + 1j * xp.arctan2(e.imag, 1 + e.real)


def _softplus_pull(g: Array, h: Array) -> Array:
    """Pull back through softplus: its slope is 1 − exp(−h), here without cancellation at small h."""
    t = namespace(h).tanh(h / 2)
    return 2 * t / (1 + t) * g


def _sup_of_bump(bump: Callable[[Array], Array], *peaks: float) -> Callable[[Array, Array], Array]:
    """Bound a function that rises to each peak and falls after it: its largest value from low to high."""
    return lambda low, high: np.max([bump(np.clip(peak, low, high)) for peak in peaks], axis=0)


# Where |σ''| of the logistic function is largest: its third derivative vanishes at ±log(2 + √3).
_CURVATURE_PEAK = math.log(2 + math.sqrt(3))

tanh = Activation(
    name="tanh",
    value=lambda z: namespace(z).tanh(z),
    slope=_sech2,
    max_slope=1.0,
    sup_slope=_sup_of_bump(_sech2, 0.0),
    sup_curvature=_sup_of_bump(_tanh_curvature, -_CURVATURE_PEAK / 2, _CURVATURE_PEAK / 2),
)

sigmoid = Activation(
    name="sigmoid",
    value=_logistic,
    slope=_logistic_slope,
    max_slope=0.25,
    sup_slope=_sup_of_bump(_logistic_slope, 0.0),
    sup_curvature=_sup_of_bump(_logistic_curvature, -_CURVATURE_PEAK, _CURVATURE_PEAK),
)

softplus = Activation(
    name="softplus",
    value=lambda z: _log1p(_exp_minus_abs(z)) + namespace(z).where(z.real >= 0, z, 0),
    slope=_logistic,
    pull_by_state=_softplus_pull,
    max_slope=1.0,
    sup_slope=lambda low, high: _logistic(high),
    sup_curvature=_sup_of_bump(_logistic_slope, 0.0),
)

ACTIVATIONS = MappingProxyType({
    activation.name: activation
    for activation in (identity, relu, leaky_relu(), tanh, sigmoid, softplus)
})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"activation: expected a number in leaky_relu(…); got {text!r}.") from None
