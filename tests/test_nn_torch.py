"""The pieces and networks against PyTorch's modules and its automatic differentiation, in float64.

Both compute the same sums of products in another order. A sum of products with at most n roundings on each is off by
at most n eps times the same sum in absolute values (`derivatives` says how much that is for a whole network), and so
two right ones differ by twice that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from derivatives import EPS, Problem

from indrnn_np import nn

pytestmark = pytest.mark.extra("torch")
T, B, N = 6, 4, 3


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def tensor(value: np.ndarray, gradient: bool = True) -> Any:
    import torch
    return torch.tensor(np.array(value)).requires_grad_(gradient)


def close(got: Any, want: Any, size: Any, n: int) -> bool:
    return bool((abs(got - want.detach().numpy()) <= 2 * n * EPS * size).all())


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_is_batch_norm_1d(training: bool) -> None:
    import torch
    x, dy, scale, shift = 2 * normal(T, B, N) + 1, normal(T, B, N, seed=1), normal(N), normal(N, seed=1)
    running = {"mean": normal(N, seed=2), "var": normal(N, seed=3) ** 2 + 0.5}
    theirs = torch.nn.BatchNorm1d(N, dtype=torch.float64).train(training)
    state = {"weight": scale, "bias": shift, "running_mean": running["mean"], "running_var": running["var"]}
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, strict=False)
    inputs = tensor(x)
    outputs = theirs(inputs.reshape(T * B, N)).reshape(T, B, N)
    (outputs * torch.tensor(dy)).sum().backward()

    y, backward, after = nn.batch_norm({"scale": scale, "shift": shift}, running, x, training)
    dx, dparams = backward(dy)
    n = 10 * T * B  # each mean is a sum of T B terms; there are three on a path, and a few operations more

    # the same computation in absolute values: A bounds x̂ and what its centring cancels, 1 + mean A² what v has of it
    mean, var = (x.mean((0, 1)), x.var((0, 1))) if training else (running["mean"], running["var"])
    s = 1 / np.sqrt(var + 1e-5)
    A = s * (abs(x) + (abs(x).mean((0, 1)) if training else abs(mean)))
    spread = 1 + (A * A).mean((0, 1))
    d = abs(scale * dy)
    through = d.mean((0, 1)) + A * (d * A).mean((0, 1)) if training else 0
    assert close(y, outputs, abs(scale) * A * spread + abs(shift), n)
    assert close(dx, inputs.grad, s * (d + through) * spread, n)
    assert close(dparams["scale"], theirs.weight.grad, (abs(dy) * A).sum((0, 1)) * spread, n)
    assert close(dparams["shift"], theirs.bias.grad, abs(dy).sum((0, 1)), n)
    assert close(after["mean"], theirs.running_mean, abs(running["mean"]) + abs(x).mean((0, 1)), n)
    assert close(after["var"], theirs.running_var, running["var"] + 2 * var * spread, n)
    assert (after is running) == (not training)

    other = torch.nn.functional.batch_norm(inputs.reshape(T * B, N), None, None, theirs.weight, theirs.bias, True,
                                           0.1, 1e-6).reshape(T, B, N)
    assert not close(y, other, abs(scale) * A * spread + abs(shift), n), "an ε of 1e-6 would not have been noticed"


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_the_convolution_is_conv1d(stride: int, padding: int) -> None:
    import torch
    x, W, b = normal(T, B, 2, 9), normal(5, 2, 3), normal(5)
    inputs, weight, bias = map(tensor, (x, W, b))
    outputs = torch.nn.functional.conv1d(inputs.reshape(T * B, 2, 9), weight, bias, stride, padding)
    y, backward = nn.convolution({"W": W, "b": b}, x, stride, padding)
    dy = normal(*y.shape, seed=1)
    (outputs.reshape(y.shape) * torch.tensor(dy)).sum().backward()
    dx, dparams = backward(dy)
    size, pull = nn.convolution({"W": abs(W), "b": abs(b)}, abs(x), stride, padding)
    dx_size, sizes = pull(abs(dy))
    assert close(y, outputs.reshape(y.shape), size, 10)
    assert close(dx, inputs.grad, dx_size, 20)
    assert close(dparams["W"], weight.grad, sizes["W"], T * B * 9)
    assert close(dparams["b"], bias.grad, sizes["b"], T * B * 9)
    without, pull = nn.convolution({"W": W}, x, stride, padding)
    assert close(without, (outputs - bias[:, None]).reshape(y.shape), 2 * size + abs(b)[:, None], 10)
    assert set(pull(dy)[1]) == {"W"}
    wrong = nn.convolution({"W": W[..., ::-1], "b": b}, x, stride, padding)[0]
    assert not close(wrong, outputs.reshape(y.shape), size, 10), "a flipped kernel would not have been noticed"


def test_the_embedding_is_embedding() -> None:
    import torch
    V = 7
    tokens, E, dy = np.random.default_rng(0).integers(0, V - 1, (50, B)), normal(V, N), normal(50, B, N)
    weight = tensor(E)
    outputs = torch.nn.functional.embedding(torch.tensor(tokens), weight)
    (outputs * torch.tensor(dy)).sum().backward()
    y, backward = nn.embedding({"E": E}, tokens)
    dx, dparams = backward(dy)
    assert dx is None
    assert np.array_equal(y, outputs.detach().numpy())
    size = nn.embedding({"E": E}, tokens)[1](abs(dy))[1]["E"]
    assert close(dparams["E"], weight.grad, size, tokens.size)
    assert not dparams["E"][V - 1].any()


@pytest.mark.parametrize("masked", [True, False])
def test_the_losses_are_cross_entropy_loss_and_mse_loss(masked: bool) -> None:
    import torch
    mask = np.arange(T)[:, None] < np.array([6, 1, 3, 4]) if masked else None
    chosen = np.ones((T, B), bool) if mask is None else mask
    logits, labels = 3 * normal(T, B, N), np.random.default_rng(0).integers(0, N, (T, B))
    inputs = tensor(logits)
    theirs = torch.nn.functional.cross_entropy(inputs[torch.tensor(chosen)], torch.tensor(labels[chosen]))
    theirs.backward()
    loss, backward = nn.softmax_cross_entropy(logits, labels, mask)
    assert close(loss, theirs, 4 * abs(logits).max() + np.log(N), T * B + N + 10)
    assert close(backward(), inputs.grad, 2 * (1 + abs(logits).max()) / chosen.sum(), 20)  # exp turns z's error around

    y, target = normal(T, B, N), normal(T, B, N, seed=1)
    inputs = tensor(y)
    theirs = torch.nn.functional.mse_loss(inputs[torch.tensor(chosen)], torch.tensor(target[chosen]))
    theirs.backward()
    loss, backward = nn.mse(y, target, mask)
    size = abs(y) + abs(target)
    assert close(loss, theirs, (size * size)[chosen].mean(), T * B * N + 10)
    assert close(backward(), inputs.grad, 2 * size / (N * chosen.sum()), 10)


def theirs_of(problem: Problem) -> tuple[Any, dict[str, Any]]:
    """Write the network out in PyTorch, from its description, and let PyTorch differentiate it."""
    import torch
    from torch.nn import functional as F
    model, given = problem.model, {name: tensor(value) for name, value in problem.arguments.items()}

    def norm(at: str, x: Any) -> Any:
        if f"{at}/batch_norm/scale" not in given:
            return x
        rows = x.reshape(-1, x.shape[-1])
        return F.batch_norm(rows, None, None, given[f"{at}/batch_norm/scale"], given[f"{at}/batch_norm/shift"],
                            training=True).reshape(x.shape)

    def recurrence(at: str, a: Any) -> Any:
        if model.batch_norm == "before":
            a = norm(at, a)
        state, states = torch.zeros_like(a[0]), []
        for a_t in a:
            state = F.leaky_relu(a_t + given[f"{at}/u"] * state)
            states.append(state)
        h = torch.stack(states)
        return norm(at, h) if model.batch_norm == "after" else h

    def weight(at: str, x: Any) -> Any:
        return F.linear(x, given[f"{at}/W"], given.get(f"{at}/b"))

    def unit(at: str, x: Any) -> Any:
        return weight(at, recurrence(at, x))

    x = F.embedding(torch.tensor(problem.x), given["embedding/E"]) if model.tokens else given["x"]
    if isinstance(model, nn.Plain):
        for n in range(model.layers):
            x = recurrence(f"layers/{n}", weight(f"layers/{n}", x))
    else:
        x = weight("input", x)
        for n in range(model.blocks if isinstance(model, nn.Residual) else len(model.blocks)):
            if isinstance(model, nn.Residual):
                x = x + unit(f"blocks/{n}/1", unit(f"blocks/{n}/0", x))
                continue
            for k in range(model.blocks[n]):
                at = f"blocks/{n}/layers/{k}"
                x = torch.cat([x, unit(f"{at}/1", unit(f"{at}/0", x))], dim=-1)
            if n < len(model.blocks) - 1:
                x = unit(f"blocks/{n}/transition", x)
        x = recurrence("last", x)
    if model.readout == "last":
        x = x[-1]
    y = F.linear(x, given["embedding/E"], given["readout/b"]) if model.tied else weight("readout", x)
    (y * torch.tensor(problem.dy)).sum().backward()
    return y, {name: value.grad for name, value in given.items()}


SHAPES = {"plain": (nn.Plain, {"layers": 2}), "residual": (nn.Residual, {"blocks": 2}),
          "dense": (nn.Dense, {"growth": 2, "blocks": (2, 1), "bottleneck": 2})}


@pytest.mark.parametrize("network", SHAPES)
@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
def test_every_gradient_of_a_network_is_pytorch_s(network: str, batch_norm: str) -> None:
    kind, shape = SHAPES[network]
    some = {"readout": "every"} if batch_norm == "after" else {}
    if network == "plain" and batch_norm == "after":
        some |= {"tokens": 5, "tied": True, "outputs": 5, "inputs": 4}
    problem = Problem(kind(**{"inputs": 3, "outputs": 2, "hidden": 4, "activation": "leaky_relu",
                              "batch_norm": batch_norm} | shape | some), 5, 4)
    y, gradients = problem.run(**problem.arguments)[0], problem.gradients()
    outputs, wanted = theirs_of(problem)
    assert close(y, outputs, abs(y).max(), 2000)
    for name, want in wanted.items():  # the largest gradient is at most that sum, so that this allows less
        assert close(gradients[name], want, abs(gradients[name]).max(), 2000), name
        assert not close(gradients[name] * (1 + 1e-6), want, abs(gradients[name]).max(), 2000)
    assert wanted.keys() == gradients.keys()
