"""The heart: what its docstring derives, shown three ways that share no code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import installation, references, tolerance
from indrnn_np.oracle.inputs import SMALL, Case, draw
from indrnn_np.oracle.numerical import adjoint_identity, central_difference, complex_step
from indrnn_np.oracle.report import judge


def drive(case: Case, dtype: type = np.longdouble) -> tuple[np.ndarray, ...]:
    """Return dh, a, u, h0 of a case in another precision."""
    x, W, u, b, h0, dh = (array.astype(dtype) for array in case.arrays().values())
    return dh, x @ W.T + b, u, h0


def test_forward_and_backward_agree_with_eq_2_and_eq_4_written_out_by_hand() -> None:
    a, u, h0 = np.array([[[0.5]], [[-0.25]], [[1.0]]]), np.array([0.5]), np.array([[1.0]])
    h = ir.recurrence.forward(a, u, h0, "relu")
    assert h.ravel().tolist() == [1.0, 0.25, 1.125]
    dh = np.array([[[1.0]], [[2.0]], [[4.0]]])
    da, du, dh0 = ir.recurrence.backward(dh, h, a, u, h0, "relu")
    assert da.ravel().tolist() == [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4.0]
    assert du.tolist() == [3 * 1.0 + 4 * 1.0 + 4 * 0.25]
    assert dh0.tolist() == [[1.5]]


@pytest.mark.parametrize(("function", "name"), [
    *(("forward", name) for name in ("a", "u", "h0")), *(("backward", name) for name in ("dh", "h", "a", "u", "h0")),
    *(("jvp", name) for name in ("a", "u", "h0", "a_dot", "u_dot", "h0_dot"))])
def test_every_argument_of_the_wrong_shape_is_refused_by_name(function: str, name: str) -> None:
    T, B, N = 3, 2, 4
    shapes = {"forward": {"a": (T, B, N)}, "backward": {"dh": (T, B, N), "h": (T, B, N), "a": (T, B, N)},
              "jvp": {"a": (T, B, N)}}[function] | {"u": (N,), "h0": (B, N), "activation": None}
    shapes |= {"a_dot": (T, B, N), "u_dot": (N,), "h0_dot": (B, N)} if function == "jvp" else {}
    arguments = {key: np.ones(shape) if shape else "tanh" for key, shape in shapes.items()}
    getattr(ir.recurrence, function)(**arguments)
    for wrong in (np.ones((T + 1, *shapes[name][1:], 2)), np.ones(shapes[name], np.float16)):
        with pytest.raises((TypeError, ValueError), match=rf"\b{name}:"):
            getattr(ir.recurrence, function)(**arguments | {name: wrong})


def test_the_adjoint_identity_holds_in_every_regime() -> None:
    tally = Tally("⟨dh, J w⟩ = ⟨Jᵀ dh, w⟩")

    @given(cases(longest=60), st.integers(0, 2**32))
    @settings(max_examples=300)
    def claim(case: Case, seed: int) -> None:
        rng = np.random.default_rng(seed)
        dh, a, u, h0 = drive(case)
        w = {name: rng.standard_normal(value.shape).astype(a.dtype) for name, value in
             {"a": a, "u": u, "h0": h0}.items()}
        h, h_dot = ir.recurrence.jvp(a, u, h0, case.activation, w["a"], w["u"], w["h0"])
        assert np.array_equal(h, ir.recurrence.forward(a, u, h0, case.activation))
        gradients = dict(zip(("a", "u", "h0"), ir.recurrence.backward(dh, h, a, u, h0, case.activation), strict=True))
        left, right = adjoint_identity({"h": dh}, {"h": h_dot}, w, gradients)
        # Each side is a sum of the same products: cotangent, path of slopes and weights, tangent. Its rounding is at
        # most 8 roundings a step and one a term, of their absolute sum, which the absolute problem gives.
        size = absolute_sum(case, w, h, a, u, h0, dh)
        allowed = tolerance.gamma(8 * len(a) + dh.size + 64, np.finfo(np.longdouble).eps / 2) * size
        assert abs(left - right) <= allowed
        tally.note(remembers(case) and size > 0, float(abs(left - right) / allowed) if size > 0 else 0.0)

    claim()
    tally.require(0.7)


def absolute_sum(case: Case, w: dict[str, np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Σ over all paths of |dh| ∏|σ'||u| |tangent|: the adjoint identity with every term taken absolute."""
    h, a, u, h0, dh = arrays
    σ = ir.activations.resolve(case.activation)
    before = np.concatenate([h0[None], h[:-1]])
    slope = np.abs(σ.slope(a + u * before))
    carried, total = np.abs(w["h0"]), 0
    for t in range(len(a)):
        carried = slope[t] * (np.abs(w["a"][t]) + np.abs(w["u"] * before[t]) + np.abs(u) * carried)
        total += (np.abs(dh[t]) * carried).sum()
    return total


