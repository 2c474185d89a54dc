"""Recurrent matrices for tests: dense, nearly triangular, normal, of rank one, complex, Jordan blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32)


def matrix(seed: int, N: int, kind: str) -> np.ndarray:
    """Draw a recurrent matrix, ‖U‖ about 1: dense, nearly triangular, normal, of rank one, or complex."""
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((N, N)) / np.sqrt(N)
    if kind == "triangular":
        return np.triu(U, 1) * 3 + np.diag(np.diagonal(U))
    if kind == "normal":
        return normal(rng, rng.uniform(-1, 1, N))
    if kind == "rank one":
        return np.outer(U[0], U[-1])
    return U + 1j * rng.standard_normal((N, N)) / np.sqrt(N) if kind == "complex" else U


def normal(rng: np.random.Generator, eigenvalues: np.ndarray) -> np.ndarray:
    Q = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return Q @ np.diag(eigenvalues) @ Q.T


def jordan(n: int, eigenvalue: float = 0.0) -> np.ndarray:
    return np.diag(np.ones(n - 1), 1) + eigenvalue * np.eye(n)


MATRICES = st.builds(matrix, SEEDS, st.integers(1, 7) | st.integers(3, 7),
                     st.sampled_from(("dense", "triangular", "normal", "rank one", "complex")))
