"""Forward passes in PyTorch and JAX, as candidates: right ones pass, wrong ones do not, in either layout."""

from __future__ import annotations

import pytest

import indrnn_np as ir
from indrnn_np.oracle import adapters


def torch_forward(x, W, u, b, h0, activation, steps=None):
    import torch

    σ = {"identity": lambda z: z}.get(activation) or getattr(torch, activation)
    h_prev, states = h0, []
    for x_t in torch.unbind(x):
        h_prev = σ(x_t @ W.T + b + u * h_prev)
        states.append(h_prev)
        if steps and len(states) % steps == 0:
            h_prev = h_prev.detach()
    return torch.stack(states)


def jax_forward(x, W, u, b, h0, activation):
    import jax

    σ = getattr(jax.nn, activation)

    def step(h_prev, a_t):
        h = σ(a_t + u * h_prev)
        return h, h
    return jax.lax.scan(step, h0, x @ W.T + b)[1]


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "identity"])
def test_a_right_loop_in_pytorch_passes(activation: str) -> None:
    report = ir.oracle.verify(ir.oracle.from_torch(torch_forward), (activation,))
    assert report.passed, report


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_detached_state_in_pytorch_is_named_truncation() -> None:
    def detached(*arguments):
        return torch_forward(*arguments, steps=4)

    report = ir.oracle.verify(ir.oracle.from_torch(detached), ("tanh",), ("float32",))
    assert not report.passed
    assert any("the carry is cut every 4 steps" in (finding.diagnosis or "") for finding in report.findings)


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_batch_first_in_pytorch() -> None:
    def batch_first(x, *others):
        return torch_forward(x.transpose(0, 1), *others).transpose(0, 1)

    assert ir.oracle.verify(ir.oracle.from_torch(batch_first, batch_first=True), dtypes=("float32",)).passed
    assert not ir.oracle.verify(ir.oracle.from_torch(batch_first), dtypes=("float32",), diagnose=False).passed


@pytest.mark.extra("jax")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_right_scan_in_jax_passes(activation: str) -> None:
    report = ir.oracle.verify(ir.oracle.from_jax(jax_forward), (activation,))
    assert report.passed, report


@pytest.mark.extra("jax")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_slope_of_maximum_in_jax_is_named_a_kink_convention() -> None:
    def maximum(x, W, u, b, h0, activation):
        import jax

        def step(h_prev, a_t):
            h = jax.numpy.maximum(a_t + u * h_prev, 0)
            return h, h
        return jax.lax.scan(step, h0, x @ W.T + b)[1]

    report = ir.oracle.verify(ir.oracle.from_jax(maximum), dtypes=("float32",))
    assert {finding.verdict for finding in report.findings} == {"kink convention"}
    assert "at z = 0 the slope is taken as 0.5" in str(report)


def fused(a, u, h0, dh, activation):
    h = ir.recurrent_forward(a, u, h0, activation)
    return {"h": h, **ir.recurrent_backward(dh, h, a, u, h0, activation)._asdict()}


def test_the_recurrence_alone_is_verified_as_a_fused_kernel_computes_it() -> None:
    assert ir.oracle.verify(ir.oracle.from_recurrence(fused), ("relu", "tanh")).passed

    def wrong(**given):
        result = fused(**given)
        return {**result, "du": (result["da"] * result["h"]).sum((0, 1))}

    report = ir.oracle.verify(ir.oracle.from_recurrence(wrong), dtypes=("float32",))
    assert {(f.name, f.diagnosis) for f in report.findings} == {("du", "du takes h_t for h_{t−1}")}
    forward_only = ir.oracle.from_recurrence(lambda **given: {"h": fused(**given)["h"]})
    assert ir.oracle.verify(forward_only, dtypes=("float32",)).not_given == {"dx", "dW", "du", "db", "dh0"}
    with pytest.raises(TypeError, match="function: expected a callable; got int"):
        ir.oracle.from_recurrence(3)


def test_a_missing_library_names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"PyTorch is not installed: pip install 'indrnn-np\[torch\]'"):
        ir.oracle.from_torch(torch_forward)
    with pytest.raises(ModuleNotFoundError, match=r"JAX is not installed: pip install 'indrnn-np\[jax\]'"):
        ir.oracle.from_jax(jax_forward)
    with pytest.raises(TypeError, match="function: expected a callable; got int"):
        ir.oracle.from_torch(3)
