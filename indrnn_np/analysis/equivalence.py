"""A linear RNN is two linear IndRNN layers (Li et al. 2018, Section 4, Eq. 5–9): how, when, at what price.

Two layers without activation, the second without recurrence (u_s = 0):

    h_f,t = W_f x_t + u_f ⊙ h_f,t−1                                                            (Eq. 5)
    h_s,t = W_s h_f,t                                                                          (Eq. 6)

With W_s invertible, h_f,t = W_s⁻¹ h_s,t, so  h_s,t = W_s W_f x_t + W_s diag(u_f) W_s⁻¹ h_s,t−1: a linear RNN with

    W = W_s W_f          U = W_s diag(u_f) W_s⁻¹                                               (Eq. 7–9)

Read from right to left this is an eigendecomposition: every RNN with a diagonalizable U is such a pair, W_s having the
eigenvectors of U, u_f the eigenvalues, W_f = W_s⁻¹ W; and an initial state h_0 is h_f,0 = W_s⁻¹ h_0. The paper leaves
three things unsaid.

1. *A real U can have complex eigenvalues*, and then u_f, W_f and W_s are complex. That cannot be avoided:

   Theorem. A rotation by an angle θ that is no multiple of π is no finite linear IndRNN with real weights, of any width
   and depth, skip connections included. Proof. A neuron's transfer function is 1 / (1 − u ζ), with ζ the delay by a
   step; a path through the layers is a product of such, no neuron twice, and the stack a real sum of paths. Times
   P(ζ) = ∏ (1 − u_i ζ) over all K neurons it is a polynomial of degree K at most. So the impulse response r satisfies
   P r = 0 from step K + 1 on, where (P r)_t = Σ_k P_k r_{t−k}, k = 0 … K.
   A rotation's first column is ρ_t = e^{iθt}, its two coordinates taken as one number, for which
   (P ρ)_t = ∏ (1 − u_i e^{−iθ}) e^{iθt}. No real u has 1 = u e^{−iθ}. ∎

   It cannot be approximated for long either (`rotation_gap`): |P ρ| = |P (ρ − r)| ≤ ∏ (1 + |u_i|) · max |ρ − r|, so in
   every K + 1 successive steps the largest error is at least ∏ |1 − u_i e^{−iθ}| / (1 + |u_i|), and each factor is at
   least min(|sin θ/2|, |cos θ/2|), at u = ±1. Over a long time it is worse: what does not grow is in the end a constant
   and an alternating constant, whose correlation with a rotation tends to 0. U with non-real eigenvalues fill an open
   set, so changing U a little does not help. Only K ≥ T real neurons fit anything over T steps (Vandermonde).

2. *A defective U has no eigenbasis.* The paper perturbs U. Then W_s is the worse conditioned the smaller the
   perturbation δ: for a Jordan block of size n the eigenvalues part as δ^{1/n} and κ(W_s) grows as δ^{−(n−1)/n}. The
   sum δ + εκ is least at δ ≈ ε^{n/(2n−1)}: 4e-11, 4e-10, 1e-9 for n = 2, 3, 4 in float64 (`perturbation_errors`).
   A block of size 2 that parts into a complex pair escapes: there the large numbers are imaginary and the small ones
   real, kept apart, so nothing cancels.

3. *A nearly defective U is as bad*: the error of U = W_s diag(u_f) W_s⁻¹ is about ε κ(W_s) ‖U‖. From κ = 1/√ε half of
   the digits are lost, and `rnn_as_indrnn` warns.

What has no such price is the Schur form U = Q T Q* (`rnn_as_dense_stack`). With h'_t = Q* h_t,

    h'_i,t = T_ii h'_i,t−1 + Σ_{j>i} T_ij h'_j,t−1 + (Q* W x_t)_i

is a stack of N IndRNN layers of one neuron each, the last coordinate first, every layer fed with x_t and with the
outputs of all layers before it, a step late: dense connections, as in the DenseIndRNN, with a delay. Q is unitary, so
its condition number is 1, and every U has one.

The eigenvectors are LAPACK's, and the layers few: all of this takes NumPy's arrays. CuPy's are refused; `to_numpy`
brings them to the CPU.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

from .. import recurrence
from ..array_module import Array
from . import _checks, _shapes
from .schur import schur


class NearlyDefective(UserWarning):
    """The eigenvectors of U are so nearly dependent that half of the digits are lost; the message has κ(W_s)."""


class TwoLayers(NamedTuple):
    """Two linear IndRNN layers, Eq. 5 and 6: W_f (N, M), u_f (N,), W_s (N, N); the second recurrent weight is 0."""

    W_f: Array
    u_f: Array
    W_s: Array

    @property
    def condition(self) -> float:
        """κ₂(W_s), by which rounding is amplified: 1 for a normal U, infinite for a defective one."""
        return float(np.linalg.cond(self.W_s))


class DenseStack(NamedTuple):
    """N linear IndRNN layers of one neuron: W (N, M), u (N,), V (N, N) strictly upper triangular, Q (N, N) unitary.

    Layer i has the input weight W[i] for x_t, V[i, j] for the output of layer j > i one step before, and u[i] for its
    own; the RNN's state is Q times the layers' outputs.
    """

    W: Array
    u: Array
    V: Array
    Q: Array


def rnn_as_indrnn(W: Array, U: Array) -> TwoLayers:
    """Write the linear RNN h_t = W x_t + U h_{t−1} as two linear IndRNN layers, Eq. 5–9.

    Parameters
    ----------
    W : (N, M) input weight
    U : (N, N) recurrent weight

    Returns
    -------
    TwoLayers : W_f (N, M), u_f (N,), W_s (N, N); real where W is and U has real eigenvalues, else complex

    Raises
    ------
    TypeError, ValueError
        W or U is no such matrix of finite floating-point numbers; the message names it.

    Warns
    -----
    NearlyDefective
        κ(W_s) is above 1/√ε of the dtype, 7e7 for float64 and 3e3 for float32: half of the digits are lost. See
        `rnn_as_dense_stack`.
    """
    _shapes.rnn(W, U)
    symmetric = np.array_equal(U, U.conj().T)  # then the eigenvectors can be had orthonormal, repeated eigenvalues too
    u_f, W_s = np.linalg.eigh(U) if symmetric else np.linalg.eig(U)
    condition = float(np.linalg.cond(W_s))
    if not condition <= 1 / math.sqrt(np.finfo(U.dtype).eps):
        warnings.warn(f"U is nearly defective: its eigenvectors have condition number {condition:.1e}, by which "
                      "rounding is amplified. rnn_as_dense_stack has condition number 1.", NearlyDefective, 2)
    try:
        return TwoLayers(np.linalg.solve(W_s, W), u_f, W_s)
    except np.linalg.LinAlgError:
        raise ValueError("U: expected a diagonalizable matrix; its computed eigenvectors are dependent to the last "
                         "bit. rnn_as_dense_stack serves every U.") from None


def indrnn_as_rnn(W_f: Array, u_f: Array, W_s: Array) -> tuple[Array, Array]:
    """Return W and U of the linear RNN that two linear IndRNN layers are, Eq. 7–9.

    Parameters
    ----------
    W_f : (N, M) input weight of the first layer
    u_f : (N,) recurrent weight of the first layer; the second has none
    W_s : (N, N) input weight of the second layer, invertible

    Returns
    -------
    W, U : (N, M), (N, N); complex where an argument is, also if their imaginary parts are rounding alone

    Raises
    ------
    TypeError, ValueError
        An argument is no such array of finite floating-point numbers, or W_s is singular.
    """
    _shapes.two_layers(W_f, u_f, W_s)
    try:
        return W_s @ W_f, np.linalg.solve(W_s.T, (W_s * u_f).T).T
    except np.linalg.LinAlgError:
        raise ValueError("W_s: expected an invertible matrix; got a singular one, whose layers are no RNN.") from None


def rnn_as_dense_stack(W: Array, U: Array) -> DenseStack:
    """Write any linear RNN as a dense stack of one-neuron IndRNN layers, by the Schur form of U.

    Parameters
    ----------
    W, U : as in `rnn_as_indrnn`; U may be defective

    Returns
    -------
    DenseStack : complex

    Raises
    ------
    TypeError, ValueError
        As `rnn_as_indrnn`.
    """
    _shapes.rnn(W, U)
    Q, T = schur(U)
    return DenseStack(Q.conj().T @ W, np.diag(T).copy(), np.triu(T, 1), Q)


def run_two_layers(x: Array, layers: TwoLayers, h0: Array | None = None) -> Array:
    """Run Eq. 5 on the recurrence, then Eq. 6.

    Parameters
    ----------
    x : (T, B, M) input
    layers : what `rnn_as_indrnn` returned
    h0 : (B, N) initial state of the RNN; zeros where None

    Returns
    -------
    h : (T, B, N) the RNN's states, of the dtype of all together

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or shape; the message names it.
    """
    if not isinstance(layers, TwoLayers):
        raise TypeError(f"layers: expected the TwoLayers that rnn_as_indrnn returned; got {type(layers).__name__}.")
    W_f, u_f, W_s = layers
    _shapes.two_layers(W_f, u_f, W_s)
    _shapes.input_and_state(x, h0, W_f.shape)
    dtype = np.result_type(x, W_f, u_f, W_s, *(() if h0 is None else (h0,)))
    try:
        h_f0 = np.zeros((x.shape[1], len(u_f)), dtype) if h0 is None else np.linalg.solve(W_s, h0.T).T.astype(dtype)
    except np.linalg.LinAlgError:
        raise ValueError("W_s: expected an invertible matrix, since h0 is the RNN's; got a singular one.") from None
    with np.errstate(all="ignore"):  # inf and NaN flow through in silence
        h_f = recurrence.forward((x @ W_f.T).astype(dtype), u_f.astype(dtype), h_f0, "identity")
        return h_f @ W_s.T


def run_dense_stack(x: Array, stack: DenseStack, h0: Array | None = None) -> Array:
    """Run the stack layer by layer, each on the recurrence.

    Parameters
    ----------
    x, h0 : as in `run_two_layers`
    stack : what `rnn_as_dense_stack` returned

    Returns
    -------
    h : (T, B, N) complex, the RNN's states

    Raises
    ------
    TypeError, ValueError
        As `run_two_layers`.
    """
    if not isinstance(stack, DenseStack):
        raise TypeError(f"stack: expected the DenseStack that rnn_as_dense_stack returned; got {type(stack).__name__}.")
    W, u, V, Q = stack
    _shapes.dense_stack(W, u, V, Q)
    _shapes.input_and_state(x, h0, W.shape)
    T, B, _ = x.shape
    states = np.zeros((T + 1, B, len(u)), np.result_type(x, Q))  # step 0 is the initial state
    with np.errstate(all="ignore"):
        if h0 is not None:
            states[0] = h0 @ Q.conj()
        for i in reversed(range(len(u))):
            a = (x @ W[i] + states[:-1] @ V[i]).astype(states.dtype)  # V[i] is zero up to i: layers not run yet
            states[1:, :, i:i + 1] = recurrence.forward(a[..., None], u[i:i + 1].astype(a.dtype),
                                                        states[0, :, i:i + 1], "identity")
        return states[1:] @ Q.T


def perturbation_errors(U: Array, sizes: Array, steps: int = 20, seed: int = 0) -> Array:
    """Perturb U by random matrices of the sizes given, and measure how far the two-layer form's states are off.

    Parameters
    ----------
    U : (N, N) real, defective or not
    sizes : (S,) numbers above 0, the spectral norms ‖δU‖ relative to ‖U‖
    steps : T, how many states are compared
    seed : whole number of at least 0, of the perturbation (one direction for all sizes), the input weight and the input

    Returns
    -------
    errors : (S,) the largest difference of states from the RNN's with U itself, relative to its largest state; it falls
        in proportion to the size until W_s is so ill-conditioned that rounding takes over, and then rises; inf where
        the perturbed matrix, rounded, still has no eigenbasis

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind; the message names it.
    """
    _shapes.square("U", U)
    _shapes.on_the_cpu(U=U, sizes=sizes)
    if U.dtype.kind == "c":
        raise TypeError(f"U: expected real numbers; got {U.dtype}.")
    sizes, steps = _checks.reals("sizes", sizes, above_zero=True), _checks.whole("steps", steps)
    if sizes.ndim != 1:
        raise ValueError(f"sizes: expected shape (S,), one dimension; got {sizes.shape}.")
    rng = np.random.default_rng(_checks.whole("seed", seed, least=0))
    W, x = (rng.standard_normal(shape).astype(U.dtype) for shape in (U.shape, (steps, 1, len(U))))
    direction = rng.standard_normal(U.shape)
    direction *= np.linalg.norm(U, 2) / np.linalg.norm(direction, 2)

    h = np.zeros((steps + 1, 1, len(U)), np.longdouble)
    for t in range(steps):
        h[t + 1] = x[t] @ W.T.astype(h.dtype) + h[t] @ U.T

    def error(size: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NearlyDefective)  # that is what is measured
            try:
                layers = rnn_as_indrnn(W, (U + size * direction).astype(U.dtype))
            except ValueError:
                return math.inf
        return float(abs(run_two_layers(x, layers) - h[1:]).max() / abs(h).max())

    return np.array([error(size) for size in sizes])


def rotation_gap(angle: float, neurons: int) -> float:
    """Bound from below how well K real linear IndRNN neurons can be a rotation, by the theorem above.

    Parameters
    ----------
    angle : θ in radians
    neurons : K, in all layers together, whatever their weights

    Returns
    -------
    float : in every K + 1 successive steps after the impulse's own, some step's response is at least this far from
        R(θ)^t e_1, as points in the plane; attained in one such window. 0 where θ is a multiple of π

    Raises
    ------
    TypeError, ValueError
        angle is no finite number, or neurons no whole number above 0.
    """
    half = _checks.number("angle", angle, signed=True) / 2
    return min(abs(math.sin(half)), abs(math.cos(half))) ** _checks.whole("neurons", neurons)
