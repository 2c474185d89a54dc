"""The RNN, which the paper sets out from (Li et al. 2018, Eq. 1): every neuron sees the past of all.

    z_t = W x_t + U h_{t−1} + b                                                                 (i)
    h_t = σ(z_t)                                    t = 1 … T, h_0 = 0                          (ii)

Its derivative. dh_t is the partial derivative of J by h_t, g_t the total one, through all later steps. J feels h_t
directly and through z_{t+1}, so from the last step back

    g_t = dh_t + Uᵀ dz_{t+1}                        t = T … 1,  with dz_{T+1} = 0               (iii)
    dz_t = σ'(z_t) ⊙ g_t                                                                        (iv)

    dx_t = Wᵀ dz_t      dW = Σ dz_t x_tᵀ      dU = Σ dz_t h_{t−1}ᵀ      db = Σ dz_t             (v)

where the sums are over steps and sequences. Compare `recurrence.py`: u ⊙ has become Uᵀ, and with it (iii) no longer
splits into one product per neuron. ∂h_T/∂h_t is ∏ diag(σ') U, which shrinks or grows as U's singular values let it.

With tanh and an orthogonal U this is the RNN of the adding problem, with ReLU and U = I the IRNN (Le, Jaitly & Hinton
2015), both as the paper compares with them (§5.1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...activations import Activation, resolve
from ...array_module import Array
from .. import sequences
from ..affine import Params, over_all_but_the_last
from . import _cells


@np.errstate(all="ignore")  # inf and NaN flow through in silence, as IEEE says
def rnn(params: Params, x: Array, activation: str | Activation = "tanh",
        mask: Array | None = None) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Run an RNN over a batch of sequences (Li et al. 2018, Eq. 1).

    Parameters
    ----------
    params : W (N, M), U (N, N), b (N,)
    x : (T, B, M) input
    activation : name or Activation
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
    xp = _cells.check(params, x, mask, gates=1)
    W, U, b = params["W"], params["U"], params["b"]
    σ = resolve(activation)
    T, B, M = x.shape
    N = len(U)
    x = sequences.keep(mask, x)

    h = xp.zeros((T + 1, B, N), x.dtype)                                    # row t is h_t, h_0 = 0 the first
    z = (x.reshape(T * B, M) @ W.T).reshape(T, B, N)
    z += b
    for t in range(T):
        z[t] += h[t] @ U.T                                                  # (i)
        h[t + 1] = σ(z[t])                                                  # (ii)
    if mask is not None:
        h[1:] = sequences.keep(mask, h[1:])

    @np.errstate(all="ignore")
    def backward(dh: Array) -> tuple[Array, Params]:
        _cells.check_cotangent(dh, h)
        dh = sequences.keep(mask, dh)
        slope = σ.slope(z) if σ.needs_z else None                           # else h tells it
        dz, g = xp.empty((T, B, N), x.dtype), xp.empty((B, N), x.dtype)
        for t in reversed(range(T)):
            if t == T - 1:
                g[...] = dh[t]
            else:
                xp.matmul(dz[t + 1], U, out=g)
                g += dh[t]                                                  # (iii)
            dz[t] = σ.pull(g, None, h[t + 1]) if slope is None else slope[t] * g        # (iv)
        rows = dz.reshape(T * B, N)
        return (rows @ W).reshape(x.shape), {                               # (v)
            "W": rows.T @ x.reshape(T * B, M),
            "U": rows.T @ h[:-1].reshape(T * B, N),
            "b": over_all_but_the_last(dz),
        }

    return h[1:], backward
