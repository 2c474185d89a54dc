"""Second derivatives: two ways that share no code agree, and they say why u learns with far smaller steps than W."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from extremes import absolute_sums
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.analysis import (
    Loss,
    PerParameter,
    complex_step_hessian_vector_product,
    gauss_newton_diagonal,
    gauss_newton_product,
    geometric_sums,
    hessian_vector_product,
    linear_loss,
    second_slope,
    sensitivities,
    squared_loss,
    what_the_range_leaves_open,
)
from indrnn_np.oracle import installation
from indrnn_np.oracle.inputs import SMALL, Case, draw
from indrnn_np.oracle.numerical import central_difference, complex_step
from indrnn_np.oracle.tolerance import gamma

SMOOTH = ("tanh", "sigmoid", "softplus")
STEEPEST_BEND = {"tanh": 2.0, "sigmoid": 1.0, "softplus": 1.0}  # |σ''| ≤ this · σ'


def layer(case: Case, **changed: Any) -> dict[str, Any]:
    return {name: getattr(case, name) for name in ("x", "W", "u", "b", "h0")} | {
        "activation": case.activation} | changed


def in_float64(case: Case) -> Case:
    return replace(case, **{name: array.astype(float) for name, array in case.arrays().items()})


def a_direction(case: Case, seed: int, size: float = 1.0) -> PerParameter:
    rng = np.random.default_rng(seed)
    return PerParameter(*((size * rng.standard_normal(value.shape)).astype(case.dtype)
                          for value in (case.W, case.u, case.b, case.h0)))


def a_loss(case: Case, squared: bool) -> Loss:
    """The squared loss's targets are where its gradient is of the size of dh, and no zero of it hides a term."""
    return squared_loss(ir.forward(**layer(case)).h - case.dh) if squared else linear_loss(case.dh)


def allowed(case: Case, squared: bool, direction: PerParameter, same_states: bool = False) -> PerParameter:
    """What rounding may do to H times direction: relative to the sum of absolute values of all that is summed.

    On a path are at most T factors s, one of them perhaps σ'', each off by a few roundings and, unless both sides took
    the same states, by what the rounding of z does to it. That is at most E = γ G_T(r) max(|W||x| + |b| + |u||h|),
    r = |u| sup σ', and the relative change of s and of (a bound of) σ'' per change of z is at most 4; h is off by at
    most E, and so is the residual h − y: which is why |h| + 1 and |dh| + 1 stand for them.
    """
    given_ = {name: np.abs(getattr(case, name)).astype(float) for name in ("x", "W", "u", "b", "h0", "dh")}
    x, W, u, b, h0, dh = given_.values()
    W_dot, u_dot, b_dot, h0_dot = (np.abs(value).astype(float) for value in direction)
    T, B, M = x.shape
    σ = ir.activations.resolve(case.activation)
    h = ir.recurrence.forward(case.x.astype(float) @ case.W.T.astype(float) + case.b, case.u.astype(float),
                              case.h0.astype(float), σ)
    h_prev = np.concatenate([case.h0[None].astype(float), h[:-1]])
    z = case.x.astype(float) @ case.W.T.astype(float) + case.b + case.u * h_prev
    s, size = σ.slope(z), np.abs(h_prev) + (not same_states)
    bend = np.abs(second_slope(σ, z)) if same_states else STEEPEST_BEND.get(σ.name, 0.0) * s
    off = float(gamma(M + 8, np.finfo(case.dtype).eps)) * (x @ W.T + b + u * size).max((0, 1))
    E = (not same_states) * off * geometric_sums(T, σ.max_slope * u).G
    h_dot, z_dot, before = np.empty_like(h), np.empty_like(h), h0_dot
    h_dot_prev = np.empty_like(h)
    for t in range(T):
        h_dot_prev[t], z_dot[t] = before, x[t] @ W_dot.T + b_dot + u_dot * size[t] + u * before
        h_dot[t] = before = s[t] * z_dot[t]
    dz = dz_dot = np.zeros_like(h0)
    every, every_dot = np.empty_like(h), np.empty_like(h)
    for t in reversed(range(T)):
        g = dh[t] + (squared and not same_states) + u * dz
        g_dot = (h_dot[t] if squared else 0) + u_dot * dz + u * dz_dot
        dz, dz_dot = s[t] * g, s[t] * g_dot + bend[t] * z_dot[t] * g
        every[t], every_dot[t] = dz, dz_dot
    sums = (np.einsum("tbn,tbm->nm", every_dot, x), (every_dot * size + every * h_dot_prev).sum((0, 1)),
            every_dot.sum((0, 1)), u_dot * dz + u * dz_dot)
    relative = float(gamma(40 * T + T * B + M + 64, np.finfo(case.dtype).eps)) + 8 * T * E
    # A complex step of 1e-20 leaves 1e-40 of a third derivative, here less than 1e10 times the largest of the sums.
    floor = 64 * T * float(np.finfo(case.dtype).tiny) + 1e-30 * (1 + max(float(total.max()) for total in sums))
    return PerParameter(*((relative[:, None] if total is sums[0] else relative) * total + floor for total in sums))


