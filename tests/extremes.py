"""Inputs that push states and gradients to their bounds, what they reach, and the sums that rounding is relative to.

Many sequences run at once, and their gradients are kept apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import indrnn_np as ir
from indrnn_np.analysis import Bounds, SensitivityGradients
from indrnn_np.oracle.tolerance import gamma


def reached(x: np.ndarray, w: float, b: float, u: np.ndarray, h0: np.ndarray, dh: np.ndarray,
            activation: Any) -> Bounds:
    """Run one input weight w per neuron; return |h|, |dz| (T, B, N) and the gradients' sizes per sequence (B, N)."""
    N, kind = len(u), dh.dtype
    trace = ir.forward(x, np.full((N, 1), w, kind), u, np.full(N, b, kind), h0, activation)
    drive = np.broadcast_to(w * x + b, dh.shape).astype(kind)
    da, _, dh0 = ir.recurrent_backward(dh, trace.h, drive, u, h0, activation)
    h_prev = np.concatenate([h0[None], trace.h[:-1]])
    return Bounds(np.abs(trace.h), np.abs(da), np.abs(dh0), np.abs(da.sum(0)), np.abs((da * x).sum(0)),
                  np.abs((da * h_prev).sum(0)))


def place(z: np.ndarray, u: np.ndarray, h0: np.ndarray, activation: Any) -> np.ndarray:
    """Return the drive that leads to the pre-activations z (T, B, N)."""
    h = ir.activations.resolve(activation)(z)
    return z - u * np.concatenate([h0[None], h[:-1]])


def extreme(rng: np.random.Generator, T: int, B: int, N: int) -> dict[str, np.ndarray]:
    """Draw x, h0 and dh of size up to 1, mostly at its ends, in runs and in alternation as well as at random."""
    def ends(*shape: int) -> np.ndarray:
        return np.where(rng.random(shape) < rng.uniform(0.3, 1), rng.choice([-1.0, 1.0], shape),
                        rng.uniform(-1, 1, shape))

    x, dh = ends(T, B, 1), ends(T, B, N)
    sign = rng.choice([-1.0, 1.0], (2, B))
    steady, turning = slice(0, B // 3), slice(B // 3, 2 * (B // 3))
    turn = (-1.0) ** np.arange(T)[:, None]
    x[:, steady, 0], x[:, turning, 0] = sign[0, steady], sign[0, turning] * turn
    dh[:, steady], dh[:, turning] = sign[1, steady, None], (sign[1, turning] * turn)[..., None]
    return {"x": x, "h0": ends(B, N), "dh": dh}


def excess(found: Bounds, bounds: Bounds, slack: Bounds) -> list[str]:
    """Name what exceeds its bound by more than the slack; bounds have a neuron axis, found has sequences before it."""
    return [name for name, got, bound, more in zip(Bounds._fields, found, bounds, slack, strict=True)
            if not (got <= _per_sequence(bound + more)).all()]


def ratios(found: Bounds, bounds: Bounds) -> dict[str, float]:
    """Return the largest observed ÷ bound of each quantity, where the bound is not 0."""
    largest = {}
    for name, got, bound in zip(Bounds._fields, found, bounds, strict=True):
        each = _per_sequence(bound) + np.zeros_like(got)
        largest[name] = float((got[each > 0] / each[each > 0]).max(initial=0))
    return largest


def rounding_of(bounds: Bounds, T: int) -> Bounds:
    """What rounding may add to sums of T terms, paths of up to 8 roundings a step: relative to the absolute sums."""
    γ = float(gamma(8 * T + 64, np.finfo(float).eps / 2))
    return Bounds(*(γ * bound for bound in bounds))


def absolute_sums(dh: np.ndarray, trace: ir.Trace) -> SensitivityGradients:
    """Every gradient's sum of products with each product taken absolute: what its rounding is relative to."""
    h_prev = np.concatenate([trace.h0[None], trace.h[:-1]])
    z = trace.a + trace.u * h_prev if trace.a is not None else None
    slope, u = np.abs(trace.activation.pull(np.ones_like(trace.h), z, trace.h)), np.abs(trace.u)
    p, q, v, R = 0, 0, 1, 0
    dW, du, db, dh0 = 0, 0, 0, 0
    for t, s in enumerate(slope):
        p, q, v = s * (np.abs(h_prev[t]) + u * p), s * (1 + u * q), s * u * v
        R = s[..., None] * (np.abs(trace.x[t])[:, None] + u[:, None] * R)
        weight = np.abs(dh[t])
        dW, du = dW + (weight[..., None] * R).sum(0), du + (weight * p).sum(0)
        db, dh0 = db + (weight * q).sum(0), dh0 + weight * v
    return SensitivityGradients(dW, du, db, dh0)


def _per_sequence(bound: np.ndarray) -> np.ndarray:
    return bound[:, None] if bound.ndim == 2 else bound
