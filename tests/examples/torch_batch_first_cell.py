"""A cell and a layer that runs it over (B, T, M), with Keras's names; it starts from zero and takes no h0.

h0 comes to it as further inputs of the first step, so it is verified as it is. Run it with
`indrnn-np verify tests/examples/torch_batch_first_cell.py:candidate`.
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

    def forward(self, x):
        states = [x.new_zeros(len(x), len(self.cell.bias))]
        for t in range(x.shape[1]):
            states.append(self.cell(x[:, t], states[-1]))
        return torch.stack(states[1:], dim=1)


candidate = ir.oracle.from_torch_module(lambda M, N, activation: IndRNN(M, N, getattr(torch, activation)), "keras",
                                        batch_first=True)
