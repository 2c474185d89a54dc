"""The costs of a layer: the papers' formulas, what arrays really hold, and what is really done to numbers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cells import CELLS, SMOOTH, Counter

import indrnn_np as ir
from indrnn_np import checks
from indrnn_np.analysis import backward_operations, forward_operations, parameter_count
from indrnn_np.oracle.numerical import complex_step

SIZES = [(1, 1), (1, 3), (3, 1), (2, 4), (5, 3)]  # M, N
GATES = {"indrnn": 1} | {name: gates for name, (gates, _) in CELLS.items()}


@pytest.mark.parametrize(("M", "N"), [*SIZES, (2, 128), (128, 128)])
def test_the_parameters_are_those_that_the_papers_state(M: int, N: int) -> None:
    first_paper = {("rnn", 1): (M * N + N * N, N), ("indrnn", 1): (M * N + N, N),  # without biases, and the biases
                   ("indrnn", 2): (M * N + N * N + 2 * N, 2 * N)}
    for (cell, layers), (without, biases) in first_paper.items():
        assert parameter_count(cell, M, N, layers, bias=False) == without
        assert parameter_count(cell, M, N, layers) == without + biases
    follow_up = {("indrnn", 1): M * N + 2 * N, ("indrnn", 2): M * N + N * N + 4 * N,
                 ("lstm", 1): 4 * (M * N + N * N + N)}
    for (cell, layers), with_biases in follow_up.items():
        assert parameter_count(cell, M, N, layers) == with_biases


@pytest.mark.parametrize(("M", "N"), SIZES)
@pytest.mark.parametrize("layers", [1, 2, 6])
def test_the_two_papers_differ_by_one_bias_vector_a_layer_and_gate(M: int, N: int, layers: int) -> None:
    for cell, gates in GATES.items():
        assert (parameter_count(cell, M, N, layers, bias=True)
                == parameter_count(cell, M, N, layers, bias=False) + layers * gates * N)


def test_two_indrnn_layers_have_2n_weights_more_than_one_rnn_layer() -> None:
    """Section 4 takes two layers for the one of an RNN: they hold u twice, where the RNN holds nothing of the kind."""
    for M, N in SIZES:
        assert parameter_count("indrnn", M, N, 2, bias=False) - parameter_count("rnn", M, N, bias=False) == 2 * N


@pytest.mark.parametrize(("M", "N"), SIZES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_indrnn_s_arrays_hold_as_many_numbers_as_the_formula_says(M: int, N: int, layers: int) -> None:
    rng, held, gradients, biases = np.random.default_rng(0), 0, 0, 0
    x = rng.standard_normal((3, 2, M))
    for _ in range(layers):
        W, u, b = rng.standard_normal((N, x.shape[2])), rng.standard_normal(N), rng.standard_normal(N)
        trace = ir.forward(x, W, u, b)
        found = ir.backward(rng.standard_normal(trace.h.shape), trace)
        held, biases = held + W.size + u.size + b.size, biases + b.size
        gradients += found.dW.size + found.du.size + found.db.size
        x = trace.h
    assert held == gradients == parameter_count("indrnn", M, N, layers)
    assert held - biases == parameter_count("indrnn", M, N, layers, bias=False)


def arrays(cell: str, M: int, N: int, T: int, bias: bool = True) -> dict[str, np.ndarray | None]:
    rng, gates = np.random.default_rng(1), GATES[cell]
    return {"W": rng.uniform(-1, 1, (gates * N, M)), "U": rng.uniform(-0.5, 0.5, (gates * N, N)),
            "b": rng.uniform(-1, 1, gates * N) if bias else None, "x": rng.uniform(-1, 1, (T, M)),
            "state": rng.uniform(-1, 1, (2, N) if cell == "lstm" else N)}


def rounding(cell: str, given: dict[str, np.ndarray | None], operations: int) -> float:
    """Bound what rounding does to a state, or to a gradient for each unit of cotangent, in up to 3 steps.

    Each operation rounds once, a function of NumPy's or PyTorch's by at most 8 times as much. From step to step an
    error grows by at most 1 + S for S = Σ|U|, as in an RNN, or by S²/4 more, through the GRU's r ⊙ (U h): slopes are up
    to 1 for tanh and ¼ for the sigmoid, |h| is up to 1 and |c| up to 4. Σ|W| and |x| stand for the step in which an
    error enters.
    """
    S, enter = abs(given["U"]).sum(), 1 + abs(given["W"]).sum() + abs(given["x"]).max()
    assert len(given["x"]) <= 3
    return 8 * operations * np.finfo(float).eps / 2 * 4 * enter * (1 + S + S**2 / 4)**3


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradients_of_the_peers_hold_as_many_numbers_as_the_formula_says(cell: str, bias: bool) -> None:
    for M, N in SIZES:
        h, backward = CELLS[cell][1](**arrays(cell, M, N, T=2, bias=bias), functions=SMOOTH)
        found = backward(np.ones_like(h))
        assert sum(found[name].size for name in ("W", "U", "b") if found[name] is not None) == parameter_count(
            cell, M, N, bias=bias)


@pytest.mark.parametrize("cell", CELLS)
def test_the_equations_that_are_counted_are_right(cell: str) -> None:
    """To count what a wrong derivative costs would be idle: every gradient agrees with the complex step."""
    run = CELLS[cell][1]
    M, N, T = 3, 2, 3
    given = arrays(cell, M, N, T)
    dh = np.random.default_rng(2).uniform(-1, 1, (T, N))
    _, backward = run(**given, functions=SMOOTH)
    found = backward(dh)
    operations = sum(forward_operations(cell, M, N, T)) + sum(backward_operations(cell, M, N, T))
    allowed = rounding(cell, given, operations) * abs(dh).sum()
    for name in given:
        expected = complex_step(lambda v: (dh * run(**(given | {name: v}), functions=SMOOTH)[0]).sum(), given[name])
        assert abs(found[name] - expected).max() <= allowed, name
        assert np.median(abs(expected)) > 1e3 * allowed, f"{name}: this input could have told nothing"


@pytest.mark.parametrize(("M", "N"), SIZES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_the_operations_of_the_peers_are_those_counted(cell: str, bias: bool, M: int, N: int) -> None:
    for T in (1, 2, 5):
        counter = Counter()
        numbers = {name: None if array is None else counter.numbers(*array.shape)
                   for name, array in arrays(cell, M, N, T, bias).items()}
        h, backward = CELLS[cell][1](**numbers, functions=counter.functions)
        assert counter.take() == forward_operations(cell, M, N, T, bias)
        backward(counter.numbers(*h.shape))
        assert counter.take() == backward_operations(cell, M, N, T, bias)


@pytest.fixture
def open_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let arrays of counting numbers into the layer, which takes floating-point ones only."""
    for name in ("layer", "recurrence", "cotangent"):
        monkeypatch.setattr(checks, name, lambda *args, **kwargs: np)


