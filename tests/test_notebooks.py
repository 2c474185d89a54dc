"""The notebooks run, warn of nothing, and are the ones that are committed."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOM = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in ROOM.glob("[0-9]*_*.py"))


def build(room: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(room / "build.py"), "--check", *arguments], capture_output=True,
                          text=True, check=False, env=os.environ | {"PYTHONWARNINGS": "default"})


def room_with(room: Path) -> Path:
    (room / "build.py").write_text((ROOM / "build.py").read_text("utf-8"), "utf-8")
    return room


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOM / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.extra("notebooks")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_its_first_cell_to_its_last_and_says_what_is_committed(name: str) -> None:
    ran = build(ROOM, name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_source_has_an_executed_notebook_beside_it(name: str) -> None:
    cells = json.loads((ROOM / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    pictures = [base64.b64decode(output["data"]["image/png"]) for output in outputs
                if "image/png" in output.get("data", {})]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code if any(line.startswith("print(") for line in cell["source"]))
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
    assert pictures
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebook_has_the_lines_of_its_source(name: str) -> None:
    """Without jupytext: blank lines and the marks of cells aside, the two are the same text in the same order."""
    cells = json.loads((ROOM / f"{name}.ipynb").read_text("utf-8"))["cells"]
    committed = [("# " + line if cell["cell_type"] == "markdown" else line).rstrip(" #")
                 for cell in cells for line in "".join(cell["source"]).splitlines()]
    source = [line.rstrip(" #") for line in (ROOM / f"{name}.py").read_text("utf-8").splitlines()
              if not line.startswith("# %%")]
    assert list(filter(None, committed)) == list(filter(None, source))


def test_there_is_a_source_for_each_notebook() -> None:
    assert sorted(path.stem for path in ROOM.glob("*.ipynb")) == NAMES


def test_links_lead_to_files_and_tests_that_are_named_are_there() -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOM.parent / "tests").glob("test_*.py"))
    for page in [*(ROOM / f"{name}.py" for name in NAMES), ROOM / "answers.md", ROOM.parent / "README.md"]:
        text = page.read_text("utf-8")
        if page.suffix == ".py":
            text = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not target.startswith(("http", "#")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
        for test in re.findall(r"`(test_\w+)`", text):
            assert f"def {test}(" in tests, f"{page.name}: {test}"


def test_the_pictures_of_the_readme_are_those_of_the_notebooks() -> None:
    drawn = {cell["metadata"]["picture"]: output["data"]["image/png"]
             for name in NAMES for cell in json.loads((ROOM / f"{name}.ipynb").read_text("utf-8"))["cells"]
             if "picture" in cell["metadata"] for output in cell["outputs"] if "image/png" in output.get("data", {})}
    front = (ROOM.parent / "README.md").read_text("utf-8")
    shown = re.findall(r"!\[[^\]]*\]\((?:\./)?notebooks/pictures/([^)]+)\)", front)
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
    ("# %% picture='a.png'\n2\n", "a cell that draws"),
    ("# %%\n2\n", "has other cells"),
])
def test_the_check_fails_for_an_error_a_warning_an_address_and_a_pair_that_drifted(
        cells: str, complaint: str, tmp_path: Path) -> None:
    room_with(tmp_path)
    (tmp_path / "1_wrong.py").write_text(cells, "utf-8")
    empty = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    (tmp_path / "1_wrong.ipynb").write_text(empty, "utf-8")
    ran = build(tmp_path)
    assert ran.returncode == 1
    assert complaint in ran.stdout + ran.stderr


@pytest.mark.extra("notebooks")
def test_the_check_names_a_notebook_that_was_never_built_and_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    room, scratch = tmp_path / "room", tmp_path / "scratch"
    room.mkdir()
    scratch.mkdir()
    room_with(room)
    (room / "1_new.py").write_text("# %%\nimport tempfile\nassert tempfile.mkdtemp()\n", "utf-8")
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(scratch))
    ran = build(room)
    assert ran.returncode == 1
    assert "1_new.ipynb has other cells" in ran.stderr
    assert not list(scratch.iterdir())
    (room / "1_new.py").write_text("# %%\nassert False\n", "utf-8")
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    assert "AssertionError" in build(room).stderr


@pytest.mark.parametrize(("committed", "now", "otherwise", "where_numbers_vary"), [
    ("error 0.25 of T", "error  0.26\nof T", False, False),      # 4 %, and spaces
    ("error 0.25", "error 0.27", True, False),                   # 8 %
    ("error 1e-16", "error 2e-16", True, False),
    ("u = 1.5", "u = -1.5", True, False),
    ("7213 steps", "7214 steps", False, False),
    ("inf and nan", "inf and nan", False, False),
    ("inf steps", "3 steps", True, False),
    ("nan", "3", True, False),
    ("layer 1 picks", "layer 1 adds", True, True),
    ("u = [1. 2.]", "u = [1. 2. 3.]", True, True),
    ("dx right", "dx WRONG", True, True),
    ("something", "", True, True),
])
def test_outputs_agree_if_their_words_do_and_their_numbers_to_5_percent(
        builder: ModuleType, committed: str, now: str, otherwise: bool, where_numbers_vary: bool) -> None:
    assert builder.says_otherwise(now, committed, varies=False) == otherwise
    assert builder.says_otherwise(now, committed, varies=True) == where_numbers_vary


@pytest.mark.extra("notebooks")
def test_the_check_compares_outputs_and_goes_on_where_one_notebook_fails(tmp_path: Path) -> None:
    room_with(tmp_path)
    for name, mark, code in (("1_moved", "", "print('error', 0.25)"), ("2_raises", "", "1 / 0"),
                             ("3_varies", ' tags=["varies"]', "print('error', 0.25)")):
        (tmp_path / f"{name}.py").write_text(f"# %%{mark}\n{code}\n", "utf-8")
        cell = {"cell_type": "code", "execution_count": 1, "id": "cell-0", "source": code,
                "metadata": {"tags": ["varies"]} if mark else {},
                "outputs": [{"name": "stdout", "output_type": "stream", "text": "error 0.5\n"}]}
        book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(book), "utf-8")
    ran = build(tmp_path)
    assert ran.returncode == 1
    assert ran.stdout.endswith("failed: 1_moved, 2_raises\n"), ran.stdout + ran.stderr
    assert "1_moved.ipynb, cell-0: the committed output is\nerror 0.5\n\nand now it is\nerror 0.25" in ran.stderr
    assert "ZeroDivisionError" in ran.stderr


def test_a_notebook_that_is_not_there_is_named_with_those_that_are() -> None:
    ran = build(ROOM, "8_more", NAMES[0])
    assert ran.returncode == 2
    assert f"no notebook 8_more; there are {', '.join(NAMES)}\n" in ran.stderr
    assert "[]" not in ran.stderr
