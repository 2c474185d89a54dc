"""What a layer costs: its parameters, and its multiplications, additions and activations (Li et al. 2018, §3.3).

Parameters. Each of the G gates of a layer of N neurons over M inputs has a matrix W, a recurrent weight of R numbers,
and a bias where there is one; R = N² in an RNN, and an IndRNN is the RNN with R = N:

    parameters = G (M·N + R + N·[bias])             G = 1 for IndRNN and RNN, 4 for LSTM, 3 for GRU

The CVPR paper leaves the biases out and adds them in brackets: M·N + N (+N) for one layer of IndRNN, M·N + N·N + 2N
(+2N) for two. The follow-up (arXiv 1910.06251) counts them: M·N + 2N and M·N + N·N + 4N, and 4(M·N + N·N + N) for the
LSTM. These are one formula, with bias=False and bias=True. PyTorch holds two bias vectors a gate, thus G·N more; only
their sum matters, except in the third gate of its GRU, where the second bias stands inside r ⊙ (U h_{t−1} + b).

Operations, for one step of one sequence, where a sum of n terms takes n − 1 additions:

    forward                     multiplications     additions                   activations
    W x_t                       G·M·N               G·N (M − 1)
    U h_{t−1}, or u ⊙ h_{t−1}   G·R                 G (R − N)
    their sum, and the bias                         G·N (1 + [bias])
    between the gates           p·N                 q·N                         s·N, evaluations of σ

    backward
    g_t = dh_t + Uᵀ dz_{t+1}    G·R                 G·R
    between the gates, dz_t     p'·N                q'·N                        s·N, evaluations of σ'
    dU += dz_t h_{t−1}ᵀ         G·R                 G·R
    dW += dz_t x_tᵀ             G·M·N               G·M·N
    db += dz_t                                      G·N·[bias]
    dx_t = Wᵀ dz_t              G·M·N               M (G·N − 1)

with p, q, p', q', s in the table below. At t = T nothing comes from a later step, and the multiplications that the
first line of backward would have there make the gradient of the initial state instead; the addition is of a zero, and
counted. So a sequence of T steps costs T times one step, and B sequences B times that.

Not counted: copies, comparisons, and the selection by which ReLU is pulled back, which takes the place of N
multiplications by σ'. `tests/test_counts.py` derives the table by counting what the equations do.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from ._checks import flag, whole


class Operations(NamedTuple):
    """How many scalar operations: `activations` are evaluations of σ (forward) or of σ' (backward)."""

    multiplications: int
    additions: int
    activations: int


class _Cell(NamedTuple):
    gates: int             # G
    full: bool             # whether R = N², a recurrent matrix, or N, a vector
    forward: Operations    # p, q, s of the table above: per neuron, beyond the affine maps
    backward: Operations   # p', q', s


CELLS = {
    "indrnn": _Cell(1, False, Operations(0, 0, 1), Operations(1, 0, 1)),  # h = σ(z);          dz = σ'(z) g
    "rnn": _Cell(1, True, Operations(0, 0, 1), Operations(1, 0, 1)),
    # c = f c₋ + i ĉ,  h = o tanh c.   Back: do = g tanh c,  dc = f₊ dc₊ + g o tanh'(c),  di, dĉ, df, and σ' of four
    "lstm": _Cell(4, True, Operations(3, 1, 5), Operations(11, 1, 5)),
    # m = U h₋,  ĥ = tanh(· + r m),  h = ĥ + k (h₋ − ĥ).   Back: dk = g (h₋ − ĥ),  e = k g,  dĥ = g − e,  dr = dẑ m,
    # dm = dẑ r,  σ' of three;  e and Uᵀ(…) both go back to h₋. (k, the update gate, is called z elsewhere.)
    "gru": _Cell(3, True, Operations(2, 2, 3), Operations(7, 2, 3)),
}


def parameter_count(cell: str, M: int, N: int, layers: int = 1, bias: bool = True) -> int:
    """Count the parameters of a stack: the first layer has M inputs, each later one the N neurons below it.

    §3.3 of the CVPR paper with bias=False, the follow-up's formulas with bias=True: one bias vector for each gate.
    PyTorch's modules have two.

    Parameters
    ----------
    cell : "indrnn", "rnn", "lstm" or "gru"
    M, N : inputs of the first layer, neurons of each layer
    layers : how many layers
    bias : whether each gate has one

    Raises
    ------
    TypeError, ValueError
        cell is unknown, a count is no whole number above 0, or bias is not True or False; the message names it.
    """
    G, full, *_ = _cell(cell)
    M, N, layers, b = whole("M", M), whole("N", N), whole("layers", layers), flag("bias", bias)
    R = N * N if full else N
    return sum(G * (inputs * N + R + b * N) for inputs in [M] + [N] * (layers - 1))


def forward_operations(cell: str, M: int, N: int, steps: int = 1, bias: bool = True) -> Operations:
    """Count what one layer's forward pass does for one sequence of that many steps; the table above.

    Parameters
    ----------
    cell, M, N, bias : as in `parameter_count`
    steps : T; the count is T times that of one step

    Returns
    -------
    Operations : multiplications, additions, activations

    Raises
    ------
    TypeError, ValueError
        As `parameter_count`.
    """
    G, full, (p, q, s), _ = _cell(cell)
    M, N, T, b = whole("M", M), whole("N", N), whole("steps", steps), flag("bias", bias)
    R = N * N if full else N
    return Operations(T * (G * (M * N + R) + p * N),
                      T * (G * (N * (M - 1) + (R - N) + N * (1 + b)) + q * N),
                      T * s * N)


def backward_operations(cell: str, M: int, N: int, steps: int = 1, bias: bool = True) -> Operations:
    """Count what one layer's backward pass does for one sequence of that many steps; the table above.

    All gradients are counted: of the input, the weights, the bias where there is one, and the initial state. What
    forward computed is kept, not computed again, except σ'.

    Parameters
    ----------
    cell, M, N, bias, steps : as in `forward_operations`

    Returns
    -------
    Operations : multiplications, additions, activations

    Raises
    ------
    TypeError, ValueError
        As `parameter_count`.
    """
    G, full, _, (p, q, s) = _cell(cell)
    M, N, T, b = whole("M", M), whole("N", N), whole("steps", steps), flag("bias", bias)
    R = N * N if full else N
    return Operations(T * (2 * G * (M * N + R) + p * N),
                      T * (G * R + G * R + G * M * N + M * (G * N - 1) + G * N * b + q * N),
                      T * s * N)


def _cell(cell: str) -> _Cell:
    if not isinstance(cell, str):
        raise TypeError(f"cell: expected one of {', '.join(CELLS)}; got {type(cell).__name__}.")
    if cell not in CELLS:
        near = get_close_matches(cell.lower(), CELLS, n=1)
        raise ValueError(f"cell: expected one of {', '.join(CELLS)}; got {cell!r}."
                         + (f" Did you mean {near[0]!r}?" if near else ""))
    return CELLS[cell]