@pytest.mark.parametrize(("M", "N"), SIZES)
@pytest.mark.usefixtures("open_door")
def test_the_operations_of_an_indrnn_are_those_that_the_specification_performs(M: int, N: int) -> None:
    for T, B, bias, kept in product((1, 2, 5), (1, 3), (True, False), (True, False)):
        counter = Counter()
        activate = counter.functions.tanh
        σ = ir.Activation("counting", activate, activate, (lambda g, h: activate(h) * g) if kept else None)
        shapes = (T, B, M), (N, M), (N,), (N,), (B, N), (T, B, N)
        x, W, u, b, h0, dh = (counter.numbers(*shape) for shape in shapes)
        trace = ir.forward(x, W, u, b if bias else None, h0, σ, engine="reference")
        assert counter.take() == times(B, forward_operations("indrnn", M, N, T, bias))

        ir.backward(dh, trace)
        multiplications, additions, activations = times(B, backward_operations("indrnn", M, N, T))
        multiplications += B * N     # the specification multiplies u and dz_{T+1} = 0
        additions -= M * N + N       # dW and db, whole sums, start at their first term instead of 0
        if not kept:                 # where the slope must be taken at z, z_t = a_t + u ⊙ h_{t−1} is computed anew
            multiplications, additions = multiplications + T * B * N, additions + T * B * N
        assert counter.take() == (multiplications, additions, activations)


@pytest.mark.usefixtures("open_door")
def test_relu_selects_where_others_multiply_by_the_slope() -> None:
    class Positive(type(Counter().numbers(1)[0])):
        def __gt__(self, other: object) -> bool:
            return True

        __le__ = __gt__

    M, N, T = 2, 3, 4
    counter = Counter()
    a, u, h0 = (np.full(shape, Positive(counter), object) for shape in ((T, 1, N), (N,), (1, N)))
    h = ir.recurrence.forward(a, u, h0, "relu")
    assert counter.take() == (T * N, T * N, 0)
    ir.recurrence.backward(h, h, None, u, h0, "relu")
    with_slope = backward_operations("indrnn", M, N, T)
    affine = T * 2 * M * N, T * (M * N + M * (N - 1) + N)  # dW and dx; dW, dx and db
    multiplications = with_slope.multiplications - affine[0] - T * N + N  # no slopes; u dz_{T+1}, as above
    assert counter.take() == (multiplications, with_slope.additions - affine[1], 0)


