"""How the baselines begin: with which weights they are at their best is part of comparing with them.

orthogonal      U Uᵀ = I: the RNN's best chance, as every singular value of its recurrent matrix is 1
identity        the IRNN's: with ReLU it then remembers as an IndRNN with u = 1 does (Le, Jaitly & Hinton 2015)
chrono          gate biases of an LSTM that is to remember up to T steps (Tallec & Ollivier 2018, §2): it forgets with
                1 − f ≈ e^{−b_f}, so that b_f = log τ gives a memory of τ steps. τ ~ U(1, T − 1), and b_i = −b_f, so
                that what is written is in proportion to what is forgotten
Glorot          every other matrix (Glorot & Bengio 2010)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Drawn = npt.NDArray[np.float64]  # in NumPy; the model turns it into its own dtype and library


def glorot(rng: np.random.Generator, outputs: int, inputs: int) -> Drawn:
    """Draw (outputs, inputs) from U(−w, w) with w = √(6 / (inputs + outputs))."""
    w = np.sqrt(6 / (inputs + outputs))
    return rng.uniform(-w, w, (outputs, inputs))


def orthogonal(rng: np.random.Generator, size: int) -> Drawn:
    """Draw an orthogonal (size, size) matrix, all of them alike (Haar measure).

    Q of a normal matrix, with the columns' signs so that R has a positive diagonal (Mezzadri 2007).
    """
    Q, R = np.linalg.qr(rng.standard_normal((size, size)))
    return Q * np.copysign(1.0, np.diag(R))


def chrono(rng: np.random.Generator, size: int, steps: int) -> tuple[Drawn, Drawn]:
    """Draw b_i and b_f (size,) for memories of up to so many steps."""
    b_f = np.log(rng.uniform(1, max(steps - 1, 1), size))
    return -b_f, b_f

