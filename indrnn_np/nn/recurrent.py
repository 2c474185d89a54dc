"""The recurrence as a piece: h_t = σ(a_t + u ⊙ h_{t−1}) from h_0 = 0 (Li et al. 2018, Eq. 2).

It stands alone, without an affine map, so that batch normalisation can stand between the two, as §4.1 of the paper
has it, or behind the activation. The derivation is at the top of `recurrence.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..activations import Activation, resolve
from ..array_module import Array
from ..engines import recurrent_backward, recurrent_forward
from . import _door, sequences
from .affine import Params


def recurrent(params: Params, a: Array, activation: str | Activation = "relu", mask: Array | None = None,
              bidirectional: bool = False,
              overwrite: bool = False) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Run the recurrence over a batch of sequences.

    Parameters
    ----------
    params : u (N,)
    a : (T, B, N) drive
    activation : name or Activation
    mask : (T, B), True where a position is real; None: all are. Elsewhere h and da are 0
    bidirectional : whether the second half of the neurons run from each sequence's last real step to its first
    overwrite : whether h may be written over a, and da over dh; the caller must not read a or dh again

    Returns
    -------
    h : (T, B, N) states
    backward : dh (T, B, N) to da (T, B, N) and {"u": du}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    u, σ = _door.leaf(params, "u"), resolve(activation)
    _door.alike(a=a, u=u)
    _door.shape("a", a, (None, None, None), "(T, B, N)")
    if bidirectional and a.shape[-1] % 2:
        raise ValueError(f"a: expected an even number of neurons, half of which run backwards; got shape {a.shape}.")
    if mask is not None:
        _door.mask(mask, a.shape[:2], a)
        a = sequences.keep(mask, a)
    if bidirectional:
        a = sequences.turn_half(a, mask)
    ours = overwrite or bidirectional or mask is not None  # memory that nobody else needs
    h = recurrent_forward(a, u, activation=σ, out=a if ours and not σ.needs_z else None)
    h = sequences.keep(mask, h)  # which grew on through the padding
    drive = a if σ.needs_z else None

    def backward(dh: Array) -> tuple[Array, Params]:
        _door.cotangent(dh, h.shape, u, "dh")
        dh = sequences.keep(mask, dh)
        if bidirectional:
            dh = sequences.turn_half(dh, mask)
        da, du, _ = recurrent_backward(dh, h, drive, u, activation=σ, out=dh if ours else None)
        return sequences.turn_half(da, mask) if bidirectional else da, {"u": du}

    return sequences.turn_half(h, mask) if bidirectional else h, backward
