"""Presets: a configuration for each experiment, the papers' own or one that is done within minutes.

`preset` makes a configuration from the name of a task and of a model. "fast" is there for the tasks that need no
download, "paper" for those of the papers. Where the papers leave a number open, such as how many updates there are in
all, the number is ours and stands in a comment.

The fast recipe for the adding problem, and why it is so:

    u of the last layer is 1 and stays   it adds up what the first layer picks out, and a |u| that drifts down by 1/T
                                         forgets; no upper bound prevents that
    other u begin at 0                   to pick out needs no memory; where u is next to 1, states of size T drown the
                                         marked values, and with the papers' U[0, γ^{1/T}] it takes more updates
    and learn at a rate × 5/T            ∂J/∂u is a sum over T steps, and a gradient over T steps feels Δu T-fold
    last W and b at a rate × 100/T       an integrator turns Δb into T Δb
    last W begins at 2/T in size         so that the integral begins at about the size of the target
    clip at norm 1                       the first steps of an integrator overshoot
    cosine to 0                          large steps early, and none in the end
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..analysis import _checks
from .configuration import Configuration
from .sweeps import seeded

MODELS = {"indrnn": "Plain", "residual": "Residual", "dense": "Dense", "rnn": "RNN", "irnn": "IRNN", "lstm": "LSTM",
          "gru": "GRU"}
INDRNNS = ("Plain", "Residual", "Dense")


class Wish(NamedTuple):
    """What a preset is asked for; None where it decides.

    Attributes
    ----------
    task : {"name": …} and the task's options
    kind : of the model, as in a configuration
    layers, hidden : of the model
    options : more fields of the model
    """

    task: dict[str, Any]
    kind: str
    layers: int | None
    hidden: int | None
    options: dict[str, Any]

    def model(self, layers: int, hidden: int, **options: Any) -> dict[str, Any]:
        """Return the model of a configuration, with these numbers where others were not asked for."""
        depth = self.layers if self.layers is not None else layers
        width = {"hidden": self.hidden if self.hidden is not None else hidden}
        if self.kind == "Residual":
            if depth < 3 or depth % 2 == 0:
                raise ValueError(f"layers: expected an odd number from 3 for a residual network, which has two to a "
                                 f"block and one behind the last; got {depth}.")
            return {"kind": self.kind, **width, "blocks": depth // 2, **options, **self.options}
        if self.kind == "Dense":
            if self.layers is not None:
                raise ValueError("layers: expected none for a dense network, whose blocks say how many there are; "
                                 f"got {self.layers}.")
            return {"kind": self.kind, **({} if self.hidden is None else width), **options, **self.options}
        return {"kind": self.kind, **width, "layers": depth, **options, **self.options}

    def last(self, layers: int) -> str:
        """Return where the parameters of the last layer are."""
        return f"layers/{(self.layers or layers) - 1}" if self.kind == "Plain" else "last"


def preset(task: str, model: str = "indrnn", name: str | None = None, *, layers: int | None = None,
           hidden: int | None = None, model_options: Mapping[str, Any] | None = None,
           **task_options: Any) -> Configuration:
    """Make the configuration of an experiment.

    Parameters
    ----------
    task : name of a task, one of `tasks.TASKS`
    model : one of MODELS
    name : one of the presets that PRESETS has for the task; None for the first of them
    layers, hidden : how many layers, and neurons in each; None leaves it to the preset
    model_options : more fields of the model's description
    task_options : what `tasks.named` takes for this task, such as steps or folder

    Returns
    -------
    Configuration : of seed 0, on the CPU; its `replace` changes what is to be changed

    Raises
    ------
    TypeError, ValueError
        An argument is no such thing; the message names it.
    """
    _checks.one_of("task", task, tuple(PRESETS))
    _checks.one_of("model", model, tuple(MODELS))
    recipes = PRESETS[task]
    name = next(iter(recipes)) if name is None else name
    _checks.one_of(f"preset of {task}", name, tuple(recipes))
    for what, value in (("layers", layers), ("hidden", hidden)):
        if value is not None:
            _checks.whole(what, value)
    return recipes[name](Wish({"name": task, **task_options}, MODELS[model], layers, hidden, dict(model_options or {})))


def _fast_adding(wish: Wish) -> Configuration:
    """Train for half a minute (T = 1000) or two (T = 5000)."""
    T = _checks.whole("steps", wish.task.setdefault("steps", 100))
    shared: dict[str, Any] = {"task": wish.task, "batch": 20, "clip": 1.0, "schedule": {"name": "cosine"},
                              "updates": 1200 if T <= 1000 else 2000, "checkpoint_every": 100}
    if wish.kind not in INDRNNS:  # the IRNN is the one that explodes, the sooner the longer
        rate = {"IRNN": 5e-3 if T <= 100 else 1e-4, "RNN": 1e-3}.get(wish.kind, 1e-2)
        return Configuration(model=wish.model(1, 32), adam={"rate": rate}, **shared)
    last = wish.last(2)
    slow = min(1.0, 100 / T)
    factors = {"*/u": min(1.0, 5 / T), f"{last}/u": 0.0}
    std: dict[str, Any] = {}
    if wish.kind == "Plain":
        between = (None,) * ((wish.layers or 2) - 2)
        std = {"weight_std": 0.5 if wish.layers == 1 else (0.5, *between, 2 / T)}
        factors |= {f"{last}/W": slow, f"{last}/b": slow}
    return Configuration(model=wish.model(2 if wish.kind == "Plain" else 3, 32, u=0.0, last_u=1.0, **std),
                         adam={"rate": 1e-2}, factors=factors, **shared)


def _paper_adding(wish: Wish) -> Configuration:
    """Li et al. 2018, §5.1, with the batch, the weights and the clipping of the authors' code."""
    T = _checks.whole("steps", wish.task.setdefault("steps", 100))
    shared: dict[str, Any] = {
        "task": wish.task, "batch": 32, "clip": 10.0, "schedule": {"name": "step", "every": 20_000},
        "updates": 60_000,  # the number is ours: three rates
        "checkpoint_every": 500, "evaluate_every": 1000}
    if wish.kind not in INDRNNS:
        rate = 2e-3 if wish.kind != "IRNN" else 2e-4 if T < 500 else 1e-5
        return Configuration(model=wish.model(1, 128), adam={"rate": rate}, **shared)
    std = {"weight_std": 1e-3} if wish.kind == "Plain" else {}
    return Configuration(model=wish.model(2 if wish.kind == "Plain" else 3, 128, **std), adam={"rate": 2e-4}, **shared)