def worst(found: PerParameter, want: PerParameter, room: PerParameter) -> float:
    return max(float((np.abs(got - value) / more).max()) for got, value, more in zip(found, want, room, strict=True))


def test_the_complex_step_and_the_explicit_hessian_agree_in_every_regime() -> None:
    tally = Tally("H v: forward over reverse = complex step through backward")

    @given(cases(longest=20), st.booleans(), st.integers(0, 2**32))
    @settings(max_examples=300)
    def claim(case: Case, squared: bool, seed: int) -> None:
        case = case if seed % 4 == 0 else in_float64(case)
        v, loss = a_direction(case, seed), a_loss(case, squared)
        explicit = hessian_vector_product(loss, v, **layer(case))
        numerical = complex_step_hessian_vector_product(loss, v, **layer(case))
        assert all(one.dtype == two.dtype == case.dtype for one, two in zip(explicit, numerical, strict=True))
        room = allowed(case, squared, v)
        ratio = worst(explicit, numerical, room)
        assert ratio <= 1
        telling = all((more < 1e-2 * np.abs(value).max()).any() for value, more in zip(explicit, room, strict=True))
        tally.note(remembers(case) and telling, ratio)

    claim()
    tally.require(0.4)


def test_the_hessian_is_symmetric() -> None:
    tally = Tally("⟨v, H w⟩ = ⟨w, H v⟩")

    @given(cases(longest=20), st.booleans(), st.integers(0, 2**32))
    @settings(max_examples=200)
    def claim(case: Case, squared: bool, seed: int) -> None:
        v, w, loss = a_direction(case, seed), a_direction(case, seed + 1), a_loss(case, squared)
        room = (inner(absolute(v), allowed(case, squared, w, same_states=True))
                + inner(absolute(w), allowed(case, squared, v, same_states=True)))
        sides = [(inner(v, product(loss, w, **layer(case))), inner(w, product(loss, v, **layer(case))))
                 for product in (gauss_newton_product, hessian_vector_product)]
        ratio = max(abs(left - right) / room for left, right in sides)
        assert ratio <= 1
        tally.note(remembers(case) and abs(sides[1][0]) > 1e2 * room, ratio)

    claim()
    tally.require(0.4)


def inner(v: PerParameter, w: PerParameter) -> float:
    return float(sum((np.asarray(one, float) * two).sum() for one, two in zip(v, w, strict=True)))


