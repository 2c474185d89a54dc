"""A PyTorch module in two parts, as the papers' authors have it: a linear layer, then the recurrence alone.

Their names for the weights are `fc.weight`, `fc.bias` and `weight_hh`, the layout "pytorch-authors". Run it with
`indrnn-np verify tests/examples/torch_linear_and_recurrence.py:candidate`.
"""

import torch

import indrnn_np as ir


class Recurrence(torch.nn.Module):
    def __init__(self, N: int) -> None:
        super().__init__()
        self.weight_hh = torch.nn.Parameter(torch.rand(N))

    def forward(self, a, h0):
        h, states = h0, []
        for a_t in a.unbind():
            h = torch.relu(a_t + self.weight_hh * h)
            states.append(h)
        return torch.stack(states)


class IndRNN(torch.nn.Module):
    def __init__(self, M: int, N: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(M, N)
        self.indrnn1 = Recurrence(N)

    def forward(self, x, h0):
        return self.indrnn1(self.fc(x), h0)


candidate = ir.oracle.from_torch_module(lambda M, N, activation: IndRNN(M, N), "pytorch-authors")
recurrence = ir.oracle.from_torch_module(lambda M, N, activation: Recurrence(N), "torch-indrnn")
