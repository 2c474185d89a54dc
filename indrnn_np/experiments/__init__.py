"""The papers' experiments: tasks, and the loop that trains a network on one.

`tasks`    what is learned: adding problem, digits and MNIST pixel by pixel, Penn Treebank, NTU RGB+D; `tasks.named`
"""

from . import tasks

__all__ = ["tasks"]