def _fast_digits(wish: Wish) -> Configuration:
    """Train for half a minute, or a minute where there are 21 layers."""
    shared: dict[str, Any] = {"task": wish.task, "batch": 50, "clip": 1.0, "schedule": {"name": "cosine"},
                              "checkpoint_every": 100, "evaluate_every": 290}  # 29 see as many images as there are
    if wish.kind not in INDRNNS:
        return Configuration(model=wish.model(1, 64), updates=1160, adam={"rate": 1e-2}, **shared)
    deep = wish.kind != "Plain"
    return Configuration(model=wish.model(21 if deep else 4, 48 if deep else 64, batch_norm="after", last_u=1.0),
                         updates=435 if deep else 1160, adam={"rate": 5e-3},
                         factors={f"{wish.last(4)}/u": 0.0}, **shared)


def _mnist(wish: Wish) -> Configuration:
    """Li et al. 2018, §5.2: six layers; of the follow-up paper, ask for 12, or for another network."""
    norm = {"batch_norm": "after"} if wish.kind in INDRNNS else {}
    return Configuration(task=wish.task, model=wish.model(7 if wish.kind == "Residual" else 6, 128, **norm), batch=32,
                         adam={"rate": 2e-4}, schedule={"name": "step", "every": 600_000},
                         updates=1_200_000,  # the number is ours: two rates
                         evaluate_every=1875, checkpoint_every=375)


def _ptb_characters(wish: Wish) -> Configuration:
    """Li et al. 2018, §5.3: six layers of 2000, T = 50; ask for residual and 21 layers, or T = 150."""
    wish.task.setdefault("steps", 50)
    ours = {"batch_norm": "before", "statistics": "step", "dropout": 0.25 if wish.task["steps"] <= 50 else 0.3}
    return Configuration(task=wish.task, batch=128, adam={"rate": 2e-4},
                         model=wish.model(21 if wish.kind == "Residual" else 6, 2000,
                                          **(ours if wish.kind in INDRNNS else {})),
                         schedule={"name": "plateau", "factor": 0.2, "patience": 20},
                         updates=200_000, evaluate_every=800,  # ours, as the patience: 800 updates read the text once
                         checkpoint_every=200)


