"""The inputs that an implementation is tried on: named cases, the same on every machine.

In most of them all sizes differ, so that no transpose hides; cotangents are random and differ at every step, so
that no reversal or shift hides; biases and initial states are not zero. The pre-activations are *placed*: the drive
is chosen so that each z_t lands on a drawn value away from zero, where kinks are. That needs no filtering and lets
some neurons fire always, some seldom, some never. One case has every z_t exactly on the kink; in a few, whose W is
dense in every shape, z falls where it falls.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..activations import Activation, resolve
from ..array_module import Array
from .precision import FORMATS
from .precision import rounded as to_format


@dataclass(frozen=True, eq=False)
class Case:
    """One input of an implementation. Arrays share one dtype; shapes as in the conventions.

    `precision` is the format that the implementation computes in, if it is not that dtype, `order` the order in which
    it may ("loop" or "scan"), and `without` names what it does not have (b, h0): zeros here.
    """

    id: str
    activation: str
    x: Array
    W: Array
    u: Array
    b: Array
    h0: Array
    dh: Array
    precision: str = field(default="", kw_only=True)
    order: str = field(default="loop", kw_only=True)
    without: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not self.precision:
            object.__setattr__(self, "precision", self.dtype.name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all arrays, those that the implementation returns included."""
        return self.x.dtype

    def __str__(self) -> str:
        return f"{self.activation}-{self.precision}-{self.id}"

    def arrays(self) -> dict[str, Array]:
        """Return copies of x, W, u, b, h0 and dh by name, for an implementation to do with as it likes."""
        return {name: getattr(self, name).copy() for name in ("x", "W", "u", "b", "h0", "dh")}

    def arguments(self) -> dict[str, Array]:
        """Return those copies that the implementation takes."""
        return {name: array for name, array in self.arrays().items() if name not in self.without}

    def precisely(self) -> dict[str, Array]:
        """Return the same numbers in the reference's precision."""
        return {name: array.astype(np.longdouble) for name, array in self.arrays().items()}


@dataclass(frozen=True)
class Recipe:
    """How to draw a case: sizes, the range of u, and what is special about it.

    Attributes
    ----------
    T, B, N, extra : steps, sequences, neurons, and inputs beyond the N that place the pre-activations
    low, high : range of |u|, per neuron
    signs : which signs u takes: "both", "+", "-"
    memory : if given as (ε, γ), |u| lies in [ε^{1/T}, γ^{1/T}], the paper's range (§3.1), in place of low and high
    firing : shares of steps at which z > 0, handed out to the neurons in turn
    size : typical |z|
    cotangent : "every" step, or the "last", or the "first" alone
    inputs : if given, W is a dense (N, inputs) and nothing is placed: z falls where it falls
    loudness : size of the cotangents
    mixing : False sets W = I and b = 0, so that the drive is x and dx is dz
    kinks : share of the steps at which z = 0, to within rounding
    """

    T: int
    B: int
    N: int
    extra: int
    low: float = 0.3
    high: float = 1.1
    signs: str = "both"
    memory: tuple[float, float] | None = None
    firing: tuple[float, ...] = (1.0, 0.5, 0.9)
    size: float = 1.0
    cotangent: str = "every"
    inputs: int | None = None
    loudness: float = 1.0
    mixing: bool = True
    kinks: float = 0.0


