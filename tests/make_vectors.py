"""Make the conformance vectors that the package carries: `python tests/make_vectors.py`.

The inputs are drawn with Python's own generator; `exact.py` computes the results that binary floating point holds
exactly, `high_precision.py` the others and the errors allowed to them. The package is not imported.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import exact
import high_precision
from high_precision import mp

FOLDER = Path(__file__).parent.parent / "indrnn_np" / "oracle" / "data"
BELOW = {"relu": Fraction(0), "leaky_relu(0.125)": Fraction(1, 8), "identity": Fraction(1)}
ARGUMENTS = ("x", "W", "u", "b", "h0", "dh")
RESULTS = ("h", "dx", "dW", "du", "db", "dh0")


class Recipe(NamedTuple):
    """Sizes, the values that u may take, and at which steps the cotangent is not zero."""

    T: int
    B: int
    M: int
    N: int
    u: tuple[Fraction, ...]
    cotangent: str = "every"


HALF, ONE = Fraction(1, 2), Fraction(1)
RECIPES: dict[str, dict[str, Recipe]] = {
    "relu": {
        "one": Recipe(1, 1, 1, 1, (HALF,)),
        "small": Recipe(5, 3, 2, 4, (HALF, -HALF, ONE, -ONE, 0 * ONE)),
        "long": Recipe(64, 2, 3, 4, (ONE, -ONE, 0 * ONE)),
        "halving": Recipe(9, 2, 3, 4, (HALF, -HALF)),
        "growing": Recipe(8, 2, 1, 3, (2 * ONE, 3 * HALF, -2 * ONE)),
        "last-only": Recipe(12, 3, 2, 5, (ONE, -ONE, HALF), "last"),
        "first-only": Recipe(6, 2, 3, 4, (ONE, HALF), "first"),
    },
    "leaky_relu(0.125)": {
        "one": Recipe(1, 1, 1, 1, (HALF,)),
        "short": Recipe(3, 3, 2, 4, (ONE, -ONE, HALF)),
        "two": Recipe(2, 4, 3, 5, (ONE, -ONE, HALF, 2 * ONE)),
        "last-only": Recipe(3, 2, 1, 5, (ONE, -ONE, -HALF), "last"),
    },
    "identity": {
        "one": Recipe(1, 1, 1, 1, (-HALF,)),
        "small": Recipe(5, 3, 2, 4, (HALF, -HALF, ONE, -ONE, 0 * ONE)),
        "long": Recipe(64, 2, 3, 4, (ONE, -ONE, 0 * ONE)),
        "growing": Recipe(6, 2, 1, 3, (2 * ONE, 3 * HALF, -2 * ONE)),
        "last-only": Recipe(8, 3, 2, 5, (ONE, -ONE, HALF), "last"),
    },
}


def draw(recipe: Recipe, seed: str) -> dict[str, object]:
    """Draw the arguments of one case as nested lists of small multiples of 1/2."""
    rng = random.Random(seed)

    def number(largest: int, unit: Fraction, zero: bool = True) -> Fraction:
        while True:
            value = (int(rng.random() * (2 * largest + 1)) - largest) * unit
            if value or zero:
                return value

    T, B, M, N, us, cotangent = recipe
    silent = {"every": (), "last": range(T - 1), "first": range(1, T)}[cotangent]
    return {
        "x": [[[number(4, HALF) for _ in range(M)] for _ in range(B)] for _ in range(T)],
        "W": [[number(3, HALF, zero=False) for _ in range(M)] for _ in range(N)],
        "u": [us[n % len(us)] for n in range(N)],
        "b": [number(3, HALF, zero=False) for _ in range(N)],
        "h0": [[number(3, HALF, zero=False) for _ in range(N)] for _ in range(B)],
        "dh": [[[0 * ONE if t in silent else number(4, ONE, zero=False) for _ in range(N)] for _ in range(B)]
               for t in range(T)],
    }


class Placed(NamedTuple):
    """How to place a case's pre-activations: sizes, |u| in units of 1 / STEEPNESS, and what is special about it.

    T steps, B sequences, N neurons; `extra` inputs beyond the N that bring each z_t to where it was drawn: |z| in
    (0.2, 1.5) · size, above zero at a share of steps that `firing` hands out to the neurons in turn.
    """

    T: int
    B: int
    N: int
    extra: int
    low: float = 0.3
    high: float = 1.1
    signs: tuple[int, ...] = (1, -1)
    firing: tuple[float, ...] = (0.9, 0.5, 1.0)
    size: float = 1.0
    cotangent: str = "every"


STEEPNESS = {"tanh": 0.8, "sigmoid": 0.25, "softplus": 0.75}  # of σ about where z is placed, if not 1
EVERYWHERE = {
    "one": Placed(1, 1, 1, 0),
    "small": Placed(5, 3, 2, 2),
    "long": Placed(80, 1, 2, 1, low=0.95, high=1.01, firing=(1.0, 0.97)),
    "vanishing": Placed(24, 1, 2, 1, low=0.1, high=0.4, firing=(1.0,)),
    "exploding": Placed(12, 2, 3, 1, low=1.35, high=1.5, firing=(1.0,), size=0.5),
    "negative-u": Placed(9, 2, 3, 1, low=0.6, high=1.0, signs=(-1,)),
    "zero-u": Placed(4, 2, 3, 2, low=0.0, high=0.0),
    "last-only": Placed(12, 3, 2, 2, low=0.9, high=1.0, firing=(1.0, 0.9), cotangent="last"),
    "first-only": Placed(6, 2, 3, 1, cotangent="first"),
}
SMOOTH = {"saturated": Placed(8, 2, 3, 1, size=4.0)}
KINKED = {"silent": Placed(7, 2, 3, 1, firing=(0.0, 0.0, 1.0)), "on-the-kink": Placed(4, 2, 3, 2, size=0.0)}
PLACED = {activation: EVERYWHERE | (SMOOTH if activation in high_precision.SMOOTH else KINKED)
          for activation in high_precision.ACTIVATIONS}

SCALES = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # of the inputs that place
GRID = 2.0 ** -8  # arguments are its multiples: short decimals, and every one a float32


def place(recipe: Placed, activation: str, seed: str) -> dict[str, Any]:
    """Draw the arguments of one case as nested lists of floats, bringing each z_t to its place in turn."""
    rng = random.Random(seed)
    σ = high_precision.ACTIVATIONS[activation]
    T, B, N, extra = recipe[:4]

    def uniform(low: float, high: float) -> float:
        return on_grid(low + (high - low) * rng.random())

    size, steepness = recipe.size, STEEPNESS.get(activation, 1.0)
    u = [uniform(recipe.low / steepness, recipe.high / steepness) * recipe.signs[n % len(recipe.signs)] + 0.0
         for n in range(N)]
    b = [uniform(-size / 2, size / 2) for _ in range(N)]
    h0 = [[uniform(-size, size) for _ in range(N)] for _ in range(B)]
    mix = [[uniform(-1, 1) for _ in range(extra)] for _ in range(N)]
    d = [SCALES[int(rng.random() * len(SCALES))] for _ in range(N)]
    silent = {"every": (), "last": range(T - 1), "first": range(1, T)}[recipe.cotangent]
    dh = [[[0.0 if t in silent else uniform(-2, 2) for _ in range(N)] for _ in range(B)] for t in range(T)]

    x: list[list[list[float]]] = []
    before = [[mp.mpf(value) for value in row] for row in h0]
    for _ in range(T):
        x.append([])
        for s in range(B):
            free = [uniform(-size, size) for _ in range(extra)]
            aims = [(1 if rng.random() < recipe.firing[n % len(recipe.firing)] else -1) * size
                    * (0.2 + 1.3 * rng.random()) for n in range(N)]
            rest = [b[n] + sum(m * f for m, f in zip(mix[n], free, strict=True)) + u[n] * before[s][n]
                    for n in range(N)]
            placing = [on_grid(float((aims[n] - rest[n]) / d[n])) for n in range(N)]
            before[s] = [σ.value(rest[n] + d[n] * placing[n]) for n in range(N)]
            x[-1].append(free + placing)
    W = [mix[n] + [d[n] if m == n else 0.0 for m in range(N)] for n in range(N)]
    return {"x": x, "W": W, "u": u, "b": b, "h0": h0, "dh": dh}


def on_grid(value: float) -> float:
    """Return the nearest multiple of GRID (and +0 for −0)."""
    return round(value / GRID) * GRID + 0.0


class Made(NamedTuple):
    """A case as it was made: its recipe's name, its activation, nested lists; errors allowed by dtype and result."""

    name: str
    activation: str
    arguments: dict[str, Any]
    results: dict[str, Any]  # z and dz among them
    allowed: dict[str, dict[str, Any]]  # empty: nothing is allowed

    @property
    def sizes(self) -> dict[str, int]:
        """T, B, M, N by their letters."""
        x, u = self.arguments["x"], self.arguments["u"]
        return {"T": len(x), "B": len(x[0]), "M": len(x[0][0]), "N": len(u)}

    def every(self, name: str, steps: slice = slice(None)) -> list[Any]:
        """Return the elements of an array of steps (dh, z or dz), of all steps or some."""
        return flat((self.arguments | self.results)[name][steps])

    def of_neurons(self, name: str) -> list[list[Any]]:
        """Return all that a (T, B, N) result holds of each neuron."""
        return [[row[n] for plane in self.results[name] for row in plane] for n in range(self.sizes["N"])]

    def largest(self, name: str) -> Any:
        """Return the largest magnitude in dh or dz."""
        return max(abs(value) for value in self.every(name))