def times(k: int, operations: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(k * count for count in operations)


def test_counting_sees_a_step_that_is_left_out() -> None:
    """The counter can tell T steps from T − 1, a bias from none, and a matrix from a vector."""
    counter = Counter()
    numbers = {name: counter.numbers(*array.shape) for name, array in arrays("rnn", 2, 3, T=4).items()}
    CELLS["rnn"][1](**numbers, functions=counter.functions)
    seen = counter.take()
    assert seen == forward_operations("rnn", 2, 3, 4)
    assert seen not in (forward_operations("rnn", 2, 3, 3), forward_operations("rnn", 2, 3, 4, bias=False),
                        forward_operations("indrnn", 2, 3, 4))


def test_the_share_of_the_recurrence_in_an_indrnn_layer_is_one_in_m_plus_1() -> None:
    """Of the forward multiplications M·N are the affine map's and N are u's, where an RNN has N²."""
    for M, N in SIZES:
        assert forward_operations("indrnn", M, N).multiplications == (M + 1) * N
        assert forward_operations("rnn", M, N).multiplications == (M + N) * N


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("cell", CELLS)
def test_pytorch_s_modules_hold_one_bias_vector_a_gate_and_layer_more(cell: str) -> None:
    import torch

    for (M, N), layers in product(SIZES, (1, 2)):
        held = {bias: sum(p.numel() for p in getattr(torch.nn, cell.upper())(M, N, layers, bias=bias).parameters())
                for bias in (True, False)}
        assert held[False] == parameter_count(cell, M, N, layers, bias=False)
        assert held[True] == parameter_count(cell, M, N, layers) + layers * GATES[cell] * N


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("cell", CELLS)
def test_of_pytorch_s_two_biases_only_the_sum_matters_but_in_the_gru_s_third_gate(cell: str) -> None:
    """All numbers are small dyadic fractions and there is one step, so moving a bias across is exact up to z."""
    import torch

    M, N, rng = 2, 3, np.random.default_rng(3)
    module = getattr(torch.nn, cell.upper())(M, N).double()
    x = torch.tensor(rng.integers(-8, 9, (1, 1, M)) / 8)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.tensor(rng.integers(-8, 9, tuple(parameter.shape)) / 8))
        before = module(x)[0].clone()
        for gate in range(GATES[cell]):
            rows = slice(gate * N, (gate + 1) * N)
            module.bias_ih_l0[rows] += 0.25
            module.bias_hh_l0[rows] -= 0.25
            same = torch.equal(module(x)[0], before)
            assert same is not (cell == "gru" and gate == 2)
            module.bias_ih_l0[rows] -= 0.25
            module.bias_hh_l0[rows] += 0.25


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("cell", CELLS)
def test_the_peers_that_are_counted_are_pytorch_s(cell: str) -> None:
    import torch

    M, N, T = 3, 2, 3
    given = arrays(cell, M, N, T)
    module = getattr(torch.nn, cell.upper())(M, N).double()
    with torch.no_grad():
        for name, array in (("weight_ih_l0", given["W"]), ("weight_hh_l0", given["U"]), ("bias_ih_l0", given["b"])):
            getattr(module, name).copy_(torch.tensor(array))
        module.bias_hh_l0.zero_()
        state = torch.tensor(given["state"]).reshape(-1, 1, 1, N)
        theirs = module(torch.tensor(given["x"])[:, None], tuple(state) if cell == "lstm" else state[0])[0]
    h, _ = CELLS[cell][1](**given, functions=SMOOTH)
    allowed = rounding(cell, given, 2 * sum(forward_operations(cell, M, N, T)))
    assert abs(h - theirs[:, 0].numpy()).max() <= allowed < 1e-3 * abs(h).min()


@pytest.mark.parametrize(("arguments", "error", "message"), [
    (("gated", 1, 1), ValueError, "cell: expected one of indrnn, rnn, lstm, gru; got 'gated'"),
    (("LSTM", 1, 1), ValueError, r"cell: .*Did you mean 'lstm'\?"),
    ((None, 1, 1), TypeError, "cell: expected one of indrnn, rnn, lstm, gru; got NoneType"),
    (("rnn", 0, 1), ValueError, "M: expected a whole number above 0; got 0"),
    (("rnn", 1, -3), ValueError, "N: expected a whole number above 0; got -3"),
    (("rnn", 1, 2.0), TypeError, "N: expected a whole number above 0; got float"),
    (("rnn", True, 1), TypeError, "M: expected a whole number above 0; got bool"),
])
@pytest.mark.parametrize("count", [parameter_count, forward_operations, backward_operations])
def test_bad_sizes_are_named(count, arguments, error, message) -> None:
    with pytest.raises(error, match=f"^{message}"):
        count(*arguments)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"^layers: expected a whole number above 0; got 0"):
        parameter_count("rnn", 1, 1, layers=0)
    with pytest.raises(ValueError, match=r"^steps: expected a whole number above 0; got 0"):
        forward_operations("rnn", 1, 1, steps=0)
    with pytest.raises(TypeError, match=r"^bias: expected True or False; got int"):
        parameter_count("rnn", 1, 1, bias=1)


def test_numpy_s_whole_numbers_will_do_and_python_s_come_back() -> None:
    count = parameter_count("rnn", np.int64(3), np.int32(2))
    assert (count, type(count)) == (12, int)
    assert parameter_count("rnn", np.int32(10**5), np.int32(10**5)) == 2 * 10**10 + 10**5, "no overflow"
