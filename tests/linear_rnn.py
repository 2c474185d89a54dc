"""A linear RNN in extended precision, matrices of every kind, and how an error in its weights grows with its states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

LONG = np.clongdouble
DTYPES, WIDTHS = st.sampled_from((np.float32, np.float64)), st.sampled_from((1, 2, 3, 5, 8))
KINDS = ("any", "any", "symmetric", "triangular", "rotation", "repeated", "complex")


class Drawn(NamedTuple):
    W: np.ndarray
    U: np.ndarray
    x: np.ndarray
    h0: np.ndarray


def draw(kind: str, N: int, seed: int, dtype: type = np.float64, T: int = 25) -> Drawn:
    """Draw an RNN with ‖U‖ about 1, so that its states neither vanish nor explode, an input and an initial state."""
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((N, N))
    if kind == "symmetric":
        U = U + U.T
    elif kind == "triangular":  # real eigenvalues, told apart
        U = np.triu(U, 1) * 0.3 + np.diag(rng.permutation(np.linspace(-1, 1, N)))
    elif kind == "rotation":
        U = np.linalg.qr(U)[0]
    elif kind == "repeated":  # an eigenvalue twice, with two eigenvectors
        U = np.kron(U[: (N + 1) // 2, : (N + 1) // 2], np.eye(2))[:N, :N]
        U = U + U.T
    elif kind == "complex":
        U = U + 1j * rng.standard_normal((N, N))
    U = U / max(1.0, np.linalg.norm(U, 2)) * rng.uniform(0.7, 1.05)
    real = [rng.standard_normal(shape) for shape in ((N, 3), (T, 2, 3), (2, N))]
    W, x, h0 = (v + 0j if kind == "complex" else v for v in real)
    if kind == "complex":
        dtype = {np.float32: np.complex64, np.float64: np.complex128}[dtype]
    return Drawn(*(v.astype(dtype) for v in (W, U, x, h0)))


def jordan(N: int, seed: int = 0) -> np.ndarray:
    """A defective matrix, ‖U‖ ≤ 1: one Jordan block with eigenvalue ½, turned so that it does not look like one."""
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((N, N)))[0]
    return turn @ (np.eye(N) / 2 + np.eye(N, k=1) / 2) @ turn.T


def rnn(W: np.ndarray, U: np.ndarray, x: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """Run h_t = W x_t + U h_{t−1}, step by step, in extended precision."""
    W, U, x, h = (v.astype(LONG) for v in (W, U, x, h0))
    states = []
    for x_t in x:
        h = x_t @ W.T + h @ U.T
        states.append(h)
    return np.stack(states)


def norm(A: np.ndarray) -> float:
    """An upper bound of the spectral norm, in extended precision too."""
    return float(np.sqrt((abs(A) ** 2).sum()))


def propagated(value: Drawn, off_W: float, off_U: float, off_h0: float, states: np.ndarray) -> np.ndarray:
    """Bound, at each step, how far the states of an RNN are whose W, U and h0 are off by so much."""
    largest = float(np.linalg.norm(value.U, 2)) + off_U
    carried, before, bounds = off_h0, norm(value.h0), []
    for x_t, h_t in zip(value.x, states, strict=True):
        carried = largest * carried + off_U * before + off_W * norm(x_t)
        before = norm(h_t)
        bounds.append(carried)
    return np.array(bounds)
