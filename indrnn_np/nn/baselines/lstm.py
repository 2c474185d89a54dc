"""The LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000), its four gates in one product.

    z_t = W x_t + U h_{t−1} + b                     in four blocks of N rows: z^i, z^f, z^o, z^g            (i)
    i, f, o = 1 / (1 + e^{−z}),   g = tanh(z^g)     of this step each                                       (ii)
    c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t                 the cell, c_0 = 0                                       (iii)
    h_t = o_t ⊙ tanh(c_t)                           t = 1 … T, h_0 = 0                                      (iv)

Its derivative. Let H_t and C_t be the total derivatives of J by h_t and c_t, through all later steps, and dh_t the
partial one by h_t. h_t is felt directly and through z_{t+1}; c_t through h_t and c_{t+1}. From the last step back,

    H_t = dh_t + Uᵀ dz_{t+1}                                            with dz_{T+1} = 0                   (v)
    C_t = o_t ⊙ (1 − tanh²(c_t)) ⊙ H_t + f_{t+1} ⊙ C_{t+1}              with C_{T+1} = 0                    (vi)

    dz^i = i (1 − i) ⊙ g_t ⊙ C_t                    dz^f = f (1 − f) ⊙ c_{t−1} ⊙ C_t                        (vii)
    dz^o = o (1 − o) ⊙ tanh(c_t) ⊙ H_t              dz^g = (1 − g²) ⊙ i_t ⊙ C_t                             (viii)

    dx_t = Wᵀ dz_t      dW = Σ dz_t x_tᵀ      dU = Σ dz_t h_{t−1}ᵀ      db = Σ dz_t                         (ix)

with sums over all steps and sequences.

The last term of (vi) is the memory: where f is near 1 it is an IndRNN with u = f, whose every step has a weight of its
own. All factors of C_t and H_t are known before the way back begins, and are formed for all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...array_module import Array
from .. import sequences
from ..affine import Params, over_all_but_the_last
from . import _cells


@np.errstate(all="ignore")  # inf and NaN flow through in silence, as IEEE says
def lstm(params: Params, x: Array,
         mask: Array | None = None) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Run an LSTM over a batch of sequences.

    Parameters
    ----------
    params : W (4N, M), U (4N, N), b (4N,); the blocks of rows are i, f, o, g
    x : (T, B, M) input
    mask : (T, B), True where a position is real, from the first step on; None: all are. Elsewhere h and dx are 0

    Returns
    -------
    h : (T, B, N) states
    backward : dh (T, B, N), not through later steps, to dx (T, B, M) and {"W": dW, "U": dU, "b": db}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    xp = _cells.check(params, x, mask, gates=4)
    W, U, b = params["W"], params["U"], params["b"]
    T, B, M = x.shape
    N = U.shape[1]
    x = sequences.keep(mask, x)

    h, c = xp.zeros((T + 1, B, N), x.dtype), xp.zeros((T + 1, B, N), x.dtype)  # row t is step t, zeros the first
    squashed = xp.empty((T, B, N), x.dtype)                                 # tanh(c_t)
    fed_back, written = xp.empty((B, 4 * N), x.dtype), xp.empty((B, N), x.dtype)
    z = (x.reshape(T * B, M) @ W.T).reshape(T, B, 4 * N)
    z += b
    i, f, o, g = _cells.blocks(z, 4)                                        # gates take the place of their z
    for t in range(T):
        xp.matmul(h[t], U.T, out=fed_back)
        z[t] += fed_back                                                    # (i)
        _cells.logistic(z[t, :, :3 * N])
        xp.tanh(g[t], out=g[t])                                             # (ii)
        xp.multiply(f[t], c[t], out=c[t + 1])
        xp.multiply(i[t], g[t], out=written)
        c[t + 1] += written                                                 # (iii)
        xp.tanh(c[t + 1], out=squashed[t])
        xp.multiply(o[t], squashed[t], out=h[t + 1])                        # (iv)
    if mask is not None:
        h[1:] = sequences.keep(mask, h[1:])

    @np.errstate(all="ignore")
    def backward(dh: Array) -> tuple[Array, Params]:
        _cells.check_cotangent(dh, h)
        dh = sequences.keep(mask, dh)
        C_by_H = o * (1 - squashed * squashed)                              # ∂h_t/∂c_t: what H_t adds to C_t
        dz = xp.empty((T, B, 4 * N), x.dtype)                               # first its factor of C or H, (vii), (viii)
        dz_i, dz_f, dz_o, dz_g = _cells.blocks(dz, 4)
        dz_i[...] = i * (1 - i) * g
        dz_f[...] = f * (1 - f) * c[:-1]
        dz_o[...] = o * (1 - o) * squashed
        dz_g[...] = (1 - g * g) * i
        H, C, direct = (xp.zeros((B, N), x.dtype) for _ in range(3))
        for t in reversed(range(T)):
            if t < T - 1:
                xp.matmul(dz[t + 1], U, out=H)
                C *= f[t + 1]
            H += dh[t]                                                      # (v)
            xp.multiply(C_by_H[t], H, out=direct)
            C += direct                                                     # (vi)
            dz_i[t] *= C
            dz_f[t] *= C                                                    # (vii)
            dz_o[t] *= H
            dz_g[t] *= C                                                    # (viii)
        rows = dz.reshape(T * B, 4 * N)
        return (rows @ W).reshape(x.shape), {                               # (ix)
            "W": rows.T @ x.reshape(T * B, M),
            "U": rows.T @ h[:-1].reshape(T * B, N),
            "b": over_all_but_the_last(dz),
        }

    return h[1:], backward
