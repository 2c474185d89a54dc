"""How far a recurrent matrix is from being as simple as u: the numbers that coincide only where U is normal.

    ρ(U) ≤ w(U) ≤ ‖U‖ ≤ 2 w(U)          spectral radius, numerical radius, spectral norm
    ρ(U)^k ≤ ‖U^k‖ ≤ 2 w(U)^k           since w(U^k) ≤ w(U)^k (Berger)

For an IndRNN, U = diag(u), the three are max|u|, and ‖U^k‖ is its k-th power. In general ‖U‖ bounds the next step and ρ
decides in the end; what lies between is transient growth, which only a matrix that is not normal has. A stack of
IndRNNs is such a matrix too, triangular and far from normal: its eigenvalues are the u, yet its kernel grows (`depth`).

The measures are single numbers, made of LAPACK's eigenvalues: a U of CuPy's is copied to the CPU.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..array_module import Array, namespace, to_numpy
from . import _checks, _shapes
from .dense import jacobian_products, log_norms


class Growth(NamedTuple):
    """The largest ‖U^k‖ over a range of k: its lag k, and its logarithm."""

    lag: int
    log_norm: float


def transient_growth(U: Array, steps: int) -> Growth:
    """Return the largest ‖U^k‖ for k = 0 … steps: how far a linear RNN amplifies before ρ(U) decides.

    Parameters
    ----------
    U : (N, N)
    steps : the largest power

    Returns
    -------
    Growth : lag and log_norm; at lag 0 the norm is 1, log_norm 0

    Raises
    ------
    TypeError, ValueError
        U is not such a matrix or steps no such number; the message names it.
    """
    xp = _shapes.square("U", U)
    repeated = xp.broadcast_to(U, (_checks.whole("steps", steps), 1, *U.shape))
    log_norm = to_numpy(log_norms(jacobian_products(repeated)))[:, 0]
    return Growth(int(log_norm.argmax()), float(log_norm.max()))


def spectral_radius(U: Array) -> float:
    """Return ρ(U) = max|λ|: the growth of ‖U^k‖ per step in the end, and for all k only if U is normal.

    Parameters
    ----------
    U : (N, N)

    Raises
    ------
    TypeError, ValueError
        U is not such a matrix.
    """
    return float(abs(np.linalg.eigvals(_on_cpu(U))).max())


def numerical_range(U: Array, points: int = 360) -> Array:
    """Return points on the boundary of the numerical range {v*Uv: ‖v‖ = 1}, one per direction, anticlockwise.

    For a normal U it is the convex hull of the eigenvalues; its largest modulus is the numerical radius, its largest
    real part the numerical abscissa, the largest eigenvalue of (U + U*)/2.

    Parameters
    ----------
    U : (N, N)
    points : how many directions, from that of 1 on

    Returns
    -------
    boundary : (points,) complex, of U's library; the eigenvectors are the CPU's

    Raises
    ------
    TypeError, ValueError
        U is not such a matrix or points no such number.
    """
    xp, U, points = namespace(U), _on_cpu(U), _checks.whole("points", points)
    v = np.stack([np.linalg.eigh(_hermitian_part(U, -angle))[1][:, -1]
                  for angle in np.arange(points) * (2 * np.pi / points)])
    return xp.asarray(np.einsum("pi,ij,pj->p", v.conj(), U, v))


def numerical_radius(U: Array, tolerance: float = 1e-6) -> tuple[float, float]:
    """Enclose w(U) = max|v*Uv| over ‖v‖ = 1: ‖U^k‖ ≤ 2 w(U)^k for every k.

    w(U) is the largest of g(θ), the top eigenvalue of the Hermitian part of e^{iθ}U. For an arc of θ of length δ, the
    points of the range in it are within δ/2 of one of its ends, so their modulus is at most max(g, g')/cos(δ/2). Arcs
    that could exceed the best g found are halved until none can by more than the tolerance.

    Parameters
    ----------
    U : (N, N)
    tolerance : relative width of the enclosure, from 1e-10 to 1

    Returns
    -------
    (low, high) : low ≤ w(U) ≤ high; widened by the rounding of the eigenvalues, N eps ‖U‖_F

    Raises
    ------
    TypeError, ValueError
        U is not such a matrix or tolerance no such number.
    """
    U = _on_cpu(U)
    tolerance = _checks.number("tolerance", tolerance)
    if not 1e-10 <= tolerance <= 1:
        raise ValueError(f"tolerance: expected a number from 1e-10 to 1; got {tolerance}.")
    rounding = len(U) * np.finfo(float).eps * float(np.linalg.norm(U))

    def g(angles: Array) -> Array:
        return np.array([np.linalg.eigvalsh(_hermitian_part(U, angle))[-1] for angle in angles])

    ends = np.linspace(0, 2 * np.pi if np.iscomplexobj(U) else np.pi, 17)  # real U: g(−θ) = g(θ)
    left, δ, values = ends[:-1], ends[1], g(ends)
    at_left, at_right, low = values[:-1], values[1:], values.max()
    while (open_ := np.maximum(at_left, at_right) / math.cos(δ / 2) > low * (1 + tolerance)).any():
        left, at_left, at_right, δ = left[open_], at_left[open_], at_right[open_], δ / 2
        middle = g(left + δ)
        left, low = np.concatenate([left, left + δ]), max(low, middle.max())
        at_left, at_right = np.concatenate([at_left, middle]), np.concatenate([middle, at_right])
    return max(0.0, float(low) - rounding), float(low) * (1 + tolerance) + rounding


def departure_from_normality(U: Array) -> float:
    """Return Henrici's departure √(‖U‖_F² − Σ|λ|²): 0 if and only if U is normal, UU* = U*U.

    It is the Frobenius norm of what is off the diagonal of the Schur form. Being the root of a difference it cannot
    tell less than about √(N eps) ‖U‖_F from 0.

    Parameters
    ----------
    U : (N, N)

    Raises
    ------
    TypeError, ValueError
        U is not such a matrix.
    """
    U = _on_cpu(U)
    size = float(np.linalg.norm(U))
    if size == 0:
        return 0.0
    return size * math.sqrt(max(0.0, 1 - float((abs(np.linalg.eigvals(U / size)) ** 2).sum())))


def kreiss_lower_bound(U: Array, directions: int = 32) -> float:
    """Return a lower bound of sup_k ‖U^k‖: the resolvent (|z| − 1) ‖(zI − U)⁻¹‖ at its largest on a grid of |z| > 1.

    Its supremum is the Kreiss constant K, and K ≤ sup_k ‖U^k‖ ≤ e N K (Kreiss's matrix theorem). Any one z gives a
    lower bound, as does z → ∞, which gives 1; the grid is refined around its best point, and the rounding of the
    singular value is taken off. It says something where ρ(U) ≤ 1; beyond, the supremum is infinite.

    Parameters
    ----------
    U : (N, N)
    directions : angles of the first grid

    Returns
    -------
    bound : 1 or more

    Raises
    ------
    TypeError, ValueError
        U is not such a matrix or directions no such number.
    """
    U, directions = _on_cpu(U), _checks.whole("directions", directions)
    size = float(np.linalg.norm(U))

    def resolvent(log_excess: float, angle: float) -> float:
        excess = math.exp(log_excess)
        z = (1 + excess) * complex(math.cos(angle), math.sin(angle))
        least = np.linalg.svd(z * np.eye(len(U)) - U, compute_uv=False)[-1]
        return excess / (float(least) + len(U) * np.finfo(float).eps * (abs(z) + size))

    grid = [(r, a) for r in np.linspace(math.log(1e-6), math.log(10), 17)
            for a in np.arange(directions) * (2 * np.pi / directions)]
    width = np.array([1.0, 2 * np.pi / directions])
    best, at = max((resolvent(*p), p) for p in grid)
    for _ in range(8):
        around = [(at[0] + i * width[0], at[1] + j * width[1]) for i in (-0.5, 0, 0.5) for j in (-0.5, 0, 0.5)]
        best, at = max((resolvent(*p), p) for p in around)
        width = width / 2
    return max(1.0, best)


def _hermitian_part(U: Array, angle: float) -> Any:
    turned = U * complex(math.cos(angle), math.sin(angle))
    return (turned + turned.conj().T) / 2


def _on_cpu(U: Array) -> Array:
    """Return U as a float64 or complex128 NumPy array: the measures are single numbers."""
    _shapes.square("U", U)
    U = to_numpy(U)
    return U.astype(np.complex128 if U.dtype.kind == "c" else np.float64)
