"""The oracle tells whether an implementation of IndRNN is right.

`verify` asks four independent references (`references`), allows what rounding may do and no more (`tolerance`),
and returns a `Report`. `numerical` has the derivatives of black boxes that it rests on.
"""

from . import numerical
from .report import Finding, Judgement, Report
from .verification import verify

__all__ = ["Finding", "Judgement", "Report", "numerical", "verify"]
