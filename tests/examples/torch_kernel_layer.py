"""A time-major layer with its input weight laid out (M, N), as haste has it, and a state of shape (1, B, N).

`call` says how it is called. Run it with
`indrnn-np verify tests/examples/torch_kernel_layer.py:candidate --activation tanh`.
"""

import torch

import indrnn_np as ir


class IndRNN(torch.nn.Module):
    def __init__(self, M: int, N: int) -> None:
        super().__init__()
        self.kernel = torch.nn.Parameter(torch.empty(M, N))
        self.recurrent_scale = torch.nn.Parameter(torch.empty(N))
        self.bias = torch.nn.Parameter(torch.empty(N))

    def forward(self, x, state):
        a, h = x @ self.kernel + self.bias, [state[0]]
        for t in range(len(a)):
            h.append(torch.tanh(a[t] + self.recurrent_scale * h[-1]))
        return torch.stack(h[1:]), h[-1][None]


candidate = ir.oracle.from_torch_module(lambda M, N, activation: IndRNN(M, N), "haste",
                                        call=lambda module, x, h0: module(x, h0[None]))
