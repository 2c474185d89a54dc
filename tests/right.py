"""Right implementations that take no care of rounding: the worst that the allowed errors must still allow.

A loop that adds up every sum in an order chosen to hurt, with FMA or without, in any format; and a layer parallel in
time, which composes steps in a random bracketing, or slice by slice with each slice run again from its true carry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from indrnn_np.activations import resolve
from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.precision import rounded

ORDERS = ("forward", "random", "largest first", "positive first")
Round = Callable[[np.ndarray], np.ndarray]


def summed(terms: np.ndarray, order: str, rng: np.random.Generator, fl: Round = lambda v: v) -> np.ndarray:
    """Add along the last axis one by one, in an order chosen to hurt; float32 stays float32."""
    if order == "random":
        terms = rng.permuted(terms, axis=-1)
    elif order == "largest first":
        terms = np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=-1), axis=-1)
    elif order == "positive first":
        terms = np.flip(np.sort(terms, axis=-1), axis=-1)
    total = np.zeros(terms.shape[:-1], terms.dtype)
    for k in range(terms.shape[-1]):
        total = fl(total + terms[..., k])
    return total


def loop(case: Case, order: str, seed: int, fused: bool) -> dict[str, np.ndarray]:
    """Run the layer step by step, every sum in the order given.

    `fused` emulates FMA in u·h + a and u·dz + dh: the product is kept exact and rounded once, with the sum. Formats
    that NumPy does not have are emulated: each operation in float64, rounded once more.
    """
    rng = np.random.default_rng(seed)
    native = case.precision == case.dtype.name and case.precision != "float16"
    dtype = case.dtype if native else np.dtype(np.float64)

    def fl(v: np.ndarray) -> np.ndarray:
        return v if native else rounded(v, case.precision, dtype)

    x, W, u, b, h0, dh = (array.astype(dtype) for array in case.arrays().values())
    σ = resolve(case.activation)
    T, B, _ = x.shape
    N = len(u)

    def multiply_add(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        if not fused:
            return fl(fl(p * q) + r)
        return fl((p.astype(np.longdouble) * q + r).astype(dtype))

    h, z = np.zeros((T, B, N), dtype), np.zeros((T, B, N), dtype)
    for t in range(T):
        products = np.concatenate([fl(x[t, :, None, :] * W), np.broadcast_to(b[:, None], (B, N, 1))], axis=-1)
        z[t] = multiply_add(u, h[t - 1] if t else h0, summed(products, order, rng, fl))
        h[t] = fl(σ(z[t]))
    before = np.concatenate([h0[None], h[:-1]])
    if case.activation == "tanh":
        slope = fl(1 - fl(h * h))  # as many write it: right to an absolute error only
    elif case.activation == "sigmoid":
        slope = fl(h * fl(1 - h))
    else:
        slope = fl(σ.slope(z))
    dz, carry = np.zeros((T, B, N), dtype), np.zeros((B, N), dtype)
    for t in reversed(range(T)):
        dz[t] = carry = fl(slope[t] * multiply_add(u, carry, dh[t]))
    return _as_results(case, h, dz, before, x, W, u, order, rng, fl)


class Composed(NamedTuple):
    """h → min(hi, max(lo, s h + c))."""

    s: np.ndarray
    c: np.ndarray
    lo: np.ndarray
    hi: np.ndarray

    def __call__(self, h: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            moved = np.where(self.s == 0, self.c, self.s * h + self.c)  # 0 · ∞ would be no number
        return np.minimum(self.hi, np.maximum(self.lo, moved))

    def after(self, first: Composed) -> Composed:
        """Compose: `first`, then this."""
        ends = self(first.lo), self(first.hi)
        return Composed(self.s * first.s, np.where(self.s == 0, self.c, self.s * first.c + self.c),
                        np.minimum(*ends), np.maximum(*ends))


def scan(case: Case, seed: int, slices: bool) -> dict[str, np.ndarray]:
    """Run the layer parallel in time: identity and ReLU in both directions, the others backward alone.

    The bracketing of the steps is random. With `slices`, steps are composed in slices from left to right, and each
    slice is run again from its true carry.
    """
    rng = np.random.default_rng(seed)
    x, W, u, b, h0, dh = case.arrays().values()
    σ, dtype = resolve(case.activation), case.dtype
    T = len(x)
    a, u_row = x @ W.T + b, np.broadcast_to(u, h0.shape)
    least, most = np.full(h0.shape, -np.inf, dtype), np.full(h0.shape, np.inf, dtype)
    lowest = np.zeros_like(h0) if case.activation == "relu" else least
    if case.activation in ("identity", "relu"):
        h = _run([Composed(u_row, a[t], lowest, most) for t in range(T)], h0, rng, slices)
    else:
        h = np.zeros_like(a)
        for t in range(T):
            h[t] = σ(a[t] + u * (h[t - 1] if t else h0))
    before = np.concatenate([h0[None], h[:-1]])
    slope = σ.pull(np.ones_like(h), a + u * before, h)
    steps = [Composed(slope[t] * u, slope[t] * dh[t], least, most) for t in reversed(range(T))]
    dz = np.ascontiguousarray(_run(steps, np.zeros_like(h0), rng, slices)[::-1])
    return _as_results(case, h, dz, before, x, W, u, "forward", rng, lambda v: v)


def _run(steps: list[Composed], first: np.ndarray, rng: np.random.Generator, slices: bool) -> np.ndarray:
    """Return the state after each step, found by composing."""
    out = np.empty((len(steps), *first.shape), first.dtype)
    if not slices:
        _descend(steps, 0, len(steps), first, out, rng)
        return out
    wide = int(rng.integers(1, max(2, len(steps) // 2)))
    carry = first
    for start in range(0, len(steps), wide):
        part = steps[start:start + wide]
        state = carry
        for offset, step in enumerate(part):
            state = out[start + offset] = step(state)
        whole = part[0]
        for step in part[1:]:
            whole = step.after(whole)
        carry = whole(carry)
    return out


def _descend(steps: list[Composed], start: int, stop: int, carry: np.ndarray, out: np.ndarray,
             rng: np.random.Generator) -> None:
    """Give each half its carry, the second from the composition of the first."""
    if stop - start == 1:
        out[start] = steps[start](carry)
        return
    middle = int(rng.integers(start + 1, stop))
    _descend(steps, start, middle, carry, out, rng)
    _descend(steps, middle, stop, _whole(steps, start, middle, rng)(carry), out, rng)


def _whole(steps: list[Composed], start: int, stop: int, rng: np.random.Generator) -> Composed:
    """Compose the steps from start to stop in a random bracketing."""
    if stop - start == 1:
        return steps[start]
    middle = int(rng.integers(start + 1, stop))
    return _whole(steps, middle, stop, rng).after(_whole(steps, start, middle, rng))


def _as_results(case: Case, h: np.ndarray, dz: np.ndarray, before: np.ndarray, x: np.ndarray, W: np.ndarray,
                u: np.ndarray, order: str, rng: np.random.Generator, fl: Round) -> dict[str, np.ndarray]:
    T, B, N = dz.shape
    rows, inputs = dz.reshape(T * B, N), x.reshape(T * B, 1, -1)
    results = {"h": h, "dx": summed(np.moveaxis(fl(dz[..., None] * W), 2, -1), order, rng, fl),
               "dW": summed(np.moveaxis(fl(rows[..., None] * inputs), 0, -1), order, rng, fl),
               "du": summed(fl(rows * before.reshape(T * B, N)).T, order, rng, fl),
               "db": summed(rows.T, order, rng, fl), "dh0": fl(u * dz[0])}
    return {name: value.astype(case.dtype) for name, value in results.items()}
