"""The two rules by which pieces become networks, on functions small enough to differentiate by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from indrnn_np.nn.stages import BesideInput, Draw, Named, Pass, PlusIdentity, Sequence

THIS, X, DY = Pass(), np.arange(1.0, 7).reshape(1, 2, 3), np.array([[[1.0, -2, 3], [5, 7, -11]]])


@dataclass(frozen=True)
class Times:
    """y = w x, whose w stands at a name of its own."""

    name: str = "w"

    def initial(self, draw):
        return {self.name: draw.array(np.full(1, 2.0))}, {f"{self.name} seen": draw.array(np.zeros(1))}

    def recurrent_weights(self):
        return (self.name,)

    def __call__(self, params, running, x, this):
        w = params[self.name]
        return w * x, lambda dy: (w * dy, {self.name: (dy * x).sum(keepdims=True)[0, 0]}), {
            f"{self.name} seen": running[f"{self.name} seen"] + 1}


def run(stage, params, x=X, running=None):
    seen = stage.initial(Draw(np.random.default_rng(0), 1, np.float64, np))[1]
    return stage(params, seen if running is None else running, x, THIS)


def one(value: float) -> np.ndarray:
    return np.full(1, value)


def test_one_after_the_other_is_the_chain_rule() -> None:
    stage = Sequence((Times("v"), Named("inner", Sequence((Times("w"), Times("v"))))))
    params, running = stage.initial(Draw(np.random.default_rng(0), 1, np.float32, np))
    assert params == {"v": 2, "inner": {"w": 2, "v": 2}}
    assert running == {"v seen": 0, "inner": {"w seen": 0, "v seen": 0}}
    assert params["v"].dtype == np.float32
    assert stage.recurrent_weights() == ("v", "inner/w", "inner/v")
    y, backward, after = run(stage, {"v": one(2), "inner": {"w": one(3), "v": one(5)}})
    assert np.array_equal(y, 30 * X)
    dx, grads = backward(DY)
    assert np.array_equal(dx, 30 * DY)
    total = (X * DY).sum()
    assert grads == {"v": 15 * total, "inner": {"w": 10 * total, "v": 6 * total}}
    assert list(grads) == ["v", "inner"]
    assert after == {"v seen": 1, "inner": {"w seen": 1, "v seen": 1}}


def test_a_leaf_that_two_stages_read_has_the_sum_of_their_gradients() -> None:
    _, backward, _ = run(Sequence((Times(), Times(), Times())), {"w": one(2)})
    assert backward(DY)[1] == {"w": 3 * 2**2 * (X * DY).sum()}  # the derivative of w³


def test_side_by_side_is_the_identity_and_what_is_added() -> None:
    y, backward, after = run(PlusIdentity(Times()), {"w": one(4)})
    assert np.array_equal(y, 5 * X)
    dx, grads = backward(DY)
    assert np.array_equal(dx, 5 * DY)
    assert grads == {"w": (X * DY).sum()}
    assert after == {"w seen": 1}


def test_beside_the_input_is_the_identity_and_what_is_appended() -> None:
    y, backward, _ = run(BesideInput(Times()), {"w": one(4)})
    assert np.array_equal(y, np.concatenate([X, 4 * X], axis=-1))
    dx, grads = backward(np.concatenate([DY, 10 * DY], axis=-1))
    assert np.array_equal(dx, 41 * DY)
    assert grads == {"w": 10 * (X * DY).sum()}


@pytest.mark.parametrize("around", [PlusIdentity, BesideInput])
def test_what_stands_around_a_stage_has_its_parameters(around: type) -> None:
    draw = Draw(np.random.default_rng(0), 1, np.float64, np)
    assert around(Times()).initial(draw) == Times().initial(draw)
    assert Named("here", around(Times())).recurrent_weights() == ("here/w",)


def test_a_pass_trains_where_it_has_a_generator() -> None:
    assert not THIS.training
    assert Pass(rng=np.random.default_rng(0)).training