def test_backward_agrees_with_the_complex_step_in_every_regime() -> None:
    tally = Tally("backward = complex step")

    @given(cases(longest=8))
    @settings(max_examples=150)
    def claim(case: Case) -> None:
        expected = references._complex_step.__wrapped__(case)  # uncached: these cases come once
        trace = ir.forward(case.x, case.W, case.u, case.b, case.h0, case.activation, engine="reference")
        got = {"h": trace.h, **ir.backward(case.dh, trace)._asdict()}
        judgements = [judge("", "drawn", case.activation, name, got[name], want, expected.allowed[name])
                      for name, want in expected.value.items()]
        assert all(j.right for j in judgements), judgements
        tally.note(remembers(case) and all(j.judged for j in judgements), max(j.ratio for j in judgements))

    claim()
    tally.require(0.5)


@pytest.mark.parametrize("activation", installation.NAMES)
def test_backward_agrees_with_differences_of_a_black_box(activation: str) -> None:
    case = draw("differences", SMALL["few"], activation, "float64")
    dh, a, u, h0 = drive(case, np.float64)
    h = ir.recurrence.forward(a, u, h0, activation)
    gradients = ir.recurrence.backward(dh, h, a, u, h0, activation)
    functions = {"da": (a, lambda v: ir.recurrence.forward(v, u, h0, activation)),
                 "du": (u, lambda v: ir.recurrence.forward(a, v, h0, activation)),
                 "dh0": (h0, lambda v: ir.recurrence.forward(a, u, v, activation))}
    for name, (x, f) in functions.items():
        found = central_difference(lambda v: (dh * f(v)).sum(), x, noise=4e-16 * abs(dh * h).sum())
        assert not found.kink.any()
        assert (abs(getattr(gradients, name) - found.derivative) <= found.error).all(), name


def test_cutting_a_sequence_changes_nothing() -> None:
    """[0, k), then [k, T) from its last state; backward adds the second dh0 to the first part's last cotangent."""
    tally = Tally("splitting")

    @given(cases(longest=30), st.integers(0, 2**32))
    @settings(max_examples=200)
    def claim(case: Case, seed: int) -> None:
        dh, a, u, h0 = drive(case, case.dtype.type)
        σ = case.activation
        if len(a) == 1:
            tally.note(nontrivial=False)
            return
        k = 1 + seed % (len(a) - 1)
        h = ir.recurrence.forward(a, u, h0, σ)
        first = ir.recurrence.forward(a[:k], u, h0, σ)
        second = ir.recurrence.forward(a[k:], u, first[-1], σ)
        assert np.array_equal(np.concatenate([first, second]), h)

        da, du, dh0 = ir.recurrence.backward(dh, h, a, u, h0, σ)
        da_2, du_2, dh0_2 = ir.recurrence.backward(dh[k:], second, a[k:], u, first[-1], σ)
        dh_1 = dh[:k].copy()
        dh_1[-1] += dh0_2
        da_1, du_1, dh0_1 = ir.recurrence.backward(dh_1, first, a[:k], u, h0, σ)
        assert np.array_equal(np.concatenate([da_1, da_2]), da)
        assert np.array_equal(dh0_1, dh0)
        h_prev = np.concatenate([h0[None], h[:-1]])  # the same terms of du, summed in another order
        γ = tolerance.gamma(2 * da[..., 0].size, np.finfo(case.dtype).eps / 2)
        assert (abs(du_1 + du_2 - du) <= γ * abs(da * h_prev).sum((0, 1)) + np.finfo(case.dtype).tiny).all()
        tally.note(remembers(case))

    claim()
    tally.require(0.6)


@given(cases(longest=12))
@settings(max_examples=50)
def test_a_neuron_never_sees_its_neighbours(case: Case) -> None:
    dh, a, u, h0 = drive(case, np.float64)
    n = a.shape[2] - 1
    alone = ir.recurrence.forward(a[..., n:], u[n:], h0[:, n:], case.activation)
    h = ir.recurrence.forward(a, u, h0, case.activation)
    assert np.array_equal(h[..., n:], alone)
    gradients = ir.recurrence.backward(dh, h, a, u, h0, case.activation)
    by_itself = ir.recurrence.backward(dh[..., n:], alone, a[..., n:], u[n:], h0[:, n:], case.activation)
    for whole, part in zip(gradients, by_itself, strict=True):
        assert np.array_equal(whole[..., n:], part)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("activation", installation.NAMES)
def test_backward_on_complex_numbers_is_the_unconjugated_transpose(activation: str, dtype: type) -> None:
    rng = np.random.default_rng(3)
    T, B, N = 6, 2, 3

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) + 0.3j * rng.standard_normal(shape)).astype(dtype)

    a, u, h0, dh = normal(T, B, N), normal(N), normal(B, N), normal(T, B, N)
    w = {"a": normal(T, B, N), "u": normal(N), "h0": normal(B, N)}
    h, h_dot = ir.recurrence.jvp(a, u, h0, activation, w["a"], w["u"], w["h0"])
    assert h.dtype == h_dot.dtype == dtype
    gradients = dict(zip(("a", "u", "h0"), ir.recurrence.backward(dh, h, a, u, h0, activation), strict=True))
    left, right = adjoint_identity({"h": dh}, {"h": h_dot}, w, gradients)
    scale = float(np.abs(dh * h_dot).sum())
    assert abs(left - right) <= 200 * np.finfo(dtype).eps * scale
    conjugated = sum((np.conj(gradients[name]) * w[name]).sum() for name in w)
    assert abs(left - conjugated) > 1e-3 * scale, "this input could not have told the conjugate from the transpose"


