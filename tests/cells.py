"""RNN, LSTM and GRU for one sequence, plainly written, for numbers that compute and for numbers that count.

Each cell returns its h and a function that turns their cotangent into all gradients, and keeps what that function
needs. `state` is h_0, for the LSTM both h_0 and c_0; `functions` has tanh, sigmoid and their slopes. The gates stand in
PyTorch's order.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

SMOOTH = SimpleNamespace(
    tanh=np.tanh, tanh_slope=lambda z: 1 / np.cosh(z) ** 2,
    sigmoid=lambda z: 1 / (1 + np.exp(-z)), sigmoid_slope=lambda z: 1 / (4 * np.cosh(z / 2) ** 2))


class Counter:
    """Numbers that count what is done to them, in place of doing it."""

    def __init__(self) -> None:
        self.multiplications = self.additions = self.activations = 0
        activate = np.frompyfunc(self._activate, 1, 1)
        self.functions = SimpleNamespace(tanh=activate, tanh_slope=activate, sigmoid=activate, sigmoid_slope=activate)

    def numbers(self, *shape: int) -> np.ndarray:
        return np.full(shape, Number(self), object)

    def take(self) -> tuple[int, int, int]:
        """Return multiplications, additions and activations so far, and start anew."""
        seen = self.multiplications, self.additions, self.activations
        self.multiplications = self.additions = self.activations = 0
        return seen

    def _activate(self, z: Number) -> Number:
        self.activations += 1
        return z


class Number:
    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    def __mul__(self, other: object) -> Number:
        self.counter.multiplications += 1
        return self

    def __add__(self, other: object) -> Number:
        self.counter.additions += 1
        return self

    __rmul__, __radd__, __sub__, __rsub__ = __mul__, __add__, __add__, __add__


class Sums:
    """The gradients of W, U and b, summed over the steps, and that of each x_t."""

    def __init__(self, W: Any, U: Any, b: Any) -> None:
        self.W, self.dW, self.dU = W, np.zeros_like(W), np.zeros_like(U)
        self.db = None if b is None else np.zeros_like(b)
        self.dx: list[Any] = []

    def add(self, dz: Any, x: Any, dm: Any, h_prev: Any) -> None:
        """dz is the gradient of W x + b, dm that of U h_prev."""
        self.dU = self.dU + np.outer(dm, h_prev)
        self.dW = self.dW + np.outer(dz, x)
        if self.db is not None:
            self.db = self.db + dz
        self.dx.insert(0, self.W.T @ dz)

    def all(self, dstate: Any) -> dict[str, Any]:
        return {"W": self.dW, "U": self.dU, "b": self.db, "x": np.array(self.dx), "state": dstate}


def rnn(W: Any, U: Any, b: Any, x: Any, state: Any, functions: Any) -> tuple[Any, Any]:
    h, kept = state, []
    for x_t in x:
        z = plus(W @ x_t, b) + U @ h
        kept.append((x_t, h, z))
        h = functions.tanh(z)
        kept[-1] += (h,)

    def backward(dh: Any) -> dict[str, Any]:
        sums, carry = Sums(W, U, b), np.zeros_like(state)
        for dh_t, (x_t, h_prev, z, _) in zip(dh[::-1], kept[::-1], strict=True):
            dz = functions.tanh_slope(z) * (dh_t + carry)
            sums.add(dz, x_t, dz, h_prev)
            carry = U.T @ dz
        return sums.all(carry)

    return np.array([step[-1] for step in kept]), backward


def lstm(W: Any, U: Any, b: Any, x: Any, state: Any, functions: Any) -> tuple[Any, Any]:
    (h, c), kept = state, []
    for x_t in x:
        z = np.split(plus(W @ x_t, b) + U @ h, 4)
        i, k, o = (functions.sigmoid(z[gate]) for gate in (0, 1, 3))
        ĉ = functions.tanh(z[2])
        c_prev, c = c, k * c + i * ĉ
        y = functions.tanh(c)
        h_prev, h = h, o * y
        kept.append((x_t, h_prev, c_prev, z, i, k, o, ĉ, c, y, h))

    def backward(dh: Any) -> dict[str, Any]:
        sums, (carry, dc) = Sums(W, U, b), np.zeros_like(state)
        for dh_t, (x_t, h_prev, c_prev, z, i, k, o, ĉ, c, y, _) in zip(dh[::-1], kept[::-1], strict=True):
            g = dh_t + carry
            dc = dc + g * o * functions.tanh_slope(c)
            slope, tanh_slope = functions.sigmoid_slope, functions.tanh_slope
            dz = np.concatenate([slope(z[0]) * (dc * ĉ), slope(z[1]) * (dc * c_prev),
                                 tanh_slope(z[2]) * (dc * i), slope(z[3]) * (g * y)])
            sums.add(dz, x_t, dz, h_prev)
            carry, dc = U.T @ dz, k * dc
        return sums.all(np.array([carry, dc]))

    return np.array([step[-1] for step in kept]), backward


def gru(W: Any, U: Any, b: Any, x: Any, state: Any, functions: Any) -> tuple[Any, Any]:
    h, kept, N = state, [], len(state)
    for x_t in x:
        w, m = plus(W @ x_t, b), U @ h
        z = w[:2 * N] + m[:2 * N]
        r, k = functions.sigmoid(z[:N]), functions.sigmoid(z[N:])
        ẑ = w[2 * N:] + r * m[2 * N:]
        ĥ = functions.tanh(ẑ)
        difference = h - ĥ
        h_prev, h = h, ĥ + k * difference
        kept.append((x_t, h_prev, z, ẑ, r, k, m[2 * N:], difference, h))

    def backward(dh: Any) -> dict[str, Any]:
        sums, carry = Sums(W, U, b), np.zeros_like(state)
        for dh_t, (x_t, h_prev, z, ẑ, r, k, m, difference, _) in zip(dh[::-1], kept[::-1], strict=True):
            g = dh_t + carry
            e = k * g
            dẑ = functions.tanh_slope(ẑ) * (g - e)
            dz = np.concatenate([functions.sigmoid_slope(z[:N]) * (dẑ * m),
                                 functions.sigmoid_slope(z[N:]) * (g * difference)])
            dm = np.concatenate([dz, dẑ * r])
            sums.add(np.concatenate([dz, dẑ]), x_t, dm, h_prev)
            carry = e + U.T @ dm
        return sums.all(carry)

    return np.array([step[-1] for step in kept]), backward


def plus(affine: Any, b: Any) -> Any:
    return affine if b is None else affine + b


CELLS = {"rnn": (1, rnn), "lstm": (4, lstm), "gru": (3, gru)}  # gates, and the cell
