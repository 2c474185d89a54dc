"""The allowed error is the theorem's, term by term, and right implementations that come near it are known."""

from __future__ import annotations

import element_by_element
import numpy as np
import pytest
import right
from right import Composed

from indrnn_np import recurrence
from indrnn_np.oracle import installation, references, tolerance
from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.report import Judgement, judge
from indrnn_np.oracle.tolerance import Rounding

COARSE = Rounding(unit=2.0**-10, smallest=2.0**-7, largest=np.inf, smooth=(5, 3))


def coarse_case(activation: str, seed: int) -> Case:
    """Draw numbers of every size that matters in COARSE; one neuron has zeros alone, another no u to speak of."""
    rng = np.random.default_rng([seed, *activation.encode()])
    T, B, M, N = (5, 5, 2, 1)[seed], 2, 3, 4

    def numbers(*shape: int) -> np.ndarray:
        v = rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape)
        return np.where(rng.random(shape) < 0.2, v / 512, v)  # a fifth is below the smallest normal number

    W, u, b, h0 = numbers(N, M), numbers(N), numbers(N), numbers(B, N)
    u[:3] = 0.9, -1.3, 1 / 200
    W[3], u[3], b[3], h0[0, 3] = 0, 0, 0, 0
    return Case("coarse", activation, numbers(T, B, M), W, u, b, h0, numbers(T, B, N))


@pytest.mark.parametrize("largest", [np.inf, 8.0, 4.0, 2.0])
@pytest.mark.parametrize("own_h", [False, True])
@pytest.mark.parametrize("order", ["loop", "scan"])
@pytest.mark.parametrize("activation", [*installation.NAMES, "leaky_relu(3.0)"])
def test_every_allowed_error_is_the_theorem_s(activation: str, order: str, own_h: bool, largest: float) -> None:
    model = COARSE._replace(scan=order == "scan", largest=largest)
    bounded = []
    for seed in range(4):
        case = coarse_case(activation, seed)
        h = None
        if own_h:
            h = references.specification(case, None).value["h"].astype(float)
            h *= 1 + 0.01 * np.random.default_rng(seed).standard_normal(h.shape)
            h[0] = np.where(abs(h[0]) < 0.3, h[0] / 256, h[0])  # some states are read as zero
        with np.errstate(all="ignore"):
            got = references.specification(case, h, model).allowed
        want = element_by_element.allowed(case, model, h)
        assert got.keys() == want.keys()
        for name, bound in want.items():
            finite = np.isfinite(bound)
            assert np.array_equal(np.isinf(got[name]), ~finite), name
            assert (abs(got[name][finite] - bound[finite]) <= 1e-11 * bound[finite]).all(), name
            bounded.append(finite.ravel())
    share = np.concatenate(bounded).mean()
    assert {np.inf: share == 1, 2.0: 0.05 < share < 0.95}.get(largest, share > 0.05), share


def judged(case: Case, **got: np.ndarray) -> dict[str, Judgement]:
    with np.errstate(all="ignore"):
        expected = references.specification(case, got["h"])
        return {name: judge("", case.id, case.activation, name, value, expected.value[name], expected.allowed[name])
                for name, value in got.items()}


# Right implementations that come near what is allowed.


def from_the_right(steps: list[Composed], first: np.ndarray) -> np.ndarray:
    """Compose every prefix from its last step back: that step's own term is in every sum."""
    states = []
    for t, whole in enumerate(steps):
        for step in reversed(steps[:t]):
            whole = whole.after(step)
        states.append(whole(first))
    return np.array(states)


def doubling(steps: list[Composed], first: np.ndarray) -> np.ndarray:
    """Compose as Hillis and Steele do: in ⌈log2 T⌉ rounds, each with the one twice as far back."""
    back = 1
    while back < len(steps):
        steps = [step.after(steps[t - back]) if t >= back else step for t, step in enumerate(steps)]
        back *= 2
    return np.array([step(first) for step in steps])


def scanned(terms: np.ndarray, lowest: float, how) -> np.ndarray:
    """y_t = max(lowest, y_{t−1} + terms_t) from zero, u = 1, as a scan."""
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    return how([Composed(one, term, lowest * one, np.inf * one) for term in terms], zero)


def just_above_half_an_ulp(T: int, how) -> np.ndarray:
    """1 at the end, and before it what rounds its sum up at every addition."""
    terms = np.full((T, 1, 1), 2.0**-24 * 1.02, np.float32)
    if how is doubling:  # its sums have 1, 2, 4, … terms
        terms[:] = 2.0**-60
        terms[[-1 - 2**k for k in range(7)]] = 2.0**-24 * 1.02
    terms[-1] = 1
    return terms


