"""The oracle tells whether an implementation of IndRNN is right.

`verify` asks four references (`references`), allows what rounding may do and no more (`tolerance`), tries to explain
what is wrong (`diagnosis`), and returns a `Report`. `from_torch` and `from_jax` make candidates of forward passes;
`write_vectors` and `read_vectors` are for other languages; `numerical` has the derivatives of black boxes.
"""

from . import cases, numerical
from .adapters import from_jax, from_torch
from .report import Finding, Judgement, Report
from .vectors import Vector, read_vectors, write_vectors
from .verification import verify

__all__ = ["Finding", "Judgement", "Report", "Vector", "cases", "from_jax", "from_torch", "numerical", "read_vectors",
           "verify", "write_vectors"]
