"""A layer without a bias or an initial state is verified as it is: what it lacks comes in as further inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import installation, references
from indrnn_np.oracle.folding import fold
from indrnn_np.oracle.report import judge

LACKING = (("b",), ("h0",), ("b", "h0"))


def bare(lacking):
    """A layer that has no such arguments; it insists on zeros for them and returns no gradient by them."""
    def layer(x, W, u, b, h0, dh, activation):
        given = {"b": b, "h0": h0}
        assert not any(given.pop(name).any() for name in lacking)
        trace = ir.forward(x, W, u, **given, activation=activation)
        gradients = ir.backward(dh, trace)._asdict()
        return {"h": trace.h, **{name: value for name, value in gradients.items() if name[1:] not in lacking}}
    return layer


@pytest.mark.usefixtures("no_long_cases")
@pytest.mark.parametrize(("lacking", "activations"), [*zip(LACKING, [("relu",), ("tanh",), installation.NAMES],
                                                           strict=True)], ids=str)
def test_a_bare_layer_passes_with_every_gradient_judged(lacking, activations) -> None:
    report = ir.oracle.verify(fold(lacking, bare(lacking)), activations, ("float32",))
    assert report.passed, report
    assert not report.not_given


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_what_it_lacks_adds_no_rounding_beyond_what_is_allowed(examples: int) -> None:
    tally = Tally("folding: a bare layer is right to within what is allowed")

    @settings(max_examples=examples)
    @given(cases(), st.sampled_from(LACKING))
    def holds(case, lacking) -> None:
        got = fold(lacking, bare(lacking))(**case.arrays(), activation=case.activation)
        expected = references.specification(case, got["h"])
        judgements = [judge("", case.id, case.activation, name, got[name], expected.value[name], expected.allowed[name])
                      for name in expected.value]
        assert all(j.right for j in judgements), judgements
        tally.note(remembers(case), max(j.ratio for j in judgements))

    holds()
    tally.require(0.6)


@pytest.mark.parametrize(("lacking", "diagnosis"), [(("b",), "h0 is ignored: the first step starts from zero"),
                                                    (("h0",), "the bias is missing")])
def test_what_is_not_folded_in_is_missed(lacking, diagnosis: str) -> None:
    def neither(x, W, u, b, h0, dh, activation):
        return bare(("b", "h0"))(x, W, u, 0 * b, 0 * h0, dh, activation)

    report = ir.oracle.verify(fold(lacking, neither), dtypes=("float32",))
    assert any(diagnosis in (finding.diagnosis or "") for finding in report.findings if finding.name == "h")


def test_the_first_step_s_share_of_du_is_not_forgotten() -> None:
    """Planted in the fold itself: without the diagonal, du is what a layer that starts from zero returns."""
    def forgetful(**arrays):
        right = fold(("h0",), bare(("h0",)))(**arrays)
        h0, u = arrays["h0"], arrays["u"]
        return {**right, "du": right["du"] - (right["dh0"] / u * h0).sum(0)}

    report = ir.oracle.verify(forgetful, dtypes=("float32",), case="small")
    assert {finding.name for finding in report.findings} == {"du"}
    assert all("h0 is missing" in (finding.diagnosis or "") for finding in report.findings)


def test_nothing_changes_where_nothing_is_lacking() -> None:
    layer = bare(())
    assert fold((), layer) is layer


def test_a_refused_h_is_handed_on() -> None:
    assert np.array_equal(fold(("b",), lambda **arrays: {"h": arrays["u"]})(
        x=np.ones((1, 1, 1)), W=np.ones((1, 1)), u=np.ones(1), b=np.ones(1), h0=np.ones((1, 1)), dh=np.ones((1, 1, 1)),
        activation="relu")["h"], np.ones(1))