FLAGS: dict[str, tuple[str, Callable[[Made], bool]]] = {
    "exact": ("Every intermediate result is a float32 in any order of summation, so nothing is allowed: any difference "
              "is a mistake, never rounding.", lambda c: not c.allowed),
    "kink": ("Some pre-activations are exactly 0: shows a slope of 1 or ½ there, or one multiplied into the value.",
             lambda c: c.activation in ("relu", "leaky_relu") and 0 in c.every("z")),
    "one-step": ("T = 1: shows a first step that ignores h0, and a dh0 that was left at the last carry or at 0.",
                 lambda c: c.sizes["T"] == 1),
    "long": ("64 steps or more: shows a backward that is cut short, and a fault where blocks of steps meet.",
             lambda c: c.sizes["T"] >= 64),
    "vanishing": ("What reaches h0 from the last step is below a thousandth: shows a small gradient that is dropped, "
                  "floored or given the factor u once too seldom.", lambda c: c.name == "vanishing"),
    "exploding": ("Some dz are at least five times as large as any dh: shows a gradient that is clipped inside "
                  "the recurrence, and a u held at 1.", lambda c: c.largest("dz") >= 5 * c.largest("dh")),
    "saturated": ("Some slopes are below a hundredth: shows an activation that overflows, is approximated or clamped, "
                  "and a slope floored at some small number.", lambda c: c.name == "saturated"),
    "negative-u": ("Every u is below 0: shows |u|, u clamped at 0, and signs lost in powers of u.",
                   lambda c: all(u < 0 for u in c.arguments["u"])),
    "zero-u": ("Some u are 0, and their du is not: shows a division by u, a logarithm of it, and a neuron "
               "that is skipped.",
               lambda c: any(u == 0 != du for u, du in zip(c.arguments["u"], c.results["du"], strict=True))),
    "last-only": ("dh is 0 but at the last step: shows cotangents that are reversed or shifted in time, and a carry "
                  "that does not arrive.", lambda c: c.sizes["T"] > 1 and not any(c.every("dh", slice(-1)))),
    "first-only": ("dh is 0 but at the first step: shows cotangents that are reversed or shifted in time, and a "
                   "gradient that leaks into later steps.",
                   lambda c: c.sizes["T"] > 1 and not any(c.every("dh", slice(1, None)))),
    "silent": ("A neuron whose z is never above 0: shows a cotangent that passes a slope of 0, or misses one of alpha.",
               lambda c: c.activation in ("relu", "leaky_relu")
               and any(all(z <= 0 for z in neuron) for neuron in c.of_neurons("z"))),
    "asymmetric": ("T, B, M and N all differ: shows axes that are swapped and a W that is transposed.",
                   lambda c: len(set(c.sizes.values())) == 4),
}