def absolute(v: PerParameter) -> PerParameter:
    return PerParameter(*map(np.abs, v))


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("activation", installation.NAMES)
def test_both_agree_with_differences_of_backward(activation: str, squared: bool) -> None:
    case = draw("second differences", SMALL["few"], activation, "float64")
    v, loss = a_direction(case, 3, size=0.25), a_loss(case, squared)

    def gradient(s: np.ndarray) -> np.ndarray:
        W, u, b, h0 = (getattr(case, name) + s[0] * tangent for name, tangent in zip(v._fields, v, strict=True))
        trace = ir.forward(case.x, W, u, b, h0, activation)
        found = ir.backward(np.asarray(loss.gradient(trace.h)), trace)
        return np.concatenate([found.dW.ravel(), found.du, found.db, found.dh0.ravel()])

    sums = absolute_sums(2 * np.abs(case.dh), ir.forward(**layer(case)))
    noise = float(gamma(200, np.finfo(float).eps)) * max(float(total.max()) for total in sums)
    found = central_difference(gradient, np.zeros(1), noise=noise)
    assert not found.kink.any()
    for product in (hessian_vector_product, complex_step_hessian_vector_product):
        flat = np.concatenate([value.ravel() for value in product(loss, v, **layer(case))])
        assert (np.abs(flat - found.derivative[:, 0]) <= found.error[:, 0]).all()
        assert (found.error[:, 0] < 1e-4 * np.abs(flat).max()).all(), "these differences could tell nothing"


def wrong_by_a_term(case: Case, loss: Loss, v: PerParameter, term: str) -> PerParameter:
    """Equations (i) to (iv) with one term left out, or σ'' of the wrong sign, written out by hand."""
    σ = ir.activations.resolve(case.activation)
    a, a_dot = case.x @ case.W.T + case.b, case.x @ v.W.T + v.b
    u = case.u
    h, h_dot = ir.recurrence.jvp(a, u, case.h0, σ, a_dot, v.u, v.h0)
    h_prev, h_dot_prev = np.concatenate([case.h0[None], h[:-1]]), np.concatenate([v.h0[None], h_dot[:-1]])
    z, z_dot = a + u * h_prev, a_dot + v.u * h_prev + u * h_dot_prev
    dh, dh_dot = loss.gradient(h), loss.curvature(h, h_dot)
    dz = dz_dot = np.zeros_like(case.h0)
    every, every_dot = np.empty_like(h), np.empty_like(h)
    sign = {"σ'' left out": 0, "σ'' of the other sign": -1}.get(term, 1)
    for t in reversed(range(len(h))):
        g = dh[t] + u * dz
        felt, turned = (0 if term == "dh˙ left out" else dh_dot[t]), (0 if term == "u˙ dz left out" else v.u * dz)
        g_dot = felt + turned + u * dz_dot
        dz, dz_dot = σ.slope(z[t]) * g, σ.slope(z[t]) * g_dot + sign * second_slope(σ, z[t]) * z_dot[t] * g
        every[t], every_dot[t] = dz, dz_dot
    du = every_dot * h_prev + (0 if term == "dz h˙ left out" else every * h_dot_prev)
    return PerParameter(np.einsum("tbn,tbm->nm", every_dot, case.x), du.sum((0, 1)), every_dot.sum((0, 1)),
                        v.u * dz + u * dz_dot)


@pytest.mark.parametrize("term", ["σ'' left out", "σ'' of the other sign", "u˙ dz left out", "dz h˙ left out",
                                  "dh˙ left out"])
@pytest.mark.parametrize("activation", SMOOTH)
def test_a_term_left_out_is_seen(activation: str, term: str) -> None:
    case = draw("mutants", SMALL["few"], activation, "float64")
    v, loss = a_direction(case, 1), a_loss(case, squared=True)
    truth, room = complex_step_hessian_vector_product(loss, v, **layer(case)), allowed(case, True, v)
    assert worst(wrong_by_a_term(case, loss, v, "nothing left out"), truth, room) <= 1
    assert worst(wrong_by_a_term(case, loss, v, term), truth, room) > 1e6