@pytest.mark.parametrize("activation", installation.NAMES)
def test_where_h_tells_the_slope_the_drive_may_be_left_out(activation: str) -> None:
    case = draw("no drive", SMALL["few"], activation, "float64")
    dh, a, u, h0 = drive(case, np.float64)
    h = ir.recurrence.forward(a, u, h0, activation)
    if activation in ("tanh", "sigmoid"):
        with pytest.raises(ValueError, match=r"^a: expected the drive"):
            ir.recurrence.backward(dh, h, None, u, h0, activation)
    else:
        with_drive, without = (ir.recurrence.backward(dh, h, given, u, h0, activation) for given in (a, None))
        assert all(map(np.array_equal, with_drive, without))


@given(st.sampled_from(installation.NAMES), st.booleans())
@settings(max_examples=20)
def test_nan_and_inf_flow_through_as_ieee_says(activation: str, infinite: bool) -> None:
    T, bad = 5, 2
    a, u, h0 = np.full((T, 1, 2), 0.5), np.array([0.5, 0.5]), np.zeros((1, 2))
    a[bad, 0, 0] = np.inf if infinite else np.nan
    dh = np.ones((T, 1, 2))
    with np.errstate(all="ignore"):
        h = ir.recurrence.forward(a, u, h0, activation)
        da = ir.recurrence.backward(dh, h, a, u, h0, activation).da
    assert np.isfinite(h[:bad]).all()
    assert np.isfinite(h[..., 1]).all(), "the other neuron saw it"
    assert np.isfinite(da[..., 1]).all(), "the other neuron's gradient saw it"
    if not infinite:
        assert np.isnan(h[bad:, 0, 0]).all()
        assert activation == "identity" or np.isnan(da[bad:, 0, 0]).all()
    else:
        assert np.isfinite(da).all(), "an infinite pre-activation has a slope, and 0 · inf must not arise"


def test_an_infinite_cotangent_stops_at_a_silent_neuron() -> None:
    a, u, h0 = np.array([[[1.0]], [[-1.0]]]), np.array([0.5]), np.zeros((1, 1))
    h = ir.recurrence.forward(a, u, h0, "relu")
    assert h.ravel().tolist() == [1.0, 0.0]
    da, du, dh0 = ir.recurrence.backward(np.array([[[1.0]], [[np.inf]]]), h, a, u, h0, "relu")
    assert da.ravel().tolist() == [1.0, 0.0]
    assert du.tolist() == [0.0]
    assert dh0.tolist() == [[0.5]]


def test_a_user_s_own_activation_runs_and_differentiates() -> None:
    swish = ir.Activation("swish", value=lambda z: z / (1 + np.exp(-z)),
                          slope=lambda z: (1 + np.exp(-z) * (1 + z)) / (1 + np.exp(-z)) ** 2)
    rng = np.random.default_rng(0)
    a, u, h0, dh = (rng.standard_normal(shape) for shape in ((6, 2, 3), (3,), (2, 3), (6, 2, 3)))
    h = ir.recurrent_forward(a, u, h0, swish)
    gradients = ir.recurrent_backward(dh, h, a, u, h0, swish)
    numerical = complex_step(lambda v: (dh * ir.recurrence.forward(a + 0j, v, h0 + 0j, swish)).sum(), u)
    assert (abs(gradients.du - numerical) <= 1e-13 * abs(dh).sum()).all()


def test_a_user_s_activation_that_computes_in_another_dtype_does_not_change_the_results_dtype() -> None:
    c = np.float64(0.8)
    mine = ir.Activation("mine", lambda z: np.tanh(c * z), lambda z: c * (1 - np.tanh(c * z) ** 2))
    a, u = np.ones((3, 1, 1), np.float32), np.ones(1, np.float32)
    h = ir.recurrent_forward(a, u, None, mine)
    assert {v.dtype for v in (h, *ir.recurrent_backward(h, h, a, u, None, mine))} == {np.dtype(np.float32)}


def test_the_complex_step_is_right_where_z_is_exactly_zero() -> None:
    zero, u = np.zeros((2, 1, 1)), np.array([0.5])
    for activation in installation.NAMES:
        def J(h0: np.ndarray, activation: str = activation) -> np.ndarray:
            return ir.recurrence.forward(zero + 0j, u + 0j, h0, activation)[0].sum()
        h = ir.recurrence.forward(zero, u, zero[0], activation)
        dh = np.array([1.0, 0.0]).reshape(2, 1, 1)
        gradients = ir.recurrence.backward(dh, h, zero, u, zero[0], activation)
        assert complex_step(J, zero[0]) == pytest.approx(gradients.dh0, rel=1e-14)
