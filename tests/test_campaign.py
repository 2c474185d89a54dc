"""Right implementations, ours and others', are not accused; the long campaign is `python tests/campaign.py 10000`."""

from __future__ import annotations

import campaign
import numpy as np
import pytest


def check(cases: int) -> campaign.Outcome:
    outcome = campaign.run(range(cases))
    assert not outcome.findings, "\n".join(campaign.table(outcome))
    assert all(outcome.compared[key] > 2 * outcome.loosely[key] > 0 for key in outcome.worst), "most are judged sharply"
    for kind in ("overflow", "underflow", "saturation", "kink"):
        assert outcome.kinds[kind] >= 0.02 * outcome.kinds["all"], (kind, outcome.kinds)
    return outcome


def test_our_engines_are_never_accused(monkeypatch) -> None:
    monkeypatch.setattr(campaign, "find_spec", lambda name: None)
    check(300)


@pytest.mark.extra("torch")
@pytest.mark.extra("jax")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorch_jax_and_our_engines_are_never_accused() -> None:
    outcome = check(300)
    assert {name for name, _ in outcome.worst} >= {"numpy", "reference", "torch.nn.RNN", "PyTorch loop", "JAX scan"}


def test_the_campaign_accuses_what_is_wrong(monkeypatch) -> None:
    right = campaign.candidates.from_engine("numpy")

    def wrong(**given: np.ndarray) -> dict[str, np.ndarray]:
        result = right(**given)
        return {**result, "du": result["du"] * np.asarray(1.001, result["du"].dtype)}

    monkeypatch.setattr(campaign, "peers", lambda: {"numpy": (wrong, campaign.installation.NAMES)})
    outcome = campaign.run(range(49))
    assert len(outcome.findings) > 49
    assert "du[" in "\n".join(campaign.table(outcome))
