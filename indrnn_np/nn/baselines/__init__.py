"""What the paper compares an IndRNN with, each with the beginning that serves it best.

cells               `rnn`, `lstm`, `gru`: one layer, forward and backward, with the derivation
models              `model`: RNN, IRNN, LSTM, GRU, stacks of `layers`, each of which says how its weights begin
beginnings          `initialisation`
"""

from .gru import gru
from .lstm import lstm
from .model import GRU, IRNN, LSTM, RNN
from .rnn import rnn

__all__ = ["GRU", "IRNN", "LSTM", "RNN", "gru", "lstm", "rnn"]
