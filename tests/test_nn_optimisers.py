"""Adam, update by update, against its equations and against PyTorch's; what it refuses; what it leaves alone."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import fake_cupy
import numpy as np
import pytest

from indrnn_np import nn
from indrnn_np.array_module import to_numpy
from indrnn_np.nn import _blocks, trees
from indrnn_np.oracle.tolerance import gamma

SHAPES = {"layers/0/W": (5, 3), "layers/0/u": (5,), "layers/1/W": (5, 5), "layers/1/u": (5,), "readout/b": ()}
FACTORS = {"*/u": 0.05, "layers/1/*": 0.5, "layers/1/u": 0.02}
FACTOR = {"layers/0/W": 1.0, "layers/0/u": 0.05, "layers/1/W": 0.5, "layers/1/u": 0.02, "readout/b": 1.0}
UPDATES, RATE = 60, 1e-2

Start = dict[str, np.ndarray]
Run = tuple[Start, list[Start]]  # parameters by name after the last update; gradients of each


def problem(seed: int, dtype: str = "float64") -> Run:
    """Return parameters, and gradients that differ at every update, with ½ ≤ |g| ≤ 2."""
    rng = np.random.default_rng(seed)

    def gradient(shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(rng.choice([-1, 1], shape) * rng.uniform(0.5, 2, shape), dtype)

    start = {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}
    return start, [{name: gradient(shape) for name, shape in SHAPES.items()} for _ in range(UPDATES)]


def run(adam: nn.Adam, start: Start, gradients: list[Start], factors: dict[str, float] | None) -> Start:
    params = trees.unflatten({name: p.copy() for name, p in start.items()})
    moments = adam.initial(params)
    for k, grads in enumerate(gradients):
        adam.update(params, trees.unflatten(grads), moments, nn.schedules.step(k, RATE, every=25), factors)
    return trees.flatten(params)


def equations(adam: nn.Adam, start: Start, gradients: list[Start], factor: dict[str, float]) -> tuple[Start, Start]:
    """Return the parameters by (i) to (iii) in extended precision, and Σ of all terms absolute.

    p is p₀ and a sum of steps, and a step's numerator is a sum of gradients; the absolute sum S has |p₀| and |g|.
    """
    p = {name: value.astype(np.longdouble) for name, value in start.items()}
    S = {name: abs(value) for name, value in p.items()}
    for name in p:
        m = v = M = np.zeros_like(p[name])
        matrix = p[name].ndim > 1
        for k, grads in enumerate(gradients, start=1):
            η = RATE * 0.1 ** ((k - 1) // 25) * factor[name]
            g = grads[name].astype(np.longdouble)
            if matrix and adam.decoupled:
                p[name] = (1 - np.longdouble(η) * adam.weight_decay) * p[name]
            elif matrix:
                g = g + adam.weight_decay * p[name]
            m, v = adam.beta1 * m + (1 - adam.beta1) * g, adam.beta2 * v + (1 - adam.beta2) * g * g
            M = adam.beta1 * M + (1 - adam.beta1) * abs(g)
            bottom = np.sqrt(v / (1 - np.longdouble(adam.beta2)**k)) + adam.epsilon
            p[name] = p[name] - η * m / (1 - np.longdouble(adam.beta1)**k) / bottom
            S[name] = S[name] + η * M / (1 - adam.beta1**k) / bottom
    return p, S


def allowed(S: Start, dtype: str) -> Start:
    """Return how far rounding may carry the parameters after K updates.

    On the way of a number into p are at most 3 roundings an update into m (product, product, sum) and as many into v,
    which the root halves, 10 more in the step, among them those of η, 1 − β^k and its root, and one an update into p:
    below 8K + 20. With weight decay λ ≤ 0.1 added to |g| ≥ ½ a rounding of g + λp is at most 3 times that of g, and
    what is off in p comes back through g as less than its half in 60 updates of 1e-2: a factor 6 is more than both.
    """
    return {name: 6 * gamma(8 * UPDATES + 20, float(np.finfo(dtype).eps) / 2) * S[name] for name in S}


def within(got: Start, want: Start, bound: Start) -> bool:
    return all(got[name].shape == value.shape and (abs(got[name] - value) <= bound[name]).all()
               for name, value in want.items())


ADAMS = [nn.Adam(rate=RATE), nn.Adam(rate=RATE, weight_decay=0.1), nn.Adam(rate=RATE, weight_decay=0.1, decoupled=True),
         nn.Adam(rate=RATE, beta1=0.0, beta2=0.5, epsilon=1e-3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("adam", ADAMS)
def test_sixty_updates_are_those_of_the_equations(adam: nn.Adam, dtype: str) -> None:
    start, gradients = problem(1, dtype)
    got = run(adam, start, gradients, FACTORS)
    want, S = equations(adam, start, gradients, FACTOR)
    assert all(got[name].dtype == dtype for name in got)
    assert within(got, want, allowed(S, dtype))


@pytest.mark.extra("torch")
@pytest.mark.parametrize("adam", ADAMS)
def test_sixty_updates_are_those_of_torch(adam: nn.Adam) -> None:
    import torch

    start, gradients = problem(2)
    params = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in start.items()}
    kind = torch.optim.AdamW if adam.decoupled else torch.optim.Adam
    groups = [{"params": [p], "lr": RATE * FACTOR[name], "weight_decay": adam.weight_decay if p.ndim > 1 else 0.0}
              for name, p in params.items()]
    theirs = kind(groups, betas=(adam.beta1, adam.beta2), eps=adam.epsilon)
    schedule = torch.optim.lr_scheduler.StepLR(theirs, 25)
    for grads in gradients:
        for name, p in params.items():
            p.grad = torch.tensor(grads[name])
        theirs.step()
        schedule.step()
    _, S = equations(adam, start, gradients, FACTOR)
    bound = {name: 2 * value for name, value in allowed(S, "float64").items()}  # both round
    got = run(adam, start, gradients, FACTORS)
    assert within(got, {name: p.detach().numpy() for name, p in params.items()}, bound)
    assert not within(start, got, bound)


class NoBiasCorrection(nn.Adam):
    def update(self, params: Any, grads: Any, moments: Any, *how: Any) -> None:
        moments["updates"][...] = 10**6
        super().update(params, grads, moments, *how)


class EpsilonInsideTheRoot(nn.Adam):
    def _step(self, p: Any, g: Any, m: Any, v: Any, η: float, k: int, decay: float) -> None:
        dataclasses.replace(nn.Adam(), beta1=self.beta1, beta2=self.beta2, epsilon=1e-4)._step(p, g, m, v, η, k, decay)


class DecayOfEverything(nn.Adam):
    def _step(self, p: Any, g: Any, m: Any, v: Any, η: float, k: int, decay: float) -> None:
        super()._step(p, g, m, v, η, k, self.weight_decay)


class DecayAfterTheStep(nn.Adam):
    def _step(self, p: Any, g: Any, m: Any, v: Any, η: float, k: int, decay: float) -> None:
        super()._step(p, g, m, v, η, k, 0.0)
        p *= 1 - η * decay


class CountsFromZero(nn.Adam):
    def _step(self, p: Any, g: Any, m: Any, v: Any, η: float, k: int, decay: float) -> None:
        super()._step(p, g, m, v, η, k + 1, decay)


@pytest.mark.parametrize("mistake", [NoBiasCorrection, EpsilonInsideTheRoot, DecayOfEverything, DecayAfterTheStep,
                                     CountsFromZero])
def test_a_planted_mistake_is_seen(mistake: type[nn.Adam]) -> None:
    start, gradients = problem(3)
    adam = nn.Adam(rate=RATE, weight_decay=0.1, decoupled=True)
    want, S = equations(adam, start, gradients, FACTOR)
    assert within(run(adam, start, gradients, FACTORS), want, allowed(S, "float64"))
    wrong = mistake(**dataclasses.asdict(adam))
    assert not within(run(wrong, start, gradients, FACTORS), want, allowed(S, "float64"))


def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    start, gradients = problem(4)
    whole = run(ADAMS[1], start, gradients, FACTORS)
    monkeypatch.setattr(_blocks, "BLOCK", 7)
    assert len(list(_blocks.blocks(start["layers/1/W"]))) == 5
    cut = run(ADAMS[1], start, gradients, FACTORS)
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)


def test_any_layout_of_memory_and_cupy_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    start, gradients = problem(5)
    want = run(ADAMS[1], start, gradients, FACTORS)
    cupy = fake_cupy.install(monkeypatch)
    for change in (lambda array: np.array(array, order="F"), cupy.asarray):
        got = run(ADAMS[1], {name: change(p) for name, p in start.items()},
                  [{name: change(g) for name, g in grads.items()} for grads in gradients], FACTORS)
        for name in got:
            assert type(got[name]) is type(change(start[name]))
            assert np.array_equal(to_numpy(got[name]), want[name])


def test_it_works_in_place_and_leaves_gradients_alone() -> None:
    start, gradients = problem(6)
    params, grads = trees.unflatten(start), trees.unflatten(gradients[0])
    moments = ADAMS[1].initial(params)
    held = {**trees.flatten(params), **{f"moments/{name}": m for name, m in trees.flatten(moments).items()}}
    before = {name: array.copy() for name, array in held.items()}
    kept = {name: g.copy() for name, g in gradients[0].items()}
    ADAMS[1].update(params, grads, moments)
    now = {**trees.flatten(params), **{f"moments/{name}": m for name, m in trees.flatten(moments).items()}}
    assert all(now[name] is held[name] and not np.array_equal(now[name], before[name]) for name in held)
    assert all(np.array_equal(gradients[0][name], kept[name]) for name in kept)


def test_it_goes_on_from_a_checkpoint_bit_by_bit() -> None:
    start, gradients = problem(7)
    adam = nn.Adam(rate=RATE, weight_decay=0.1)
    assert nn.Adam(**json.loads(json.dumps(dataclasses.asdict(adam)))) == adam
    params = trees.unflatten({name: p.copy() for name, p in start.items()})
    moments = adam.initial(params)
    for grads in gradients[:20]:
        adam.update(params, trees.unflatten(grads), moments)

    file = io.BytesIO()
    np.savez(file, **{f"params/{name}": p for name, p in trees.flatten(params).items()},
             **{f"moments/{name}": m for name, m in trees.flatten(moments).items()})
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as stored:
        restored = trees.unflatten(dict(stored))
    for grads in gradients[20:]:
        adam.update(params, trees.unflatten(grads), moments)
        adam.update(restored["params"], trees.unflatten(grads), restored["moments"])
    for one, other in ((params, restored["params"]), (moments, restored["moments"])):
        same = trees.map(np.array_equal, one, other)
        assert json.dumps(same).count("true") == len(trees.flatten(one))
    assert int(restored["moments"]["updates"]) == UPDATES


def test_weight_decay_spares_u_and_biases_and_a_factor_of_zero_freezes() -> None:
    start, _ = problem(8)
    params = trees.unflatten({name: p.copy() for name, p in start.items()})
    nothing = trees.map(np.zeros_like, params)
    for adam in ADAMS[1:3]:
        adam.update(params, nothing, adam.initial(params), factors={"layers/0/*": 0})
    moved = {name for name, p in trees.flatten(params).items() if not np.array_equal(p, start[name])}
    assert moved == {"layers/1/W"}


@pytest.mark.parametrize(("bad", "message"), [
    (np.nan, "finite numbers; got inf or NaN"), (np.inf, "finite numbers; got inf or NaN"),
    (-np.inf, "finite numbers; got inf or NaN"), (-2e19, "whose squares float32 can hold; got one of 2e\\+19")])
def test_a_gradient_that_would_spoil_the_moments_is_refused_and_nothing_changes(bad: float, message: str) -> None:
    start, gradients = problem(9, "float32")
    params = trees.unflatten({name: p.copy() for name, p in start.items()})
    adam = nn.Adam()
    moments = adam.initial(params)
    adam.update(params, trees.unflatten(gradients[0]), moments)
    before = [array.copy() for tree in (params, moments) for array in trees.flatten(tree).values()]
    gradients[1]["layers/1/u"][3] = bad
    with pytest.raises(FloatingPointError, match=f"grads layers/1/u: expected .*{message}"):
        adam.update(params, trees.unflatten(gradients[1]), moments)
    after = [array for tree in (params, moments) for array in trees.flatten(tree).values()]
    assert all(map(np.array_equal, before, after))


def test_the_largest_gradient_that_is_taken_leaves_everything_finite() -> None:
    params = {"u": np.zeros(2, np.float32)}
    grads = {"u": np.full(2, np.float32(np.sqrt(np.finfo(np.float32).max)) * np.float32(1 - 2**-23))}
    adam = nn.Adam()
    moments = adam.initial(params)
    for _ in range(5):
        adam.update(params, grads, moments)
    assert all(np.isfinite(array).all() for tree in (params, moments) for array in trees.flatten(tree).values())


@pytest.mark.parametrize(("wrong", "message"), [
    ({"rate": -1.0}, "^rate: "), ({"rate": "fast"}, "^rate: "), ({"beta1": 1.0}, "^beta1: "),
    ({"beta2": -0.1}, "^beta2: "), ({"epsilon": 0}, "^epsilon: "), ({"weight_decay": np.nan}, "^weight_decay: "),
    ({"decoupled": 1}, "^decoupled: ")])
def test_bad_numbers_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        nn.Adam(**wrong)


@pytest.mark.parametrize(("change", "message"), [
    (lambda how: how["grads"]["layers"]["0"].pop("u"), "^grads: expected an array at layers/0/u"),
    (lambda how: how["moments"]["first"]["layers"]["0"].pop("u"), "^first: expected an array at layers/0/u"),
    (lambda how: how["moments"]["second"].update(more=np.ones(1)), "^second: expected nothing at more"),
    (lambda how: how.update(rate=-1), "^rate: "), (lambda how: how.update(factors={"*/v": 1.0}), r"^factors '\*/v': "),
    (lambda how: how.update(factors={"*/u": -1.0}), r"^factors '\*/u': ")])
def test_bad_arguments_are_refused_by_name(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    start, gradients = problem(10)
    adam, params = nn.Adam(), trees.unflatten(start)
    how: dict[str, Any] = {"grads": trees.unflatten(gradients[0]), "moments": adam.initial(params)}
    change(how)
    with pytest.raises((TypeError, ValueError), match=message):
        adam.update(params, **how)


def test_parameters_are_real_floating_point() -> None:
    for wrong in (np.ones(2, complex), np.ones(2, int), np.ones(2, np.float16)):
        with pytest.raises(TypeError, match=r"^layers/u: expected dtype float32 or float64"):
            nn.Adam().initial({"layers": {"u": wrong}})