STANDARD = {
    "one": Recipe(1, 1, 1, 0),
    "small": Recipe(7, 3, 5, 3),
    "wide": Recipe(6, 33, 65, 4),
    "blocks": Recipe(300, 15, 17, 1, memory=(1e-3, 2.0)),
    "long": Recipe(2000, 2, 3, 1, memory=(1e-3, 2.0)),
    "long-last": Recipe(2000, 2, 3, 1, memory=(0.1, 2.0), firing=(1.0, 1.0, 0.999), cotangent="last"),
    "vanishing": Recipe(60, 2, 4, 1, low=0.05, high=0.3),
    "exploding": Recipe(100, 2, 3, 2, low=1.05, high=1.15),
    "negative-u": Recipe(25, 3, 4, 1, low=0.6, high=1.0, signs="-"),
    "zero-u": Recipe(9, 2, 3, 1, low=0.0, high=0.0),
    "silent": Recipe(11, 2, 4, 1, firing=(0.0, 0.0, 1.0)),
    "saturated": Recipe(13, 2, 3, 2, size=4.0),
    "tiny": Recipe(13, 3, 2, 2, size=1e-3),
    "on-the-kink": Recipe(4, 2, 3, 2, size=0.0),
    "fewer-inputs": Recipe(6, 3, 7, 0, inputs=2),
    "square": Recipe(6, 2, 4, 0, inputs=4),
    "one-neuron": Recipe(9, 3, 1, 0, inputs=2),
    "huge": Recipe(6, 2, 3, 1, size=300.0),
    "minute": Recipe(6, 2, 3, 1, size=1e-9),
    "steep": Recipe(5, 2, 4, 1, low=2.0, high=8.0),
    "fading": Recipe(8, 2, 4, 1, low=1e-4, high=0.2, firing=(1.0,), cotangent="last"),
    "deafening": Recipe(7, 2, 3, 1, loudness=1e12),
    "whispered": Recipe(7, 2, 3, 1, loudness=1e-12),
    "loud": Recipe(10, 3, 4, 1, loudness=1e3),
    "last-only": Recipe(31, 2, 3, 1, low=0.95, high=1.0, firing=(1.0, 0.97), cotangent="last"),
    "first-only": Recipe(8, 2, 3, 1, cotangent="first"),
    "near-one": Recipe(40, 2, 4, 1, low=0.98, high=1.02),
    "dx-is-dz": Recipe(12, 3, 4, 0, mixing=False),
    "saturated-8": Recipe(7, 2, 3, 1, size=8.0),
    "saturated-20": Recipe(7, 2, 3, 1, size=20.0),
    "towering": Recipe(6, 2, 3, 1, size=1e6),
    "infinitesimal": Recipe(6, 2, 3, 1, size=1e-20),
    "precipitous": Recipe(3, 2, 4, 1, low=20.0, high=60.0),
    "many-neurons": Recipe(2, 1, 1030, 0, inputs=2),
    "many-sequences": Recipe(2, 1030, 1, 0, inputs=2),
    "many-inputs": Recipe(2, 1, 2, 0, inputs=1030, size=0.02),
    "very-long": Recipe(4100, 1, 2, 0, low=0.5, high=0.9),
}

SMALL = {
    "one": STANDARD["one"],
    "few": Recipe(5, 2, 3, 1),
    "few-steep": Recipe(12, 2, 2, 1, low=1.0, high=1.3, firing=(1.0, 0.8)),
    "few-negative-u": Recipe(9, 1, 3, 1, low=0.6, high=1.0, signs="-"),
}

# For Eq. 4: |u| up to γ^{1/T} itself, a loss at the last step alone, some neurons firing throughout.
EQUATION_4 = {
    f"bound-{T}": Recipe(T, 2, 4, 0, memory=(0.25, 2.0), firing=(1.0, 1.0, 0.95), cotangent="last", mixing=False)
    for T in (1, 40, 500)
}

# Half precision adds up few terms before its rounding is all that is left: these are short, and narrow.
HALF_STANDARD = {
    "half-one": Recipe(1, 1, 1, 0),
    "half-short": Recipe(3, 2, 3, 1),
    "half-wide": Recipe(2, 3, 5, 0, mixing=False),
    "half-dense": Recipe(3, 1, 4, 0, inputs=2),
    "half-memory": Recipe(9, 1, 2, 0, low=0.8, high=1.0, firing=(1.0, 0.9)),
    "half-dx-is-dz": Recipe(6, 2, 3, 0, mixing=False),
    "half-negative-u": Recipe(5, 1, 3, 0, low=0.5, high=1.0, signs="-"),
    "half-zero-u": Recipe(3, 2, 2, 0, low=0.0, high=0.0),
    "half-steep": Recipe(4, 1, 3, 0, low=1.5, high=2.5),
    "half-silent": Recipe(4, 1, 3, 0, firing=(0.0, 1.0)),
    "half-saturated": Recipe(4, 2, 2, 0, size=3.0),
    "half-on-the-kink": Recipe(3, 2, 3, 1, size=0.0),
    "half-last-only": Recipe(5, 2, 2, 0, low=0.9, high=1.1, firing=(1.0,), cotangent="last"),
    "half-first-only": Recipe(4, 2, 2, 0, cotangent="first"),
    "half-tail": Recipe(2, 9, 17, 0, mixing=False),
}
HALF_SMALL = {id: HALF_STANDARD[id] for id in ("half-one", "half-short")}
HALF_EQUATION_4 = {
    f"half-bound-{T}": Recipe(T, 2, 3, 0, memory=(0.25, 2.0), firing=(1.0, 1.0, 0.9), cotangent="last", mixing=False)
    for T in (1, 6)
}


def check(case: Case) -> None:
    """Insist on a case that means something; the message names what does not.

    Raises
    ------
    TypeError, ValueError
        Shapes, dtypes or names are wrong, or an array that the implementation lacks is not zero.
    """
    arrays = {name: getattr(case, name) for name in ("x", "W", "u", "b", "h0", "dh")}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.name not in FORMATS or array.dtype != case.dtype:
            came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{name}: expected a NumPy array, float32, float64 or float16, as x; got {came}.")
    if case.x.ndim != 3 or case.W.ndim != 2 or 0 in case.x.shape or 0 in case.W.shape:
        raise ValueError("x, W: expected shapes (T, B, M) and (N, M), with at least one of each; got "
                         f"{case.x.shape} and {case.W.shape}.")
    (T, B, M), N = case.x.shape, len(case.W)
    for name, shape in {"W": (N, M), "u": (N,), "b": (N,), "h0": (B, N), "dh": (T, B, N)}.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, for x {case.x.shape} and W {case.W.shape}; got "
                             f"{arrays[name].shape}.")
    for name, value, known in (("precision", case.precision, FORMATS), ("order", case.order, ("loop", "scan"))):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}; got {value!r}.")
    for name in case.without:
        if name not in ("b", "h0") or arrays[name].any():
            raise ValueError(f"without: expected b or h0, and zeros for it in the case; got {name!r}.")


