"""The pictures show the numbers given, on the Axes given, and leave nothing behind."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import PICTURES, products, subplots
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import plot_gradient_heat, plot_gradient_over_lag, plot_memory, plot_weight_range

pytestmark = pytest.mark.extra("plot")

def curves(ax: Any) -> list[Any]:
    """Return the lines; the marks at the floor and the ceiling are none."""
    return [line for line in ax.lines if line.get_linestyle() != "None"]


def lines(ax: Any, steps: int) -> np.ndarray:
    """Return what the curves show, as (lag, curve)."""
    return np.array([line.get_ydata() for line in curves(ax)]).T.reshape(steps, -1)


def marks(ax: Any, marker: str) -> list[int]:
    edge = {"x": 0, "^": 1}[marker]
    assert all((line.get_ydata() == ax.get_ylim()[edge]).all() for line in ax.lines if line.get_marker() == marker)
    return sorted(int(lag) for line in ax.lines if line.get_marker() == marker for lag in line.get_xdata())


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_is_drawn_on_the_axes_given_and_on_no_others(picture: str) -> None:
    left, right = subplots(1, 2)
    assert PICTURES[picture](left) is left
    assert left.get_title(loc="left")
    assert left.get_xlabel()
    assert left.get_ylabel()
    assert not right.has_data()
    assert PICTURES[picture]() is not left


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_can_be_saved_alone_and_beside_others_without_a_warning(picture: str, tmp_path) -> None:
    """pytest turns a warning into an error: a log of 0, an overflow of a scale, a layout that found no room."""
    PICTURES[picture]().figure.savefig(tmp_path / "alone.png")
    axes = subplots(2, 2)
    axes[0, 0].figure.set_size_inches(11, 8)
    for ax in axes.flat:
        PICTURES[picture](ax)
    axes[0, 0].figure.savefig(tmp_path / "four.png")
    assert all(ax.get_position().height > 0.2 for ax in axes.flat)


@pytest.mark.parametrize("picture", PICTURES)
def test_letters_are_large_enough_for_half_the_size(picture: str) -> None:
    ax = PICTURES[picture]()
    ax.figure.draw_without_rendering()
    letters = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]
    assert min(text.get_fontsize() for text in letters if text.get_text()) >= 11


def test_no_colour_carries_a_meaning() -> None:
    from matplotlib.colors import to_rgb
    for draw in PICTURES.values():
        ax = draw()
        colours = [to_rgb(line.get_color()) for line in ax.lines]
        colours += [to_rgb(patch.get_facecolor()) for patch in ax.patches]
        colours += [tuple(colour) for image in ax.images for colour in image.cmap(np.linspace(0, 1, 7))[:, :3]]
        assert all(r == g == b for r, g, b in colours)


def test_no_figure_stays_open_and_pyplot_is_not_loaded() -> None:
    code = ("import sys, numpy as np; from indrnn_np.analysis import *; "
            "assert 'matplotlib' not in sys.modules, 'loaded by the import'; "
            "plot_gradient_over_lag(np.ones((3, 2))).figure.canvas; plot_weight_range([1, 9], 0, 2); "
            "plot_memory(np.ones(3), .5); plot_gradient_heat(np.ones((2, 3))); "
            "assert 'matplotlib' in sys.modules; "
            "assert 'matplotlib.pyplot' not in sys.modules; print('clean')")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "clean\n"


# Gradients over the lag.


def test_the_lines_are_the_gradients_read_from_the_last_step_back() -> None:
    tally = Tally("gradients over the lag")

    @given(st.integers(1, 30), st.integers(2, 9), st.integers(0, 3), st.integers(0, 2**32), st.booleans())
    @settings(max_examples=60)
    def claim(T: int, N: int, B: int, seed: int, single: bool) -> None:
        rng = np.random.default_rng(seed)
        gradients = 10 ** rng.uniform(-6, 3, (T + 1, B, N) if B else (T + 1, N))
        gradients *= rng.choice([-1, 1], gradients.shape)
        gradients[-1] = 1
        gradients[:-1][rng.random(gradients[:-1].shape) < 0.2] = 0
        gradients = gradients.astype(np.float32 if single else np.float64)
        ax = plot_gradient_over_lag(gradients)
        want = np.abs(gradients).astype(np.float64)[::-1].reshape(T + 1, -1, N).transpose(0, 2, 1).reshape(T + 1, -1)
        drawn = lines(ax, T + 1)
        order = np.lexsort(np.nan_to_num(drawn)), np.lexsort(want)
        assert np.array_equal(np.nan_to_num(drawn)[:, order[0]], want[:, order[1]])
        assert np.array_equal(np.isnan(drawn)[:, order[0]], want[:, order[1]] == 0)
        assert all(np.array_equal(line.get_xdata(), range(T + 1)) for line in curves(ax))
        low, high = ax.get_ylim()
        assert low < want[want > 0].min() <= want.max() < high
        tally.note(T > 1 and bool((want == 0).any()))

    claim()
    tally.require(0.6)


def test_a_real_gradient_through_time_is_drawn_as_eq_4_has_it() -> None:
    u, T = np.array([1.0, 0.9, -0.5]), 12
    rng = np.random.default_rng(0)
    trace = ir.forward(rng.uniform(1, 2, (T, 1, 2)), rng.uniform(1, 2, (3, 2)), u)
    gradients = np.ones((T + 1, 1, 3))
    for k in range(T):
        dh = np.zeros_like(trace.h)
        dh[-1] = 1
        tail = ir.forward(trace.x[k:], trace.W, u, h0=trace.h[k - 1] if k else trace.h0)
        gradients[k] = ir.backward(dh[k:], tail).dh0
    ax = plot_gradient_over_lag(gradients)
    ours = {text: line.get_ydata() for text, line in zip(sorted(texts(ax)), ax.lines, strict=True)}
    for n in range(3):  # every neuron fires at every step, so the slopes are 1; a lag costs one rounding at most
        expected = abs(u[n]) ** np.arange(T + 1)
        assert (abs(ours[f"n = {n}"] - expected) <= 2 * T * np.finfo(float).eps * expected).all()


def test_an_exact_zero_is_marked_where_it_sets_in_and_said() -> None:
    ax = plot_gradient_over_lag(products(np.array([0.9, 1.0, 0.5]), 30, {0: 7, 2: 11}))
    assert marks(ax, "x") == [7, 11]
    assert {"n = 0: 0 from 7", "n = 1", "n = 2: 0 from 11"} == set(texts(ax))
    assert "2 of 3 are 0 (×)" in ax.get_title(loc="left")
    assert not marks(ax, "^")
    assert "×" not in plot_gradient_over_lag(products(np.array([0.9]), 5)).get_title(loc="left")


def test_underflow_and_overflow_are_marked_not_lost() -> None:
    gradients = products(np.array([1e-5, 1.0]), 400)
    with np.errstate(over="ignore"):
        gradients[:, 1] = 10.0 ** np.arange(400, -1, -1)
    ax = plot_gradient_over_lag(gradients)
    assert marks(ax, "x") == [int((gradients[::-1, 0] == 0).argmax())] == [65]
    assert marks(ax, "^") == [int(np.isinf(gradients[::-1, 1]).argmax())] == [309]
    assert set(texts(ax)) == {"n = 0: 0 from 65", "n = 1: inf from 309"}
    ax.figure.draw_without_rendering()  # no scale overflows


def test_of_many_neurons_the_largest_the_middle_and_the_smallest_are_named() -> None:
    u = np.linspace(0.5, 1.0, 41)[np.random.default_rng(0).permutation(41)]
    ax = plot_gradient_over_lag(products(u, 10))
    order = np.argsort(u)
    assert set(texts(ax)) == {f"n = {order[k]}" for k in (0, 20, 40)}
    assert len(lines(ax, 11).T) == 41
    black = [line for line in ax.lines if line.get_color() == "black"]
    assert len({line.get_linestyle() for line in black}) == len(black) == 3


@given(st.lists(st.integers(-250, 0), min_size=2, max_size=6))
@settings(max_examples=30)
def test_names_at_the_ends_never_overlap_and_keep_the_order_of_the_lines(exponents: list[int]) -> None:
    gradients = np.ones((2, len(exponents)))
    gradients[0] = 10.0 ** np.array(exponents)
    ax = plot_gradient_over_lag(gradients)
    heights = sorted(text.xyann[1] for text in ax.texts)
    assert min(np.diff(heights)) >= 0.07
    assert heights[0] >= -1e-9, "nor hang out below"
    assert heights[-1] <= 1 + 1e-9
    named = {text.get_text(): text.xyann[1] for text in ax.texts}
    places = [named[f"n = {n}"] for n in sorted(range(len(exponents)), key=lambda n: exponents[n])]
    assert places == sorted(places)


# The range of |u|.


def test_the_range_s_curves_are_the_roots_of_epsilon_and_gamma() -> None:
    T = [1, 2, 10, 100, 784, 5000]
    ax = plot_weight_range(T, 1e-3, 2)
    high, low = (line.get_ydata() for line in ax.lines if len(line.get_ydata()) == len(T))
    for steps, top, bottom in zip(T, map(float, high), map(float, low), strict=True):  # the outermost floats inside
        assert Fraction(top)**steps <= 2 < Fraction(math.nextafter(top, 3))**steps
        assert Fraction(math.nextafter(bottom, 0))**steps < Fraction(1e-3) <= Fraction(bottom)**steps
    # what the paper and its code state for 2^{1/T}, to the digits that they give
    assert [f"{value:.6f}" for value in high[-3:]] == ["1.006956", "1.000885", "1.000139"]
    assert ax.get_title(loc="left").endswith(f"for T = 5000 it is from {low[-1]:.7g} to {high[-1]:.7g}")
    vertices = ax.collections[0].get_paths()[0].vertices
    assert {*low, *high} <= {*vertices[:, 1]}, "the area between them is filled"


def test_on_the_range_s_axis_one_can_see_that_2_to_the_1_over_5000_is_not_1() -> None:
    """On a linear axis from 0 to 2 it would be less than a ten-thousandth of the height from it."""
    ax = plot_weight_range([1, 10, 100, 1000, 5000], 1e-3, 2)
    ax.figure.draw_without_rendering()

    def height(v: float) -> float:
        return ax.transAxes.inverted().transform(ax.transData.transform((1, v)))[1]

    places = [height(v) for v in (1e-3, 0.5, 1e-3 ** (1 / 5000), 1, 2 ** (1 / 5000), 2 ** (1 / 100), 2)]
    assert min(np.diff(places)) > 0.02
    assert places[0] > 0
    assert places[-1] < 1
    assert 1 in ax.get_yticks()


@given(st.floats(0, 0.999), st.floats(1, 1e6), st.integers(1, 50), st.integers(51, 10**6))
@settings(max_examples=15)
def test_any_range_has_an_axis_on_which_it_fits(epsilon: float, gamma: float, first: int, last: int) -> None:
    epsilon = 0.0 if epsilon < 1e-250 else epsilon
    ax = plot_weight_range([first, last], epsilon, gamma)
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    assert low < min(1.0, epsilon ** (1 / first) or 1.0)
    assert high > gamma ** (1 / first)
    assert ("no lower end" in " ".join(texts(ax))) is (epsilon == 0)


# Memory lengths.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bars_count_neurons_by_how_long_they_remember(dtype: type) -> None:
    """Built from lengths between two whole steps, of which the gradient is at ε with the second."""
    lengths = [1.5, 1.9, 2.5, 3.5, 4.5, 6.5, 14.5, 69.5, 79.5, 149.5]
    u = np.array([1e-3 ** (1 / k) for k in lengths] + [0, 1e-4, 1, -1, 2], dtype)
    u[::3] *= -1
    ax = plot_memory(u, 1e-3)
    #                                          1 step 2–4 5–9 | 10–19 20–49 50–99 | 100–199 200–499 500–999 | ∞
    assert [bar.get_height() for bar in ax.patches] == [2, 4, 2, 1, 0, 2, 1, 0, 0, 3]
    assert texts(ax) == ["2", "4", "2", "1", "2", "1", "3"]
    assert ax.get_title(loc="left").startswith("3 of 15 neurons never forget")
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["1", "10", "100", "1000", "∞"]
    assert "the median memory of the others is 4.5 steps" in ax.get_title(loc="left")


def test_every_neuron_is_in_one_bar_and_those_that_never_forget_stand_apart() -> None:
    tally = Tally("histogram of memory")

    @given(st.integers(1, 60), st.sampled_from([1e-6, 1e-3, 0.5]), st.integers(0, 2**32), st.integers(-12, 0))
    @settings(max_examples=100)
    def claim(N: int, epsilon: float, seed: int, near: int) -> None:
        u = np.random.default_rng(seed).uniform(-1, 1, N) * (1 + 10.0**near)
        u = np.sign(u) * (1 - (1 - abs(u)) * 10.0**near)
        ax = plot_memory(u, epsilon)
        heights = [bar.get_height() for bar in ax.patches]
        edges = [bar.get_x() for bar in ax.patches[:-1]] + [ax.patches[-2].get_x() + ax.patches[-2].get_width()]
        assert sum(heights) == N
        assert heights[-1] == (abs(u) >= 1).sum()
        # A length is k or more where |u|^{k−1} > ε: so many are in the bars from k on, and in the one that never ends.
        log_u = np.log(np.clip(abs(u), 1e-300, 1))
        longer = [(np.round(k - 1) * log_u > np.log(epsilon)).sum() for k in 10.0 ** np.array(edges)]
        assert np.array_equal(np.cumsum(heights[::-1])[::-1], longer)
        assert ax.patches[-1].get_hatch()
        assert ax.patches[-1].get_x() > edges[-1]
        assert sum(patch.get_hatch() is not None and patch.get_hatch() != "" for patch in ax.patches) == 1
        tally.note(len(set(heights)) > 2)

    claim()
    tally.require(0.5)


# Layers and time.


def test_the_map_is_the_largest_magnitude_by_layer_and_step() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((9, 2, N)) * 10.0**-N for N in (3, 5, 2)]
    layers[1][:4] = 0
    ax = plot_gradient_heat(layers)
    shown = ax.images[0].get_array()
    want = np.array([abs(layer).max(axis=(1, 2)) for layer in layers])
    assert np.array_equal(np.ma.getmaskarray(shown), want == 0)
    assert np.array_equal(shown.filled(0), want)
    assert np.array_equal(plot_gradient_heat(want).images[0].get_array(), shown), "a table of numbers is drawn as it is"
    assert ax.images[0].get_extent() == [0.5, 9.5, 0.5, 3.5], "steps and layers count from 1"
    assert ax.images[0].origin == "lower", "the input is at the bottom"
    assert "4 of 27 are 0 (hatched)" in ax.get_title(loc="left")
    assert ax.images[0].norm.vmin == want[want > 0].min()
    assert ax.images[0].norm.vmax == want.max()


def test_zeros_and_infinities_can_be_told_from_all_numbers() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    ax = plot_gradient_heat(np.array([[1.0, 0.0, 1e-5], [np.inf, 1e-3, 1.0]]))
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, 0]

    def cell(layer: int, step: int) -> np.ndarray:
        (left, low), (right, up) = (ax.transData.transform((step + d, layer + d)).astype(int) for d in (-0.4, 0.4))
        return pixels[low:up, left:right]

    assert cell(1, 1).min() == cell(1, 1).max() == cell(2, 3).max(), "a number is one grey, the same wherever it stands"
    assert cell(1, 3).min() == cell(1, 3).max() < 255, "the smallest number is not white"
    assert cell(2, 2).max() < cell(1, 3).max()
    assert cell(1, 2).max() == 255
    assert 0.02 < (cell(1, 2) < 200).mean() < 0.5, "0 is hatched on white"
    assert cell(2, 1).max() == 255
    assert (cell(2, 1) == 0).mean() > 0.8, "inf is black with a white triangle"


@pytest.mark.parametrize("table", [np.zeros((2, 3)), np.ones((1, 1)), np.full((2, 2), np.inf), np.full((1, 5), 5e-324)])
def test_a_map_of_one_value_is_drawn_as_well(table: np.ndarray) -> None:
    plot_gradient_heat(table).figure.draw_without_rendering()


def test_complex_gradients_are_drawn_by_their_magnitude() -> None:
    ax = plot_gradient_over_lag(np.array([[3 + 4j], [1]]))
    assert ax.lines[0].get_ydata().tolist() == [1.0, 5.0]


@pytest.mark.parametrize("draw", [
    lambda: plot_gradient_over_lag(np.array([[5e-324, 1.7e308], [1, 1]])),
    lambda: plot_weight_range([1, 9], 1e-300, 1e300),
    lambda: plot_weight_range([3, 10**12], 1.0, 1 + 1e-9),
    lambda: plot_weight_range([1, 9], 0, 1),
    lambda: plot_memory(np.array([np.nextafter(1, 0), 1e-300]), 1e-300),
    lambda: plot_gradient_heat(np.array([[1.7e308, 5e-324]])),
])
def test_the_ends_of_float64_are_drawn_as_well(draw) -> None:
    draw().figure.draw_without_rendering()
