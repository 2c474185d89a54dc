"""Make the exact conformance vectors that the package carries: `python tests/make_vectors.py`.

The inputs are drawn with Python's own generator, the results computed by `exact.py`; the package is not imported.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import exact

TARGET = Path(__file__).parent.parent / "indrnn_np" / "oracle" / "data" / "exact.json"
BELOW = {"relu": Fraction(0), "leaky_relu(0.125)": Fraction(1, 8), "identity": Fraction(1)}


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


def case(activation: str, name: str) -> tuple[dict[str, object], exact.Results]:
    """Draw one case and compute it."""
    arguments = draw(RECIPES[activation][name], f"{activation} {name}")
    return arguments, exact.run(**arguments, below=BELOW[activation])  # type: ignore[arg-type]


def document() -> str:
    """Return the whole file."""
    entries = []
    for activation, recipes in RECIPES.items():
        for name in recipes:
            arguments, results = case(activation, name)
            arrays = arguments | {key: value for key, value in results._asdict().items() if key != "zeros"}
            entries.append({"id": f"exact-{activation}-{name}", "activation": activation,
                            "zero_pre_activations": results.zeros}
                           | {key: {"shape": exact.shape_of(value), "values": [float(v) for v in exact.flat(value)]}
                              for key, value in arrays.items()})
    head = {"format": 1, "layout": "time-major, C order: x (T,B,M) W (N,M) u (N) b (N) h0 (B,N) dh (T,B,N)",
            "kink": "the slope at z = 0 is the one below it", "generator": "tests/make_vectors.py"}
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    return json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(document(), encoding="utf-8")
    print(f"{TARGET.name}: {sum(len(r) for r in RECIPES.values())} cases, {TARGET.stat().st_size} bytes")  # noqa: T201
