"""A layer that takes no bias or no initial state, as one that takes both: what it lacks comes in as further inputs.

    h_1 = σ([W  diag(u)  b] [x_1; h_0; 1]),        h_t = σ([W  diag(u)  b] [x_t; 0; 1] + u ⊙ h_{t−1})  for t > 1

It is the same function, so its derivatives are those of the wider layer, which starts from zero: dh_0 is the part of
dx_1 that belongs to h_0, db the last column of dW, and du gains what the first step adds, the diagonal of the
middle part. The products are those of the layer itself, zeros apart, and they are summed in one of the orders
that `tolerance` covers: what rounding may do is what is allowed anyhow. A mistake is caught as anywhere; one in the
handling of u or of the first step may go unnamed, since h_0 does not pass through the layer's own u.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..array_module import Array, to_numpy
from .answers import Candidate


def fold(lacking: Collection[str], layer: Candidate) -> Candidate:
    """Return a layer that takes all arguments, around one that ignores those named.

    Parameters
    ----------
    lacking : of "b" and "h0"; nothing changes where it is empty
    layer : candidate that is called with zeros for them, and returns h, dx, dW and du, or h alone
    """
    def candidate(x: Array, W: Array, u: Array, b: Array, h0: Array, dh: Array, activation: str) -> dict[str, Array]:
        (T, B, M), N = x.shape, len(u)
        first, one = np.zeros((T, B, N), x.dtype), np.ones((T, B, 1), x.dtype)
        first[0] = h0
        inputs, weights, given = [x], [W], {"b": b, "h0": h0}
        if "h0" in lacking:
            inputs, weights = [*inputs, first], [*weights, np.diag(u)]
        if "b" in lacking:
            inputs, weights = [*inputs, one], [*weights, b[:, None]]
        given |= {name: np.zeros_like(given[name]) for name in lacking}
        returned = dict(layer(x=np.concatenate(inputs, axis=-1), W=np.concatenate(weights, axis=1), u=u, dh=dh,
                              activation=activation, **given))
        result = {name: to_numpy(array) for name, array in returned.items()}
        if "dx" not in result:  # its h was refused, and there is nothing more to tell
            return result
        dx, dW = result["dx"], result["dW"]
        result |= {"dx": dx[..., :M], "dW": dW[:, :M]}
        if "h0" in lacking:
            result |= {"dh0": dx[0, :, M:M + N], "du": result["du"] + dW[:, M:M + N].diagonal()}
        if "b" in lacking:
            result["db"] = dW[:, -1]
        return result
    return candidate if lacking else layer
