"""Trees: the parameters of a network as nested dicts of arrays, and the same seen as one flat dict.

A network's parameters, its gradients, its running statistics and an optimiser's moments are all trees:

    {"layers": {"0": {"W": …, "u": …, "b": …}}, "readout": {"W": …, "b": …}}

`flatten` names each array by the path to it, "layers/0/u". By these names learning-rate factors and limits of u are
given, messages speak, and a checkpoint is written. No array is ever copied here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .. import array_module
from ..array_module import Array

Tree: TypeAlias = dict[str, Any]  # of arrays and of trees


def flatten(tree: Tree) -> dict[str, Array]:
    """Return {path: array}, in the order of the tree; the keys on the way to an array are joined by "/".

    Parameters
    ----------
    tree : nested dicts of arrays; keys are strings, not empty and without "/"

    Returns
    -------
    flat : the arrays themselves, not copies. A branch that holds no array leaves nothing behind

    Raises
    ------
    TypeError, ValueError
        It is no such tree; the message names the place.
    """
    flat: dict[str, Array] = {}
    _collect(tree, "", flat)
    return flat


def unflatten(flat: dict[str, Array]) -> Tree:
    """Return the tree of which `flatten` made this.

    Parameters
    ----------
    flat : {path: array}, such as a checkpoint holds

    Returns
    -------
    tree : nested dicts with the arrays themselves, not copies

    Raises
    ------
    TypeError, ValueError
        It is no such dict, or a path leads through an array; the message names the path.
    """
    tree: Tree = {}
    for path, array in flat.items():
        *way, last = path.split("/")
        branch = tree
        for key in way:
            branch = branch.setdefault(key, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{path}: expected a path of its own; got one through the array at {key!r}.")
        if last in branch:
            raise ValueError(f"{path}: expected a path of its own; got that of a branch.")
        branch[last] = array
    flatten(tree)  # the door: keys and arrays
    return tree


def map(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Return the tree of function(array, *its counterparts in the others).

    Parameters
    ----------
    function : callable, takes as many arrays as there are trees
    tree, others : trees of the same keys; shapes and dtypes are the function's affair

    Returns
    -------
    tree of what the function returned

    Raises
    ------
    TypeError, ValueError
        One of them is no tree, or has other keys than the first; the message names the place.
    """
    flats = [flatten(other) for other in others]
    for number, flat in enumerate(flats, start=2):
        _same_paths(f"tree {number}", flat, "the first", flatten(tree))
    return _mapped(function, tree, flats, "")


def require_like(name: str, tree: Tree, model_name: str, model: Tree) -> dict[str, Array]:
    """Flatten a tree, and insist that it has the keys of another and arrays of the same shapes, dtypes and devices.

    Parameters
    ----------
    name, tree : what is checked, and how messages call it
    model_name, model : what it must be like

    Returns
    -------
    flat : the tree, flattened

    Raises
    ------
    TypeError, ValueError
        They differ; the message names the place, what came and what was expected.
    """
    flat, wanted = flatten(tree), flatten(model)
    _same_paths(name, flat, model_name, wanted)
    for path, like in wanted.items():
        array, here = flat[path], f"{name} {path}"
        if array.shape != like.shape:
            raise ValueError(f"{here}: expected shape {like.shape}, as in {model_name}; got {array.shape}.")
        if array.dtype != like.dtype:
            raise TypeError(f"{here}: expected dtype {like.dtype}, as in {model_name}; got {array.dtype}.")
        if not type(array) is type(like) is np.ndarray:
            array_module.of(**{f"{model_name} {path}": like, here: array})
    return flat


def _collect(tree: Any, path: str, flat: dict[str, Array]) -> None:
    """Put every array below this place into flat."""
    if not isinstance(tree, dict):
        if type(tree) is not np.ndarray:  # as nearly every one is
            array_module.of(**{path or "tree": tree})
        flat[path] = tree
        return
    for key, branch in tree.items():
        if not isinstance(key, str) or not key or "/" in key:
            raise ValueError(f"{path or 'tree'}: expected keys that are strings without '/', not empty; got {key!r}.")
        _collect(branch, f"{path}/{key}" if path else key, flat)


def _mapped(function: Callable[..., Any], tree: Tree, others: list[dict[str, Array]], path: str) -> Tree:
    """Map one branch; the others are flat already."""
    result: Tree = {}
    for key, branch in tree.items():
        place = f"{path}/{key}" if path else key
        result[key] = (_mapped(function, branch, others, place) if isinstance(branch, dict)
                       else function(branch, *(other[place] for other in others)))
    return result


def _same_paths(name: str, flat: dict[str, Array], model_name: str, model: dict[str, Array]) -> None:
    if missing := sorted(model.keys() - flat.keys()):
        raise ValueError(f"{name}: expected an array at {', '.join(missing)}, as in {model_name}; got none.")
    if unknown := sorted(flat.keys() - model.keys()):
        raise ValueError(f"{name}: expected nothing at {', '.join(unknown)}, as in {model_name}; got arrays.")
