"""What other implementations call W, u and b, and how their arrays lie: checkpoints in and out.

    weights = to_ours(np.load("checkpoint.npz"), "keras", prefix="rnn_1")     # {"W": …, "u": …, "b": …}
    trace = ir.forward(x, **weights)                                          # what their layer should give

A `Layout` says for each of the three the name and the axes, in the letters of the conventions: ("kernel", "MN") is a
matrix with a row per input, ("kernel_u", "1N") has one row. A name is looked for at the end of the keys, behind a dot
or a slash, and `prefix` says where a checkpoint of several layers is to be read. Only mappings of arrays are read,
never files: `np.load`, safetensors and `module.state_dict()` give them, and none of these needs to unpickle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from .. import array_module
from ..array_module import Array, is_cupy

Stored: TypeAlias = tuple[str, str]
Prefix: TypeAlias = str | tuple[str, ...]

LETTERS = {"u": "N", "W": "NM", "b": "N"}  # our axes, in the order in which shapes are compared
SEPARATORS = "./"
MOST_SHOWN = 8  # keys in a message


@dataclass(frozen=True)
class Layout:
    """Names and axes of an implementation's weights.

    Parameters
    ----------
    W, u, b : (name, axes) or None
        How it calls that weight, and its axes: M for inputs, N for neurons, 1 for an axis of that size. W is None
        where the recurrence alone is implemented, b where there is no bias.
    source : where this is from

    Raises
    ------
    TypeError, ValueError
        Something else is given.
    """

    W: Stored | None
    u: Stored
    b: Stored | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for letter, ours in LETTERS.items():
            stored = getattr(self, letter)
            if stored is None and letter != "u":
                continue
            if not isinstance(stored, tuple) or len(stored) != 2 or not all(isinstance(s, str) and s for s in stored):
                raise TypeError(f"{letter}: expected a name and its axes, as in ('kernel', {ours!r}); got {stored!r}.")
            if sorted(stored[1].replace("1", "")) != sorted(ours):
                raise ValueError(f"{letter}: expected axes out of {', '.join(ours)} and 1, with {' and '.join(ours)} "
                                 f"once; got {stored[1]!r}.")

    def stored(self) -> dict[str, Stored]:
        """Return name and axes of those that it has, by our letter, u first."""
        return {letter: getattr(self, letter) for letter in LETTERS if getattr(self, letter) is not None}


LAYOUTS: Mapping[str, Layout] = MappingProxyType({
    "indrnn_np": Layout(("W", "NM"), ("u", "N"), ("b", "N"), "this package's letters"),
    "pytorch-authors": Layout(
        ("fc.weight", "NM"), ("weight_hh", "N"), ("fc.bias", "N"),
        "Sunnydreamrain/IndRNN_pytorch: Linear_overtime_module, cuda_IndRNN_onlyrecurrent"),
    "pytorch-authors-cpu": Layout(
        ("fc.weight", "NM"), ("indrnn_cell.weight_hh", "N"), ("fc.bias", "N"),
        "Sunnydreamrain/IndRNN_pytorch: Linear_overtime_module, IndRNN_onlyrecurrent"),
    "haste": Layout(("kernel", "MN"), ("recurrent_scale", "N"), ("bias", "N"), "lmnt-com/haste: IndRNN"),
    "keras": Layout(("input_kernel", "MN"), ("recurrent_kernel", "N"), ("bias", "N"),
                    "titu1994/Keras-IndRNN and batzner/indrnn: IndRNNCell"),
    "stefoe": Layout(("weight_ih", "NM"), ("weight_hh", "N"), ("bias_ih", "N"),
                     "StefOe/indrnn-pytorch: IndRNNCell, cells.0 and on in a stack"),
    "tensorflow-contrib": Layout(("kernel_w", "MN"), ("kernel_u", "1N"), ("bias", "N"),
                                 "TensorFlow 1: tf.contrib.rnn.IndRNNCell"),
    "torch-indrnn": Layout(None, ("weight_hh", "N"), None, "ysngshn/torch-indrnn: IndRNN, the recurrence alone"),
    "memax": Layout(None, ("recurrent_kernel", "N"), ("bias", "N"), "smorad/memax: IndRNN, without the input weight"),
})


def to_ours(arrays: Mapping[str, Any], layout: str | Layout, prefix: Prefix = "") -> dict[str, Array]:
    """Take W, u and b out of a checkpoint.

    Parameters
    ----------
    arrays : mapping from names to arrays; a tree of mappings is read as names joined by slashes
    layout : name of one of the LAYOUTS, or a Layout
    prefix : str, or several
        Where the layer is: the path before the names. Several where W and u lie apart, as the authors' do:
        ("DIs.0", "RNNs.0").

    Returns
    -------
    dict : W (N, M), unless the layout has none, u (N,) and b (N,), NumPy's, or CuPy's where CuPy's came; b is zeros
        where there is none

    Raises
    ------
    TypeError, ValueError
        A name is missing or found more than once, or an array has the wrong shape or dtype; the message says what came,
        and which layout it fits.
    """
    layout, flat = resolve(layout), flatten(arrays)
    keys = find(flat, layout, prefix)
    given = {letter: flat[key] if is_cupy(flat[key]) else np.asarray(flat[key]) for letter, key in keys.items()}
    xp = array_module.of(**given)
    for letter, array in given.items():
        if array.dtype.kind not in "fc":
            raise TypeError(f"{keys[letter]}: expected floats; got {array.dtype}.")
    ours = {letter: xp.ascontiguousarray(ours_of(array, layout.stored()[letter][1])) for letter, array in given.items()}
    zeros = {"b": xp.zeros_like(ours["u"])}
    return {letter: (zeros | ours)[letter] for letter in ("W", "u", "b") if letter in zeros | ours}


def from_ours(W: Any, u: Any, b: Any, layout: str | Layout, prefix: str = "") -> dict[str, Any]:
    """Name and lay out W, u and b as another implementation does; the way back from `to_ours`.

    Parameters
    ----------
    W, u, b : (N, M), (N,), (N,) arrays of NumPy, PyTorch, JAX or CuPy, traced ones included
        None for W or b where the layout has none.
    layout : name of one of the LAYOUTS, or a Layout
    prefix : the path to put before the names

    Returns
    -------
    dict : arrays by name, of the library that they came from; views where that will do

    Raises
    ------
    TypeError, ValueError
        A shape is wrong, or the layout has no place for what is given.
    """
    layout, given = resolve(layout), {"W": W, "u": u, "b": b}
    stored = layout.stored()
    for letter, array in given.items():
        if (array is None) != (letter not in stored):
            came = "None" if array is None else f"shape {tuple(array.shape)}"
            expected = (f"an array, {stored[letter][0]!r} in this layout" if array is None else
                        "None, since this layout has no place for it")
            raise ValueError(f"{letter}: expected {expected}; got {came}.")
    check({letter: letter for letter in stored}, {letter: tuple(given[letter].shape) for letter in stored},
          {letter: LETTERS[letter] for letter in stored})
    path = prefix + "." if prefix and prefix[-1] not in SEPARATORS else prefix
    return {path + stored[letter][0]: theirs_of(given[letter], stored[letter][1]) for letter in "Wub"
            if letter in stored}


def guess_layout(arrays: Mapping[str, Any], prefix: Prefix = "") -> str:
    """Return the name of the layout that most of the arrays fit, by their names and axes.

    Parameters
    ----------
    arrays, prefix : as in `to_ours`

    Raises
    ------
    TypeError, ValueError
        arrays is no such mapping, or fits none; the message lists the layouts.
    """
    flat, ranks = flatten(arrays), {}
    for name, layout in LAYOUTS.items():
        stored = layout.stored()
        found = {letter: [key for key in keys if _alike(flat[key], stored[letter][1])]
                 for letter, keys in _matches(flat, layout, prefix).items()}
        if found["u"] and ("W" not in found or found["W"]):
            used = [letter for letter, keys in found.items() if keys]
            ranks[name] = (len(used), sum(len(stored[letter][0]) for letter in used))
    if not ranks:
        raise ValueError(f"arrays: expected the names of one of the layouts {', '.join(LAYOUTS)}; got {_shown(flat)}.")
    return max(ranks, key=lambda name: ranks[name])


def resolve(layout: str | Layout) -> Layout:
    """Return the layout of that name; a Layout passes through.

    Raises
    ------
    TypeError, ValueError
        It is neither, or there is no such name.
    """
    if isinstance(layout, Layout):
        return layout
    if not isinstance(layout, str):
        raise TypeError(f"layout: expected a name or a Layout; got {type(layout).__name__}.")
    if layout not in LAYOUTS:
        near = get_close_matches(layout, LAYOUTS, n=1)
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}; got {layout!r}."
                         + (f" Did you mean {near[0]!r}?" if near else ""))
    return LAYOUTS[layout]


def find(flat: Mapping[str, Any], layout: Layout, prefix: Prefix = "") -> dict[str, str]:
    """Return the key of each weight by our letter, after checking that each is there once and shapes agree.

    b may be missing. Raises as `to_ours`.
    """
    keys = {}
    for letter, matching in _matches(flat, layout, prefix).items():
        name, where = layout.stored()[letter][0], f" under {prefix!r}" if prefix else ""
        if len(matching) > 1:
            raise ValueError(f"arrays: expected one key for {letter}, {name!r}{where}; got {_shown(matching)}. "
                             "Choose the layer by its prefix.")
        if not matching and letter != "b":
            raise ValueError(f"arrays: expected a key for {letter}, {name!r} or one that ends in it{where}; got "
                             f"{_shown(flat)}.{_suggestion(flat, prefix)}")
        if matching:
            keys[letter] = matching[0]
    check(keys, {letter: tuple(np.shape(flat[key])) for letter, key in keys.items()},
          {letter: axes for letter, (_, axes) in layout.stored().items()})
    return keys


def check(names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, str]) -> None:
    """Check that shapes are what the axes say and that N is one number; u has the first word, as it has one axis."""
    sizes: dict[str, int] = {"1": 1}
    for letter in (letter for letter in LETTERS if letter in names):
        shape, expected = shapes[letter], [sizes.get(axis, axis) for axis in axes[letter]]
        if len(shape) != len(expected) or not all(size == want or (isinstance(want, str) and size > 0)
                                                  for size, want in zip(shape, expected, strict=True)):
            shown = f"({', '.join(map(str, expected))}{',' if len(expected) == 1 else ''})"
            neurons = f", with as many neurons as {names['u']} has" if letter != "u" else ""
            raise ValueError(f"{names[letter]}: expected shape {shown} for {letter}{neurons}; got {shape}."
                             + _hint(letter, shape, expected))
        sizes.update(zip(axes[letter], shape, strict=True))


def flatten(arrays: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return a tree of mappings as one, with the names joined by slashes.

    Raises
    ------
    TypeError
        It is no mapping, or a key is no string.
    """
    if not isinstance(arrays, Mapping):
        raise TypeError(f"arrays: expected a mapping from names to arrays; got {type(arrays).__name__}.")
    return dict(_walk(arrays, path))