@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_second_slope_is_the_slope_s_derivative_in_both_tails(activation: str) -> None:
    σ = ir.activations.resolve(activation)
    z = np.array([-300.0, -40.0, -7.0, -1.0, -1e-8, 1e-8, 0.3, 1.3, 9.0, 40.0, 300.0])
    numerical = np.array([complex_step(σ.slope, z[k:k + 1])[0, 0] for k in range(len(z))])
    found = second_slope(activation, z)
    # The logistic slope is e / (1 + e)²: a product of 5 complex numbers, each to a few units, near 0 times 1 − e.
    assert (np.abs(found - numerical) <= 64 * np.finfo(float).eps * (np.abs(found) + σ.slope(z)) * (1 + 1e-300)).all()
    assert (found[np.abs(z) < 10] != 0).all() == (activation in SMOOTH)


def test_gauss_newton_is_the_hessian_where_the_targets_are_met_and_not_elsewhere() -> None:
    for activation in installation.NAMES:
        case = draw("met", SMALL["few"], activation, "float64")
        v, room = a_direction(case, 5), allowed(case, True, a_direction(case, 5))
        met = squared_loss(ir.forward(**layer(case)).h)
        found = gauss_newton_product(met, v, **layer(case))
        assert worst(found, complex_step_hessian_vector_product(met, v, **layer(case)), room) <= 1
        missed = a_loss(case, squared=True)
        assert worst(gauss_newton_product(missed, v, **layer(case)), found, room) <= 1, "it knows no residual"
        assert worst(found, hessian_vector_product(missed, v, **layer(case)), room) > 1e6
        assert inner(v, found) > 0


@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_diagonal_of_gauss_newton_is_made_of_squared_sensitivities(activation: str) -> None:
    case = draw("diagonal", SMALL["few"], activation, "float64")
    trace = ir.forward(**layer(case))
    weight = np.abs(case.dh)
    diagonal, kept = gauss_newton_diagonal(trace, weight), sensitivities(trace)
    loss = squared_loss(np.zeros_like(trace.h), weight)
    for k, (name, value) in enumerate(zip(PerParameter._fields, diagonal, strict=True)):
        for index in np.ndindex(value.shape):
            e = PerParameter(*(np.zeros_like(getattr(case, field)) for field in PerParameter._fields))
            e[k][index] = 1
            curved = gauss_newton_product(loss, e, **layer(case))[k][index]
            room = max(1.0, weight.max()) * allowed(case, True, e, same_states=True)[k][index]
            assert abs(curved - value[index]) <= room, name
            assert room < 1e-6 * diagonal.u.max()
    terms = float(gamma(2 * weight[..., 0].size, np.finfo(float).eps))  # the same positive terms in another order
    for found, want in ((diagonal.u, weight * kept.p**2), (gauss_newton_diagonal(trace).b, kept.q**2)):
        assert (np.abs(found - want.sum((0, 1))) <= terms * found).all()


@pytest.mark.parametrize(("T", "along_u", "along_W", "ratio"), [
    (100, "1.2e+08", "4.1e+04", "3.0e+03"), (1000, "1.3e+12", "4.2e+06", "3.1e+05"),
    (5000, "8.1e+14", "1.0e+08", "7.8e+06")])
def test_the_curvature_along_u_exceeds_that_along_w_by_the_square_of_the_length(T: int, along_u: str, along_W: str,
                                                                                ratio: str) -> None:
    """J = (h_T − y)², one neuron always active, unit input, u = 2^{1/T}: figures, and the same from a run."""
    left = what_the_range_leaves_open(T)
    trace = ir.forward(np.ones((T, 1, 1)), np.ones((1, 1)), np.array([left.u]))
    last = np.zeros_like(trace.h)
    last[-1] = 2
    diagonal = gauss_newton_diagonal(trace, last)
    room = 4 * float(gamma(8 * T + 64, np.finfo(float).eps))
    assert abs(diagonal.u.item() - left.curvature_u) <= room * left.curvature_u
    assert abs(diagonal.W.item() - left.curvature_W) <= room * left.curvature_W
    shown = (left.curvature_u, left.curvature_W, left.curvature_u / left.curvature_W)
    assert [f"{value:.1e}" for value in shown] == [along_u, along_W, ratio]
    at_one = geometric_sums(T, 1.0)
    assert at_one.dG / at_one.G == (T - 1) / 2, "at u = 1 the ratio is the square of this"


