"""Networks and what they are made of, forward and backward, with every derivative written out.

Pieces, a file each: `affine`, `batch_norm`, `convolution`, `dropout`, `embedding`, `losses`, `readout`, `recurrent`;
`sequences` has the masks of sequences that differ in length. A piece returns its value and its derivative,
`y, backward = piece(params, x)`, and the text of the derivative stands right below that of the value: `backward(dy)`
gives dx and, where there are params, their gradients by name. (A loss begins the way back: its `backward()` takes
nothing and gives dy. `batch_norm` returns new running statistics besides.)

To learn backpropagation here, read `affine`, `losses`, `recurrence.py` with `recurrent`, `batch_norm`, and `stages`,
which chains them; then `baselines.lstm`, where the state is fed back through a matrix.

Networks: `plain`, `residual`, `dense`; `stages` has the two rules by which pieces become networks, `network` what all
networks share.

What they are compared with: `baselines`, the RNN, the IRNN, the LSTM and the GRU.

What trains them: `optimisers` (Adam), `schedules` of its rate, `clipping` by the norm of all gradients, `projection`
of u onto its range; `trees` has parameters as nested dicts, and by name.
"""

from . import baselines, schedules, trees
from .affine import affine
from .baselines import GRU, IRNN, LSTM, RNN
from .batch_norm import batch_norm
from .clipping import clip_by_global_norm
from .convolution import convolution
from .dense import Dense
from .dropout import dropout
from .embedding import embedding, tied_readout
from .losses import mse, softmax_cross_entropy
from .network import Network
from .optimisers import Adam
from .plain import Plain
from .projection import project
from .readout import last_step
from .recurrent import recurrent
from .residual import Residual

__all__ = [
    "GRU", "IRNN", "LSTM", "RNN", "Adam", "Dense", "Network", "Plain", "Residual", "affine", "baselines",
    "batch_norm", "clip_by_global_norm", "convolution", "dropout", "embedding", "last_step", "mse", "project",
    "recurrent", "schedules", "softmax_cross_entropy", "tied_readout", "trees",
]
