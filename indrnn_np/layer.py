"""One IndRNN layer, Eq. 2: h_t = σ(W x_t + u ⊙ h_{t−1} + b), an affine map and the recurrence behind it.

`forward` returns a Trace, which holds h and what backward needs; `backward` turns the cotangent of h into the
gradients of everything that went in. The recurrence runs on an engine; the affine map is differentiated here:

    a_t = W x_t + b      ⇒      dx_t = Wᵀ da_t,    dW = Σ_t Σ_b da_t x_tᵀ,    db = Σ_t Σ_b da_t
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import checks, engines
from .activations import Activation, resolve
from .array_module import Array, namespace


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """What `forward` computed and `backward` needs.

    x, W, u and h0 are the caller's own arrays, not copies: do not change them before `backward`.

    Attributes
    ----------
    h : (T, B, N) states
    x, W, u, h0 : as in `forward`; h0 is zeros where it was left out
    a : (T, B, N) drive, kept only where the activation's slope must be taken at z (tanh, sigmoid); else None
    activation : Activation
    engine : the name of the engine that ran
    """

    h: Array
    x: Array
    W: Array
    u: Array
    h0: Array
    a: Array | None
    activation: Activation
    engine: str

    def __repr__(self) -> str:
        T, B, M = self.x.shape
        return (f"Trace(T={T}, B={B}, M={M}, N={len(self.u)}, {self.activation.name}, {self.h.dtype}, "
                f"engine={self.engine!r})")


class Gradients(NamedTuple):
    """Total gradients of J: dx (T, B, M), dW (N, M), du (N,), db (N,), dh0 (B, N)."""

    dx: Array
    dW: Array
    du: Array
    db: Array
    dh0: Array


def forward(x: Array, W: Array, u: Array, b: Array | None = None, h0: Array | None = None,
            activation: str | Activation = "relu", engine: str | None = None) -> Trace:
    """Run one layer over a batch of sequences (Li et al. 2018, Eq. 2).

    Parameters
    ----------
    x : (T, B, M) input, time first
    W : (N, M) input weight
    u : (N,) recurrent weight
    b : (N,) bias; none where None
    h0 : (B, N) initial state; zeros where None
    activation : name or Activation
    engine : name of an engine; None chooses the fastest that can

    Returns
    -------
    Trace : `.h` has the states (T, B, N)

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape, or is unknown; the message names it.
    """
    xp = checks.layer(x, W, u, b, h0)
    σ = resolve(activation)
    chosen = engines.choose(engine, x, σ)
    T, B, M = x.shape
    N = len(W)
    with np.errstate(all="ignore"):  # inf and NaN flow through in silence, as IEEE says
        a = (x.reshape(T * B, M) @ W.T).reshape(T, B, N)
        if b is not None:
            a += b
        h0 = xp.zeros((B, N), x.dtype) if h0 is None else h0
        h = engines.get(chosen).forward(a, u, h0, σ, None if σ.needs_z else a)  # over a, which nobody needs again
    return Trace(h=h, x=x, W=W, u=u, h0=h0, a=a if σ.needs_z else None, activation=σ, engine=chosen)


def backward(dh: Array, trace: Trace) -> Gradients:
    """Backpropagate through the layer and through time.

    Parameters
    ----------
    dh : (T, B, N) partial derivative of J by each h_t, not through later steps. A loss at the last step alone has
        zeros everywhere but in dh[-1].
    trace : what `forward` returned

    Returns
    -------
    Gradients : dx (T, B, M), dW (N, M), du (N,), db (N,), dh0 (B, N); db and dh0 also where b and h0 were left out

    Raises
    ------
    TypeError, ValueError
        dh has the wrong type, dtype, device or shape, or trace is no Trace.
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"trace: expected the Trace that forward returned; got {type(trace).__name__}.")
    checks.cotangent(dh, trace.h)
    x, W = trace.x, trace.W
    T, B, M = x.shape
    with np.errstate(all="ignore"):
        engine = engines.get(trace.engine)
        db = namespace(W).empty(len(W), W.dtype)
        da, du, dh0 = engine.backward(dh, trace.h, trace.a, trace.u, trace.h0, trace.activation, None, db)
        rows = da.reshape(T * B, -1)  # one row per step and sequence, so that Wᵀ da_t is rows @ W
        return Gradients(dx=(rows @ W).reshape(T, B, M), dW=rows.T @ x.reshape(T * B, M), du=du, db=db, dh0=dh0)