def descend(name: str, rate: float, updates: int = 12) -> float:
    """Gradient descent on u or on W alone, from near the minimum of (h_T − y)²; the last distance ÷ the first."""
    T, start = 100, {"W": np.ones((1, 1)), "u": np.array([what_the_range_leaves_open(100).u])}
    x, y = np.ones((T, 1, 1)), ir.forward(np.ones((T, 1, 1)), start["W"], start["u"]).h[-1]
    now = dict(start)
    now[name] = start[name] + 1e-9
    for _ in range(updates):
        trace = ir.forward(x, now["W"], now["u"])
        dh = np.zeros_like(trace.h)
        dh[-1] = 2 * (trace.h[-1] - y)
        now[name] = now[name] - rate * getattr(ir.backward(dh, trace), "d" + name)
    return float(np.abs(now[name] - start[name]).item() / 1e-9)


def test_a_step_that_suits_w_makes_u_diverge() -> None:
    left = what_the_range_leaves_open(100)
    for name, curved in (("u", left.curvature_u), ("W", left.curvature_W)):
        assert descend(name, 1.8 / curved) < 0.8**11, "below 2 / curvature it converges"
        assert descend(name, 2.2 / curved) > 1.2**11, "above it diverges"
    assert descend("W", 1 / left.curvature_W) < 1e-3
    assert descend("u", 1 / left.curvature_W, updates=2) > 1e5


def test_bad_input_is_named() -> None:
    case = draw("door", SMALL["few"], "tanh", "float64")
    v, loss = a_direction(case, 0), a_loss(case, squared=True)
    with pytest.raises(ValueError, match=r"^direction\.u: expected an array float64 \(3,\); got float64 \(2,\)"):
        hessian_vector_product(loss, v._replace(u=np.ones(2)), **layer(case))
    with pytest.raises(TypeError, match=r"^direction: expected PerParameter\(W, u, b, h0\); got ndarray"):
        hessian_vector_product(loss, case.u, **layer(case))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^loss: expected a Loss, such as squared_loss\(y\) or .*; got ndarray"):
        hessian_vector_product(case.dh, v, **layer(case))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^direction\.W: expected a NumPy or CuPy array; got list"):
        hessian_vector_product(loss, v._replace(W=v.W.tolist()), **layer(case))
    with pytest.raises(TypeError, match=r"^step: expected a number; got '1'"):
        complex_step_hessian_vector_product(loss, v, **layer(case), step="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^loss\.gradient: expected an array"):
        hessian_vector_product(linear_loss(case.dh[1:]), v, **layer(case))
    with pytest.raises(ValueError, match=r"^step: expected a finite number above 0; got 0"):
        complex_step_hessian_vector_product(loss, v, **layer(case), step=0)
    with pytest.raises(TypeError, match=r"^x: expected dtype float32 or float64; got complex128"):
        gauss_newton_product(loss, v, **{name: value + 0j if name != "activation" else value
                                         for name, value in layer(case).items()})
    with pytest.raises(ValueError, match=r"^curvature: expected an array"):
        gauss_newton_diagonal(ir.forward(**layer(case)), np.ones(3))
    mine = ir.Activation("mine", lambda z: z * z, lambda z: 2 * z)
    with pytest.raises(ValueError, match=r"^activation: expected a built-in one, .*; got 'mine'"):
        hessian_vector_product(loss, v, **layer(case, activation=mine))
    own = complex_step_hessian_vector_product(loss, v, **layer(case, activation=mine))
    assert all(np.isfinite(value).all() for value in own)