CONVENTIONS = {
    "equation": "h_t = sigma(W x_t + b + u * h_{t-1}), elementwise in u * h_{t-1}; h_0 is h0. Step t is row t - 1.",
    "layout": "Flat arrays in C order, time first: x (T, B, M), W (N, M), u (N), b (N), h0 (B, N), dh (T, B, N), "
              "h (T, B, N); dx, dW, du, db, dh0 as x, W, u, b, h0. T steps, B sequences, M inputs, N neurons.",
    "dh": "The partial derivative of the loss J by each h_t, the other states held fixed. dx, dW, du, db and dh0 are "
          "total derivatives of J, through all later steps.",
    "activations": "identity: z. relu: max(z, 0). leaky_relu: z above 0, alpha z elsewhere. tanh: tanh(z). "
                   "sigmoid: 1 / (1 + exp(-z)). softplus: log(1 + exp(z)).",
    "kink": "The slope at z = 0 is the one below it: 0 for relu, alpha for leaky_relu.",
    "numbers": "Every number is a float64 in decimal. The arguments are float32 too: both precisions start from the "
               "same numbers. Results are rounded once, from exact ones.",
    "allowed": "A computed element r is right if |r - value| <= allowed, in float64. The allowed errors of h are in "
               "h_allowed_float32 and h_allowed_float64, for a computation in that precision, and so for each result; "
               "where a case is flagged exact they are left out and 0, with +0 and -0 equal. They bound what rounding "
               "can do in any order of summation, with or without FMA, given library functions good to 4 ulp; "
               "a NaN is never right.",
}


