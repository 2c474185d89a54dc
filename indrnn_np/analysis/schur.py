"""The complex Schur form, U = Q T Q* with Q unitary and T upper triangular, for every square matrix, defective too.

Schur's proof (1909) is the algorithm. U has an eigenvector v of length 1; a reflection P takes v to a multiple of the
first unit vector, so P U P* has (λ, 0, …, 0)ᵀ for its first column; the same is done to the block that is left. Every
step is a reflection, so rounding is not amplified, whatever the eigenvectors as a whole look like. Where U is
defective they are nearly dependent, but only one at a time is used, and of one it matters only that U v ≈ λ v, which
LAPACK grants for every matrix. N eigenvector problems make O(N⁴) operations: seconds at N = 128.
"""

from __future__ import annotations

import numpy as np

from ..array_module import Array


def schur(U: Array) -> tuple[Array, Array]:
    """Return Q and T.

    Parameters
    ----------
    U : (N, N) finite, real or complex, NumPy's; validated

    Returns
    -------
    Q, T : (N, N) complex each; Q* Q = I, and T is zero below its diagonal, on which the eigenvalues of U stand
    """
    T = U.astype(np.result_type(U.dtype, np.complex64))
    Q = np.eye(len(U), dtype=T.dtype)
    for k in range(len(U) - 1):
        block = T[k:, k:]
        values, vectors = np.linalg.eig(block)
        residuals = np.linalg.norm(block @ vectors - vectors * values, axis=0) / np.linalg.norm(vectors, axis=0)
        w = _reflection(vectors[:, np.argmin(residuals)])
        T[k:] -= 2 * np.outer(w, w.conj() @ T[k:])
        T[:, k:] -= 2 * np.outer(T[:, k:] @ w, w.conj())
        Q[:, k:] -= 2 * np.outer(Q[:, k:] @ w, w.conj())
        T[k + 1:, k] = 0  # (I − 2ww*) block (I − 2ww*) has λ alone there; this is its rounding
    return Q, T


def _reflection(v: Array) -> Array:
    """Return w of length 1 for which (I − 2ww*) v is a multiple of the first unit vector."""
    v = v / np.linalg.norm(v)
    phase = v[0] / abs(v[0]) if v[0] != 0 else 1
    w = v.copy()
    w[0] += phase  # away from cancellation
    return w / np.linalg.norm(w)
