"""The recurrence as a `torch.autograd.Function` with a backward written by hand, which is what is verified.

`candidate` puts it behind a linear map of PyTorch's, `recurrence` hands it over alone, as a fused kernel would be. Run
it with `indrnn-np verify tests/examples/torch_autograd_function.py:candidate`.
"""

import torch

import indrnn_np as ir


class Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, u, h0):
        h, h_prev = torch.empty_like(a), h0
        for t in range(len(a)):
            h[t] = h_prev = (a[t] + u * h_prev).clamp(min=0)
        ctx.save_for_backward(h, u, h0)
        return h

    @staticmethod
    def backward(ctx, dh):
        h, u, h0 = ctx.saved_tensors
        dz, carry = torch.empty_like(h), torch.zeros_like(h0)
        for t in reversed(range(len(h))):
            dz[t] = torch.where(h[t] > 0, dh[t] + carry, 0)
            carry = u * dz[t]
        h_prev = torch.cat([h0[None], h[:-1]])
        return dz, (dz * h_prev).sum((0, 1)), carry


def layer(x, W, u, b, h0, activation):
    return Recurrence.apply(x @ W.T + b, u, h0)


def alone(a, u, h0, dh, activation):
    leaves = [torch.from_numpy(array).requires_grad_() for array in (a, u, h0)]
    h = Recurrence.apply(*leaves)
    h.backward(torch.from_numpy(dh))
    da, du, dh0 = (leaf.grad.numpy() for leaf in leaves)
    return {"h": h.detach().numpy(), "da": da, "du": du, "dh0": dh0}


candidate = ir.oracle.from_torch(layer)
recurrence = ir.oracle.from_recurrence(alone)
