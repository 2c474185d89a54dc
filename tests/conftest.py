"""What all tests share: derandomised properties, extras by name, and the count of non-trivial cases."""

from __future__ import annotations

import os
from importlib.util import find_spec

import hypothesis
import pytest
from tally import SUMMARIES

MODULES = {"torch": "torch", "jax": "jax", "fast": "numba", "plot": "matplotlib", "cuda13": "cupy"}

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-extras", action="store_true", help="a missing extra is a failure, not a skip")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("extra"):
        name = marker.args[0]
        if find_spec(MODULES[name]) is None:
            reason = f"needs the extra {name!r}: pip install '.[{name}]'"
            if item.config.getoption("--all-extras"):
                pytest.fail(reason)
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SUMMARIES:
        terminalreporter.section("properties: cases, and how many were not trivial")
        for line in SUMMARIES:
            terminalreporter.write_line(line)
