"""Checkpoints of other implementations: read, written, and refused by name where they do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import LAYOUTS, Layout, from_ours, guess_layout, to_ours

M, N = 3, 5
RNG = np.random.default_rng(0)
W, u, b = RNG.standard_normal((N, M)), RNG.standard_normal(N), RNG.standard_normal(N)

# What each implementation has in its checkpoint, written out by hand.
CHECKPOINTS = {
    "indrnn_np": {"W": W, "u": u, "b": b},
    "pytorch-authors": {"fc.weight": W, "weight_hh": u, "fc.bias": b},
    "pytorch-authors-cpu": {"fc.weight": W, "indrnn_cell.weight_hh": u, "fc.bias": b},
    "haste": {"kernel": W.T, "recurrent_scale": u, "bias": b},
    "keras": {"input_kernel": W.T, "recurrent_kernel": u, "bias": b},
    "stefoe": {"weight_ih": W, "weight_hh": u, "bias_ih": b},
    "tensorflow-contrib": {"kernel_w": W.T, "kernel_u": u[None], "bias": b},
    "torch-indrnn": {"weight_hh": u},
    "memax": {"recurrent_kernel": u, "bias": b},
}


def same(got: dict, want: dict) -> bool:
    return list(got) == list(want) and all(got[name].shape == want[name].shape and got[name].dtype == want[name].dtype
                                           and np.array_equal(got[name], want[name]) for name in want)


def held(layout: Layout, weights: dict) -> dict:
    """The weights that a layout has a place for, None for the others."""
    return {letter: array if letter in layout.stored() else None for letter, array in weights.items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_what_the_implementation_has(name: str) -> None:
    ours = {letter: array for letter, array in held(LAYOUTS[name], {"W": W, "u": u, "b": b}).items()
            if array is not None}
    assert same(to_ours(CHECKPOINTS[name], name), ours | {"b": ours.get("b", np.zeros(N))})
    assert same(from_ours(**held(LAYOUTS[name], {"W": W, "u": u, "b": b}), layout=name), CHECKPOINTS[name])
    assert guess_layout(CHECKPOINTS[name]) == name
    assert LAYOUTS[name].source


AXES = {"W": st.permutations(["N", "M", "1"]) | st.permutations(["N", "M"]), "u": st.permutations(["N", "1"]),
        "b": st.permutations(["N", "1", "1"]) | st.just(["N"])}
OWN = st.fixed_dictionaries(AXES).map(lambda axes: Layout(("in.w", "".join(axes["W"])), ("rec", "".join(axes["u"])),
                                                          ("shift", "".join(axes["b"]))))


def test_what_goes_out_comes_back_and_other_axes_would_show() -> None:
    """From one layer of three, in any layout; read with the axes of one weight turned, it is refused."""
    tally = Tally("layouts: there and back")

    @given(OWN | st.sampled_from(list(LAYOUTS.values())) | OWN, st.permutations(range(1, 9)),
           st.sampled_from(["cells.1", "a/b/", "x."]), st.sampled_from(["float32", "float64"]), st.integers(0, 2**32))
    def holds(layout: Layout, sizes: list[int], prefix: str, dtype: str, seed: int) -> None:
        (M, N), rng = sizes[:2], np.random.default_rng(seed)
        weights = held(layout, {name: rng.standard_normal(shape).astype(dtype)
                                for name, shape in (("W", (N, M)), ("u", N), ("b", N))})
        others = held(layout, {"W": W, "u": u, "b": b})
        arrays = from_ours(**others, layout=layout, prefix="cells.10") | from_ours(**weights, layout=layout,
                                                                                    prefix=prefix)
        given = {name: array for name, array in weights.items() if array is not None}
        assert same(to_ours(arrays, layout, prefix), given | {"b": given.get("b", np.zeros(N, dtype))})
        stored = layout.stored()
        turned = [name for name, (_, axes) in stored.items() if axes[::-1] != axes]
        for name in turned if min(M, N) > 1 else []:
            with pytest.raises(ValueError, match="expected shape"):
                to_ours(arrays, replace(layout, **{name: (stored[name][0], stored[name][1][::-1])}), prefix)
        tally.note(layout.W is not None and min(M, N) > 1 and bool(turned))

    holds()
    tally.require(0.4)


def test_a_checkpoint_gives_the_layer_that_it_was_saved_from(tmp_path: Path) -> None:
    np.savez(tmp_path / "saved.npz", **CHECKPOINTS["haste"])
    x = RNG.standard_normal((7, 2, M))
    with np.load(tmp_path / "saved.npz") as saved:
        trace = ir.forward(x, **to_ours(saved, "haste"))
    assert np.array_equal(trace.h, ir.forward(x, W, u, b).h)


def test_a_layer_of_several_is_chosen_by_its_prefix() -> None:
    stack = {f"cells.{i}.{name}": i + array for i in (0, 1, 10) for name, array in CHECKPOINTS["stefoe"].items()}
    assert same(to_ours(stack, "stefoe", "cells.1"), {"W": 1 + W, "u": 1 + u, "b": 1 + b})
    assert same(to_ours(stack, "stefoe", "cells.10."), {"W": 10 + W, "u": 10 + u, "b": 10 + b})
    assert guess_layout(stack) == "stefoe"
    with pytest.raises(ValueError, match=r"arrays: expected one key for u, 'weight_hh'; got 'cells.0.weight_hh', "
                                         r"'cells.1.weight_hh', 'cells.10.weight_hh'. Choose the layer by its prefix"):
        to_ours(stack, "stefoe")


def test_the_authors_keep_w_and_u_apart_and_name_u_by_the_machine() -> None:
    for name, key in (("pytorch-authors", "weight_hh"), ("pytorch-authors-cpu", "indrnn_cell.weight_hh")):
        net = {"classifier.weight": W, "classifier.bias": b}
        for i in (0, 1):
            net |= {f"DIs.{i}.fc.weight": i + W, f"DIs.{i}.fc.bias": i + b, f"RNNs.{i}.norm1.bn.weight": u,
                    f"RNNs.{i}.indrnn1.{key}": i + u}
        assert guess_layout(net) == name
        assert same(to_ours(net, name, ("DIs.1", "RNNs.1")), {"W": 1 + W, "u": 1 + u, "b": 1 + b})


def test_names_are_found_in_trees_and_behind_scopes() -> None:
    tree = {"params": {"cell": CHECKPOINTS["keras"], "out": {"kernel": W}}}
    assert same(to_ours(tree, "keras"), {"W": W, "u": u, "b": b})
    scoped = {f"rnn/ind_rnn_cell/{name}:0": array for name, array in CHECKPOINTS["keras"].items()}
    assert same(to_ours(scoped, "keras", "rnn"), {"W": W, "u": u, "b": b})
    with pytest.raises(ValueError, match="expected a key for u, 'kernel_hh'"):  # a name is not the end of another
        to_ours({"weight_kernel_hh": u}, Layout(None, ("kernel_hh", "N")))


def test_the_name_alone_wins_over_longer_ones() -> None:
    assert same(to_ours(CHECKPOINTS["haste"] | {"norm.bias": b + 1}, "haste"), {"W": W, "u": u, "b": b})


def test_a_missing_bias_is_zero() -> None:
    without = {name: array.astype("float32") for name, array in CHECKPOINTS["stefoe"].items() if name != "bias_ih"}
    got = to_ours(without, "stefoe")["b"]
    assert (got.dtype, got.tolist()) == (np.float32, [0.0] * N)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: to_ours(CHECKPOINTS["stefoe"], "haste"),
     "arrays: expected a key for u, 'recurrent_scale' or one that ends in it; got 'weight_ih', 'weight_hh', 'bias_ih'. "
     "They fit the layout 'stefoe'."),
    (lambda: to_ours({"v": u}, "haste"), "or one that ends in it; got 'v'."),
    (lambda: to_ours({}, "haste"), "got no keys."),
    (lambda: to_ours({str(i): u for i in range(20)}, "haste"), "'6', '7' and 12 more."),
    (lambda: to_ours(CHECKPOINTS["haste"], "haste", "layer.2"), "under 'layer.2'; got 'kernel'"),
    (lambda: to_ours({"weight_hh": u}, "stefoe"),
     "arrays: expected a key for W, 'weight_ih' or one that ends in it; got 'weight_hh'. They fit the layout "
     "'torch-indrnn'."),
    (lambda: to_ours(CHECKPOINTS["haste"] | {"kernel": W}, "haste"),
     "kernel: expected shape (M, 5) for W, with as many neurons as recurrent_scale has; got (5, 3). It looks "
     "transposed."),
    (lambda: to_ours(CHECKPOINTS["stefoe"] | {"bias_ih": np.ones(N + 1)}, "stefoe"),
     "bias_ih: expected shape (5,) for b, with as many neurons as weight_hh has; got (6,)."),
    (lambda: to_ours(CHECKPOINTS["stefoe"] | {"weight_hh": np.eye(N)}, "stefoe"),
     "weight_hh: expected shape (N,) for u; got (5, 5). A full recurrent matrix is an RNN's."),
    (lambda: to_ours(CHECKPOINTS["stefoe"] | {"weight_hh": u[:0]}, "stefoe"), "weight_hh: expected shape (N,) for u; "
                                                                              "got (0,)."),
    (lambda: to_ours(CHECKPOINTS["tensorflow-contrib"] | {"kernel_u": u[:, None]}, "tensorflow-contrib"),
     "kernel_u: expected shape (1, N) for u; got (5, 1)."),
    (lambda: to_ours(CHECKPOINTS["stefoe"] | {"weight_hh": np.arange(N)}, "stefoe"),
     "weight_hh: expected floats; got int64."),
    (lambda: to_ours([W, u, b], "stefoe"), "arrays: expected a mapping from names to arrays; got list."),
    (lambda: to_ours({0: W}, "stefoe"), "arrays: expected strings for keys; got 0."),
    (lambda: to_ours(CHECKPOINTS["stefoe"], "stefo"), "layout: expected one of indrnn_np, pytorch-authors"),
    (lambda: to_ours(CHECKPOINTS["stefoe"], "stefo"), "got 'stefo'. Did you mean 'stefoe'?"),
    (lambda: to_ours(CHECKPOINTS["stefoe"], None), "layout: expected a name or a Layout; got NoneType."),
    (lambda: to_ours(CHECKPOINTS["stefoe"], "stefoe", 1), "prefix: expected a string or a tuple of strings; got 1."),
    (lambda: guess_layout({"weight": W}), "arrays: expected the names of one of the layouts indrnn_np, "),
    (lambda: guess_layout(CHECKPOINTS["tensorflow-contrib"] | {"kernel_u": u}), "got 'kernel_w', 'kernel_u', 'bias'."),
    (lambda: from_ours(W.T, u, b, "haste"),
     "W: expected shape (5, M) for W, with as many neurons as u has; got (3, 5). It looks transposed."),
    (lambda: from_ours(W, u, None, "haste"), "b: expected an array, 'bias' in this layout; got None."),
    (lambda: from_ours(W, u, None, "torch-indrnn"),
     "W: expected None, since this layout has no place for it; got shape (5, 3)."),
    (lambda: Layout(("w", "MN"), None), "u: expected a name and its axes, as in ('kernel', 'N'); got None."),
    (lambda: Layout("w", ("u", "N")), "W: expected a name and its axes, as in ('kernel', 'NM'); got 'w'."),
    (lambda: Layout(("w", "MM"), ("u", "N")), "W: expected axes out of N, M and 1, with N and M once; got 'MM'."),
])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refusal:
        call()
    assert message in str(refusal.value)