@pytest.mark.parametrize("activation", ["identity", "relu"])
@pytest.mark.parametrize(("how", "above", "below"), [(from_the_right, 0.9, 1.0), (doubling, 0.02, 1.0)])
def test_a_scan_whose_last_term_is_in_every_sum_is_not_accused(activation: str, how, above: float,
                                                              below: float) -> None:
    T, one = 129, np.ones((1, 1), np.float32)
    x = just_above_half_an_ulp(T, how)
    case = Case("half an ulp", activation, x, one, one[0], 0 * one[0], 0 * one, x[::-1].copy(), order="scan")
    h = scanned(x, 0.0 if activation == "relu" else -np.inf, how)
    found = judged(case, h=h, dx=scanned(x, -np.inf, how)[::-1])
    assert all(above < j.ratio <= below for j in found.values()), found
    exact = x.astype(np.longdouble).sum()
    one_step_each = 3 * 2.0**-24 * (1 + 3 * T**2 * 2.0**-24)  # what pays for every term's own steps, and no more
    assert abs(h[-1, 0, 0] - exact) > one_step_each


def test_a_scan_that_flushes_every_product_to_zero_is_not_accused() -> None:
    """u^n a_{t−n} is just below the smallest normal number for every n, so that all of h_T is lost."""
    T, one = 60, np.ones((1, 1), np.float32)
    smallest = np.finfo(np.float32).tiny
    x = (0.9 * smallest * 2.0 ** np.arange(T)[::-1]).astype(np.float32)[:, None, None]
    case = Case("flushed", "identity", x, one, one[0] / 2, 0 * one[0], 0 * one, x[::-1].copy(), order="scan")
    h = recurrence.forward(x, case.u, case.h0, "identity")
    assert h[-1] > 50 * smallest
    h[-1] = 0
    dx = recurrence.backward(case.dh, h, x, case.u, case.h0, "identity").da
    dx[0] = 0
    assert all(j.right for j in judged(case, h=h, dx=dx).values())
    h[-1] = 400 * smallest
    assert not judged(case, h=h)["h"].right


def written_with_modulus(alpha: float) -> dict[str, Judgement]:
    """½(1 + α) z + ½(1 − α) |z| on ten thousand numbers, all arithmetic in float32."""
    x = np.random.default_rng(0).standard_normal((1, 10_000, 1)).astype(np.float32)
    one = np.ones((1, 1), np.float32)
    case = Case("modulus", f"leaky_relu({alpha})", x, one, 0 * one[0], 0 * one[0], 0 * x[0], np.flip(x, 1).copy())
    a = np.float32(alpha)
    straight, bent = (1 + a) / 2, (1 - a) / 2
    return judged(case, h=straight * x + bent * abs(x), dx=case.dh * (straight + bent * np.sign(x)))


def test_a_leaky_relu_written_with_the_modulus_is_not_accused_up_to_a_slope_of_one() -> None:
    for alpha in (1e-3, 0.01, 0.1, 0.3, 0.7, 1.0):
        assert all(j.right for j in written_with_modulus(alpha).values()), alpha
    assert not written_with_modulus(100.1)["h"].right, "where z > 0, it cancels"


def rounded_up(terms: int) -> np.ndarray:
    """Numbers whose sum is finite, and rounds up to infinity where they are added from left to right."""
    ulp = np.float32(2.0**104)  # of the largest numbers
    return np.concatenate([[np.finfo(np.float32).max - 30 * ulp], np.full(terms - 1, 0.51 * ulp)]).astype(np.float32)


def test_a_sum_that_rounding_alone_takes_to_infinity_is_not_accused() -> None:
    terms, one = rounded_up(40), np.ones((1, 1), np.float32)
    dh = terms[:, None, None]
    assert dh.astype(np.longdouble).sum() < np.finfo(np.float32).max
    case = Case("to infinity", "identity", np.ones_like(dh), one, 0 * one[0], one[0], 0 * one, dh)
    with np.errstate(over="ignore"):
        total = right.summed(terms[None], "forward", np.random.default_rng(0))
    assert np.isinf(total)
    h = np.full_like(dh, 2)
    assert all(j.right for j in judged(case, h=h, dx=dh, db=total, dW=total[:, None]).values())
    case = Case("half as much", "identity", np.ones_like(dh), one, 0 * one[0], one[0], 0 * one, dh / 2)
    assert not judged(case, h=h, db=total)["db"].right


