"""Forward passes in PyTorch and JAX, as candidates: right ones pass, wrong ones do not, in either layout."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np import cli
from indrnn_np.oracle import adapters, references
from indrnn_np.oracle.inputs import Case


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
    twisted = ir.oracle.verify(ir.oracle.from_torch(lambda *given: torch_forward(*given).transpose(0, 1)),
                               dtypes=("float32",), case="small")
    assert "It looks batch-first: swap its first two axes" in str(twisted)
    assert not ir.oracle.verify(ir.oracle.from_torch(batch_first), dtypes=("float32",), diagnose=False).passed


def module(M, N, activation="relu", bias=True, stateful=True, changes=None, extra=None):
    """A module with StefOe's names; it may have no bias, take no h0, change what goes in, have one parameter more."""
    import torch

    class IndRNN(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight_ih = torch.nn.Parameter(torch.empty(N, M))
            self.weight_hh = torch.nn.Parameter(torch.empty(N))
            if bias:
                self.bias_ih = torch.nn.Parameter(torch.empty(N))
            if extra:
                self.register_parameter(extra, torch.nn.Parameter(torch.empty(N)))

        if stateful:
            def forward(self, x, h0):
                return self.run(x, h0), None
        else:
            def forward(self, x):
                return self.run(x, x.new_zeros(x.shape[1], N))

        def run(self, x, h0):
            given = {"x": x, "W": self.weight_ih, "u": self.weight_hh, "b": getattr(self, "bias_ih", x.new_zeros(N)),
                     "h0": h0}
            return torch_forward(**given | (changes(given) if changes else {}), activation=activation)
    return IndRNN()


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("bias", "stateful"), [(True, True), (False, True), (True, False), (False, False)])
def test_a_module_is_verified_with_what_it_has(bias: bool, stateful: bool, dtype: str) -> None:
    build = functools.partial(module, bias=bias, stateful=stateful)
    report = ir.oracle.verify(ir.oracle.from_torch_module(build), ("relu",), (dtype,))
    assert report.passed, report
    assert not report.not_given
    assert ir.oracle.verify(ir.oracle.from_torch_module(build, "stefoe"), ("tanh",), (dtype,), "small").passed


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_recurrence_alone_has_its_gradients_of_w_and_x_from_da() -> None:
    import torch

    class Recurrence(torch.nn.Module):
        def __init__(self, N):
            super().__init__()
            self.recurrent_kernel, self.bias = (torch.nn.Parameter(torch.empty(N)) for _ in range(2))

        def forward(self, a):
            x, W = a, torch.eye(a.shape[2], dtype=a.dtype)
            return torch_forward(x, W, self.recurrent_kernel, self.bias, torch.zeros_like(a[0]), "relu")

    report = ir.oracle.verify(ir.oracle.from_torch_module(lambda M, N, activation: Recurrence(N)), dtypes=("float32",))
    assert report.passed, report
    assert not report.not_given
    wrong = ir.oracle.from_torch_module(lambda M, N, activation: Recurrence(N), "memax",
                                        call=lambda layer, a, h0: layer(a))  # as if it took h0
    assert "h0 is ignored" in str(ir.oracle.verify(wrong, dtypes=("float32",)))


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("changes", "tensors"), [
    (lambda given: {"u": given["u"].abs()}, {"h", "du"}),
    (lambda given: {"u": given["u"].detach()}, {"du"}),
    (lambda given: {"W": given["W"].clamp(-1, 1)}, {"h", "dW"}),
    (lambda given: {"x": given["x"].flip(0)}, {"h", "dx"}),
])
@pytest.mark.parametrize(("bias", "stateful"), [(True, True), (False, False)])
def test_a_wrong_module_is_caught_also_where_it_has_less(bias: bool, stateful: bool, changes, tensors) -> None:
    build = functools.partial(module, bias=bias, stateful=stateful, changes=changes)
    report = ir.oracle.verify(ir.oracle.from_torch_module(build, "stefoe"), ("relu",), ("float32",), diagnose=False)
    assert tensors <= {finding.name for finding in report.findings}


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_module_of_a_case_is_found_wanting_in_plain_words() -> None:
    import torch

    def said(build, *arguments, **options) -> str:
        candidate = ir.oracle.from_torch_module(build, *arguments, **options)
        report = ir.oracle.verify(candidate, dtypes=("float32",), case="small")
        assert not report.passed
        return str(report)

    def refused(*given) -> str:
        built = []
        with pytest.raises(ValueError, match=r"\w+: ") as refusal:
            ir.oracle.verify(ir.oracle.from_torch_module(*given), progress=lambda done, of: built.append(done))
        assert not built, "no case was run"
        assert "layouts.py" not in str(refusal.value)
        return str(refusal.value)

    assert "with no other parameters than weight_hh, weight_ih, bias_ih; got bias_hh too" in refused(
        functools.partial(module, extra="bias_hh"))
    assert "weight_hh: expected shape (5,) for M = 3 and N = 5; got (3,)" in refused(lambda M, N, _: module(N, M))
    assert "layout: expected a key for u, 'recurrent_scale'" in refused(module, "haste")
    assert "They fit the layout 'stefoe'" in refused(module, "haste")
    assert "build: expected it to return a torch.nn.Module; got int" in refused(lambda M, N, activation: 3)
    unknown = refused(lambda M, N, activation: torch.nn.Linear(M, N))
    assert unknown.startswith("layout: expected that one of the layouts indrnn_np, ")
    assert "for M = 3 and N = 5: weight (5, 3), bias (5,). " in unknown
    assert 'give layout=Layout(W=("name", "NM"), u=("name", "N"), b=("name", "N"))' in unknown
    assert "It looks batch-first: swap its first two axes" in said(
        module, call=lambda layer, x, h0: layer(x, h0)[0].transpose(0, 1))
    assert "expected h, one array of all states; got list" in said(module, call=lambda layer, x, h0: [x])


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_in_place_of_what_builds_one_is_refused() -> None:
    import torch

    with pytest.raises(TypeError, match=r"build: expected a function that builds a module, .* since each case has "
                                        "sizes of its own; got a module, IndRNN, of fixed size"):
        ir.oracle.from_torch_module(module(3, 5))
    for function in (module(3, 5), torch.nn.RNN):
        with pytest.raises(TypeError, match=r"function: expected a forward pass .* Use from_torch_module"):
            ir.oracle.from_torch(function)
    with pytest.raises(TypeError, match="build: expected a callable; got int"):
        ir.oracle.from_torch_module(3)
    with pytest.raises(TypeError, match="call: expected a callable or None; got int"):
        ir.oracle.from_torch_module(module, call=3)
    with pytest.raises(ValueError, match="layout: expected one of"):
        ir.oracle.from_torch_module(module, "mine")


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_without_weights_is_a_forward_pass_like_any() -> None:
    import torch

    class Forward(torch.nn.Module):
        forward = staticmethod(torch_forward)

    assert ir.oracle.verify(ir.oracle.from_torch(Forward()), dtypes=("float32",), case="small").passed


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_state_dict_gives_the_layer_that_it_was_saved_from() -> None:
    import torch

    layer = module(3, 5)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    x, h0 = torch.rand(7, 2, 3), torch.rand(2, 5)
    weights = ir.oracle.to_ours(layer.state_dict(), ir.oracle.guess_layout(layer.state_dict()))
    assert np.array_equal(weights["W"], layer.weight_ih.detach().numpy())
    replaced = ir.oracle.from_ours(*(torch.from_numpy(weights[name]) for name in "Wub"), "stefoe")
    layer.load_state_dict(replaced)
    case = Case("saved", "relu", x.numpy(), **weights, h0=h0.numpy(), dh=np.ones((7, 2, 5), "float32"))
    right = references.specification(case, None)
    assert (np.abs(layer(x, h0)[0].detach().numpy() - right.value["h"]) <= right.allowed["h"]).all()


