"""A cell, and a layer that runs it over sequences of shape (B, T, M), with Keras's names for the weights.

Run it with `indrnn-np verify tests/examples/torch_batch_first_cell.py:candidate`.
"""

import torch

import indrnn_np as ir


class Cell(torch.nn.Module):
    def __init__(self, M: int, N: int, σ) -> None:
        super().__init__()
        self.input_kernel = torch.nn.Parameter(torch.empty(M, N))
        self.recurrent_kernel = torch.nn.Parameter(torch.empty(N))
        self.bias = torch.nn.Parameter(torch.empty(N))
        self.σ = σ

    def forward(self, x_t, h_prev):
        return self.σ(x_t @ self.input_kernel + self.recurrent_kernel * h_prev + self.bias)


class IndRNN(torch.nn.Module):
    def __init__(self, M: int, N: int, σ) -> None:
        super().__init__()
        self.cell = Cell(M, N, σ)

    def forward(self, x, initial_state):
        h, states = initial_state, []
        for x_t in x.unbind(dim=1):
            h = self.cell(x_t, h)
            states.append(h)
        return torch.stack(states, dim=1)


candidate = ir.oracle.from_torch_module(lambda M, N, activation: IndRNN(M, N, getattr(torch, activation)), "keras",
                                        batch_first=True)
