"""The catalogue of known mistakes, each a small change to the reference.

`FORWARD` are mistakes that show in h, `BACKWARD` those that show in the gradients. Each is a class with a sentence
for a name; the diagnosis runs them on the cases and looks which one gives the candidate's numbers.
"""

from . import sums  # noqa: F401  enters its mistakes in BACKWARD, after those of the flow
from .backward import BACKWARD
from .forward import FORWARD
from .layer import Mistake

__all__ = ["BACKWARD", "FORWARD", "Mistake"]
