"""A configuration: all that decides how a run ends, as plain data that travels as JSON.

Two runs of one configuration on one machine end with the same bits. What does not change the outcome, such as how often
a checkpoint is written, stands here too where the files of a run depend on it.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from .. import array_module, nn
from ..analysis import _checks
from ..nn import schedules
from . import tasks
from .tasks import Task

MODELS = ("Plain", "Residual", "Dense", "RNN", "IRNN", "LSTM", "GRU")  # descriptions in nn
SCHEDULES: Mapping[str, Callable[..., float]] = {
    "constant": schedules.constant, "step": schedules.step, "cosine": schedules.cosine}
DEVICES = ("cpu", "gpu")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What is trained on what, and how.

    Parameters
    ----------
    task : {"name": …} and the options of that task, as `tasks.named` takes them
    model : {"kind": one of MODELS} and fields of that description in nn. Inputs, outputs and readout are the task's;
        where it has tokens, "inputs" is the width of their embedding, as wide as a layer unless it is said
    updates : how many updates of the optimiser
    batch : B, sequences in an update
    adam : fields of nn.Adam; its "rate" is that of the first update
    schedule : {"name": one of SCHEDULES} and what it needs beside update and rate; "cosine" falls over all updates
        unless it says otherwise. {"name": "plateau"} and fields of `schedules.Plateau` follow the evaluations
    clip : largest global norm of the gradients; None only measures it
    factors : learning-rate factors by name or pattern of a parameter, as `nn.Adam.update` takes them
    project : whether the recurrent weights are kept within the model's limits
    stop_below : the run ends once the mean loss of the last `window` updates is below it; None: it never ends early
    window : how many
    evaluate_every : updates from one evaluation on the test set to the next; None: only at the end
    checkpoint_every : updates from one checkpoint to the next
    seed : of everything drawn by chance
    dtype : float32 or float64
    device : "cpu" or "gpu"

    Raises
    ------
    TypeError, ValueError
        A value is no such thing; the message names it. What concerns the task or the model is said by `make_task` and
        `make_model`.
    """

    task: Mapping[str, Any]
    model: Mapping[str, Any]
    updates: int
    batch: int = 32
    adam: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=lambda: {"name": "constant"})
    clip: float | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    project: bool = True
    stop_below: float | None = None
    window: int = 50
    evaluate_every: int | None = None
    checkpoint_every: int = 100
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "window", "checkpoint_every"):
            _checks.whole(name, getattr(self, name))
        _checks.whole("seed", self.seed, least=0)
        if self.evaluate_every is not None:
            _checks.whole("evaluate_every", self.evaluate_every)
        for name in ("clip", "stop_below"):
            if getattr(self, name) is not None:
                _checks.number(name, getattr(self, name), above_zero=True)
        for name, key in (("task", "name"), ("model", "kind"), ("schedule", "name"), ("adam", ""), ("factors", "")):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or (key and key not in value):
                raise TypeError(f"{name}: expected a mapping{f' with {key!r}' if key else ''}; got {value!r}.")
        _checks.flag("project", self.project)
        _checks.real_dtype(self.dtype)
        _checks.one_of("device", self.device, DEVICES)
        _checks.one_of("schedule name", self.schedule["name"], (*SCHEDULES, "plateau"))
        if self.schedule["name"] == "plateau" and self.evaluate_every is None:
            raise ValueError("evaluate_every: expected a whole number, since a plateau follows the evaluations; "
                             "got None.")

    def as_dict(self) -> dict[str, Any]:
        """Return it as data of JSON; `from_dict` is the way back."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=dict))

    def replace(self, **changes: Any) -> Configuration:
        """Return another one with these fields changed."""
        return dataclasses.replace(self, **changes)

    def make_task(self) -> Task:
        """Make the task; raises as `tasks.named` does."""
        return tasks.named(**self.task)

    def make_model(self, task: Task) -> Any:
        """Make the description of the network for a task.

        Raises
        ------
        TypeError, ValueError
            The kind or a field is unknown (the message lists those there are), or has a wrong value.
        """
        kind = self.model["kind"]
        _checks.one_of("model kind", kind, MODELS)
        options = {name: tuple(value) if isinstance(value, list) else value
                   for name, value in self.model.items() if name != "kind"}
        describe = getattr(nn, kind)
        ours: dict[str, Any] = {"inputs": task.inputs, "outputs": task.outputs, "readout": task.readout}
        if task.tokens:  # then inputs is the width of their embedding, which the task does not say
            ours |= {"tokens": task.inputs, "inputs": options.pop("inputs", options.get("hidden", 128))}
        known = [name for name in inspect.signature(describe).parameters if name not in (*ours, "tokens")]
        for name in options:
            if name not in known:
                raise TypeError(f"{name}: expected an option of the model {kind} ({', '.join(known)})."
                                + "".join(f" Did you mean {near!r}?" for near in get_close_matches(name, known, n=1)))
        return describe(**ours, **options)

    def rate(self, update: int, plateau: Mapping[str, Any] | None) -> float:
        """Return the learning rate of an update, counted from 0; `plateau` is the state of a plateau."""
        if plateau is not None:
            return float(plateau["rate"])
        rest = {name: value for name, value in self.schedule.items() if name != "name"}
        if self.schedule["name"] == "cosine":
            rest = {"updates": self.updates} | rest
        return SCHEDULES[self.schedule["name"]](update, nn.Adam(**self.adam).rate, **rest)

    def plateau(self) -> schedules.Plateau | None:
        """Return the plateau that the schedule describes; None where it is another."""
        if self.schedule["name"] != "plateau":
            return None
        return schedules.Plateau(**{name: value for name, value in self.schedule.items() if name != "name"})

    def namespace(self) -> Any:
        """Return numpy, or cupy for the GPU; raises as `array_module.require_cupy` where there is none."""
        if self.device == "gpu":
            return array_module.require_cupy()
        return np


def from_dict(data: Mapping[str, Any]) -> Configuration:
    """Make a configuration from what `as_dict` returned.

    Raises
    ------
    TypeError, ValueError
        A field is unknown or missing, or has a wrong value; the message names it.
    """
    fields = {field.name: field for field in dataclasses.fields(Configuration)}
    if unknown := sorted(data.keys() - fields):
        raise TypeError(f"{unknown[0]}: expected a field of a configuration ({', '.join(fields)}).")
    if missing := [name for name in ("task", "model", "updates") if name not in data]:
        raise TypeError(f"{missing[0]}: expected a value in every configuration; got none.")
    return Configuration(**data)