def ours_of(array: Any, axes: str) -> Any:
    """Turn an array with these axes into one with ours: (N, M) or (N,)."""
    flat = array.reshape(tuple(size for size, axis in zip(array.shape, axes, strict=True) if axis != "1"))
    return flat.T if axes.replace("1", "") == "MN" else flat


def theirs_of(array: Any, axes: str) -> Any:
    """Turn an array with our axes into one with these."""
    letters = axes.replace("1", "")
    turned = array.T if letters == "MN" else array
    sizes = dict(zip(letters, turned.shape, strict=True))
    return turned.reshape(tuple(sizes.get(axis, 1) for axis in axes))


def _walk(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if not isinstance(name, str):
            raise TypeError(f"arrays: expected strings for keys; got {name!r}.")
        if isinstance(value, Mapping):
            yield from _walk(value, f"{path}{name}/")
        else:
            yield path + name, value


def _matches(flat: Mapping[str, Any], layout: Layout, prefix: Prefix) -> dict[str, list[str]]:
    """Return the keys under the prefix that end in each weight's name; the name alone wins over longer ones."""
    prefixes = (prefix,) if isinstance(prefix, str) else prefix
    if not isinstance(prefixes, tuple) or not all(isinstance(each, str) for each in prefixes):
        raise TypeError(f"prefix: expected a string or a tuple of strings; got {prefix!r}.")
    rests = {key: rest for each in prefixes for key in flat if (rest := _below(each, key)) is not None}
    found = {}
    for letter, (name, _) in layout.stored().items():
        ends = [key for key, rest in rests.items() if re.search(rf"(^|[./]){re.escape(name)}(:\d+)?$", rest)]
        found[letter] = [key for key in ends if rests[key] == name] or ends
    return found


def _below(prefix: str, key: str) -> str | None:
    """Return what follows the prefix in the key, None if it does not lead there: cells.1 does not to cells.10."""
    path = prefix.rstrip(SEPARATORS)
    if not path:
        return key
    rest = key[len(path):]
    return rest[1:] if key.startswith(path) and rest.startswith(tuple(SEPARATORS)) else None


def _alike(array: Any, axes: str) -> bool:
    shape = np.shape(array)
    return len(shape) == len(axes) and all(size == 1 or axis != "1" for size, axis in zip(shape, axes, strict=True))


def _hint(letter: str, shape: tuple[int, ...], expected: list[Any]) -> str:
    if letter == "u" and len(shape) == 2 and shape[0] == shape[1] > 1:
        return " A full recurrent matrix is an RNN's."
    turned = shape[::-1]
    if letter == "W" and len(shape) == len(expected) and all(size == want or isinstance(want, str)
                                                             for size, want in zip(turned, expected, strict=True)):
        return " It looks transposed."
    return ""


def _suggestion(flat: Mapping[str, Any], prefix: Prefix) -> str:
    try:
        return f" They fit the layout {guess_layout(flat, prefix)!r}."
    except ValueError:
        return ""


def _shown(keys: Any) -> str:
    named = [repr(key) for key in keys]
    more = f" and {len(named) - MOST_SHOWN} more" if len(named) > MOST_SHOWN else ""
    return (", ".join(named[:MOST_SHOWN]) + more) or "no keys"
