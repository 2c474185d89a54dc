"""Sweeps: killed workers cost nothing but time, and the table is the same wherever the runs were trained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from runs import PLAIN, SEES_US, SMALL, ends

from indrnn_np.experiments import files, sweeps
from indrnn_np.experiments.sweeps import folder_of, run_locally, run_on_cluster, seeded, table

LONG = SMALL.replace(updates=200, evaluate_every=50)


def wait_for(what, seconds: float = 30.0) -> None:
    """Look ten times a second."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_free(folder: Path) -> bool:
    """Whether nobody trains in a folder."""
    try:
        with files.alone(folder):
            return True
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def found_by_workers(monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", SEES_US["PYTHONPATH"])


def in_this_process(configurations, root: Path) -> list[dict]:
    """Return the results of an undisturbed sweep."""
    return [sweeps.run(given.as_dict(), str(folder_of(root, given))) for given in configurations]


def test_a_local_worker_killed_midway_is_replaced_and_the_table_is_the_same(tmp_path, monkeypatch) -> None:
    configurations = seeded([LONG], [0, 1])
    expected = table(configurations, in_this_process(configurations, tmp_path / "undisturbed"))
    killed = []

    class Mortal(subprocess.Popen):
        """A worker that is killed as soon as it has written a checkpoint, if it is the first."""

        def __init__(self, command, **options) -> None:
            super().__init__(command, **options)
            if not killed:
                killed.append(command[-1])
                threading.Thread(target=self.fall, args=(Path(command[-1]),)).start()

        def fall(self, folder: Path) -> None:
            while not (folder / "checkpoint.npz").exists():
                time.sleep(0.002)
            self.kill()

    monkeypatch.setattr(sweeps.subprocess, "Popen", Mortal)
    seen = []
    results = run_locally(configurations, tmp_path / "killed", processes=2, report=lambda *args: seen.append(args))
    assert killed
    assert table(configurations, results) == expected
    assert seen == [(1, 2), (2, 2)]
    for given in configurations:
        assert ends(folder_of(tmp_path / "killed", given)) == ends(folder_of(tmp_path / "undisturbed", given))


def test_a_run_that_is_killed_again_and_again_is_given_up_and_said_to_be(tmp_path, monkeypatch) -> None:
    class Doomed(subprocess.Popen):
        def __init__(self, command, **options) -> None:
            super().__init__(command, **options)
            self.kill()

    monkeypatch.setattr(sweeps.subprocess, "Popen", Doomed)
    (result,) = run_locally([PLAIN], tmp_path, processes=1, kills=2)
    assert result["failed"] == "killed 3 times"
    assert table([PLAIN], [result])[0]["failed"] == [0]


def test_a_run_that_cannot_be_done_says_why_and_the_others_are_done(tmp_path) -> None:
    wrong = PLAIN.replace(model={"kind": "Plain", "hidden": 0})
    results = run_locally([wrong, PLAIN], tmp_path, processes=1)
    assert results[0]["failed"].startswith("hidden: expected")
    assert results[1]["test_mse"] > 0


def test_a_sweep_started_again_only_reads_and_a_divergence_is_a_result(tmp_path) -> None:
    """An IRNN that overflows belongs into the table as much as one that learns."""
    configurations = seeded([PLAIN, PLAIN.replace(adam={"rate": 1e30}, project=False)], [0, 1])
    results = in_this_process(configurations, tmp_path)
    assert all("diverged" in result for result in results[2:])
    first, second = table(configurations, results)
    assert (first["seeds"], first["diverged"], first["score"]) == ([0, 1], [], "test_mse")
    assert first["median"] == sum(first["values"]) / 2
    assert (second["diverged"], second["values"], second["median"]) == ([0, 1], [None, None], None)
    assert run_locally(configurations, tmp_path) == results
    assert json.loads(json.dumps(table(configurations, results))) == [first, second]


def test_every_configuration_has_a_folder_of_its_own() -> None:
    configurations = seeded([PLAIN, LONG, PLAIN.replace(batch=4)], range(3))
    assert len({folder_of(Path("x"), given) for given in configurations}) == 9
    assert folder_of(Path("x"), PLAIN).name.startswith("adding-6-plain-seed0-")


LEADER = """
import sys
from pathlib import Path
from indrnn_np.experiments.sweeps import run_locally
from runs import LASTING
run_locally([LASTING], Path(sys.argv[1]), processes=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such lock to see it by")
def test_workers_end_with_the_process_that_started_them(tmp_path) -> None:
    from runs import LASTING
    folder = folder_of(tmp_path, LASTING)
    with subprocess.Popen([sys.executable, "-c", LEADER, str(tmp_path)], env=SEES_US) as leader:
        wait_for((folder / "checkpoint.npz").exists)
        assert not is_free(folder)
        leader.kill()
    wait_for(lambda: is_free(folder))
    assert not (folder / "result.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such lock to see it by")
def test_an_interrupted_sweep_leaves_no_worker_alive(tmp_path) -> None:
    from runs import LASTING

    def interrupt(done, of) -> None:
        wait_for((folder_of(tmp_path, LASTING) / "checkpoint.npz").exists)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_locally([PLAIN, LASTING], tmp_path, processes=2, report=interrupt)
    assert is_free(folder_of(tmp_path, LASTING))


@pytest.mark.extra("cluster")
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_of_which_one_is_killed_has_the_same_table(tmp_path) -> None:
    from dask.distributed import Client, LocalCluster
    configurations = seeded([LONG], [0, 1])
    expected = table(configurations, in_this_process(configurations, tmp_path / "undisturbed"))
    busy = []

    def kill_one(client, pids) -> None:
        wait_for(lambda: list((tmp_path / "killed").glob("*/checkpoint.npz")))
        address, pid = next(iter(pids.items()))
        busy.extend(client.processing()[address])
        os.kill(pid, signal.SIGKILL)

    with (LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
          Client(cluster) as client):
        killer = threading.Thread(target=kill_one, args=(client, client.run(os.getpid)))
        killer.start()
        results = run_on_cluster(configurations, tmp_path / "killed", client)
        killer.join()
    assert busy, "the worker that was killed had nothing to do"
    assert table(configurations, results) == expected
    for given in configurations:
        assert ends(folder_of(tmp_path / "killed", given)) == ends(folder_of(tmp_path / "undisturbed", given))


def test_without_dask_the_error_names_the_extra(monkeypatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(sweeps, "import_module", absent)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'indrnn-np\[cluster\]'"):
        sweeps.connect("tcp://127.0.0.1:1")
