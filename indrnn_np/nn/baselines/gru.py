"""The GRU (Cho et al. 2014), in the form that needs one product a step: the reset gate behind the recurrent matrix.

    a_t = W x_t + b,   p_t = U h_{t−1}              in three blocks of N rows: r, k, n                      (i)
    r = 1 / (1 + e^{−(a^r + p^r)}),   k = 1 / (1 + e^{−(a^k + p^k)})        reset, and keep                 (ii)
    m = p^n + b_n,   n = tanh(a^n + r ⊙ m)                                  the candidate                   (iii)
    h_t = (1 − k) ⊙ n + k ⊙ h_{t−1}                 t = 1 … T, h_0 = 0                                      (iv)

(The first paper has U (r ⊙ h_{t−1}) in place of r ⊙ m. cuDNN, PyTorch and this file have the reset gate behind U.)

Its derivative. H_t is the total derivative of J by h_t, through all later steps, dh_t the partial one. h_t is felt
directly, through p_{t+1}, and as what is kept of it. With da and dp the total derivatives by a and p, going back,

    H_t = dh_t + Uᵀ dp_{t+1} + k_{t+1} ⊙ H_{t+1}                        the last two 0 at t = T             (v)

    da^n = (1 − n²) ⊙ (1 − k) ⊙ H_t                 dp^n = r ⊙ da^n                                         (vi)
    da^r = dp^r = r (1 − r) ⊙ m ⊙ da^n              da^k = dp^k = k (1 − k) ⊙ (h_{t−1} − n) ⊙ H_t           (vii)

    dx_t = Wᵀ da_t    dW = Σ da_t x_tᵀ    db = Σ da_t    dU = Σ dp_t h_{t−1}ᵀ    db_n = Σ dp^n_t            (viii)

The last term of (v) is the memory, an IndRNN with u = k. All of (vi) and (vii) is H_t times a factor that is known
before the way back begins; the factors are formed for all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...array_module import Array
from .. import sequences
from ..affine import Params, over_all_but_the_last
from . import _cells


@np.errstate(all="ignore")  # inf and NaN flow through in silence, as IEEE says
def gru(params: Params, x: Array,
        mask: Array | None = None) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Run a GRU over a batch of sequences.

    Parameters
    ----------
    params : W (3N, M), U (3N, N), b (3N,), the blocks of rows r, k, n; and b_n (N,), the bias behind the reset gate
    x : (T, B, M) input
    mask : (T, B), True where a position is real, from the first step on; None: all are. Elsewhere h and dx are 0

    Returns
    -------
    h : (T, B, N) states
    backward : dh (T, B, N), not through later steps, to dx (T, B, M) and {"W": dW, "U": dU, "b": db, "b_n": db_n}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    xp = _cells.check(params, x, mask, gates=3)
    W, U, b, b_n = params["W"], params["U"], params["b"], params["b_n"]
    T, B, M = x.shape
    N = U.shape[1]
    x = sequences.keep(mask, x)

    h = xp.zeros((T + 1, B, N), x.dtype)                                    # row t is h_t, h_0 = 0 the first
    m = xp.empty((T, B, N), x.dtype)
    p, fed_back = xp.empty((B, 3 * N), x.dtype), xp.empty((B, N), x.dtype)
    p_n = p[:, 2 * N:]
    a = (x.reshape(T * B, M) @ W.T).reshape(T, B, 3 * N)
    a += b
    r, k, n = _cells.blocks(a, 3)                                           # gates take the place of their a
    for t in range(T):
        xp.matmul(h[t], U.T, out=p)                                         # (i)
        gates = a[t, :, :2 * N]
        gates += p[:, :2 * N]
        _cells.logistic(gates)                                              # (ii)
        xp.add(p_n, b_n, out=m[t])
        xp.multiply(r[t], m[t], out=fed_back)
        n[t] += fed_back
        xp.tanh(n[t], out=n[t])                                             # (iii)
        xp.subtract(h[t], n[t], out=h[t + 1])
        h[t + 1] *= k[t]
        h[t + 1] += n[t]                                                    # (iv)
    if mask is not None:
        h[1:] = sequences.keep(mask, h[1:])

    @np.errstate(all="ignore")
    def backward(dh: Array) -> tuple[Array, Params]:
        _cells.check_cotangent(dh, h)
        dh = sequences.keep(mask, dh)
        candidate = (1 - n * n) * (1 - k)                                   # da^n = candidate ⊙ H, (vi)
        dp = xp.empty((T, B, 3 * N), x.dtype)                               # first its factor of H
        dp_r, dp_k, dp_n = _cells.blocks(dp, 3)
        dp_r[...] = r * (1 - r) * m * candidate
        dp_k[...] = k * (1 - k) * (h[:-1] - n)
        dp_n[...] = r * candidate
        H, fed_back = xp.zeros((B, N), x.dtype), xp.empty((B, N), x.dtype)
        for t in reversed(range(T)):
            if t < T - 1:
                H *= k[t + 1]
                xp.matmul(dp[t + 1], U, out=fed_back)
                H += fed_back
            H += dh[t]                                                      # (v)
            dp_r[t] *= H
            dp_k[t] *= H                                                    # (vii)
            dp_n[t] *= H
            candidate[t] *= H                                               # (vi)
        rows = dp.reshape(T * B, 3 * N)
        dU, db_n = rows.T @ h[:-1].reshape(T * B, N), over_all_but_the_last(dp_n)
        dp_n[...] = candidate                                               # and dp is da
        return (rows @ W).reshape(x.shape), {                               # (viii)
            "W": rows.T @ x.reshape(T * B, M),
            "U": dU,
            "b": over_all_but_the_last(dp),
            "b_n": db_n,
        }

    return h[1:], backward