def _ptb_words(wish: Wish) -> Configuration:
    """Li et al. 2018, §5.3: eleven residual layers, tied embeddings, u ~ N(.4, .2²)."""
    wish.task.setdefault("steps", 50)
    ours = {"batch_norm": "before", "statistics": "step", "dropout": 0.35, "u": "normal"}
    if wish.kind != "Dense":  # whose last layer is not as wide as the embedding
        ours["tied"] = True
    return Configuration(task=wish.task, batch=128, adam={"rate": 2e-4},
                         model=wish.model(11, 2000, **(ours if wish.kind in INDRNNS else {})),
                         schedule={"name": "plateau", "factor": 0.2, "patience": 20},
                         updates=50_000, evaluate_every=150,  # ours, as the patience: 145 updates read the text once
                         checkpoint_every=50)


def _ntu(wish: Wish) -> Configuration:
    """Li et al. 2018, §5.4: six layers of 512 over 20 frames, |u| up to 5^{1/T}; ask for 4 layers too."""
    ours = {"batch_norm": "after", "gamma": 5.0, "epsilon": 0.2}
    return Configuration(task=wish.task, batch=128, adam={"rate": 2e-4},
                         model=wish.model(7 if wish.kind == "Residual" else 6, 512,
                                          **(ours if wish.kind in INDRNNS else {})),
                         schedule={"name": "constant"},
                         updates=60_000, evaluate_every=300,  # ours; 300 updates see about as many clips as there are
                         checkpoint_every=300)


PRESETS: Mapping[str, Mapping[str, Callable[[Wish], Configuration]]] = {
    "adding": {"fast": _fast_adding, "paper": _paper_adding},
    "digits": {"fast": _fast_digits},
    "mnist": {"paper": _mnist},
    "ptb-characters": {"paper": _ptb_characters},
    "ptb-words": {"paper": _ptb_words},
    "ntu": {"paper": _ntu},
}


def figure2(name: str = "fast", seeds: int = 3) -> list[Configuration]:
    """Return the runs behind Fig. 2 of Li et al. 2018: the adding problem of three lengths, and one more.

    Five models, since the LSTM is there twice, with its usual forget bias of 1 and with gate biases drawn for T, since
    that alone decides whether it learns; and the IndRNN at T = 5000.

    Parameters
    ----------
    name : of the preset, "fast" or "paper"
    seeds : how many, from 0 on

    Returns
    -------
    configurations : sixteen for each seed, those of one model and length next to each other
    """
    models: list[tuple[str, dict[str, Any]]] = [("rnn", {}), ("irnn", {}), ("lstm", {}), ("lstm", {"chrono": True}),
                                                ("indrnn", {})]
    runs = [(model, options, T) for T in (100, 500, 1000) for model, options in models] + [("indrnn", {}, 5000)]
    return seeded((preset("adding", model, name, model_options=options, steps=T) for model, options, T in runs),
                  range(_checks.whole("seeds", seeds)))


def effects(seeds: int = 3) -> list[Configuration]:
    """Return runs that show what each part is good for, by doing without it.

    On the digits, 64 steps: a plain network of 4 layers and of 21 and a residual one of 21, each with batch norm and
    without; that residual one with the u of each layer, the last one's too, from U[0, 2^{1/T}] and free to learn,
    where the preset has 1 in the last layer; and a residual network of 101 layers. On the adding problem, 1000 steps,
    u as in the preset, 1 in the last layer and kept, and from U[0, 2^{1/T}] in both, which is U(0, 1) but for 0.0007.

    Parameters
    ----------
    seeds : how many, from 0 on

    Returns
    -------
    configurations : ten for each seed, those that differ in their seed alone next to each other
    """
    none, uniform = {"batch_norm": "none"}, {"u": "uniform", "last_u": "uniform"}
    depths = [("indrnn", 4, 64), ("indrnn", 21, 48), ("residual", 21, 48)]
    digits = [preset("digits", model, layers=layers, hidden=hidden, model_options=options)
              for model, layers, hidden in depths for options in ({}, none)]
    digits += [_free(preset("digits", "residual", layers=21, hidden=48, model_options=uniform)),
               preset("digits", "residual", layers=101, hidden=48)]
    adding = [preset("adding", steps=1000), _free(preset("adding", steps=1000, model_options=uniform))]
    return seeded([*digits, *adding], range(_checks.whole("seeds", seeds)))


def _free(configuration: Configuration) -> Configuration:
    """Let also those u learn that the preset keeps."""
    return configuration.replace(factors={name: factor for name, factor in configuration.factors.items() if factor})


SWEEPS: Mapping[str, Callable[..., list[Configuration]]] = {"figure2": figure2, "effects": effects}
