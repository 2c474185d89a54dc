"""What is right: four ways to the values of a case, each with the error that rounding may cause.

    specification   recurrence.py in extended precision; gradients on the implementation's own h
    complex step    numerical derivatives of the forward pass; no backward pass is involved
    exact vectors   rational arithmetic, made beforehand without this package; nothing is allowed
    Eq. 4           the paper's product u^{T−t} ∏ σ', with no recursion backward; on the implementation's own h

Each takes a case and the h that the implementation computed, and returns an `Expected`. Extended precision is
`longdouble`; where that is no more than float64, `tolerance.rounding` allows for the reference's own rounding.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from .. import recurrence
from ..activations import Activation, resolve
from ..array_module import Array
from . import tolerance, vectors
from .inputs import Case
from .numerical import complex_step

INPUTS = ("x", "W", "u", "b", "h0")


class Expected(NamedTuple):
    """The right values by tensor name, and the error allowed to each element."""

    value: dict[str, Array]
    allowed: dict[str, Array]


def specification(case: Case, h: Array | None, model: tolerance.Rounding | None = None) -> Expected:
    """Compute h from the specification, and the gradients by its backward on the h that came.

    Where no h came, the gradients are taken on the exact one, and what rounding may have done to the implementation's
    is allowed on top. The errors allowed are those of the case's precision and order, or of another rounding.
    """
    exact = _forward(case, model or tolerance.rounding(case.precision, case.order))
    if h is None:
        gradients, _ = _gradients(exact.inputs, exact.h, exact.a, resolve(case.activation))
        return Expected({"h": exact.h} | gradients, {"h": exact.errors.h} | _allowed_on_exact_h(case, exact))
    on_own = _on_own_h(exact, h, by_state(resolve(case.activation)))
    return Expected({"h": exact.h} | on_own.value, {"h": exact.errors.h} | on_own.allowed)


def specification_at_z(case: Case, h: Array) -> Expected:
    """Compute the gradients as `specification`, with the slopes at z_t = a_t + u ⊙ h_{t−1} rather than read off h_t.

    The two agree where h is right. Where it is not, a right backward may follow either.
    """
    return _on_own_h(_forward(case, tolerance.rounding(case.precision, case.order)), h, resolve(case.activation))


def _on_own_h(exact: _Exact, h: Array, σ: Activation) -> Expected:
    p, own = exact.inputs, h.astype(np.longdouble)
    h_prev = np.concatenate([p["h0"][None], own[:-1]])
    z = exact.a + p["u"] * h_prev
    Ez = tolerance.local_z_error(exact.drive, p["u"], h_prev, exact.model)
    if tolerance.composes(σ, exact.model):
        Ez = Ez + 2 * exact.errors.z  # h_t and h_{t−1} are each off by their own errors
    gradients, dz = _gradients(p, own, exact.a, σ)
    slope = σ.pull(np.ones_like(z), z, own)
    Es = tolerance.of_slopes_by_state(σ, z, slope, Ez, exact.model)
    return Expected(gradients, tolerance.of_gradients(p["x"], p["W"], p["u"], p["dh"], h_prev, np.zeros_like(h_prev),
                                                      slope, Es, dz, exact.model))


def _allowed_on_exact_h(case: Case, exact: _Exact) -> dict[str, Array]:
    """Bound the gradients' errors where the implementation's own h is not known, only how far it may be off."""
    p, σ = exact.inputs, resolve(case.activation)
    h_prev = np.concatenate([p["h0"][None], exact.h[:-1]])
    Eh_prev = np.concatenate([np.zeros_like(p["h0"])[None], exact.errors.h[:-1]])
    slope = σ.slope(exact.z)
    _, dz = _gradients(p, exact.h, exact.a, σ)
    Es = tolerance.of_slopes(σ, exact.z, slope, exact.errors.z, exact.model)
    return tolerance.of_gradients(p["x"], p["W"], p["u"], p["dh"], h_prev, Eh_prev, slope, Es, dz, exact.model)


def by_state(activation: Activation) -> Activation:
    """Return the activation with its slope read off h, also where that is less accurate in saturation.

    Then the gradients depend on the forward pass through h alone, and a wrong forward is not blamed on backward.
    """
    pulls = {"tanh": lambda g, h: (1 - h * h) * g, "sigmoid": lambda g, h: h * (1 - h) * g}
    if activation.name in pulls:
        return replace(activation, pull_by_state=pulls[activation.name])
    return activation


@lru_cache(maxsize=64)
def _complex_step(case: Case) -> Expected:
    exact = _forward(case, tolerance.rounding(case.precision, case.order))
    p, σ = exact.inputs, resolve(case.activation)

    def J(name: str, value: Array) -> Array:
        x, W, u, b, h0 = (value if name == other else p[other] + 0j for other in INPUTS)
        return (p["dh"] * recurrence.forward(x @ W.T + b, u, h0, σ)).sum()

    value = {"d" + name: complex_step(partial(J, name), p[name]) for name in INPUTS}

    return Expected({"h": exact.h} | value, {"h": exact.errors.h} | _allowed_on_exact_h(case, exact))


def by_complex_step(case: Case, h: Array | None) -> Expected:
    """Differentiate J = Σ dh ⊙ h along every coordinate of x, W, u, b and h0 by a complex step."""
    return _complex_step(case)


def exact(case: Case, h: Array | None) -> Expected:
    """Look up the values that exact rational arithmetic gave; every bit must agree.

    Except where steps may be composed: a product of many u has too many bits, and is rounded.
    """
    value = {name: array.astype(np.longdouble) for name, array in vectors.expected(case.id).items()}
    if case.order == "scan":
        return Expected(value, specification(case, None).allowed)
    return Expected(value, {name: np.zeros_like(array) for name, array in value.items()})


def equation_4(case: Case, h: Array | None) -> Expected:
    """Multiply out Eq. 4 for a loss at the last step, W = I and b = 0, on the h that came.

    ∂J/∂h_t = ∂J/∂h_T · u^{T−t} · ∏_{k=t+1}^{T} σ'(z_k); one more slope σ'(z_t) makes it dz_t, which is dx_t here,
    and t = 0 makes it dh_0.
    """
    of_specification = specification(case, h)
    p, σ = case.precisely(), by_state(resolve(case.activation))
    own = of_specification.value["h"] if h is None else h.astype(np.longdouble)
    slope = σ.pull(np.ones_like(own), None, own)
    T = len(own)
    from_t = np.cumprod(slope[::-1], axis=0)[::-1]                   # ∏_{k=t}^{T} σ'(z_k), entry t−1 for step t
    lags = np.arange(T - 1, -1, -1, dtype=np.longdouble)[:, None, None]
    value = {"dx": p["dh"][-1] * p["u"] ** lags * from_t, "dh0": p["dh"][-1] * p["u"] ** T * from_t[0]}
    value["h"] = of_specification.value["h"]
    return Expected(value, {name: of_specification.allowed[name] for name in value})


class _Exact(NamedTuple):
    inputs: dict[str, Array]
    a: Array
    drive: tolerance.Drive
    z: Array
    h: Array
    errors: tolerance.StateErrors
    model: tolerance.Rounding


@lru_cache(maxsize=64)
def _forward(case: Case, model: tolerance.Rounding) -> _Exact:
    p, σ = case.precisely(), resolve(case.activation)
    a = p["x"] @ p["W"].T + p["b"]
    h = recurrence.forward(a, p["u"], p["h0"], σ)
    z = a + p["u"] * np.concatenate([p["h0"][None], h[:-1]])
    drive = tolerance.of_drive(p["x"], p["W"], p["b"], model)
    errors = tolerance.of_states(drive, p["u"], p["h0"], h, z, σ, model)
    return _Exact(p, a, drive, z, h, errors, model)


def _gradients(p: dict[str, Array], h: Array, a: Array, σ: Activation) -> tuple[dict[str, Array], Array]:
    """All five gradients by the specification's backward on h, and dz."""
    dz, du, dh0 = recurrence.backward(p["dh"], h, a, p["u"], p["h0"], σ)
    gradients = {"dx": dz @ p["W"], "dW": np.einsum("tbn,tbm->nm", dz, p["x"]), "du": du, "db": dz.sum((0, 1)),
                 "dh0": dh0}
    return gradients, dz
