"""The baselines' cells: each against its equations, the complex step and PyTorch; every planted mistake is seen."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import cells_written_out
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running_error import Rounded
from tally import Tally

import indrnn_np as ir
from indrnn_np.nn import baselines
from indrnn_np.oracle.numerical import complex_step
from indrnn_np.oracle.tolerance import gamma

CELLS = {"rnn": baselines.rnn, "irnn": partial(baselines.rnn, activation="relu"), "lstm": baselines.lstm,
         "gru": baselines.gru}
GATES = {"rnn": 1, "irnn": 1, "lstm": 4, "gru": 3}
Problem = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]


def problem(kind: str, seed: int, T: int = 7, B: int = 3, M: int = 2, N: int = 4, dtype: str = "float64") -> Problem:
    """Return params, x, dh and lengths. For ReLU with |z| ≥ 2⁻⁶, drawn again until no z is near the kink."""
    rng = np.random.default_rng(seed)
    rows = GATES[kind] * N
    while True:
        params = {"W": rng.standard_normal((rows, M)), "U": 0.5 * rng.standard_normal((rows, N)),
                  "b": 0.5 * rng.standard_normal(rows)}
        if kind == "gru":
            params["b_n"] = rng.standard_normal(N)
        params = {name: value.astype(dtype) for name, value in params.items()}
        x, dh = (rng.standard_normal((T, B, n)).astype(dtype) for n in (M, N))
        lengths = rng.integers(1, T + 1, B)
        if kind != "irnn" or clear_of_the_kink(params, x):
            return params, x, dh, lengths


def clear_of_the_kink(params: dict[str, np.ndarray], x: np.ndarray) -> bool:
    h = np.zeros((x.shape[1], len(params["U"])), x.dtype)
    nearest = np.inf
    for x_t in x:
        z = x_t @ params["W"].T + h @ params["U"].T + params["b"]
        h, nearest = np.maximum(z, 0), min(nearest, float(abs(z).min()))
    return nearest >= 2.0**-6


def mask_of(lengths: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.arange(len(x))[:, None] < lengths


def results(cell: Callable[..., Any], params: dict[str, np.ndarray], x: np.ndarray, dh: np.ndarray,
            lengths: np.ndarray) -> dict[str, np.ndarray]:
    h, backward = cell(params, x, mask=mask_of(lengths, x))
    dx, grads = backward(dh)
    return {"h": h, "dx": dx} | {"d" + name: g for name, g in grads.items()}


def misses(got: dict[str, np.ndarray], want: dict[str, Rounded], share: float = 1.0) -> list[str]:
    """Name what is not within its allowed error."""
    assert got.keys() == want.keys()
    return [name for name in want if not want[name].allows(got[name], share)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", CELLS)
def test_every_cell_is_its_equations_written_out_step_by_step(kind: str, dtype: str) -> None:
    tally = Tally(f"{kind} = its equations, {dtype}")

    @given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
    @settings(max_examples=25)
    def claim(seed: int, T: int, B: int, M: int, N: int) -> None:
        case = problem(kind, seed, T, B, M, N, dtype)
        want = cells_written_out.run(getattr(cells_written_out, kind), *case, unit=float(np.finfo(dtype).eps) / 2)
        got = results(CELLS[kind], *case)
        assert {value.dtype.name for value in got.values()} == {dtype}
        assert not misses(got, want)
        tally.note(T > 1 and all(np.median(value.error) <= 1e-3 * abs(value.value).max() for value in want.values()))

    claim()
    tally.require(0.5)


@pytest.mark.parametrize("kind", CELLS)
def test_every_gradient_is_the_complex_steps(kind: str) -> None:
    """The imaginary part runs through the same sums and products as backward, from the front: the same bound again."""
    params, x, dh, lengths = problem(kind, 1, T=5)
    want = cells_written_out.run(getattr(cells_written_out, kind), params, x, dh, lengths, unit=2.0**-53)
    kept = dh * mask_of(lengths, x)[..., None]
    for name in ("x", *params):
        def J(v: np.ndarray, name: str = name) -> np.ndarray:
            given = {other: value + 0j for other, value in (params | {"x": x}).items()} | {name: v}
            return (CELLS[kind](given, given.pop("x"), mask=mask_of(lengths, x))[0] * kept).sum()
        numerical = complex_step(J, (params | {"x": x})[name])
        assert want["d" + name].allows(numerical, 2.0), name


@pytest.mark.extra("torch")
@pytest.mark.parametrize("kind", CELLS)
def test_torch_computes_the_same_states_and_gradients(kind: str) -> None:
    import torch

    params, x, dh, lengths = problem(kind, 2, T=12, B=4, M=3, N=5)
    N = 5
    how = {"rnn": {"nonlinearity": "tanh"}, "irnn": {"nonlinearity": "relu"}}.get(kind, {})
    theirs = {"rnn": torch.nn.RNN, "irnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](
        3, N, dtype=torch.float64, **how)
    order = np.arange(GATES[kind] * N)
    if kind == "lstm":
        order = order.reshape(4, N)[[0, 1, 3, 2]].ravel()  # PyTorch has i, f, g, o
    behind = np.concatenate([np.zeros(2 * N), params["b_n"]]) if kind == "gru" else np.zeros(len(order))
    values = (params["W"][order], params["U"][order], params["b"][order], behind)
    with torch.no_grad():
        for parameter, value in zip(theirs.parameters(), values, strict=True):
            parameter.copy_(torch.tensor(value))
    x_t = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x_t, torch.tensor(lengths), enforce_sorted=False)
    h, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], total_length=len(x))
    h.backward(torch.tensor(dh))
    dW, dU, db, d_behind = (parameter.grad.numpy() for parameter in theirs.parameters())
    back = np.argsort(order)
    got = {"h": h.detach().numpy(), "dx": x_t.grad.numpy(), "dW": dW[back], "dU": dU[back], "db": db[back]}
    if kind == "gru":
        got["db_n"] = d_behind[2 * N:]
    want = cells_written_out.run(getattr(cells_written_out, kind), params, x, dh, lengths, unit=2.0**-53)
    assert not misses(got, want)
    assert not misses(results(CELLS[kind], params, x, dh, lengths), want)


MISTAKES = {
    "the recurrent matrix not transposed": (
        "rnn", "xp.matmul(dz[t + 1], U, out=g)", "xp.matmul(dz[t + 1], U.T, out=g)"),
    "no gradient through time": ("rnn", "xp.matmul(dz[t + 1], U, out=g)", "g[...] = 0"),
    "dU with this step's state": ("rnn", "rows.T @ h[:-1].reshape(T * B, N)", "rows.T @ h[1:].reshape(T * B, N)"),
    "padding runs backward": ("rnn", "dh = sequences.keep(mask, dh)", "dh = dh.copy()"),
    "no gradient through the cell": ("lstm", "C *= f[t + 1]", "C *= 0"),
    "this step's forget gate": ("lstm", "C *= f[t + 1]", "C *= f[t]"),
    "no gradient through the state": ("lstm", "xp.matmul(dz[t + 1], U, out=H)", "H *= 0"),
    "this step's cell in the forget gate": ("lstm", "f * (1 - f) * c[:-1]", "f * (1 - f) * c[1:]"),
    "no slope of the cell's tanh": ("lstm", "o * (1 - squashed * squashed)", "o.copy()"),
    "the cell's derivative in the output gate": ("lstm", "dz_o[t] *= H", "dz_o[t] *= C"),
    "the slope of tanh where that of a gate belongs": ("lstm", "i * (1 - i) * g", "(1 - i * i) * g"),
    "the reset gate before the matrix": (
        "gru", "xp.multiply(r[t], m[t], out=fed_back)", "fed_back[...] = (r[t] * h[t]) @ U[2 * N:].T + b_n"),
    "keep and renew exchanged": ("gru", "h[t + 1] *= k[t]", "h[t + 1] *= 1 - k[t]"),
    "nothing kept on the way back": ("gru", "H *= k[t + 1]", "H *= 0"),
    "the bias behind the reset gate as one before it": ("gru", "over_all_but_the_last(dp_n)",
                                                        "over_all_but_the_last(candidate)"),
    "dU without the reset gate": ("gru", "dp_n[...] = r * candidate", "dp_n[...] = candidate"),
    "the reset gate sees no bias": ("gru", "r * (1 - r) * m * candidate", "r * (1 - r) * (m - b_n) * candidate"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen(mistake: str) -> None:
    kind, right_text, wrong_text = MISTAKES[mistake]
    case = problem(kind, 3)
    want = cells_written_out.run(getattr(cells_written_out, kind), *case, unit=2.0**-53)
    assert not misses(results(CELLS[kind], *case), want)
    source = inspect.getsource(sys.modules[f"indrnn_np.nn.baselines.{kind}"])
    assert source.count(right_text) == 1
    module = ModuleType("mistaken")
    module.__package__ = "indrnn_np.nn.baselines"
    exec(compile(source.replace(right_text, wrong_text), mistake, "exec"), module.__dict__)
    assert misses(results(getattr(module, kind), *case), want)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_an_rnn_with_a_diagonal_matrix_is_an_indrnn(activation: str) -> None:
    rng = np.random.default_rng(4)
    x, W, b, u = (rng.standard_normal(shape) for shape in ((9, 3, 2), (4, 2), (4,), (4,)))
    dh = rng.standard_normal((9, 3, 4))
    trace = ir.forward(x, W, u, b, activation=activation, engine="reference")
    h, backward = baselines.rnn({"W": W, "U": np.diag(u), "b": b}, x, activation)
    assert np.array_equal(h, trace.h)  # a product with zeros rounds nothing
    expected, (dx, grads) = ir.backward(dh, trace), backward(dh)
    assert np.array_equal(dx, expected.dx)
    assert np.array_equal(grads["W"], expected.dW)
    h_prev, da = np.concatenate([np.zeros((1, 3, 4)), h[:-1]]), expected_da(trace, dh)
    terms = abs(da * h_prev).sum(axis=(0, 1))  # one product each, summed in another order
    assert (abs(np.diag(grads["U"]) - expected.du) <= 2 * gamma(9 * 3, 2.0**-53) * terms).all()


def expected_da(trace: ir.Trace, dh: np.ndarray) -> np.ndarray:
    a = trace.x @ trace.W.T if trace.a is None else trace.a
    return ir.recurrent_backward(dh, trace.h, a, trace.u, activation=trace.activation, engine="reference").da


@pytest.mark.parametrize("kind", CELLS)
def test_bad_arrays_are_refused_by_name(kind: str) -> None:
    params, x, dh, _ = problem(kind, 20)
    for name in ("x", *params):
        value = (params | {"x": x})[name]
        for bad in (value[..., :-1], value.astype("float32"), value[None]):
            given = params | {"x": x} | {name: bad}
            with pytest.raises((TypeError, ValueError), match=rf"\b({name}|U)\b.*; got"):
                CELLS[kind](given, given.pop("x"))
    with pytest.raises(ValueError, match=r"^mask: expected"):
        CELLS[kind](params, x, mask=np.ones((2, 3), bool))
    _, backward = CELLS[kind](params, x)
    for bad in (dh[:-1], dh[..., :-1]):
        with pytest.raises(ValueError, match=r"^dh: expected shape"):
            backward(bad)
