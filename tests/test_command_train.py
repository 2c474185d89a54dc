"""`indrnn-np train` and `indrnn-np sweep`: what they print, what they leave, and how they fail."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from runs import PLAIN, SEES_US, ends

from indrnn_np import cli
from indrnn_np.experiments import command, files, plots, presets, sweeps, tasks, training
from indrnn_np.experiments.configuration import from_dict

SHORT = ["train", "adding", "--steps", "6", "--updates", "20", "--hidden", "4"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", SEES_US["PYTHONPATH"])
    return tmp_path


def test_train_leaves_a_folder_that_tells_it_and_says_how_good_it_is(tmp_path, capsys) -> None:
    assert cli.main([*SHORT, "--folder", "here", "--seed", "3"]) == 0
    shown = capsys.readouterr()
    assert "Test MSE " in shown.out
    assert "after 20 updates and" in shown.out
    assert shown.err == ""
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {
        "configuration.json", "metrics.jsonl", "checkpoint.npz", "result.json"}
    given = from_dict(files.read_json(tmp_path / "here" / "configuration.json"))
    assert (given.seed, given.updates, given.task["steps"], given.model["hidden"]) == (3, 20, 6, 4)


def test_with_json_the_last_line_is_one_object(tmp_path, capsys) -> None:
    assert cli.main([*SHORT, "--model", "lstm", "--chrono", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (shown["task"], shown["model"], shown["steps"], shown["seed"]) == ("adding", "lstm", 6, 0)
    assert shown["test_mse"] > 0
    assert shown["seconds"] > 0
    result = files.read_json(tmp_path / shown["folder"] / "result.json")
    assert result["test_mse"] == shown["test_mse"]
    assert files.read_json(tmp_path / shown["folder"] / "configuration.json")["model"]["chrono"] is True


def test_a_run_never_writes_over_another(tmp_path, capsys) -> None:
    for _ in range(2):
        assert cli.main([*SHORT, "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert second["folder"] == first["folder"] + "-2"
    assert ends(tmp_path / first["folder"]) == ends(tmp_path / second["folder"])
    assert cli.main([*SHORT, "--folder", first["folder"]]) == 2
    assert "folder: expected one without a run" in capsys.readouterr().err
    assert cli.main([*SHORT, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == second | {"plot": second["plot"]}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_command_that_was_killed_goes_on_where_it_was(tmp_path, capsys) -> None:
    arguments = ["train", "adding", "--steps", "6", "--updates", "250", "--hidden", "4", "--folder"]
    assert cli.main([*arguments, "undisturbed"]) == 0
    code = ("import os, signal, sys; from indrnn_np import cli; from indrnn_np.experiments.command import _Bar\n"
            "_Bar.step = lambda self, done, of, loss: done == 130 and os.kill(os.getpid(), signal.SIGKILL)\n"
            "cli.main(sys.argv[1:])")
    child = subprocess.run([sys.executable, "-c", code, *arguments, "killed"], check=False)
    assert child.returncode == -9
    assert not (tmp_path / "killed" / "result.json").exists()
    assert cli.main([*arguments, "killed", "--resume"]) == 0
    assert ends(tmp_path / "killed") == ends(tmp_path / "undisturbed")


@pytest.mark.extra("experiments")
def test_digits_have_an_accuracy(capsys) -> None:
    arguments = ["train", "digits", "--model", "residual", "--layers", "3", "--hidden", "4", "--updates", "2"]
    assert cli.main([*arguments, "--permuted", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["task"], shown["model"], shown["steps"]) == ("digits", "residual", 64)
    assert 0 <= shown["test_accuracy"] <= 1


@pytest.mark.parametrize(("arguments", "said"), [
    (["adding", "--updates", "0"], "updates: expected a whole number above 0; got 0."),
    (["adding", "--steps", "1"], "steps: expected a whole number from 2"),
    (["adding", "--layers", "0"], "layers: expected a whole number above 0; got 0."),
    (["adding", "--seed", "-1"], "seed: expected a whole number of at least 0; got -1."),
    (["adding", "--rate", "nan"], "rate: expected a finite number of at least 0; got nan."),
    (["adding", "--preset", "slow"], "preset of adding: expected one of fast, paper; got 'slow'."),
    (["adding", "--model", "residual", "--layers", "4"], "layers: expected an odd number from 3"),
    (["adding", "--model", "dense", "--layers", "4"], "layers: expected none for a dense network"),
    (["adding", "--chrono"], "chrono: expected an option of the model Plain"),
    (["adding", "--permuted"], "permuted: expected an option of the task 'adding'"),
    (["adding", "--data", "x"], "folder: expected an option of the task 'adding'"),
    (["mnist"], "--data: expected the folder that holds the files of mnist; got none."),
    (["ptb-words", "--data", "nowhere"], ""),
    (["addition"], "task: expected one of adding, digits, "),
    (["adding", "--model", "transformer"], "model: expected one of indrnn, residual, dense, rnn, irnn, lstm, gru; got"),
])
def test_what_cannot_be_run_exits_2_with_one_sentence_and_leaves_nothing(arguments, said, tmp_path, capsys) -> None:
    assert cli.main(["train", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("indrnn-np: " + said)
    assert shown.err.count("\n") == 1
    assert not shown.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "said"), [
    (["train", "adding", "--steps", "ten"], "invalid int value: 'ten'"),
    (["train", "adding", "--device", "tpu"], "invalid choice: 'tpu'"),
    (["train"], "the following arguments are required: TASK"),
])
def test_what_cannot_be_parsed_exits_2_and_is_named(arguments, said, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_without_a_gpu_the_device_gpu_exits_2_with_the_sentence_that_says_why(capsys, monkeypatch) -> None:
    def absent() -> None:
        raise RuntimeError("CuPy is installed, but no GPU answers: none")

    monkeypatch.setattr(training.Configuration, "namespace", lambda self: absent())
    assert cli.main([*SHORT, "--device", "gpu"]) == 2
    assert capsys.readouterr().err == "indrnn-np: CuPy is installed, but no GPU answers: none\n"


def test_a_run_that_diverges_exits_1_and_names_update_and_seed(capsys) -> None:
    assert cli.main([*SHORT, "--rate", "1e30", "--model", "irnn"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("indrnn-np: update ")
    assert ", seed 0: " in said
    assert said.count("\n") == 1


def test_without_matplotlib_the_plot_is_left_out_and_the_extra_named(capsys, monkeypatch) -> None:
    def absent(folder) -> None:
        raise ModuleNotFoundError("matplotlib is not installed. For pictures: pip install 'indrnn-np[plot]'.")

    monkeypatch.setattr(plots, "draw_run", absent)
    assert cli.main(SHORT) == 0
    assert "No plot: matplotlib is not installed. For pictures: pip install" in capsys.readouterr().out


def test_an_interrupted_run_says_how_to_go_on(capsys, monkeypatch) -> None:
    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command._Bar, "step", interrupt)
    assert cli.main([*SHORT, "--folder", "here"]) == 2
    assert "interrupted; the same command with --folder here --resume goes on" in capsys.readouterr().err


def test_scores_are_in_the_unit_that_is_usual_for_the_task() -> None:
    assert command._score("ptb-characters", {"test_loss": 2 * math.log(2)}) == "Test 2.000 bits per character"
    assert command._score("ptb-words", {"test_loss": math.log(65.3)}) == "Test perplexity 65.30"
    assert command._score("digits", {"test_loss": 1.0, "test_accuracy": 0.9625}) == "Test accuracy 96.25 %"


def test_a_sweep_prints_a_table_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch) -> None:
    small = [PLAIN, PLAIN.replace(model={"kind": "LSTM", "hidden": 2, "chrono": True})]
    monkeypatch.setattr(presets, "SWEEPS", {"two": lambda seeds: presets.seeded(small, range(seeds))})
    assert cli.main(["sweep", "two", "--seeds", "1", "--processes", "1"]) == 0
    shown = capsys.readouterr().out
    assert "LSTM, chrono" in shown
    table = files.read_json(tmp_path / "runs" / "two" / "table.json")
    assert [row["model"] for row in table] == ["Plain", "LSTM"]
    assert cli.main(["sweep", "two", "--seeds", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == table
    assert cli.main(["sweep", "two", "--preset", "fast"]) == 2
    assert "--preset: expected with figure2 alone" in capsys.readouterr().err
    assert cli.main(["sweep", "figure3"]) == 2
    assert "name: expected one of two; got 'figure3'" in capsys.readouterr().err


def test_the_help_names_every_task_model_and_sweep(capsys) -> None:
    for arguments, names in ((["train", "--help"], [*tasks.TASKS, *presets.MODELS]), (["sweep", "-h"], presets.SWEEPS)):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        shown = capsys.readouterr().out
        assert [name for name in names if name not in shown] == []


def test_the_other_commands_import_no_network() -> None:
    code = ("import sys; from indrnn_np import cli; cli.main(['bounds', '--steps', '10'])\n"
            "assert not {'indrnn_np.nn', 'indrnn_np.experiments.training', 'sklearn', 'matplotlib'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_figure_2_has_five_models_at_three_lengths_and_one_more() -> None:
    for name in ("fast", "paper"):
        runs = presets.figure2(name, seeds=2)
        assert len(runs) == len({json.dumps(run.as_dict()) for run in runs}) == 2 * 16
        assert [run.task["steps"] for run in runs[-2:]] == [5000, 5000]
        assert all(run.make_model(run.make_task()) for run in runs)


def test_the_effects_differ_from_the_preset_in_one_thing() -> None:
    runs = [run.as_dict() for run in presets.effects(seeds=1)]
    digits = [run for run in runs if run["task"]["name"] == "digits"]
    assert len(runs) == 10
    assert [len(runs) for runs in ([run for run in digits if run["model"]["batch_norm"] == norm]
                                   for norm in ("after", "none"))] == [5, 3]
    free = [run for run in runs if run["model"].get("last_u") == "uniform"]
    assert [run["task"]["name"] for run in free] == ["digits", "adding"]
    assert all(factor > 0 for run in free for factor in run["factors"].values())
    assert all(0 in run["factors"].values() for run in runs if run not in free)


def test_each_configuration_of_a_sweep_has_a_name_of_its_own_in_its_panel() -> None:
    for name, sweep in presets.SWEEPS.items():
        names = [(json.dumps(run.task), sweeps.called(run)) for run in sweep(seeds=1)]
        assert len(names) == len(set(names)), name


def test_every_task_has_a_preset_and_every_preset_a_model_of_every_kind(monkeypatch) -> None:
    """The tasks that need files are not there; what a model is told about them is."""
    assert set(presets.PRESETS) == set(tasks.TASKS)
    told = {"adding": (2, 1, "last", 0), "digits": (1, 10, "last", 0), "mnist": (1, 10, "last", 0),
            "ntu": (150, 60, "last", 0),
            "ptb-characters": (50, 50, "every", True), "ptb-words": (90, 90, "every", True)}

    class Told:
        def __init__(self, inputs, outputs, readout, tokens) -> None:
            self.inputs, self.outputs, self.readout, self.tokens = inputs, outputs, readout, tokens

    for task, recipes in presets.PRESETS.items():
        for name in recipes:
            for model in presets.MODELS:
                given = presets.preset(task, model, name)
                assert given.make_model(Told(*told[task])), (task, name, model)
                assert from_dict(given.as_dict()).as_dict() == given.as_dict()


def test_the_bar_shows_updates_loss_and_time_left(monkeypatch) -> None:
    import io

    from rich.console import Console
    screen = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    with command._Bar("adding, indrnn", 20) as bar:
        bar.step(10, 20, 0.125)
        bar._progress.refresh()
    assert "10/20" in screen.getvalue()
    assert "loss 0.125" in screen.getvalue()
