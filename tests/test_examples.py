"""The examples of adapters, run as they stand; each passes, and a mistake planted in it is caught and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import indrnn_np as ir
from indrnn_np.cli import main
from indrnn_np.oracle.verification import Candidate

FOLDER = Path(__file__).parent / "examples"
TORCH = [pytest.mark.extra("torch"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
JAX = [pytest.mark.extra("jax"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
ALL = (None,)
FEW = ("small", "negative-u", "fewer-inputs")  # each shape is compiled anew by JAX


def run(file: str, name: str, *planted: str) -> Candidate:
    """Run an example, with a line of it replaced where a mistake is to be planted, and return its candidate."""
    source = (FOLDER / file).read_text(encoding="utf-8")
    if planted:
        right, wrong = planted
        assert source.count(right) == 1, f"{right!r} is not there exactly once"
        source = source.replace(right, wrong)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, file, "exec"), names)
    return names[name]


@pytest.mark.parametrize(("file", "name", "activation", "cases"), [
    *(pytest.param(*example, ALL, marks=TORCH) for example in (
        ("torch_linear_and_recurrence.py", "candidate", "relu"),
        ("torch_linear_and_recurrence.py", "recurrence", "relu"),
        ("torch_kernel_layer.py", "candidate", "tanh"),
        ("torch_batch_first_cell.py", "candidate", "relu"),
        ("torch_batch_first_cell.py", "candidate", "sigmoid"),
        ("torch_autograd_function.py", "candidate", "relu"),
        ("torch_autograd_function.py", "recurrence", "relu"))),
    pytest.param("jax_scan.py", "candidate", "tanh", FEW, marks=JAX),
])
def test_a_right_example_passes_with_every_tensor_judged(file: str, name: str, activation: str, cases) -> None:
    candidate = run(file, name)
    for case in cases:
        report = ir.oracle.verify(candidate, (activation,), ("float32",), case)
        assert report.passed, report
        assert not report.not_given


LINEAR, KERNEL, CELL = "torch_linear_and_recurrence.py", "torch_kernel_layer.py", "torch_batch_first_cell.py"
FUNCTION, SCAN = "torch_autograd_function.py", "jax_scan.py"


@pytest.mark.parametrize(("file", "name", "activation", "right", "wrong", "tensor", "diagnosis"), [
    *(pytest.param(*mistake, marks=TORCH) for mistake in (
        (LINEAR, "candidate", "relu", "h, states = h0, []", "h, states = torch.zeros_like(h0), []",
         "h", "h0 is ignored"),
        (LINEAR, "candidate", "relu", "self.weight_hh * h)", "self.weight_hh.clamp(-1, 1) * h)",
         "du", "u is clipped in the graph"),
        (LINEAR, "recurrence", "relu", "self.weight_hh * h)", "self.weight_hh.abs() * h)", "h", "u is taken absolute"),
        (KERNEL, "candidate", "tanh", "* h[-1]))", "* h[-1].detach()))", "dx",
         "the gradient does not flow through time"),
        (KERNEL, "candidate", "tanh", "h[1:]", "h[:-1]", "h", "the state returned is the one before the step"),
        (CELL, "candidate", "relu", " + self.bias)", ") + self.bias", "h", "the bias is added outside the activation"),
        (CELL, "candidate", "relu", "self.recurrent_kernel * h_prev", "self.recurrent_kernel.clamp(0, 1) * h_prev",
         "h", "negative weights are cut off"),
        (CELL, "candidate", "relu", "x.unbind(dim=1)", "reversed(x.unbind(dim=1))", "h",
         "the input is read backwards in time"),
        (FUNCTION, "candidate", "relu", "(dz * h_prev)", "(dz * h)", "du", "du takes h_t for h_{t−1}"),
        (FUNCTION, "candidate", "relu", "dh[t] + carry", "dh[-1] + carry", "dx",
         "every step gets the last step's cotangent"),
        (FUNCTION, "recurrence", "relu", "sum((0, 1)), carry", "sum((0, 1)), carry / u", "dh0", "dh0 is without u"))),
    pytest.param(SCAN, "candidate", "tanh", "σ(a_t + params[\"recurrent_kernel\"] * h_prev)",
                 "σ(a_t) + params[\"recurrent_kernel\"] * h_prev", "h", "the recurrence is outside the activation",
                 marks=JAX),
])
def test_a_planted_mistake_is_caught_and_named(file: str, name: str, activation: str, right: str, wrong: str,
                                               tensor: str, diagnosis: str) -> None:
    candidate = run(file, name, right, wrong)
    report = ir.oracle.verify(candidate, (activation,), ("float32",), "small" if file == SCAN else None)
    assert not report.passed
    assert any(diagnosis in (finding.diagnosis or "") for finding in report.findings if finding.name == tensor), report


@pytest.mark.extra("torch")
def test_an_example_runs_from_the_shell_as_it_says(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent.parent))
    assert main(["verify", f"{FOLDER / LINEAR}:candidate", "--case", "small", "--dtype", "float32"]) == 0
    assert all(f"tests/examples/{path.name}:candidate" in path.read_text(encoding="utf-8")
               for path in FOLDER.glob("*.py"))
    assert "1 of 1 rows right" in capsys.readouterr().out
