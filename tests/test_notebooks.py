"""The notebooks run, warn of nothing, and are the ones that are committed."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in ROOM.glob("[0-9]*_*.py"))


def build(room: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(room / "build.py"), "--check", *arguments], capture_output=True,
                          text=True, check=False, env=os.environ | {"PYTHONWARNINGS": "default"})


@pytest.mark.extra("notebooks")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_its_first_cell_to_its_last_and_is_the_one_committed(name: str) -> None:
    ran = build(ROOM, name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_source_has_an_executed_notebook_beside_it(name: str) -> None:
    committed = (ROOM / f"{name}.ipynb").read_text("utf-8")
    assert '"image/png"' in committed
    assert '"output_type": "error"' not in committed


def test_the_pictures_of_the_readme_are_those_of_the_notebooks() -> None:
    drawn = {cell["metadata"]["picture"]: output["data"]["image/png"]
             for name in NAMES for cell in json.loads((ROOM / f"{name}.ipynb").read_text("utf-8"))["cells"]
             if "picture" in cell["metadata"] for output in cell["outputs"] if "image/png" in output.get("data", {})}
    shown = re.findall(r"\(notebooks/pictures/([\w.]+)\)", (ROOM.parent / "README.md").read_text("utf-8"))
    assert set(shown) == set(drawn) == {path.name for path in (ROOM / "pictures").iterdir()}
    for file, picture in drawn.items():
        assert (ROOM / "pictures" / file).read_bytes() == base64.b64decode(picture)


def test_cells_are_short() -> None:
    for name in NAMES:
        for cell in re.split(r"^# %%", (ROOM / f"{name}.py").read_text("utf-8"), flags=re.M)[1:]:
            assert len(cell.splitlines()) <= 40, f"{name}: {cell.splitlines()[1]}"


@pytest.mark.extra("notebooks")
@pytest.mark.parametrize(("cells", "complaint"), [
    ("# %%\n1 / 0\n", "ZeroDivisionError"),
    ("# %%\nimport warnings\nwarnings.warn('careful')\n", "careful"),
    ("# %%\nobject()\n", "an address in memory"),
    ("# %%\n2\n", "has other cells"),
])
def test_the_check_fails_for_an_error_a_warning_an_address_and_a_pair_that_drifted(
        cells: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "build.py").write_text((ROOM / "build.py").read_text("utf-8"), "utf-8")
    (tmp_path / "1_wrong.py").write_text(cells, "utf-8")
    empty = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    (tmp_path / "1_wrong.ipynb").write_text(empty, "utf-8")
    ran = build(tmp_path)
    assert ran.returncode == 1
    assert complaint in ran.stdout + ran.stderr
