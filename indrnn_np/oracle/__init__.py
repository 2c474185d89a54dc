"""The oracle tells whether an implementation of IndRNN is right.

`verify` asks four references (`references`), allows what rounding may do and no more (`tolerance`), tries to explain
what is wrong (`diagnosis`), and returns a `Report`. `from_torch`, `from_jax` and `from_recurrence` make candidates
of what you have, `cases` and `assert_matches` tests of your own; `write_vectors` and `read_vectors` are for other
languages, and `numerical` differentiates black boxes.
"""

from . import numerical
from .adapters import from_jax, from_torch
from .candidates import from_recurrence
from .report import Finding, Judgement, Report
from .suite import assert_matches, cases
from .vectors import Vector, read_vectors, write_vectors
from .verification import verify

__all__ = ["Finding", "Judgement", "Report", "Vector", "assert_matches", "cases", "from_jax", "from_recurrence",
           "from_torch", "numerical", "read_vectors", "verify", "write_vectors"]
