"""Only what is right is timed: every contender's gradients on a small problem, against the specification in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import recurrence
from ..activations import Activation, resolve
from ..array_module import Array
from .contenders import Given, Run, inputs

SMALL = (12, 2, 5)
ARRAYS = ("x", "W", "u", "b", "a", "dh")


def wrong(found: dict[str, Run], given: Given, subject: str) -> dict[str, str]:
    """Return who of those that run both directions is wrong, and where.

    Allowed are 20 roundings for each step and each term of a sum, of numbers as large as the same computation gives in
    absolute values, with |σ(0)| + sup|σ'| · |z| for σ. Where σ is curved, a slope moves with its z: by 2 |δz| of itself
    at most, as tanh's does.
    """
    T, B, N = given.a.shape
    σ = resolve(given.activation)
    steepest = Activation("steepest", lambda z: abs(σ(np.zeros(1))) + σ.max_slope * z, lambda z: σ.max_slope + 0 * z)
    exact = _gradients(given, subject, σ)
    size = _gradients(given._replace(**{name: abs(getattr(given, name)) for name in ARRAYS}), subject, steepest)
    curved = 1 if σ.alpha is not None or σ.name == "identity" else 1 + 2 * (1 + abs(given.a).max())
    terms = curved * (20 * T * (1 + B) + N)
    told: dict[str, str] = {}
    for name, run in found.items():
        if not name.endswith(", both"):
            continue
        result: Any = run()
        gradients = result[1] if isinstance(result, tuple) else result  # JAX's come behind its h
        letters = "xuWb" if subject == "layer" else "au"
        for letter, got, want, large in zip(letters, gradients, exact, size, strict=True):
            allowed = terms * np.finfo(np.float32).eps / 2 * (large + large.max())
            off = abs(np.asarray(got, np.float64) - want)
            if not (off <= allowed).all():
                told.setdefault(name, f"its d{letter} is wrong by up to {off.max():.2g}")
    return told


def _gradients(given: Given, subject: str, σ: Activation) -> list[Array]:
    """Differentiate by everything in `inputs`, in float64, on the specification."""
    first, u, *affine = (np.asarray(v, np.float64) for v in inputs(given, subject == "layer"))
    a = first @ affine[0].T + affine[1] if affine else first
    h0 = np.zeros(a.shape[1:])
    h = recurrence.forward(a, u, h0, σ)
    da, du, _ = recurrence.backward(np.asarray(given.dh, np.float64), h, a, u, h0, σ)
    return [da @ affine[0], du, np.einsum("tbn,tbm->nm", da, first), da.sum((0, 1))] if affine else [da, du]
