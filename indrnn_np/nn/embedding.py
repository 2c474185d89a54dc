"""Embedding of tokens: y = E_token, a row of a table; and the same table read backwards as an output, y = E h + b.

    dE_v = Σ dy over all positions whose token is v

A token that occurs a thousand times has a sum of a thousand terms, which must come out the same whenever it is formed,
on a GPU too. So the terms are sorted by token and added in pairs, pairs of pairs, and so on: log₂ of a thousand rounds,
in each of which no two additions meet in one place.

Tied (as in the paper's word models), E serves as input and output. It is then one parameter that is used twice, and
its gradient is the sum of both (see `stages`).
"""

from __future__ import annotations

from collections.abc import Callable

from ..array_module import Array, namespace
from . import _door
from .affine import Params, affine


def embedding(params: Params, tokens: Array) -> tuple[Array, Callable[[Array], tuple[None, Params]]]:
    """Look up each token's row.

    Parameters
    ----------
    params : E (V, N)
    tokens : (T, B), or of any other shape, whole numbers from 0 to V − 1

    Returns
    -------
    y : (T, B, N)
    backward : dy to None, since tokens have no gradient, and {"E": dE}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, device or shape, or a token is not in the table; the message names it.
    """
    E = _door.leaf(params, "E")
    _door.alike(E=E)
    _door.shape("E", E, (None, None), "a row per token")
    _door.whole_numbers("tokens", tokens, len(E))

    def backward(dy: Array) -> tuple[None, Params]:
        _door.cotangent(dy, (*tokens.shape, E.shape[1]), E)
        return None, {"E": _sum_by_token(tokens.ravel(), dy.reshape(-1, E.shape[1]), len(E))}

    return E[tokens], backward


def tied_readout(params: Params, h: Array) -> tuple[Array, Callable[[Array], tuple[Array, Params]]]:
    """Score each token by the product of its row with h, y = E h + b.

    Parameters
    ----------
    params : E (V, N), b (V,)
    h : (…, N)

    Returns
    -------
    y : (…, V)
    backward : dy to dh and {"E": dE, "b": db}

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, dtype, device or shape; the message names it.
    """
    E, b = _door.leaf(params, "E"), _door.leaf(params, "b")
    _door.alike(h=h, E=E, b=b)
    _door.shape("E", E, (None, None), "a row per token")
    _door.features("h", h, E.shape[1])
    y, pull = affine({"W": E, "b": b}, h)

    def backward(dy: Array) -> tuple[Array, Params]:
        dh, d = pull(dy)
        return dh, {"E": d["W"], "b": d["b"]}

    return y, backward


def _sum_by_token(tokens: Array, rows: Array, size: int) -> Array:
    """Add up the rows of each token, in pairs."""
    xp = namespace(rows)
    order = xp.argsort(tokens, kind="stable")
    tokens, rows = tokens[order], rows[order]
    place = xp.arange(len(tokens))
    first = xp.searchsorted(tokens, tokens)  # where the run of equal tokens begins
    rank, count = place - first, xp.searchsorted(tokens, tokens, side="right") - first
    span, longest = 1, int(count.max())
    while span < longest:
        left = xp.flatnonzero((rank % (2 * span) == 0) & (rank + span < count))
        rows[left] += rows[left + span]
        span *= 2
    total = xp.zeros((size, rows.shape[1]), rows.dtype)
    begin = xp.flatnonzero(rank == 0)
    total[tokens[begin]] = rows[begin]
    return total
