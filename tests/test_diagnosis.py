"""The diagnosis: known mistakes are named, two at once are told apart, and what is unknown is not guessed at."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import candidates, installation
from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.mistakes import BACKWARD, FORWARD, Mistake


def named(text: str):
    return next(mistake for mistake in planted.EVERY if mistake.text == text)


@pytest.mark.parametrize("activation", installation.NAMES)
def test_the_table_in_the_documentation_is_current_and_every_mistake_is_caught_and_named(activation: str) -> None:
    """Every mistake, in every activation in which it changes a number."""
    column = planted.column(activation)
    assert column == planted.shown()[activation]
    tally = Tally(f"planted mistakes, {activation}: those named are the non-trivial")
    for cell in column:
        if cell != "–":
            tally.note(cell == "named")
            assert cell in ("named", "caught")
    tally.require(0.9)


def test_the_table_lists_the_catalogue() -> None:
    assert planted.table(planted.shown()) == planted.TABLE.read_text(encoding="utf-8")
    assert len(planted.EVERY) == len(FORWARD) + len(BACKWARD) >= 30


def test_mistakes_in_two_tensors_are_named_side_by_side() -> None:
    one, two = (named(text) for text in ("du takes h_t for h_{{t−1}}", "db is of the last step only"))
    first, second = planted.plant(one, None), planted.plant(two, None)
    report = ir.oracle.verify(lambda **given: {**first(**given), "db": second(**given)["db"]}, dtypes=("float32",))
    causes = {finding.name: finding.diagnosis for finding in report.findings}
    assert causes == {"du": "du takes h_t for h_{t−1}", "db": "db is of the last step only"}


def test_a_mistake_in_each_direction_is_named() -> None:
    def candidate(**given):
        h = planted.plant(named("h0 is ignored: the first step starts from zero"), None)(**given)["h"]
        case = Case("", **given)
        wrong = named("u is squared in the carry")(case, {"h": h}).backward()
        return {"h": h, **{name: value.astype(h.dtype) for name, value in wrong.items()}}

    report = ir.oracle.verify(candidate, dtypes=("float32",))
    causes = {finding.name: finding.diagnosis for finding in report.findings if finding.check == "specification"}
    assert causes["h"] == "h0 is ignored: the first step starts from zero"
    assert {causes[name] for name in ("dx", "dW", "du", "db", "dh0")} == {"u is squared in the carry"}


def test_an_unknown_mistake_has_no_diagnosis() -> None:
    def candidate(**given):
        right = candidates.from_engine("numpy")(**given)
        return {**right, "du": right["du"] + np.cos(np.arange(len(right["du"]), dtype=right["du"].dtype))}

    report = ir.oracle.verify(candidate, dtypes=("float64",))
    assert {(f.name, f.diagnosis, f.verdict) for f in report.findings} == {("du", None, "wrong")}
    assert "Looks like" not in str(report)


@pytest.mark.usefixtures("no_long_cases")
@pytest.mark.parametrize("bits", [11, 8])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_right_function_in_a_lower_precision_is_called_imprecise(bits, activation) -> None:
    """Every product with W has its factors rounded to that many bits, as tensor cores do."""
    def rounded(v: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(v)
        return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(v.dtype)

    def candidate(x, W, u, b, h0, dh, activation):
        trace = ir.forward(rounded(x), rounded(W), u, b, h0, activation)
        return {"h": trace.h, **ir.backward(dh, trace)._asdict()}

    report = ir.oracle.verify(candidate, (activation,), ("float32",))
    wrong = [f for f in report.findings if f.check == "specification"]
    assert {f.verdict for f in wrong} == {"imprecise"}
    (cause,) = {f.diagnosis for f in wrong}
    assert cause in {f"the right function, as precise as {name}" for name in ("float16 or TF32", "bfloat16")}


@pytest.mark.usefixtures("no_long_cases")
def test_float32_inside_float64_is_called_imprecise() -> None:
    def candidate(activation, **arrays):
        single = {name: value.astype("f4") for name, value in arrays.items()}
        result = candidates.from_engine("numpy")(activation=activation, **single)
        return {name: value.astype("f8") for name, value in result.items()}

    report = ir.oracle.verify(candidate, ("relu",), ("float64",))
    assert {f.diagnosis for f in report.findings} == {"the right function, as precise as float32"}


def test_a_large_error_at_one_step_does_not_make_another_mistake_fit_the_rest() -> None:
    truncation = next(entry for entry in planted.EVERY if entry.__name__ == "Truncated")
    report = ir.oracle.verify(planted.plant(truncation, 16), ("relu",), ("float32",), case="exploding")
    causes = {finding.diagnosis for finding in report.findings if finding.check == "specification"}
    assert causes == {truncation.text.format(guess=16)}


@pytest.mark.usefixtures("no_long_cases")
@pytest.mark.parametrize(("mistake", "steps"), [("Truncated", 16), ("Truncated", 37), ("Truncated", 64),
                                                ("LastSteps", 50)])
def test_a_truncation_is_named_with_its_length(mistake: str, steps: int) -> None:
    truncation = next(entry for entry in planted.EVERY if entry.__name__ == mistake)
    report = ir.oracle.verify(planted.plant(truncation, steps), ("relu",), ("float32",))
    assert not report.passed
    assert any(truncation.text.format(guess=steps) in (finding.diagnosis or "") for finding in report.findings), report


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_another_slope_at_the_kink_is_a_convention_and_named(slope: float) -> None:
    candidate = planted.plant(named("at z = 0 the slope is taken as {guess:g}"), slope)
    report = ir.oracle.verify(candidate, ("relu",), ("float32",))
    assert {f.verdict for f in report.findings} == {"kink convention"}
    assert all(f"at z = 0 the slope is taken as {slope:g}" in f.diagnosis for f in report.findings)


def test_a_candidate_whose_bits_change_from_run_to_run_is_not_deterministic() -> None:
    flip = iter(range(10**6))

    def candidate(**given):
        right = candidates.from_engine("numpy")(**given)
        return {**right, "du": np.nextafter(right["du"], np.float32(next(flip) % 2 * 9))}

    report = ir.oracle.verify(candidate, dtypes=("float32",))
    assert {(f.verdict, f.name) for f in report.findings if f.check == "specification"} == {("not deterministic", "du")}


@pytest.mark.usefixtures("no_long_cases")
@pytest.mark.parametrize("given", [("h",), ("h", "du"), ("dx", "dW", "du", "db", "dh0"), ("du",)])
def test_what_a_candidate_does_not_return_is_not_checked_and_said(given) -> None:
    def partial(**arguments):
        right = candidates.from_engine("numpy")(**arguments)
        return {name: right[name] for name in given}

    report = ir.oracle.verify(partial, ("relu", "tanh"))
    assert report.passed, report
    left_out = {"h", "dx", "dW", "du", "db", "dh0"} - set(given)
    assert report.not_given == left_out
    assert f"Not checked, since not returned: {', '.join(sorted(left_out))}" in str(report)

    def wrong(**arguments):
        return {name: value * value.dtype.type(1.001) for name, value in partial(**arguments).items()}

    assert not ir.oracle.verify(wrong, ("relu",), ("float64",)).passed


def test_a_candidate_that_returns_nothing_does_not_pass() -> None:
    report = ir.oracle.verify(lambda **given: {}, dtypes=("float32",))
    assert not report.passed
    assert {finding.verdict for finding in report.findings} == {"nothing judged"}


def test_one_case_alone_can_be_run_again() -> None:
    report = ir.oracle.verify(candidates.from_engine("numpy"), ("relu",), ("float32",), case="vanishing")
    assert {judgement.case for judgement in report.judgements} == {"vanishing"}
    with pytest.raises(ValueError, match="case: expected the name of a case of these activations; got 'vanish'"):
        ir.oracle.verify(candidates.from_engine("numpy"), case="vanish")


@pytest.mark.usefixtures("no_long_cases")
def test_the_layer_in_pieces_is_right_before_a_piece_is_replaced() -> None:
    for activation in planted.installation.NAMES:
        assert ir.oracle.verify(planted.plant(Mistake, None), (activation,), ("float32",)).passed
