"""What the three cells share: their door, their gates as blocks of one array, the logistic function in place."""

from __future__ import annotations

from typing import Any

from ...array_module import Array, namespace
from .. import _door
from ..affine import Params


def check(params: Params, x: Array, mask: Array | None, gates: int) -> Any:
    """Check the arguments of a cell with so many gates; return their array namespace."""
    xp = _door.alike(x=x, **params)
    _door.shape("x", x, (None, None, None), "(T, B, M), time first")
    M, N = x.shape[2], params["U"].shape[-1]
    rows = gates * N
    _door.shape("U", params["U"], (rows, N), f"{gates} times as many rows as columns")
    _door.shape("W", params["W"], (rows, M), f"a row per row of U and a column per input of x {x.shape}")
    _door.shape("b", params["b"], (rows,), "one bias per row of U")
    if "b_n" in params:
        _door.shape("b_n", params["b_n"], (N,), "one bias per neuron")
    if mask is not None:
        _door.mask(mask, x.shape[:2], x)
    return xp


def check_cotangent(dh: Array, h: Array) -> None:
    """Check dh against the states h_0 … h_T."""
    _door.cotangent(dh, (len(h) - 1, *h.shape[1:]), h, "dh")


def blocks(z: Array, count: int) -> list[Array]:
    """Return views of the last axis, cut into so many blocks."""
    N = z.shape[-1] // count
    return [z[..., k * N:(k + 1) * N] for k in range(count)]


def logistic(z: Array) -> None:
    """Replace z by 1 / (1 + e^{−z}), which is 0 where e^{−z} overflows."""
    xp = namespace(z)
    xp.negative(z, out=z)
    xp.exp(z, out=z)
    z += 1
    xp.reciprocal(z, out=z)
