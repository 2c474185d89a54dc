"""What happens around an update: gradients clipped by their norm, u projected onto its range; both in place."""

from __future__ import annotations

import math
from typing import Any

import fake_cupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tally import Tally

from indrnn_np import analysis, nn
from indrnn_np.nn import _blocks, trees
from indrnn_np.oracle.tolerance import gamma


def draw(seed: int, size: float, dtype: str = "float64") -> trees.Tree:
    rng = np.random.default_rng(seed)
    return {name: {"W": np.asarray(size * rng.standard_normal((4, 3)), dtype),
                   "u": np.asarray(size * rng.standard_normal(4), dtype)} for name in ("0", "1")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_is_that_of_the_analysis_at_every_size(dtype: str) -> None:
    """Also where squares overflow or underflow: each number of g is rounded once more, n + 5 roundings in the norm."""
    tally = Tally(f"clip_by_global_norm = analysis.clip_by_norm, {dtype}")
    most = {"float32": 37, "float64": 306}[dtype]
    ε, tiny = float(np.finfo(dtype).eps) / 2, float(np.finfo(dtype).tiny)

    @given(st.integers(0, 2**32), st.integers(-most, most), st.integers(-3, 3))
    def claim(seed: int, size: int, against: int) -> None:
        grads = draw(seed, 10.0**size, dtype)
        limit = 10.0 ** np.clip(size + against, -most, most) * 3
        want, norm = analysis.clip_by_norm(tuple(trees.flatten(grads).values()), limit)
        before = {name: g.copy() for name, g in trees.flatten(grads).items()}
        got = nn.clip_by_global_norm(grads, limit)
        n = sum(g.size for g in want)
        assert abs(got - norm) <= gamma(2 * n + 10, 2.0**-53) * norm
        for (name, g), w in zip(trees.flatten(grads).items(), want, strict=True):
            assert g.dtype == dtype
            assert (abs(g - w) <= (gamma(4, ε) + gamma(2 * n + 10, 2.0**-53)) * abs(w) + 2 * tiny).all()
            assert norm > limit or np.array_equal(g, before[name])
        tally.note(norm > limit)

    claim()
    tally.require(0.3)


def test_inf_only_measures_and_a_known_norm_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blocks, "BLOCK", 2)
    grads = {"W": np.full((4, 3), 1.0), "u": np.full(4, 1.0), "s": np.array(0.0)}
    assert nn.clip_by_global_norm(grads, math.inf) == 4.0
    assert nn.clip_by_global_norm(grads, 4.0) == 4.0
    assert (grads["W"] == 1).all()
    assert nn.clip_by_global_norm(grads, 1.0) == 4.0
    assert (grads["W"] == 0.25).all()
    assert nn.clip_by_global_norm({"u": np.zeros(3)}, 1.0) == nn.clip_by_global_norm({}, 1.0) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_without_a_direction_are_refused_by_name_and_stay(bad: float) -> None:
    grads = draw(1, 10.0)
    grads["1"]["u"][2] = bad
    before = {name: g.copy() for name, g in trees.flatten(grads).items()}
    with pytest.raises(FloatingPointError, match=r"^grads 1/u: expected finite numbers"):
        nn.clip_by_global_norm(grads, 1.0)
    assert all(np.array_equal(g, before[name], equal_nan=True) for name, g in trees.flatten(grads).items())


def test_the_gpu_gets_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu, kept = draw(2, 10.0), draw(2, 10.0)
    cupy = fake_cupy.install(monkeypatch)
    on_gpu = trees.map(cupy.asarray, kept)
    assert nn.clip_by_global_norm(on_gpu, 1.0) == nn.clip_by_global_norm(on_cpu, 1.0) > 1
    for params in (on_gpu, on_cpu):
        nn.project(params, {"0/u": 0.01})
    for name, g in trees.flatten(on_gpu).items():
        assert type(g) is fake_cupy.ndarray
        assert np.array_equal(g.get(), trees.flatten(on_cpu)[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps", [1, 7, 100, 784, 5000])
def test_after_projection_the_papers_range_holds_to_the_last_bit(steps: int, dtype: str) -> None:
    """The limit is given in float64; its nearest float32 is often larger, and to the power T it exceeds γ."""
    limit = float(analysis.recurrent_weight_range(steps)[1])
    params = draw(3, 4.0, dtype)
    before = {name: p.copy() for name, p in trees.flatten(params).items()}
    nn.project(params, {"0/u": limit, "1/u": math.inf})
    u, _, high = params["0"]["u"], *analysis.recurrent_weight_range(steps, dtype=dtype)
    assert (abs(u) <= high).all()
    assert np.array_equal(u, analysis.project(before["0/u"], high=limit))
    assert not np.array_equal(u, before["0/u"])
    assert all(np.array_equal(p, before[name]) for name, p in trees.flatten(params).items() if name != "0/u")


def test_a_nan_stays_and_zero_is_a_limit() -> None:
    params = {"u": np.array([np.nan, -np.inf, 3.0])}
    nn.project(params, {"u": 2.0})
    assert np.array_equal(params["u"], [np.nan, -2.0, 2.0], equal_nan=True)
    nn.project(params, {"u": 0})
    assert np.array_equal(params["u"], [np.nan, 0.0, 0.0], equal_nan=True)


@pytest.mark.parametrize(("call", "message"), [
    (lambda params: nn.project(params, {"0/u": 0.5, "0/v": 1.0}), "^limits '0/v': expected the name of a parameter"),
    (lambda params: nn.project(params, {"0/u": 0.5, "1/u": -1.0}), "^limits '1/u': expected a number"),
    (lambda params: nn.project(params, {"0/u": 0.5, "1/u": math.nan}), "^limits '1/u': expected a number"),
    (lambda params: nn.clip_by_global_norm(params, 0), "^limit: expected a number above 0"),
    (lambda params: nn.clip_by_global_norm(params | {"x": np.ones(2, int)}, 1.0), "^grads x: expected dtype")])
def test_bad_arguments_are_refused_by_name_and_change_nothing(call: Any, message: str) -> None:
    params = draw(4, 4.0)
    with pytest.raises((TypeError, ValueError), match=message):
        call(params)
    for name, p in trees.flatten(draw(4, 4.0)).items():
        assert np.array_equal(trees.flatten(params)[name], p)
