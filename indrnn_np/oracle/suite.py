"""For other people's test suites: the oracle's cases one by one, each a test of its own.

With pytest, for instance::

    @pytest.mark.parametrize("case", ir.oracle.cases(("relu", "tanh")), ids=str)
    def test_my_layer(case):
        ir.oracle.assert_matches(my_layer, case)
"""

from __future__ import annotations

from collections.abc import Sequence

from ..activations import resolve
from .inputs import Case
from .verification import CHECKS, Candidate, verify


def cases(activations: Sequence[str] = ("relu",), dtypes: Sequence[str] = ("float32", "float64")) -> list[Case]:
    """Return every case that `verify` would run, each once.

    Parameters
    ----------
    activations : names
    dtypes : "float32", "float64" or both

    Returns
    -------
    list of Case : `str(case)` is a stable name for it

    Raises
    ------
    TypeError, ValueError
        A name is unknown.
    """
    for dtype in dtypes:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtypes: expected 'float32' or 'float64'; got {dtype!r}.")
    found = {}
    for activation in (resolve(each).name for each in activations):
        for dtype in dtypes:
            for check in CHECKS:
                found.update({(activation, dtype, case.id): case for case in check.cases(activation, dtype)})
    return list(found.values())


def assert_matches(candidate: Candidate, case: Case) -> None:
    """Verify an implementation on one case, by every reference that has it.

    Parameters
    ----------
    candidate : as in `verify`
    case : one of `cases`

    Raises
    ------
    AssertionError
        It is wrong there; the message is the report, with the likely cause.
    TypeError, ValueError
        candidate cannot be called, or there is no such case.
    """
    report = verify(candidate, (case.activation,), (case.dtype.name,), case.id)
    if report.findings:
        raise AssertionError(f"case {case}\n{report}")
