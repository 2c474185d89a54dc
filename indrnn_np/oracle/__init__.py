"""The oracle tells whether an implementation of IndRNN is right.

`verify` asks four references (`references`), allows what rounding may do and no more (`tolerance`), tries to explain
what is wrong (`diagnosis`), and returns a `Report`. `from_torch`, `from_torch_module`, `from_jax` and `from_recurrence`
make candidates of what you have, `to_ours` and `from_ours` know the checkpoints of other implementations, `cases` and
`assert_matches` make tests of your own; `write_vectors` and `read_vectors` are for other languages, and `numerical`
differentiates black boxes.
"""

from . import numerical
from .adapters import from_jax, from_torch
from .candidates import from_recurrence
from .layouts import LAYOUTS, Layout, from_ours, guess_layout, to_ours
from .report import Finding, Judgement, Report
from .suite import assert_matches, cases
from .torch_modules import from_torch_module
from .vectors import Vector, read_vectors, write_vectors
from .verification import verify

__all__ = ["LAYOUTS", "Finding", "Judgement", "Layout", "Report", "Vector", "assert_matches", "cases", "from_jax",
           "from_ours", "from_recurrence", "from_torch", "from_torch_module", "guess_layout", "numerical",
           "read_vectors", "to_ours", "verify", "write_vectors"]
