"""Trees: a network's parameters nested and flat are the same thing."""

from __future__ import annotations

from typing import Any

import fake_cupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tally import Tally

from indrnn_np.nn import trees

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=4)
ARRAYS = st.integers(0, 9).map(np.float64).map(np.atleast_1d)
TREES = st.dictionaries(KEYS, st.recursive(
    ARRAYS, lambda branch: st.dictionaries(KEYS, branch, min_size=1, max_size=4), max_leaves=12), max_size=4)


def same(first: Any, second: Any) -> bool:
    """Whether two trees are of the same keys, in the same order, and hold the very same arrays."""
    if not isinstance(first, dict):
        return first is second
    return list(first) == list(second) and all(same(first[key], second[key]) for key in first)


def test_unflatten_undoes_flatten_and_nothing_is_copied() -> None:
    tally = Tally("unflatten(flatten(tree)) is tree")

    @given(TREES)
    def claim(tree: trees.Tree) -> None:
        flat = trees.flatten(tree)
        assert same(trees.unflatten(flat), tree)
        assert same(trees.map(lambda array: array, tree), tree)
        tally.note(any("/" in path for path in flat))

    claim()
    tally.require(0.3)


def test_paths_are_the_keys_on_the_way_in_order() -> None:
    W, u, b = np.ones((2, 3)), np.zeros(2), np.ones(2)
    tree = {"layers": {"0": {"W": W, "u": u}, "1": {}}, "b": b}
    flat = trees.flatten(tree)
    assert list(flat) == ["layers/0/W", "layers/0/u", "b"]
    assert flat["layers/0/W"] is W
    assert trees.flatten({}) == trees.unflatten({}) == {}


def test_map_takes_counterparts_by_name_and_not_by_order() -> None:
    first = {"a": {"W": np.full(1, 1.0), "b": np.full(1, 2.0)}}
    second = {"a": {"b": np.full(1, 10.0), "W": np.full(1, 20.0)}}
    got = trees.map(lambda x, y: float((x + y).item()), first, second)
    assert got == {"a": {"W": 21.0, "b": 12.0}}


@pytest.mark.parametrize(("tree", "place"), [
    ({"layers": {"0": [1.0]}}, "layers/0"), ({"a": {"b/c": np.ones(1)}}, "a"), ({"": np.ones(1)}, "tree"),
    ({"a": {3: np.ones(1)}}, "a"), ({"a": None}, "a"), ([], "tree"), ({"a": np.ma.masked_array([1.0])}, "a")])
def test_what_is_no_tree_is_refused_by_its_place(tree: Any, place: str) -> None:
    for function in (trees.flatten, lambda tree: trees.map(lambda array: array, {"x": np.ones(1)}, tree)):
        with pytest.raises((TypeError, ValueError), match=rf"^{place}: expected"):
            function(tree)


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c"), ("a//b",), ("/a",)])
def test_paths_of_no_tree_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"^\S+: expected"):
        trees.unflatten({path: np.ones(1) for path in paths})


def test_every_way_to_differ_is_named(fake_cupy_array: Any) -> None:
    def params() -> trees.Tree:
        return {"0": {"W": np.ones((2, 3)), "u": np.ones(2)}}

    trees.require_like("grads", params(), "params", params())
    for change, message in [
            (lambda tree: tree["0"].pop("u"), r"grads: expected an array at 0/u, as in params"),
            (lambda tree: tree["0"].update(b=np.ones(2)), r"grads: expected nothing at 0/b"),
            (lambda tree: tree["0"].update(u=np.ones(3)), r"grads 0/u: expected shape \(2,\), as in params; got"),
            (lambda tree: tree["0"].update(u=np.ones(2, np.float32)), r"grads 0/u: expected dtype float64"),
            (lambda tree: tree["0"].update(u=fake_cupy_array), r"grads 0/u: expected an array on the CPU")]:
        grads = params()
        change(grads)
        with pytest.raises((TypeError, ValueError), match=message):
            trees.require_like("grads", grads, "params", params())
    with pytest.raises(ValueError, match=r"tree 2: expected an array at 0/u, as in the first"):
        trees.map(lambda x, y: x, params(), {"0": {"W": np.ones(1)}})


@pytest.fixture
def fake_cupy_array(monkeypatch: pytest.MonkeyPatch) -> Any:
    return fake_cupy.install(monkeypatch).asarray(np.ones(2))
