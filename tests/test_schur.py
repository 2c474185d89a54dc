"""A defective U: what perturbing it costs, and the Schur form, a dense stack of IndRNN layers, which costs nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_rnn import DTYPES, KINDS, LONG, WIDTHS, Drawn, draw, jordan, norm, propagated, rnn
from tally import SUMMARIES, Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    NearlyDefective,
    perturbation_errors,
    rnn_as_dense_stack,
    rnn_as_indrnn,
    run_dense_stack,
    run_two_layers,
    schur,
)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_best_perturbation_of_a_jordan_block_leaves_the_error_that_its_size_predicts(n: int) -> None:
    U, sizes = np.eye(n) / 2 + np.eye(n, k=1) / 2, 10.0 ** np.arange(-16, 0, 0.25)
    predicted = np.finfo(float).eps ** (n / (2 * n - 1))
    runs = np.stack([perturbation_errors(U, sizes, seed=seed) for seed in range(12)])
    best = runs.min(axis=1)
    SUMMARIES.append(f"defective U, block of {n}: best perturbation errs by {best.max():.0e} (worst of 12 directions), "
                     f"ε^(n/(2n−1)) = {predicted:.0e}")
    assert predicted / 10 < best.max() < predicted * 10
    large, small = sizes >= 1e-6, sizes <= predicted / 1e3
    assert (runs[:, large] / sizes[large] < 10).all(), "in proportion to a large perturbation"
    assert (runs[:, large] / sizes[large] > 0.01).all()
    assert (runs[best.argmax()][small] > 3 * best.max()).all(), "rounding takes over from a small one"
    if n == 2:
        assert best.min() < 1e-14, "where the two eigenvalues part into a complex pair nothing cancels"


MATRICES = {
    "one": np.array([[-3.0]]), "zero": np.zeros((4, 4)), "identity": np.eye(5), "nilpotent": np.eye(6, k=1),
    "lower Jordan": np.eye(7, k=-1) + np.eye(7), "defective 32": jordan(32), "a scale of 1e-150": jordan(5) * 1e-150,
    "a scale of 1e150": jordan(5) * 1e150, "two blocks": np.kron(np.eye(3), np.array([[1.0, 1], [0, 1]])),
    "permutation": np.eye(6)[[1, 2, 3, 4, 5, 0]], "ones": np.ones((6, 6)),
    "graded": np.diag(10.0 ** np.arange(-8, 8, 2)),
    **{f"{kind} {N}": draw(kind, N, N).U for kind in dict.fromkeys(KINDS) for N in (2, 9, 24)},
}


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in MATRICES for dtype in (np.float32, np.float64)
                                             if dtype == np.float64 or "scale" not in name])
def test_the_schur_form_is_unitary_and_triangular_and_gives_back_any_matrix(name: str, dtype: type) -> None:
    U = MATRICES[name]
    if dtype == np.float32:
        U = U.astype(np.complex64 if U.dtype.kind == "c" else dtype)
    Q, T = schur.schur(U)
    ε, N = np.finfo(dtype).eps / 2, len(U)
    # A reflection of an n-vector errs by (n + 6)ε √2 · 2 relative to its length; there are N on either side, and an
    # eigenvector's own residual, left out below the diagonal, is of a reflection's size. Q has N.
    allowed = 3 * N * (N + 6) * 3 * ε
    Q, T = Q.astype(LONG), T.astype(LONG)
    assert not np.tril(T, -1).any()
    assert norm(Q.conj().T @ Q - np.eye(N)) <= allowed * np.sqrt(N)
    assert norm(Q @ T @ Q.conj().T - U) <= allowed * norm(U)


def stack_error(value: Drawn, stack: ir.analysis.DenseStack, states: np.ndarray) -> np.ndarray:
    """Bound the error of the dense stack's states at each step, from the stack as it is: as `two_layer_error`."""
    W, U, _, h0 = (v.astype(LONG) for v in value)
    ε, N = np.finfo(value.U.dtype).eps / 2, len(U)
    Q, T = stack.Q.astype(LONG), stack.V.astype(LONG) + np.diag(stack.u.astype(LONG))
    departs = norm(Q.conj().T @ Q - np.eye(N))  # Q' = Q (I + E) is unitary with ‖E‖ ≤ departs, as is each use of Q
    off_W = norm(Q @ stack.W - W) + departs * norm(W)
    off_U = norm(Q @ T @ Q.conj().T - U) + 2 * departs * norm(U)
    # Each step rounds inner products over N + M terms, twice over with Q: ε 2(N + M + 4) of |T| |h'| + |W| |x|.
    terms = 2 * (sum(value.W.shape) + 4) * ε
    step = terms * (norm(T) + norm(stack.W)) * 2
    bound = propagated(value, off_W + step, off_U + step, (departs + terms) * norm(h0) * 2, states)
    return bound + np.array([(departs + terms) * 2 * (norm(h) + b) for h, b in zip(states, bound, strict=True)])


def test_the_dense_stack_is_any_rnn_at_condition_number_1() -> None:
    tally = Tally("RNN = dense stack")

    @given(st.sampled_from((*KINDS, "defective", "defective")), WIDTHS, st.integers(0, 2**32), DTYPES)
    @settings(max_examples=150)
    def claim(kind: str, N: int, seed: int, dtype: type) -> None:
        value = draw(kind, N, seed, dtype)
        if kind == "defective":
            value = value._replace(U=jordan(N, seed).astype(dtype))
        stack, states = rnn_as_dense_stack(value.W, value.U), rnn(*value)
        assert not np.tril(stack.V).any(), "a layer sees only layers that ran before it"
        errors = np.array([norm(e) for e in run_dense_stack(value.x, stack, value.h0) - states])
        allowed = stack_error(value, stack, states)
        assert (errors <= allowed).all()
        assert allowed.max() <= 3000 * N * np.finfo(dtype).eps * max(norm(h) for h in states)
        tally.note(N > 1, float((errors / allowed).max()))

    claim()
    tally.require(0.7)


def test_the_bound_sees_a_stack_that_is_not_the_same() -> None:
    value = draw("any", 5, 1)
    stack, states = rnn_as_dense_stack(value.W, value.U), rnn(*value)
    wrong = {"without the layers before": stack._replace(V=0 * stack.V), "conjugated": stack._replace(V=stack.V.conj()),
             "Q transposed": stack._replace(Q=stack.Q.T), "W itself": stack._replace(W=value.W + 0j)}
    for name, mistaken in wrong.items():
        errors = np.array([norm(e) for e in run_dense_stack(value.x, mistaken, value.h0) - states])
        assert (errors > stack_error(value, stack, states)).any(), name


def test_a_defective_matrix_of_size_32_loses_all_in_two_layers_and_nothing_in_the_stack() -> None:
    value = draw("any", 32, 5)._replace(U=jordan(32))
    states = rnn(*value)
    with pytest.warns(NearlyDefective):
        layers = rnn_as_indrnn(value.W, value.U)
    largest = abs(states).max()
    two = abs(run_two_layers(value.x, layers, value.h0) - states).max() / largest
    one = abs(run_dense_stack(value.x, rnn_as_dense_stack(value.W, value.U), value.h0) - states).max() / largest
    SUMMARIES.append(f"defective U of size 32: two layers err by {two:.0e}, the dense stack by {one:.0e}")
    assert two > 1e-4
    assert one < 1e-12