def draw(id: str, recipe: Recipe, activation: str, precision: str, seed: int = 0, *, dtype: str = "",
         order: str = "loop", without: tuple[str, ...] = ()) -> Case:
    """Draw the case that a recipe describes; the same arguments give the same arrays, bit for bit.

    Parameters
    ----------
    id : str
        Its name in reports.
    recipe : Recipe
    activation : name of an activation
    precision : "float32", "float64", "float16" or "bfloat16": every number is one of that format
    seed : int, not negative
    dtype : of the arrays, if not that of the precision; bfloat16 comes in float32
    order, without : see Case
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{id} {activation}".encode())])
    T, B, N, M = recipe.T, recipe.B, recipe.N, recipe.N + recipe.extra
    dtype = dtype or ("float32" if precision == "bfloat16" else precision)
    rounded = functools.partial(to_format, precision=precision, dtype=dtype)
    case = functools.partial(Case, id, activation, precision=precision, order=order, without=without)
    has_b, has_h0 = "b" not in without, "h0" not in without
    σ = resolve(activation)
    u = rounded(_recurrent_weight(recipe, rng, precision) / max(1.0, σ.max_slope))  # placing feeds rounding back by it
    h0 = rounded(rng.uniform(-1, 1, (B, N)) * recipe.size * has_h0)
    dh = rounded(rng.standard_normal((T, B, N)) * recipe.loudness)
    if recipe.cotangent != "every":
        dh[slice(0, -1) if recipe.cotangent == "last" else slice(1, None)] = 0
    if recipe.inputs is not None:
        x, W = rng.uniform(-2, 2, (T, B, recipe.inputs)) * recipe.size, rng.uniform(-1, 1, (N, recipe.inputs))
        return case(rounded(x), rounded(W), u, rounded(rng.uniform(-0.5, 0.5, N) * has_b), h0, dh)
    drive = _placed_drive(recipe, rng, u, h0, σ)
    if not recipe.mixing:
        return case(rounded(drive), np.eye(N, dtype=dtype), u, np.zeros(N, dtype), h0, dh)

    # W = [mix | diag(d)]: the first inputs are free, the last N then bring each drive to its place.
    b = rounded(rng.uniform(-0.5, 0.5, N) * recipe.size * has_b)
    mix = rounded(rng.uniform(-1, 1, (N, recipe.extra)))
    d = rounded(rng.choice([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0], N))
    free = rounded(rng.uniform(-1, 1, (T, B, recipe.extra)) * recipe.size)
    placing = rounded((drive - b - free.astype(float) @ mix.T) / d)
    x, W = np.concatenate([free, placing], axis=-1), np.concatenate([mix, np.diag(d)], axis=1)
    assert x.shape == (T, B, M)
    return case(x, W, u, b, h0, dh)


def _recurrent_weight(recipe: Recipe, rng: np.random.Generator, precision: str) -> Array:
    signs = {"both": rng.choice([-1, 1], recipe.N), "+": np.ones(recipe.N), "-": -np.ones(recipe.N)}[recipe.signs]
    if recipe.memory is None:
        return np.asarray(rng.uniform(recipe.low, recipe.high, recipe.N) * signs)
    # γ^{1/T} rounded towards zero, so that |u|^T ≤ γ holds for the rounded u; the first neuron has it exactly.
    bits = FORMATS[precision].bits
    lowest, highest = (float(to_format(g ** (1 / recipe.T) * (1 - 2.0**-bits), precision, float))
                       for g in recipe.memory)
    u = rng.uniform(lowest, highest, recipe.N)
    u[0] = highest
    return np.asarray(u * signs)


def _placed_drive(recipe: Recipe, rng: np.random.Generator, u: Array, h0: Array, σ: Activation) -> Array:
    """Draw every z_t away from the kink, then find the drive that leads there: a_t = z_t − u ⊙ h_{t−1}."""
    shape = (recipe.T, *h0.shape)
    fires = rng.random(shape) < np.resize(recipe.firing, recipe.N)
    z = np.where(fires, 1, -1) * rng.uniform(0.2, 1.5, shape) * recipe.size
    if recipe.kinks:
        z = np.where(rng.random(shape) < recipe.kinks, 0, z)
    h_prev = np.concatenate([h0[None], σ(z)[:-1]])
    return z - u.astype(float) * h_prev
