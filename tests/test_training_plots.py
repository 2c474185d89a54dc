"""Pictures of runs draw the run's own numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from runs import PLAIN

from indrnn_np.experiments import files, metrics, plots
from indrnn_np.experiments.plots import draw_run, draw_sweep, plot_losses, plot_states
from indrnn_np.experiments.sweeps import folder_of, seeded
from indrnn_np.experiments.training import train

pytestmark = pytest.mark.extra("plot")


def rows(losses) -> list[dict]:
    return [{"update": k, "loss": loss} for k, loss in enumerate(losses, 1)]


def test_a_line_has_the_losses_or_means_of_neighbours() -> None:
    few, many = [0.5, 0.25, 0.125], list(np.random.default_rng(0).uniform(0.1, 1, 1000))
    ax = plot_losses({"few": rows(few), "many": rows(many)}, reference=("always 1", 1 / 6))
    short, long, level = ax.lines
    assert short.get_xydata().tolist() == [[1, 0.5], [2, 0.25], [3, 0.125]]
    assert long.get_xdata().tolist() == list(range(5, 1001, 5))
    assert long.get_ydata().tolist() == [np.mean(many[k:k + 5]) for k in range(0, 1000, 5)]
    assert level.get_ydata()[0] == 1 / 6
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["few", "many", "always 1"]


def test_evaluations_and_losses_that_are_not_finite_leave_no_point() -> None:
    ax = plot_losses({"one": [*rows([1.0, 2.0]), {"update": 2, "test_loss": 3.0}, {"update": 3, "loss": None}]})
    assert ax.lines[0].get_xydata().tolist() == [[1, 1], [2, 2]]
    with pytest.raises(ValueError, match="two: expected rows with a loss; got none"):
        plot_losses({"two": [{"update": 1, "test_loss": 3.0}]})
    with pytest.raises(ValueError, match="runs: expected at least one; got none"):
        plot_losses({})


def test_the_picture_of_a_run_lies_in_its_folder(tmp_path) -> None:
    train(PLAIN, tmp_path)
    path = draw_run(tmp_path)
    assert path.parent == tmp_path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(metrics.read(tmp_path / "metrics.jsonl")) == 30


def test_the_picture_of_a_sweep_has_a_panel_for_each_task_and_a_line_for_each_model(tmp_path) -> None:
    """Of two seeds the first is drawn; a run that never began has no line."""
    longer = PLAIN.replace(task={**PLAIN.task, "steps": 8})
    deeper = PLAIN.replace(model={**PLAIN.model, "layers": 3})
    configurations = [*seeded([PLAIN, deeper, longer], range(2)), PLAIN.replace(model={"kind": "RNN", "hidden": 3})]
    for configuration in configurations[:-1]:
        train(configuration, folder_of(tmp_path, configuration))
    drawn = {}

    def keep(path, write) -> None:
        figure = write.__closure__[0].cell_contents
        drawn[path.name] = {ax.get_title(loc="left"): [text.get_text() for text in ax.get_legend().get_texts()]
                            for ax in figure.axes if ax.lines}
        files.write(path, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "files", SimpleNamespace(write=keep))
        draw_sweep(tmp_path, configurations)
    named = {"adding, T = 6, test_sequences = 7": ["Plain, 2 layers", "Plain, 3 layers", "always 1"],
             "adding, T = 8, test_sequences = 7": ["Plain, 2 layers", "always 1"]}
    assert drawn == {"losses.png": named}
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="folder: expected one with runs that have losses; got none in"):
        draw_sweep(tmp_path / "nowhere", configurations)


def test_states_are_drawn_in_units_of_their_largest_and_silent_ones_counted() -> None:
    h = np.array([[1.0, 0.0, -2.0], [2.0, 0.0, 4.0]])
    ax = plot_states(h, marked=(1,), chosen=2)
    marker, *lines = ax.lines
    assert marker.get_xdata() == [1, 1]
    assert [line.get_ydata().tolist() for line in lines] == [[0.5, 1], [-0.5, 1]]
    assert [line.get_color() for line in lines] == ["0.7", "black"]
    assert ax.get_title(loc="left") == "3 neurons, 1 of them silent"


@pytest.mark.parametrize(("h", "chosen", "said"), [
    (np.ones(3), None, r"h: expected shape \(T, N\), the states of one sequence; got \(3,\)"),
    (np.full((2, 2), np.nan), None, "h: expected finite numbers"),
    (np.ones((2, 3)), 3, "chosen: expected one of the 3 neurons of h, from 0 on; got 3"),
])
def test_what_cannot_be_drawn_is_named(h, chosen, said) -> None:
    with pytest.raises(ValueError, match=said):
        plot_states(h, chosen=chosen)