def exact_case(name: str, activation: str) -> Made:
    """Make a case whose results are exact, of an activation in BELOW."""
    arguments = draw(RECIPES[activation][name], f"{activation} {name}")
    results = exact.run(**arguments, below=BELOW[activation])  # type: ignore[arg-type]
    return Made(name, activation.partition("(")[0], arguments, results._asdict(), {})


def rounded_case(name: str, activation: str) -> Made:
    """Make a case whose results are rounded, with the errors allowed around the rounded ones."""
    arguments = place(PLACED[activation][name], activation, f"{activation} {name}")
    σ = high_precision.ACTIVATIONS[activation]
    given = high_precision.Arguments(*(high_precision.exactly(arguments[name]) for name in ARGUMENTS))
    run = high_precision.columns(given, σ)
    results = high_precision.results(given, run)
    allowed = {dtype: high_precision.allowed(given, run, σ, format) for dtype, format in high_precision.FORMATS.items()}
    return Made(name, activation, arguments, results, allowed)


def flat(nested: Any) -> list[Any]:
    """Elements of a nested list in C order."""
    return [value for part in nested for value in flat(part)] if isinstance(nested, list) else [nested]


def nearest(value: Any) -> float:
    """Round a number of any of the arithmetics here to float64, once."""
    if not isinstance(value, Fraction | float | int):
        mantissa, exponent = value.man_exp  # without the sign
        value = int(mp.sign(value)) * Fraction(mantissa) * Fraction(2) ** exponent
    return float(value) + 0.0  # +0 for −0


def rounded_up(bound: Any) -> float:
    """Return a number of three digits whose float64 is no less."""
    if bound == 0:
        return 0.0
    exponent = int(mp.floor(mp.log10(bound))) - 2
    digits = int(mp.ceil(bound / mp.mpf(10) ** exponent))
    shown = float(f"{digits}e{exponent}")
    return shown if shown >= bound else float(f"{digits + 1}e{exponent}")


def allowed_around(value: Any, error: Any) -> float:
    """Bound the distance from the rounded value, given a bound of that from the exact one."""
    return rounded_up(error + abs(value - nearest(value)))


def entry(made: Made, id: str, alpha: float | None = None) -> dict[str, Any]:
    """Return a case as it is written."""
    arrays = {name: [nearest(value) for value in flat((made.arguments | made.results)[name])]
              for name in ARGUMENTS + RESULTS}
    allowed = {f"{name}_allowed_{dtype}": [allowed_around(*pair) for pair in
                                           zip(flat(made.results[name]), flat(bounds[name]), strict=True)]
               for name in RESULTS for dtype, bounds in made.allowed.items()}
    return ({"id": id, "activation": made.activation} | ({} if alpha is None else {"alpha": alpha})
            | {"flags": [flag for flag, (_, holds) in FLAGS.items() if holds(made)]} | made.sizes | arrays | allowed)


def exact_entries() -> list[dict[str, Any]]:
    """Return the cases of exact.json."""
    return [entry(exact_case(name, activation), f"exact-{activation}-{name}",
                  float(BELOW[activation]) if activation.startswith("leaky") else None)
            for activation, recipes in RECIPES.items() for name in recipes]


def rounded_entries() -> list[dict[str, Any]]:
    """Return the cases of rounded.json."""
    return [entry(rounded_case(name, activation), f"{activation}-{name}", 0.01 if activation == "leaky_relu" else None)
            for activation, recipes in PLACED.items() for name in recipes]


def manifest(files: dict[str, list[dict[str, Any]]], texts: dict[str, str]) -> str:
    """Return manifest.json, which tells what is in the folder."""
    return json.dumps({
        "format": 1, "generator": "tests/make_vectors.py of indrnn_np", "schema": "schema.json",
        "conventions": CONVENTIONS,
        "files": {name: {"sha256": hashlib.sha256(texts[name].encode()).hexdigest(), "cases": len(entries)}
                  for name, entries in files.items()},
        "flags": {name: note for name, (note, _) in FLAGS.items()}}, indent=1, ensure_ascii=False) + "\n"


def documents() -> dict[str, str]:
    """Return the text of every file that is made, by name."""
    files = {"exact.json": exact_entries(), "rounded.json": rounded_entries()}
    texts = {name: '{"format": 1, "cases": [\n' + ",\n".join(json.dumps(each) for each in entries) + "\n]}\n"
             for name, entries in files.items()}
    return texts | {"manifest.json": manifest(files, texts)}


if __name__ == "__main__":
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {len(text.encode())} bytes")  # noqa: T201
