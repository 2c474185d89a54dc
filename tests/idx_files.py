"""IDX files, in which MNIST comes, and another reader of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def written(array: np.ndarray) -> bytes:
    """Write an array of bytes as IDX."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + sizes + array.tobytes()


def understood(data: bytes, dimensions: int) -> Any:
    """Read IDX into lists, another way: None where it is no IDX file of bytes with that many dimensions."""
    sizes = [int.from_bytes(data[4 + 4 * i: 8 + 4 * i], "big") for i in range(dimensions)]
    count = 1
    for size in sizes:
        count *= size
    payload = data[4 + 4 * dimensions:]
    right = data[:4] == b"\0\0\x08" + bytes([dimensions]) and len(payload) == count > 0
    return np.array(list(payload), np.uint8).reshape(sizes).tolist() if right else None
