"""The exact vectors: current, independent of the package, and met by every engine bit for bit."""

from __future__ import annotations

import ast
import inspect
import json
from fractions import Fraction

import exact
import make_vectors
import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np.oracle import candidates, vectors
from indrnn_np.oracle.installation import DTYPES

NAMES = tuple(make_vectors.RECIPES)


def test_the_committed_vectors_are_what_the_generator_makes() -> None:
    assert make_vectors.TARGET.read_text(encoding="utf-8") == make_vectors.document()


def test_the_generator_imports_nothing_of_the_package() -> None:
    for module in (exact, make_vectors):
        imported = [node for node in ast.walk(ast.parse(inspect.getsource(module)))
                    if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in imported for alias in node.names} | {
            node.module for node in imported if isinstance(node, ast.ImportFrom)}
        assert not any(str(name).startswith(("indrnn_np", "numpy")) for name in names)


def test_every_recipe_is_committed_and_zero_pre_activations_are_among_them() -> None:
    entries = json.loads(make_vectors.TARGET.read_text(encoding="utf-8"))["cases"]
    assert len(entries) == sum(len(recipes) for recipes in make_vectors.RECIPES.values())
    for name in NAMES:
        assert sum(entry["zero_pre_activations"] for entry in entries if entry["activation"] == name) > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("engine", ir.engines.available())
def test_every_engine_meets_the_exact_values_in_every_bit(engine: str, activation: str, dtype: str) -> None:
    candidate = candidates.from_engine(engine)
    cases = vectors.cases(activation, dtype)
    assert len(cases) >= 4
    for case in cases:
        got = candidate(**case.arrays(), activation=activation)
        for name, want in vectors.expected(case.id).items():
            assert got[name].dtype == dtype
            assert np.array_equal(got[name], want), (case.id, name)


@pytest.mark.parametrize("activation", NAMES)
def test_the_order_of_summation_does_not_matter_in_the_exact_vectors(activation: str) -> None:
    """Sums run backwards, and u·h first: a right implementation in float32 still meets every bit."""
    for case in vectors.cases(activation, "float32"):
        got = in_another_order(case)
        for name, want in vectors.expected(case.id).items():
            assert np.array_equal(got[name], want), (case.id, name)


def in_another_order(case) -> dict[str, np.ndarray]:
    """A naive float32 layer that adds everything in the opposite order, one number at a time."""
    x, W, u, b, h0, dh = case.arrays().values()
    below = np.float32(make_vectors.BELOW[case.activation])
    (T, B, M), N = x.shape, len(u)
    h, dz = np.zeros((T, B, N), np.float32), np.zeros((T + 1, B, N), np.float32)
    for t in range(T):
        z = u * (h[t - 1] if t else h0)
        for m in reversed(range(M)):
            z = z + x[t, :, m, None] * W[:, m]
        z = b + z
        h[t] = np.where(z > 0, z, below * z)
    for t in reversed(range(T)):
        z_positive = h[t] > 0
        v = u * dz[t + 1] + dh[t]
        dz[t] = np.where(z_positive, v, below * v)
    grads = {name: np.zeros(shape, np.float32) for name, shape in
             (("dx", x.shape), ("dW", W.shape), ("du", u.shape), ("db", b.shape))}
    for t in reversed(range(T)):
        before = h[t - 1] if t else h0
        for s in reversed(range(B)):
            grads["dW"] += dz[t, s, :, None] * x[t, s]
            grads["du"] += dz[t, s] * before[s]
            grads["db"] += dz[t, s]
        for n in reversed(range(N)):
            grads["dx"][t] += dz[t, :, n, None] * W[n]
    return {"h": h, **grads, "dh0": u * dz[0]}


def test_a_sum_that_would_round_is_refused() -> None:
    big, small = Fraction(2**23), Fraction(1, 2)
    assert exact.exact_sum([big, Fraction(1)]) == 2**23 + 1
    for terms in ([big, small], [Fraction(1, 3)], [big, -big, big]):
        with pytest.raises(exact.NotExact):
            exact.exact_sum(terms)


def test_the_rational_implementation_agrees_with_a_case_worked_by_hand() -> None:
    one, half = Fraction(1), Fraction(1, 2)
    results = exact.run(x=[[[one]], [[-2 * one]]], W=[[one]], u=[half], b=[half], h0=[[one]],
                        dh=[[[one]], [[3 * one]]], below=Fraction(1, 8))
    # z = 1 + ½ + ½ = 2, then −2 + ½ + 1 = −½; dz_2 = 3/8, dz_1 = 1 + ½·3/8 = 19/16
    assert exact.flat(results.h) == [2, Fraction(-1, 16)]
    assert exact.flat(results.dx) == [Fraction(19, 16), Fraction(3, 8)]
    assert (results.du, results.db, results.dW) == ([Fraction(19, 16) + 2 * Fraction(3, 8)], [Fraction(25, 16)],
                                                    [[Fraction(19, 16) - 2 * Fraction(3, 8)]])
    assert results.dh0 == [[Fraction(19, 32)]]