@pytest.mark.extra("jax")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_right_scan_in_jax_passes(activation: str) -> None:
    report = ir.oracle.verify(ir.oracle.from_jax(jax_forward), (activation,), ("float32",))
    assert report.passed, report
    assert ir.oracle.verify(ir.oracle.from_jax(jax_forward), (activation,), ("float64",), case="small").passed


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


@pytest.mark.usefixtures("no_long_cases")
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
    with pytest.raises(ModuleNotFoundError, match=r"PyTorch is not installed: pip install 'indrnn-np\[torch\]'"):
        ir.oracle.from_torch_module(module)
    with pytest.raises(ModuleNotFoundError, match=r"JAX is not installed: pip install 'indrnn-np\[jax\]'"):
        ir.oracle.from_jax(jax_forward)
    with pytest.raises(TypeError, match="function: expected a callable; got int"):
        ir.oracle.from_torch(3)


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_command_refuses_a_module_that_cannot_be_loaded(tmp_path, capsys) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import torch\nimport indrnn_np as ir\n"
                    "f = ir.oracle.from_torch_module(lambda M, N, _: torch.nn.Linear(M, N))\n", encoding="utf-8")
    assert cli.main(["verify", f"{file}:f", "--dtype", "float32"]) == 2
    said = capsys.readouterr()
    assert "weight (5, 3), bias (5,)" in said.err
    assert not said.out
