"""A real peer: torch.nn.RNN with a diagonal recurrent matrix is an IndRNN that others wrote and trust."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import cases, remembers
from tally import Tally

import indrnn_np as ir
from indrnn_np.oracle import candidates, installation, references
from indrnn_np.oracle.inputs import Case
from indrnn_np.oracle.report import judge


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorch_s_rnn_is_right_by_our_oracle() -> None:
    report = ir.oracle.verify(candidates.torch_rnn(), candidates.TORCH_ACTIVATIONS)
    assert report.passed, report
    assert any(row.implementation == installation.PEER for row in installation.rows())


@pytest.mark.extra("torch")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_we_agree_with_pytorch_s_rnn_in_every_regime() -> None:
    """Forward and all gradients, each within its derived error of the exact ones, hence of each other."""
    peer, ours = candidates.torch_rnn(), candidates.from_engine("numpy")
    tally = Tally("torch.nn.RNN with diag(u)")

    @given(cases(longest=100, activations=candidates.TORCH_ACTIVATIONS))
    @settings(max_examples=150)
    def claim(case: Case) -> None:
        worst = 0.0
        theirs, mine = (candidate(**case.arrays(), activation=case.activation) for candidate in (peer, ours))
        for got in (theirs, mine):
            expected = references.specification(case, got["h"])
            judgements = [judge("", case.id, case.activation, name, got[name], want, expected.allowed[name])
                          for name, want in expected.value.items()]
            assert all(j.right for j in judgements), [j for j in judgements if not j.right]
            worst = max(worst, *(j.ratio for j in judgements))
        if case.activation == "relu":
            assert np.array_equal(theirs["h"] > 0, mine["h"] > 0), "the same neurons fire"
        tally.note(remembers(case), worst)

    claim()
    tally.require(0.7)


def test_without_pytorch_the_peer_names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(candidates, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'indrnn-np\[torch\]'"):
        candidates.torch_rnn()
    assert all(row.implementation in ir.engines.available() for row in installation.rows())
