"""The heart: the IndRNN recurrence and its derivative, one line per equation.

What is computed (Li et al. 2018, Eq. 2), with a_t = W x_t + b given and ⊙ the elementwise product:

    z_t = a_t + u ⊙ h_{t−1}                                                                     (i)
    h_t = σ(z_t)                                    t = 1 … T                                   (ii)

Its derivative. Let J be any scalar function of h_1 … h_T. dh_t is its partial derivative by h_t, the other
states held fixed; g_t is its total derivative, through all later steps too, which the paper writes ∂J/∂h_t.
J feels h_t directly and through z_{t+1} = a_{t+1} + u ⊙ h_t; so, by the chain rule, from the last step back,

    g_t = dh_t + u ⊙ dz_{t+1}                       t = T … 1,  with dz_{T+1} = 0               (iii)
    dz_t = σ'(z_t) ⊙ g_t                                                                        (iv)

where dz_t is the total derivative by z_t. Equation (i) hands it to each of its terms: a_t has it whole, u is
shared by all steps and sequences, and h_0 is felt through z_1 alone:

    da_t = dz_t          du = Σ_t Σ_b dz_t ⊙ h_{t−1}          dh_0 = u ⊙ dz_1                   (v)

Where J looks at h_T alone, dh_t = 0 for t < T, so g_t = u ⊙ σ'(z_{t+1}) ⊙ g_{t+1}. Used again and again this is
the product that the paper bounds (Eq. 4), one neuron at a time since no neuron sees another:

    g_t = g_T · u^{T−t} · ∏_{k=t+1}^{T} σ'(z_k)

Step t of the equations is row t − 1 of the arrays; h_0 is the argument h0.

This file is the specification. It is slow and plain on purpose; the engines are fast, and the oracle holds
every one of them against it. Arrays are NumPy's or CuPy's, real or complex (the derivative is the unconjugated
transpose), all of one dtype. Cutting a sequence changes nothing: run [0, k), then [k, T) from its last state;
backward, add the dh0 of the second part to the last cotangent of the first; the two du add up.
"""

from __future__ import annotations

from typing import NamedTuple

from . import checks
from .activations import Activation, resolve
from .array_module import Array


class RecurrenceGradients(NamedTuple):
    """Total gradients of J: da (T, B, N), du (N,), dh0 (B, N)."""

    da: Array
    du: Array
    dh0: Array


def forward(a: Array, u: Array, h0: Array, activation: str | Activation) -> Array:
    """Run the recurrence, Eq. 2.

    Parameters
    ----------
    a : (T, B, N) drive, W x_t + b
    u : (N,) recurrent weight
    h0 : (B, N) initial state
    activation : name or Activation

    Returns
    -------
    h : (T, B, N) states

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    xp = checks.recurrence(u, h0, a=a)
    σ = resolve(activation)

    h = xp.empty(a.shape, a.dtype)
    for t in range(len(a)):
        h_prev = h[t - 1] if t > 0 else h0
        z = a[t] + u * h_prev                                       # (i)
        h[t] = σ(z)                                                 # (ii)
    return h


def backward(dh: Array, h: Array, a: Array | None, u: Array, h0: Array,
             activation: str | Activation) -> RecurrenceGradients:
    """Backpropagate through time, equations (iii) to (v) above; Eq. 4 for a loss at the last step.

    Parameters
    ----------
    dh : (T, B, N) partial derivative of J by each h_t, not through later steps
    h : (T, B, N) what `forward` returned
    a : (T, B, N) drive; None will do where h tells the slope (identity, relu, leaky_relu, softplus)
    u, h0, activation : as in `forward`

    Returns
    -------
    RecurrenceGradients : da (T, B, N), du (N,), dh0 (B, N)

    Raises
    ------
    TypeError, ValueError
        As `forward`; also where a is None and the activation needs it.
    """
    xp = checks.recurrence(u, h0, h=h, dh=dh, a=a, optional=("a",))
    σ = resolve(activation)
    checks.drive(a, σ)

    da, du = xp.empty(h.shape, h.dtype), xp.zeros(u.shape, u.dtype)
    dz = xp.zeros(h0.shape, h0.dtype)                               # dz_{T+1}
    for t in reversed(range(len(h))):
        h_prev = h[t - 1] if t > 0 else h0
        z = a[t] + u * h_prev if σ.needs_z and a is not None else None
        g = dh[t] + u * dz                                          # (iii)
        da[t] = σ.pull(g, z, h[t])                                  # (iv)
        dz = da[t]
        du += (dz * h_prev).sum(axis=0)                             # (v)
    return RecurrenceGradients(da, du, u * dz)                      # (v)


def jvp(a: Array, u: Array, h0: Array, activation: str | Activation,
        a_dot: Array, u_dot: Array, h0_dot: Array) -> tuple[Array, Array]:
    """Push a tangent forward: the derivative of (i) and (ii) in the direction (a_dot, u_dot, h0_dot).

    It is the transpose of `backward`: ⟨dh, h_dot⟩ = ⟨da, a_dot⟩ + ⟨du, u_dot⟩ + ⟨dh0, h0_dot⟩. Since it runs forward
    in time, that identity checks the flow through time; σ' both take from the same table.

    Parameters
    ----------
    a, u, h0, activation : as in `forward`
    a_dot, u_dot, h0_dot : (T, B, N), (N,), (B, N) the direction

    Returns
    -------
    h, h_dot : (T, B, N) each; the states and their derivative

    Raises
    ------
    TypeError, ValueError
        As `forward`.
    """
    xp = checks.recurrence(u, h0, a=a, a_dot=a_dot, tangents={"u_dot": u_dot, "h0_dot": h0_dot})
    σ = resolve(activation)

    h, h_dot = xp.empty(a.shape, a.dtype), xp.empty(a.shape, a.dtype)
    for t in range(len(a)):
        h_prev, h_dot_prev = (h[t - 1], h_dot[t - 1]) if t > 0 else (h0, h0_dot)
        z = a[t] + u * h_prev
        z_dot = a_dot[t] + u_dot * h_prev + u * h_dot_prev
        h[t] = σ(z)
        h_dot[t] = σ.pull(z_dot, z, h[t])                           # σ' is diagonal: pushing is pulling
    return h, h_dot
