"""Stacks of IndRNN layers for tests: drawn ones, and a forward pass through `ir.forward`, layer upon layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import indrnn_np as ir
from indrnn_np.activations import resolve
from indrnn_np.oracle import installation

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Stack:
    """Weights of a stack, first layer first, with an input and initial states for it."""

    W: Arrays
    u: Arrays
    b: Arrays
    x: np.ndarray
    h0: Arrays
    activation: str
    residual: bool

    def forward(self, x: np.ndarray | None = None, h0: Arrays | None = None) -> tuple[np.ndarray, Arrays, Arrays]:
        """Run it; return the last layer's output h^L, every layer's v and every layer's z."""
        h, starts = self.x if x is None else x, self.h0 if h0 is None else h0
        kind, v, z = np.result_type(h, *starts), [], []
        h = h.astype(kind)
        for W, u, b, start in zip(self.W, self.u, self.b, starts, strict=True):
            W, u, b, start = (array.astype(kind) for array in (W, u, b, start))
            below, out = h, ir.forward(h, W, u, b, start, self.activation).h
            drive = (below.reshape(-1, below.shape[-1]) @ W.T).reshape(out.shape) + b
            z.append(drive + u * np.concatenate([start[None], out[:-1]]))
            v.append(out)
            h = below + out if self.residual else out
        return h, v, z

    def slopes(self) -> Arrays:
        """σ'(z) of every layer; taken on the complex run, whose real part is what a complex step differentiates."""
        σ = resolve(self.activation)
        return [σ.slope(z.real) for z in self.forward(self.x.astype(complex))[2]]


def draw(seed: int, activation: str, widths: tuple[int, ...], T: int, residual: bool = False, B: int = 2,
         u_range: tuple[float, float] = (0.3, 1.1)) -> Stack:
    """Draw a stack with M = widths[0] inputs and layers of widths[1:], both signs everywhere."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    return Stack([rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in pairs],
                 [rng.uniform(*u_range, n) * rng.choice([-1, 1], n) for n, _ in pairs],
                 [rng.uniform(-0.5, 0.5, n) for n, _ in pairs], rng.standard_normal((T, B, widths[0])),
                 [rng.uniform(-1, 1, (B, n)) for n, _ in pairs], activation, residual)


@st.composite
def stacks(draw_: st.DrawFn, longest: int = 8, deepest: int = 4, smooth: bool = False) -> Stack:
    """Draw sizes, regime and activation; one layer, one step and one neuron are among them."""
    names = [name for name in installation.NAMES if not smooth or resolve(name).kink is None]
    residual, layers = draw_(st.booleans()), draw_(st.integers(1, deepest) | st.integers(2, deepest))
    widths = draw_(st.lists(st.sampled_from((3, 2, 4, 2, 3, 1)), min_size=layers + 1, max_size=layers + 1))
    return draw(draw_(st.integers(0, 2**32)), draw_(st.sampled_from(names)),
                tuple(widths[:1] * (layers + 1) if residual else widths),
                draw_(st.sampled_from((1, 2, 3)) | st.integers(longest // 2, longest) | st.integers(3, longest)),
                residual,
                u_range=draw_(st.sampled_from(((0.3, 1.1), (0.9, 1.2), (0.01, 0.3)) * 2 + ((0.0, 0.0),))))


def roundings(W: Arrays, lag: int) -> int:
    """At most so many roundings lie on a path through a stack at this lag, in a gradient and in its bound together."""
    return 2 * sum(sum(w.shape) + 8 for w in W) + 8 * lag


def absolute(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [abs(array) for array in arrays]


def is_attained(gradient: np.ndarray, bound: np.ndarray, W: Arrays) -> bool:
    """Whether the gradient is the bound, but for the roundings of both."""
    room = np.array([2 * np.finfo(float).eps * roundings(W, k) for k in range(len(bound))])[:, None, None, None]
    return bool((abs(gradient) >= bound[:, None] * (1 - room)).all())
