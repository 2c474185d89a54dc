"""Networks and what they are made of, forward and backward, with every derivative written out.

Pieces, a file each: `affine`, `batch_norm`, `convolution`, `dropout`, `embedding`, `losses`, `readout`, `recurrent`;
`sequences` has the masks of sequences that differ in length. A piece returns its value and its derivative,
`y, backward = piece(params, x)`, and the text of the derivative stands right below that of the value.

Networks: `plain`, `residual`, `dense`; `stages` has the two rules by which pieces become networks, `network` what all
networks share.
"""

from .affine import affine
from .batch_norm import batch_norm
from .convolution import convolution
from .dense import Dense
from .dropout import dropout
from .embedding import embedding, tied_readout
from .losses import mse, softmax_cross_entropy
from .network import Network
from .plain import Plain
from .readout import last_step
from .recurrent import recurrent
from .residual import Residual

__all__ = [
    "Dense", "Network", "Plain", "Residual", "affine", "batch_norm", "convolution", "dropout", "embedding",
    "last_step", "mse", "recurrent", "softmax_cross_entropy", "tied_readout",
]
