"""The papers' tasks, one a file; `named` makes one from its name and plain options.

what a task is       `task`: Task, Batch
made                 `adding`: the adding problem, fresh data for any T
bundled              `digits`: scikit-learn's digits, pixel by pixel (`pixels`)
the user's files     `mnist`: MNIST, pixel by pixel, from IDX files (`idx`)
                     `ptb`: Penn Treebank by characters and by words (`text`)
                     `ntu`: NTU RGB+D, from .skeleton files (`skeleton`)

Nothing is downloaded, and nothing unpickled. A file that is not what it should be raises a DataError (`files`), which
names the file and the place in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from .adding import Adding
from .digits import digits
from .files import DataError
from .mnist import mnist
from .ntu import Skeletons, ntu
from .pixels import Images, Pixels
from .ptb import ptb_characters, ptb_words
from .task import Batch, Task
from .text import Text

__all__ = ["TASKS", "Adding", "Batch", "DataError", "Images", "Pixels", "Skeletons", "Task", "Text", "digits", "mnist",
           "named", "ntu", "ptb_characters", "ptb_words"]

TASKS: Mapping[str, Callable[..., Task]] = MappingProxyType({
    "adding": Adding,
    "digits": digits,
    "mnist": mnist,
    "ntu": ntu,
    "ptb-characters": ptb_characters,
    "ptb-words": ptb_words,
})


def named(name: str, **options: Any) -> Task:
    """Make the task of that name.

    Parameters
    ----------
    name : one of TASKS
    options : what `TASKS[name]` takes, all plain: numbers, strings, True and False

    Returns
    -------
    Task

    Raises
    ------
    TypeError, ValueError
        The name or an option is unknown (the message lists those there are, and the nearest one), or has a wrong value.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected the name of a task; got {type(name).__name__}.")
    if name not in TASKS:
        raise ValueError(f"name: expected one of {', '.join(TASKS)}; got {name!r}." + _nearest(name, TASKS))
    parameters = inspect.signature(TASKS[name]).parameters
    for option in options:
        if option not in parameters:
            raise TypeError(f"{option}: expected an option of the task {name!r} ({', '.join(parameters)})."
                            + _nearest(option, parameters))
    for parameter in parameters.values():
        if parameter.default is parameter.empty and parameter.name not in options:
            raise TypeError(f"{parameter.name}: expected a value, which the task {name!r} cannot do without; got none.")
    return TASKS[name](**options)


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
