"""The conformance vectors serve another language: a C++ IndRNN reads them and checks itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from indrnn_np.oracle.vectors import read_vectors, write_vectors

SOURCE = Path(__file__).with_name("consumer.cpp")


def check(tmp_path: Path, *options: str) -> tuple[int, str]:
    """Compile the consumer, let it check itself; return its exit code and its last line."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C++17 compiler: g++ is not on the PATH")
    program = tmp_path / "consumer"
    subprocess.run([compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", *options, str(SOURCE), "-o",
                    str(program)], check=True)
    files = [path for path in write_vectors(tmp_path / "vectors") if path.name not in ("manifest.json", "schema.json")]
    ran = subprocess.run([program, *files], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout.splitlines()[-1]


def test_a_right_implementation_in_another_language_passes(tmp_path: Path) -> None:
    code, last = check(tmp_path)
    assert (code, last) == (0, f"{len(read_vectors(tmp_path / 'vectors'))} cases, 0 wrong")


def test_a_wrong_one_fails(tmp_path: Path) -> None:
    """du takes h_t for h_{t−1}: seen wherever du is not zero anyhow."""
    code, last = check(tmp_path, "-DBROKEN")
    cases, wrong = (int(word) for word in last.split() if word.isdigit())
    assert code == 1
    assert wrong == cases - 2