@pytest.mark.parametrize(("activation", "sign"), [("identity", 1), ("identity", -1), ("relu", 1), ("softplus", 1)])
def test_what_follows_a_state_that_rounding_took_to_infinity_is_not_accused(activation: str, sign: int) -> None:
    one = np.ones((1, 1), np.float32)
    x = sign * np.stack([rounded_up(40), np.zeros(40, np.float32)])[:, None]
    case = Case("to infinity", activation, x, np.ones((1, 40), np.float32), one[0] / 8, 0 * one[0], 0 * one,
                np.ones((2, 1, 1), np.float32))
    assert judged(case, h=np.full((2, 1, 1), sign * np.inf, np.float32))["h"].right


@pytest.mark.parametrize("order", ["loop", "scan"])
def test_zero_times_an_infinite_state_may_be_no_number(order: str) -> None:
    x = np.array([[[1, 1]], [[0, 0]]], np.float32) * np.finfo(np.float32).max
    zero = np.zeros((1, 1), np.float32)
    case = Case("0 · inf", "relu", x, np.ones((1, 2), np.float32), zero[0], zero[0], zero, x[..., :1], order=order)
    assert judged(case, h=np.array([[[np.inf]], [[np.nan]]], np.float32))["h"].right


def test_a_scan_s_composed_steps_may_overflow_where_the_loop_s_states_do_not() -> None:
    one = np.ones((1, 1), np.float32)
    a = np.array([-2.5, 2, 3, 0, 0], np.float32)[:, None, None] * np.float32(1e38)
    case = Case("to infinity", "identity", a, one, one[0] / 2, 0 * one[0], 0 * one, 0 * a + 1, order="scan")
    steps = [Composed(one / 2, term, -np.inf * one, np.inf * one) for term in a]
    with np.errstate(over="ignore", invalid="ignore"):
        h = doubling(steps, 0 * one)  # the last is composed from step 2 after step 1, which is 4e38
    loop = recurrence.forward(a, case.u, case.h0, "identity")
    assert np.isfinite(loop).all()
    assert np.isfinite(h).ravel().tolist() == [True, True, False, True, False]
    assert judged(case, h=h)["h"].right
    assert not judged(case, h=np.array([loop[0], h[2], *loop[2:]]))["h"].right, "nothing overflows so early"


@pytest.mark.parametrize("order", ["loop", "scan"])
@pytest.mark.parametrize("activation", installation.NAMES)
def test_where_results_overflow_nothing_is_warned_of(activation: str, order: str) -> None:
    T, one = 4, np.ones((1, 1), np.float32)
    a = np.full((T, 1, 1), np.finfo(np.float32).max, np.float32)
    case = Case("huge", activation, a, one, 2 * one[0], one[0], one, a, order=order)
    for h in (None, a / 2, np.zeros_like(a)):
        allowed = references.specification(case, h).allowed
        assert np.isinf(allowed["h"]).all()


def test_the_smallest_normal_number_itself_is_not_lost_and_the_next_one_is() -> None:
    model, one = COARSE, np.ones((1, 1))
    for part, of in (("x", lambda v: tolerance.of_drive(v * one[None], one, 0 * one[0], model)),
                     ("W", lambda v: tolerance.of_drive(one[None], v * one, 0 * one[0], model)),
                     ("b", lambda v: tolerance.of_drive(one[None], one, v * one[0], model))):
        assert of(model.smallest).lost == 0, part
        assert of(-0.99 * model.smallest).lost == 0.99 * model.smallest, part


# The formats' numbers.


def test_the_model_of_each_format_has_its_unit_and_its_ends() -> None:
    own = 2 * np.finfo(np.longdouble).eps  # four units of the reference's roundoff
    for precision, unit, smallest, largest, smooth in (
            ("float16", 2.0**-11, 2.0**-14, 65504.0, (2, 2)),
            ("bfloat16", 2.0**-8, 2.0**-126, 255 * 2.0**120, (2, 2)),
            ("float32", 2.0**-24, np.finfo("f4").tiny, np.finfo("f4").max, (8, 4)),
            ("float64", 2.0**-53, np.finfo("f8").tiny, np.finfo("f8").max, (8, 4))):
        for order in ("loop", "scan"):
            scan = order == "scan"
            assert tolerance.rounding(precision, order) == Rounding(unit + own, smallest, largest, scan, smooth)
        assert not tolerance.rounding(precision).scan
    assert tolerance.ORDERS == ("loop", "scan")
    assert not COARSE.scan, "a loop, unless told otherwise"


def test_the_error_of_many_roundings_is_infinite_from_one_over_the_unit() -> None:
    assert tolerance.gamma(3, 0.125) == 0.375 / 0.625
    assert [tolerance.gamma(n, 0.125) for n in (0, 8, 9)] == [0, np.inf, np.inf]
