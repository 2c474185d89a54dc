"""Lyapunov exponents: how fast a small change of the state grows or dies, for ever, per neuron.

The state of a stack at step t is s_t = (v^1_t, …, v^L_t), what each layer hands to its next step; J_t = ∂s_t/∂s_{t−1}.
Within a step signals only go up: v^l_t depends on v^l_{t−1} through diag(σ'(z^l_t) u_l), and on the other layers'
v_{t−1} only where they are below it. So J_t is block lower triangular with diagonal blocks, that is, triangular; and so
is any product J_T … J_1, whose diagonal is the product of the diagonals, u_n^T ∏_t σ'(z_{n,t}). Whatever the input
weights, the depth and the connections upwards (plain, residual, dense), the spectrum is therefore

    λ_n = log|u_n| + mean_t log σ'(z_{n,t}),         one exponent per neuron, −inf where a slope or u_n is 0

in the limit of long sequences, where the means converge (Lyapunov's criterion of regularity for triangular systems:
the exponents are then the means of the logarithms of the diagonal). A dense recurrent matrix has no such formula, and
needs the QR iteration. What the exponents do not see is all that grows more slowly than exponentially: the kernel
C(k+L−1, L−1) r^k of a stack has exponent log r for every L (see `depth`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..array_module import Array, namespace
from . import _checks, _shapes


def lyapunov_spectrum(u: Sequence[Array], slopes: Sequence[Array]) -> Array:
    """Return log|u| + mean log|σ'| of every neuron of a stack, in the order of layers and neurons, not of size.

    Parameters
    ----------
    u : list of (N_l,) recurrent weights, first layer first
    slopes : list of (T, B, N_l), σ'(z^l_t)

    Returns
    -------
    exponents : (B, N_1 + … + N_L), per step, in natural logarithms; −inf where a slope or the weight is 0

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is not finite; the message names it.
    """
    xp = _shapes.spectrum(u, slopes)
    with np.errstate(divide="ignore"):
        return xp.concatenate([xp.log(abs(v)) + xp.log(abs(s)).mean(axis=0) for v, s in zip(u, slopes, strict=True)],
                              axis=-1)


def stack_jacobians(W: Sequence[Array], u: Sequence[Array], slopes: Sequence[Array], residual: bool = False) -> Array:
    """Return J_t = ∂s_t/∂s_{t−1} of a stack at every step: lower triangular, with diagonal σ' ⊙ u.

    Parameters
    ----------
    W, u, slopes, residual : as in `stack_gradient`

    Returns
    -------
    jacobians : (T, B, n, n) with n = N_1 + … + N_L

    Raises
    ------
    TypeError, ValueError
        As `stack_gradient`.
    """
    xp = _shapes.stack(W, u, slopes, residual)
    (T, B, _), n = slopes[0].shape, sum(map(len, u))
    J = xp.zeros((T, B, n, n), u[0].dtype)
    below = xp.zeros((T, B, W[0].shape[1], n), J.dtype)                   # ∂h^0_t/∂s_{t−1}: the input knows no state
    top = 0
    for w, v, s in zip(W, u, slopes, strict=True):
        rows = slice(top, top := top + len(v))
        J[..., rows, :] = w @ below
        J[..., rows, rows] += xp.diag(v)
        J[..., rows, :] *= s[..., None]
        below = below + J[..., rows, :] if residual else J[..., rows, :]
    return J


def lyapunov_by_qr(jacobians: Array, skip: int = 0) -> Array:
    """Estimate the Lyapunov exponents of any recurrence from its one-step Jacobians, by the QR iteration.

    J_t Q_{t−1} = Q_t R_t from a fixed random rotation Q_0; exponent i is the mean of log R_t[i, i]. Their sum is the
    mean of log|det J_t|, for every T. They come out from the largest to the smallest, with an error of the order of 1/T
    (log T/T where exponents are equal), the larger the closer two of them are and the more their slopes fluctuate.

    The QR is Gram and Schmidt's, twice, which keeps small components of Q to their own digits, where Householder's
    (LAPACK's) keeps them to digits of the largest. It matters: a direction 1e16 times smaller than another is noise,
    and where slopes fluctuate so much that it would have grown back, close exponents stay wrong for ever. Gram and
    Schmidt avoid this where the directions lie in different neurons, not where they mix. Where there is a closed form,
    trust it; the sum is safe in any case.

    Parameters
    ----------
    jacobians : (T, B, N, N) ∂h_t/∂h_{t−1}
    skip : steps at the start that turn Q but are not counted, fewer than T

    Returns
    -------
    exponents : (B, N), per step

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is not finite; the message names it.
    """
    xp = _shapes.square("jacobians", jacobians, "(T, B, N, N)")
    T, B, N, _ = jacobians.shape
    if (skip := _checks.whole("skip", skip, least=0)) >= T:
        raise ValueError(f"skip: expected fewer than the {T} steps of jacobians; got {skip}.")
    start = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0].astype(jacobians.dtype)
    Q, total = xp.broadcast_to(xp.asarray(start), (B, N, N)), xp.zeros((B, N), jacobians.real.dtype)
    with np.errstate(divide="ignore"):
        for t in range(T):
            Q, diagonal = _gram_schmidt(jacobians[t] @ Q)
            if t >= skip:
                total += xp.log(diagonal)
    return total / (T - skip)


def _gram_schmidt(A: Array) -> tuple[Array, Array]:
    """Return Q (B, N, N) and the diagonal of R (B, N) of A = QR; a column that depends on the former ones becomes 0."""
    xp = namespace(A)
    Q, diagonal = xp.zeros(A.shape, A.dtype), xp.zeros(A.shape[:-1], A.real.dtype)
    for i in range(A.shape[-1]):
        column, former = A[..., i:i + 1], Q[..., :i]
        for _ in range(2):                                                # the second time takes off what rounding left
            column = column - former @ (former.conj().swapaxes(-1, -2) @ column)
        diagonal[:, i] = xp.linalg.norm(column[..., 0], axis=-1)
        Q[..., i] = column[..., 0] / xp.where(diagonal[:, i] > 0, diagonal[:, i], 1)[:, None]
    return Q, diagonal
