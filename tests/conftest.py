"""What all tests share: derandomised properties, extras by name, and the count of non-trivial cases."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: threads of each would wait for those of the others
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tempfile
from importlib.util import find_spec
from shutil import which
from typing import Any

import hypothesis
import pytest
import remembering
from tally import SUMMARIES

from indrnn_np.array_module import require_cupy
from indrnn_np.engines import columns
from indrnn_np.oracle import references, verification
from indrnn_np.oracle.inputs import HALF_STANDARD, STANDARD

MODULES = {"torch": "torch", "jax": "jax", "fast": "numba", "plot": "matplotlib", "cuda13": "cupy",
           "experiments": "sklearn", "nvrtc": "cuda.bindings.nvrtc", "cluster": "distributed", "notebooks": "nbclient"}

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads where this machine has one core, and for small work too."""
    monkeypatch.setattr(columns, "cores", lambda: 2)
    monkeypatch.setattr(columns, "THREADED", 1)
    monkeypatch.setattr(columns, "NARROWEST", 1)


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the oracle remember what it expects of a case, for tests of what is around it."""
    monkeypatch.setattr(verification, "CHECKS", tuple(map(remembering.check, verification.CHECKS)))
    for name in ("SPECIFICATION", "COMPLEX_STEP"):
        monkeypatch.setattr(verification, name, remembering.check(getattr(verification, name)))
    monkeypatch.setattr(references, "specification", remembering.remembering(references.specification))


@pytest.fixture
def no_long_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the oracle's cases have 2000 steps or more and take most of its time: for tests of what is around it.

    Those of what it says of a layer have them all.
    """
    shorter = {id: recipe for id, recipe in STANDARD.items() if recipe.T < 2000}
    specification = verification.SPECIFICATION._replace(cases=verification._from(shorter, HALF_STANDARD))
    monkeypatch.setattr(verification, "CHECKS", (specification, *verification.CHECKS[1:]))


def pytest_configure(config: pytest.Config) -> None:
    """Give all processes of the session one folder for what they compile with g++."""
    if "CUDA_ON_CPU" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="cuda-on-cpu-")
        os.environ["CUDA_ON_CPU"] = folder.name
        config.add_cleanup(lambda: (os.environ.pop("CUDA_ON_CPU"), folder.cleanup()))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-extras", action="store_true", help="a missing extra is a failure, not a skip")
    parser.addoption("--gpu", action="store_true", help="that no GPU answers is a failure, not a skip")


def pytest_runtest_setup(item: pytest.Item) -> None:
    everything = item.config.getoption("--all-extras")
    for marker in item.iter_markers("extra"):
        name = marker.args[0]
        if not _installed(MODULES[name]):
            _leave_out(f"needs the extra {name!r}: pip install '.[{name}]'", everything)
    for marker in item.iter_markers("program"):
        if which(marker.args[0]) is None:
            _leave_out(f"needs the program {marker.args[0]}", everything or bool(os.environ.get("CI")))
    if item.get_closest_marker("gpu"):
        try:
            require_cupy()
        except (ModuleNotFoundError, RuntimeError) as error:
            _leave_out(f"needs a GPU: {error}", item.config.getoption("--gpu"))


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False


def _leave_out(reason: str, is_a_failure: bool) -> None:
    if is_a_failure:
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes: hand what was counted to the first
        session.config.workeroutput["summaries"] = SUMMARIES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    SUMMARIES.extend(getattr(node, "workeroutput", {}).get("summaries", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SUMMARIES:
        terminalreporter.section("properties: cases, and how many were not trivial")
        for line in SUMMARIES:
            terminalreporter.write_line(line)
