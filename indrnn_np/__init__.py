"""indrnn_np: the IndRNN papers as code that proves itself.

    h_t = σ(W x_t + u ⊙ h_{t−1} + b)                        (Li, Li, Cook, Zhu, Gao, CVPR 2018, Eq. 2)

Start reading at `recurrence.py`. `forward` and `backward` run one layer, `recurrent_forward` and
`recurrent_backward` the recurrence alone, `oracle.verify` checks somebody else's. Importing this needs NumPy.
"""

from . import analysis, engines, oracle, recurrence
from .activations import ACTIVATIONS, Activation, leaky_relu
from .array_module import to_cupy, to_numpy
from .engines import recurrent_backward, recurrent_forward
from .layer import Gradients, Trace, backward, forward
from .recurrence import RecurrenceGradients

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS", "Activation", "Gradients", "RecurrenceGradients", "Trace", "analysis", "backward", "engines",
    "forward", "leaky_relu", "oracle", "recurrence", "recurrent_backward", "recurrent_forward", "to_cupy", "to_numpy",
]
