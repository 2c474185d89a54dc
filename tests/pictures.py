"""One small call of each picture, and Axes to draw it on."""

from __future__ import annotations

from typing import Any

import numpy as np

from indrnn_np.analysis import plot_gradient_heat, plot_gradient_over_lag, plot_memory, plot_weight_range

PICTURES = {
    "lag": lambda ax=None: plot_gradient_over_lag(products(np.array([0.5, 1.0, 1.01]), 20), ax),
    "range": lambda ax=None: plot_weight_range(range(1, 101), 1e-3, 2, ax),
    "memory": lambda ax=None: plot_memory(np.array([0.0, 0.5, 0.99, 1.0, -1.5]), 1e-3, ax),
    "heat": lambda ax=None: plot_gradient_heat(np.array([[1.0, 0.0, 1e-5], [np.inf, 1e-3, 1.0]]), ax),
}


def products(u: np.ndarray, T: int, dead_from: dict[int, int] | None = None) -> np.ndarray:
    """Return (T+1, N): u^{T−k}, and 0 from some lag on in the neurons that died."""
    gradients = u ** np.arange(T, -1, -1.0)[:, None]
    for n, lag in (dead_from or {}).items():
        gradients[:T + 1 - lag, n] = 0
    return gradients


def subplots(*shape: int) -> Any:
    from matplotlib.figure import Figure
    return Figure(layout="constrained").subplots(*shape)
