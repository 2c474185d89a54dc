"""Bad input is refused before any work, by the name of the argument, what came and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import indrnn_np as ir

T, B, M, N = 7, 2, 3, 5
ARRAYS = {"x": np.ones((T, B, M)), "W": np.ones((N, M)), "u": np.ones(N), "b": np.ones(N), "h0": np.ones((B, N)),
          "dh": np.ones((T, B, N)), "a": np.ones((T, B, N)), "h": np.ones((T, B, N))}

Foreign = type("Foreign", (), {"__module__": "torch"})
LONGER = np.ones((T + 1, B, N))


def layer(**changed: Any) -> ir.Trace:
    return ir.forward(**{name: ARRAYS[name] for name in ("x", "W", "u", "b", "h0")} | changed)


def recurrent_backward(**changed: Any) -> ir.RecurrenceGradients:
    return ir.recurrent_backward(**{name: ARRAYS[name] for name in ("dh", "h", "a", "u", "h0")} | changed)


def recurrent_forward(**changed: Any) -> np.ndarray:
    return ir.recurrent_forward(**{name: ARRAYS[name] for name in ("a", "u", "h0")} | changed)


def heart(**changed: Any) -> np.ndarray:
    return ir.recurrence.forward(**{"a": ARRAYS["a"], "u": ARRAYS["u"], "h0": ARRAYS["h0"], "activation": "relu"}
                                 | changed)


def jvp(**changed: Any) -> Any:
    return ir.recurrence.jvp(**{"a": ARRAYS["a"], "u": ARRAYS["u"], "h0": ARRAYS["h0"], "activation": "relu",
                                "a_dot": ARRAYS["a"], "u_dot": ARRAYS["u"], "h0_dot": ARRAYS["h0"]} | changed)


def backward(dh: Any) -> ir.Gradients:
    return ir.backward(dh, layer())


@pytest.mark.parametrize(("call", "message"), [
    # wrong rank or size
    (lambda: layer(x=np.ones((T, M))), "x: expected 3 dimensions, time-major (T, B, M); got shape (7, 3)."),
    (lambda: layer(W=np.ones((N, M + 1))), "W: expected shape (N, 3), a row per neuron and a column per input of "
                                           "x (7, 2, 3); got (5, 4)."),
    (lambda: layer(W=np.ones((M, N))), "got (3, 5). It looks transposed."),
    (lambda: layer(W=np.ones(M)), "W: expected shape (N, 3)"),
    (lambda: layer(u=np.ones((N, N))), "u: expected shape (5,), one recurrent weight per neuron of W (5, 3); got "
                                       "(5, 5). A full recurrent matrix is an RNN's"),
    (lambda: layer(u=np.ones((1, N))), "one recurrent weight per neuron of W (5, 3); got (1, 5)"),
    (lambda: layer(u=np.ones(())), "u: expected shape (5,), one recurrent weight per neuron of W (5, 3); got ()"),
    (lambda: layer(b=np.ones(M)), "b: expected shape (5,), one bias per neuron of W (5, 3); got (3,)"),
    (lambda: layer(h0=np.ones(N)), "h0: expected shape (2, 5), an initial state per sequence"),
    (lambda: layer(h0=np.ones((1, B, N))), "h0: expected shape (2, 5)"),
    (lambda: backward(np.ones((B, T, N))), "dh: expected shape (7, 2, 5), one cotangent per state (T, B, N); got "
                                           "(2, 7, 5). It looks batch-first; time comes first: dh.swapaxes(0, 1)."),
    (lambda: recurrent_forward(a=np.ones((T, N))), "a: expected 3 dimensions, time-major (T, B, N); got shape (7, 5)."),
    (lambda: recurrent_forward(u=np.ones((N, N))), "u: expected shape (5,)"),
    (lambda: recurrent_backward(dh=np.ones((T, B, 1))), "dh: expected shape (7, 2, 5), as h has it; got (7, 2, 1)."),
    (lambda: recurrent_backward(a=np.ones((T + 1, B, N))), "a: expected shape (7, 2, 5), as h has it"),
    (lambda: recurrent_backward(a=None, activation="tanh"), "a: expected the drive (T, B, N), since the slope of tanh"),
    (lambda: heart(u=np.ones((N, N))), "u: expected shape (5,)"),
    (lambda: heart(h0=np.ones(N)), "h0: expected shape (2, 5)"),
    (lambda: jvp(u_dot=np.ones((B, N))), "u_dot: expected shape (5,), the shape of what it is a tangent of"),
    (lambda: jvp(a_dot=np.ones((1, B, N))), "a_dot: expected shape (7, 2, 5), as a has it"),
    # empty
    (lambda: layer(x=np.ones((0, B, M))), "x: expected at least one of each of (T, B, M); got shape (0, 2, 3)."),
    (lambda: layer(x=np.ones((T, 0, M))), "x: expected at least one of each"),
    (lambda: layer(x=np.ones((T, B, 0))), "x: expected at least one of each"),
    (lambda: layer(W=np.ones((0, M))), "W: expected shape (N, 3)"),
    (lambda: recurrent_forward(a=np.ones((T, B, 0))), "a: expected at least one of each of (T, B, N)"),
    # dtype
    (lambda: layer(x=np.ones((T, B, M), int)), "x: expected dtype float32 or float64 or complex64 or complex128; got "
                                               "int64."),
    (lambda: layer(x=np.ones((T, B, M), object)), "got object."),
    (lambda: layer(x=np.ones((T, B, M), np.float16)), "got float16."),
    (lambda: layer(x=np.ones((T, B, M), ">f8")), "got >f8."),
    (lambda: layer(u=np.ones(N, np.float32)), "u: expected dtype float64, as x has it; got float32. All arrays of a "
                                              "call share one dtype."),
    (lambda: backward(np.ones((T, B, N), np.float32)), "dh: expected dtype float64, as h has it; got float32."),
    (lambda: recurrent_backward(h=np.ones((T, B, N), np.float32)), "expected dtype float32, as h has it; got float64"),
    (lambda: heart(a=np.ones((T, B, N), bool)), "a: expected dtype float32 or float64 or"),
    # not arrays
    (lambda: layer(x=[[[1.0]]]), "x: expected a NumPy or CuPy array; got list. Pass np.asarray(x, dtype)"),
    (lambda: layer(x=Foreign()), "x: expected a NumPy or CuPy array; got torch.Foreign. Pass x.numpy(force=True)."),
    (lambda: layer(b="tanh"), "b: expected the bias (N,) or None; got the text 'tanh'. An activation is given by its "
                              "name: activation='tanh'."),
    (lambda: layer(u=np.ones(N, int)), "u: expected dtype float32 or float64 or complex64 or complex128; got int64. "
                                       "Convert it: u.astype('float64')."),
    (lambda: layer(activation="ReLU"), "got 'ReLU'. Did you mean 'relu'?"),
    (lambda: layer(u=1.0), "u: expected a NumPy or CuPy array; got float."),
    (lambda: layer(x=np.ma.ones((T, B, M))), "x: expected a plain array; got MaskedArray"),
    (lambda: backward(None), "dh: expected a NumPy or CuPy array; got NoneType."),
    (lambda: recurrent_forward(a=None), "a: expected a NumPy or CuPy array; got NoneType."),
    (lambda: recurrent_forward(u=None), "u: expected a NumPy or CuPy array; got NoneType."),
    (lambda: heart(h0=None), "h0: expected a NumPy or CuPy array; got NoneType."),
    (lambda: ir.backward(ARRAYS["dh"], layer().h), "trace: expected the Trace that forward returned; got ndarray."),
    # unknown names
    (lambda: layer(activation="rleu"), "activation: expected one of identity, relu, leaky_relu, tanh, sigmoid, "
                                       "softplus; got 'rleu'. Did you mean 'relu'?"),
    (lambda: layer(activation=None), "activation: expected a name or an indrnn_np.Activation; got NoneType."),
    (lambda: layer(engine="nunpy"), "engine: expected one of reference, numpy"),
    (lambda: layer(engine="nunpy"), "got 'nunpy'. Did you mean 'numpy'?"),
    (lambda: layer(engine=3), "engine: expected a name or None; got int."),
    (lambda: layer(engine="numpy", activation=ir.Activation("mine", np.tanh, np.cos)),
     "engine: 'numpy' does not run the activation 'mine', which is not built in; use 'reference'"),
    (lambda: recurrent_forward(a=ARRAYS["a"] + 0j, u=ARRAYS["u"] + 0j, h0=None, engine="numpy"),
     "engine: 'numpy' does not run complex128 arrays"),
    # buffers
    (lambda: recurrent_forward(out=np.ones((T, B))), "out: expected shape (7, 2, 5), as a has it; got (7, 2)."),
    (lambda: recurrent_forward(out=np.ones((T, B, N), np.float32)), "out: expected dtype float64, as a has it; got"),
    (lambda: recurrent_forward(out=[1.0]), "out: expected a NumPy or CuPy array; got list."),
    (lambda: recurrent_forward(out=np.ones((B, T, N)).swapaxes(0, 1)), "out: expected an array in C order that may be "
                                                                       "written to; got one that has strides"),
    (lambda: recurrent_forward(out=np.broadcast_to(1.0, (T, B, N))), "got one that has strides (0, 0, 0)."),
    (lambda: recurrent_forward(out=np.frombuffer(bytes(8 * T * B * N)).reshape(T, B, N)), "got one that is read-only."),
    (lambda: recurrent_forward(out=np.zeros(8 * T * B * N + 1, np.uint8)[1:].view(float).reshape(T, B, N)),
     "out: expected an aligned array; got one that begins between two numbers."),
    (lambda: recurrent_forward(a=LONGER[1:], out=LONGER[:-1]), "out: expected memory of its own, or a itself; got some "
                                                               "that a uses."),
    (lambda: recurrent_forward(h0=LONGER[1], out=LONGER[1:]), "or a itself; got some that h0 uses."),
    (lambda: recurrent_backward(out=ARRAYS["h"]), "expected memory of its own, or dh itself; got some that h uses."),
    (lambda: recurrent_backward(dh=LONGER[1:], out=LONGER[:-1]), "got some that dh uses."),
    # the oracle
    (lambda: ir.oracle.verify(3), "candidate: expected a callable; got int."),
    (lambda: ir.oracle.verify(print, "relu"), "activations: expected a non-empty sequence of names, such as ('relu',)"),
    (lambda: ir.oracle.verify(print, ()), "activations: expected a non-empty sequence of names"),
    (lambda: ir.oracle.verify(print, ("relux",)), "got 'relux'. Did you mean 'relu'?"),
    (lambda: ir.oracle.verify(print, dtypes=("float8",)), "or 'float64' or 'float16'; got 'float8'."),
    (lambda: ir.oracle.verify(print, (ir.Activation("mine", np.tanh, np.cos),)), "activations: expected names"),
])
def test_bad_input_is_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        call()
    assert message in str(refusal.value)


def test_a_random_call_with_one_thing_wrong_always_names_it() -> None:
    """Every argument in turn is given a wrong rank, size, dtype or type; the message starts with its name."""
    spoil = {"rank": lambda v: v[0], "size": lambda v: np.concatenate([v, v], axis=-1),
             "integer": lambda v: v.astype(int), "half": lambda v: v.astype(np.float16), "list": lambda v: v.tolist()}
    for call, names in ((layer, ("x", "W", "u", "b", "h0")), (recurrent_forward, ("a", "u", "h0")),
                        (recurrent_backward, ("dh", "h", "a", "u", "h0"))):
        for name in names:
            for fault, change in spoil.items():
                with pytest.raises((ValueError, TypeError)) as refusal:
                    call(**{name: change(ARRAYS[name])})
                blamed = str(refusal.value).partition(":")[0]
                # The first argument sets the sizes, so the second one may be the first to disagree with it.
                assert blamed == name or (fault == "size" and name in ("x", "W", "h", "a")), (name, fault, blamed)


def test_a_call_like_one_that_was_let_in_is_not_looked_at_again_and_any_other_is(monkeypatch) -> None:
    looked_at = []
    whole = ir.checks.recurrence
    monkeypatch.setattr(ir.checks, "recurrence", lambda *a, **b: looked_at.append(1) or whole(*a, **b))
    a, u, h0 = np.ones((9, 4, 11)), np.ones(11), np.ones((4, 11))

    ir.recurrent_forward(a, u, h0)
    assert len(looked_at) == 1
    ir.recurrent_forward(a + 1, u + 1, h0 + 1)
    ir.recurrent_forward(np.asfortranarray(a), u[::-1], h0)
    ir.recurrent_forward(a, u, h0, activation=ir.ACTIVATIONS["tanh"], engine="numpy")
    assert len(looked_at) == 1
    ir.recurrent_forward(a, u)
    ir.recurrent_forward(*(array.astype(np.float32) for array in (a, u, h0)))
    ir.recurrent_forward(a[:5], u, h0)
    assert len(looked_at) == 4


def test_which_engine_runs_is_not_remembered(monkeypatch) -> None:
    a, u = np.ones((9, 4, 14)), np.ones(14)
    first = ir.recurrent_forward(a, u)
    with monkeypatch.context() as another:
        another.setattr(ir.engines, "choose", lambda engine, array, activation: "reference")
        assert ir.forward(a, np.eye(14), u).engine == "reference"
        ir.recurrent_forward(a, u)
    assert ir.forward(a, np.eye(14), u).engine == ir.engines.on_the_cpu()[-1]
    assert (ir.recurrent_forward(a, u) == first).all()


def test_nothing_that_is_refused_is_remembered_as_let_in() -> None:
    a, u, h0 = np.ones((9, 4, 12)), np.ones(12), np.ones((4, 12))
    ir.recurrent_forward(a, u, h0)
    like_them = [
        (a[0], u, h0), (a, u[:-1], h0), (a, u, h0[:-1]), (a, u.astype(np.float32), h0), (a, u.astype(">f8"), h0),
        (a.astype(">f8"), u.astype(">f8"), h0.astype(">f8")), (np.ma.array(a), u, h0),
        (a.astype(np.dtypes.StringDType(na_object=[])), u, h0),
        (a.tolist(), u, h0), (a, None, h0), (a, u, "h0"), (a, u, h0, ["relu"]), (a, u, h0, "rleu"), (a, u, h0, None),
        (a, u, h0, "relu", "nmupy"), (a, u, h0, "relu", ["numpy"]),
    ]
    for call in like_them:
        for _ in range(2):
            with pytest.raises((TypeError, ValueError), match=r"^(a|u|h0|activation|engine): expected"):
                ir.recurrent_forward(*call)


def test_only_arrays_of_the_plain_kind_are_remembered(monkeypatch) -> None:
    """A subclass may compute by rules of its own, and two activations of a user may share a name."""
    class Mine(np.ndarray):
        pass

    looked_at = []
    whole = ir.checks.recurrence
    monkeypatch.setattr(ir.checks, "recurrence", lambda *a, **b: looked_at.append(1) or whole(*a, **b))
    a, u = np.ones((9, 4, 13)), np.ones(13)
    for array, weight in ((a.view(Mine), u), (a, u.view(Mine))) * 2:
        ir.recurrent_forward(array, weight)
    assert len(looked_at) == 4
    twice, thrice = (ir.Activation("mine", lambda z, k=k: k * z, lambda z, k=k: k + 0 * z) for k in (2, 3))
    assert ir.recurrent_forward(a[:1], u, None, twice)[0, 0, 0] == 2
    assert ir.recurrent_forward(a[:1], u, None, thrice)[0, 0, 0] == 3


def test_the_names_of_arguments_are_part_of_the_kind_of_a_call() -> None:
    check = ir.checks.once_per_kind(lambda **arrays: list(arrays))
    assert check(a=np.ones(1)) == ["a"]
    assert check(h=np.ones(1)) == ["h"]


@pytest.mark.parametrize(("call", "reusable", "name"), [
    (recurrent_forward, "a", "u"), (recurrent_forward, "a", "h0"), (recurrent_backward, "dh", "h"),
    (recurrent_backward, "dh", "a"), (recurrent_backward, "dh", "u"), (recurrent_backward, "dh", "h0")])
def test_a_buffer_may_share_memory_with_nothing_that_is_read_again(call: Any, reusable: str, name: str) -> None:
    buffer = np.ones((T, B, N))
    shared = {"u": buffer[0, 0], "h0": buffer[-1]}.get(name, buffer)
    expected = f"out: expected memory of its own, or {reusable} itself; got some that {name} uses."
    for given in ({name: shared}, {name: shared, reusable: buffer}):
        with pytest.raises(ValueError, match=expected):
            call(**given, out=buffer)


def test_only_so_many_kinds_of_call_are_remembered(monkeypatch) -> None:
    monkeypatch.setattr(ir.checks, "KINDS", 2)
    asked = []
    check = ir.checks.once_per_kind(lambda array: asked.append(array.shape))
    for size in (1, 2, 1, 2, 3, 1, 3):
        check(np.ones(size))
    assert asked == [(1,), (2,), (3,), (1,)]
