"""For other people's test suites: the oracle's cases one by one, each a test of its own.

With pytest, for instance::

    @pytest.mark.parametrize("case", ir.oracle.cases(("relu", "tanh")), ids=str)
    def test_my_layer(case):
        ir.oracle.assert_matches(my_layer, case)
"""

from __future__ import annotations

from collections.abc import Sequence

from .answers import Candidate
from .inputs import Case
from .verification import checked, plan, verify_case


def cases(activations: Sequence[str] = ("relu",), dtypes: Sequence[str] = ("float32", "float64"), *,
          precision: str | None = None, order: str = "loop", without: Sequence[str] = ()) -> list[Case]:
    """Return every case that `verify` would run, each once.

    Parameters
    ----------
    activations, dtypes, precision, order, without : as in `verify`

    Returns
    -------
    list of Case : `str(case)` is a stable name for it

    Raises
    ------
    TypeError, ValueError
        A name is unknown.
    """
    names, precisions, how = checked(activations, dtypes, precision, order, without)
    found: dict[str, Case] = {}
    for name in names:
        for each in precisions:
            found.update({str(case): case for _, case in plan(name, each, **how)})
    return list(found.values())


def assert_matches(candidate: Candidate, case: Case) -> None:
    """Verify an implementation on one case, by every reference that has it.

    Parameters
    ----------
    candidate : as in `verify`
    case : one of `cases`, or drawn by `indrnn_np.oracle.strategies`, or made by yourself

    Raises
    ------
    AssertionError
        It is wrong there; the message is the report, with the likely cause.
    TypeError, ValueError
        candidate cannot be called, or case is no case.
    """
    report = verify_case(candidate, case)
    if report.findings:
        raise AssertionError(f"case {case}\n{report}")
