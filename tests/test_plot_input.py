"""The pictures' door: bad input is refused by name, before anything is drawn."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from pictures import PICTURES, subplots

from indrnn_np.analysis import plot_gradient_heat, plot_gradient_over_lag, plot_memory, plot_weight_range

pytestmark = pytest.mark.extra("plot")

NAN = np.array([[1.0, np.nan], [1.0, 1.0]])


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: plot_gradient_over_lag([[1.0]]), TypeError, "gradients: expected a NumPy or CuPy array; got list"),
    (lambda: plot_gradient_over_lag(np.ones(3)), ValueError, r"gradients: expected shape \(T\+1, N\) or .*got \(3,\)"),
    (lambda: plot_gradient_over_lag(np.ones((0, 2))), ValueError, r"gradients: .*at least one of each; got \(0, 2\)"),
    (lambda: plot_gradient_over_lag(NAN), ValueError, r"gradients: expected numbers; got NaN at \(0, 1\)"),
    (lambda: plot_gradient_over_lag(np.ones((1, 2))), ValueError, "gradients: .*at least one entry before it; got 1"),
    (lambda: plot_gradient_over_lag(np.array([[1.0], [0.5]])), ValueError, "gradients: expected ones in the last of"),
    (lambda: plot_gradient_over_lag(np.array([["a"]])), TypeError, "gradients: expected numbers; got dtype"),
    (lambda: plot_weight_range(100, 0, 2), TypeError, "steps: expected increasing whole numbers above 0; got int"),
    (lambda: plot_weight_range(np.array(9), 0, 2), TypeError, "steps: expected increasing whole numbers above 0"),
    (lambda: plot_weight_range([1, 5], 0, np.inf), ValueError, "gamma: expected a finite number of .*; got inf"),
    (lambda: plot_weight_range([5], 0, 2), ValueError, r"steps: expected at least two whole numbers, .* got \[5\]"),
    (lambda: plot_weight_range([5, 5], 0, 2), ValueError, "steps: expected at least two whole numbers"),
    (lambda: plot_weight_range([0, 5], 0, 2), ValueError, "steps: expected a whole number above 0; got 0"),
    (lambda: plot_weight_range([1, 5], -1, 2), ValueError, "epsilon: expected a finite number of at least 0; got -1"),
    (lambda: plot_weight_range([1, 5], 3, 2), ValueError, r"gamma: expected a number above epsilon, 3.0; got 2.0"),
    (lambda: plot_weight_range([1, 5], np.nan, 2), ValueError, "epsilon: expected a finite number .*; got nan"),
    (lambda: plot_weight_range([1, 5], 0, "2"), TypeError, "gamma: expected a number; got '2'"),
    (lambda: plot_memory(np.ones((2, 2)), 0.1), ValueError, r"u: expected shape \(N,\), .*got \(2, 2\)"),
    (lambda: plot_memory(np.array([]), 0.1), ValueError, r"u: .*got \(0,\)"),
    (lambda: plot_memory(NAN[0], 0.1), ValueError, r"u: expected numbers; got NaN at \(1,\)"),
    (lambda: plot_memory(np.array([1, np.inf]), 0.1), ValueError, r"u: expected finite numbers; got inf at \(1,\)"),
    (lambda: plot_memory(np.ones(2), 1.0), ValueError, "epsilon: expected a number above 0 and below 1; got 1.0"),
    (lambda: plot_gradient_heat(3.0), TypeError, r"gradients: expected an array \(layers, T\), or a list .*got float"),
    (lambda: plot_gradient_heat([]), ValueError, "gradients: expected at least one layer; got none"),
    (lambda: plot_gradient_heat(np.ones((2, 3, 4))), ValueError, r"gradients: expected shape \(layers, T\)"),
    (lambda: plot_gradient_heat([np.ones(3), np.ones(4)]), ValueError, r"gradients\[1\]: expected 3 steps"),
    (lambda: plot_gradient_heat([np.ones(2), NAN]), ValueError, r"gradients\[1\]: expected numbers; got NaN at \(0, 1"),
])
def test_bad_input_is_refused_by_name(call, error, message) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.parametrize("picture", PICTURES)
def test_what_is_no_axes_is_refused_by_name(picture: str) -> None:
    axes = subplots(1, 2)
    with pytest.raises(TypeError, match=r"^ax: expected one Axes of matplotlib, or None; got ndarray"):
        PICTURES[picture](axes)
    with pytest.raises(TypeError, match=r"^ax: .*got Figure"):
        PICTURES[picture](axes[0].figure)


def test_a_refused_call_leaves_the_axes_as_they_were() -> None:
    ax = subplots()
    with pytest.raises(ValueError, match=r"^gradients"):
        plot_gradient_over_lag(NAN, ax)
    assert not ax.has_data()
    assert ax.get_yscale() == "linear"


@pytest.mark.parametrize("picture", PICTURES)
def test_without_matplotlib_the_message_names_the_extra(picture: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'indrnn-np\[plot\]'"):
        PICTURES[picture]()
