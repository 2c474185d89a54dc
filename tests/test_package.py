"""The package as it is installed: light to import, complete, and described truthfully."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, requires, version
from pathlib import Path

import indrnn_np as ir
from indrnn_np.oracle.mistakes import BACKWARD, FORWARD

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def outside(code: str, where: Path) -> str:
    """Run code in a fresh interpreter, in another directory, where only what is installed can be found."""
    return subprocess.run([sys.executable, "-I", "-c", code], cwd=where, capture_output=True, text=True,
                          check=True).stdout.strip()


def test_importing_it_loads_numpy_and_nothing_heavier(tmp_path: Path) -> None:
    loaded = outside("import sys; before = set(sys.modules); import numpy; with_numpy = set(sys.modules); "
                     "import indrnn_np; "
                     "tops = {m.partition('.')[0] for m in set(sys.modules) - with_numpy}; "
                     "print(sorted(tops - set(sys.stdlib_module_names)))", tmp_path)
    assert loaded in ("['indrnn_np']", "['indrnn_np', 'numpy']")  # NumPy loads some of its own parts late


def test_the_installed_package_verifies_itself_from_another_directory(tmp_path: Path) -> None:
    """Package data that is missing from the wheel shows here."""
    shown = outside("from indrnn_np.cli import main; import sys; "
                    "sys.exit(main(['verify', '--engine', 'numpy', '--activation', 'identity']))", tmp_path)
    assert "2 of 2 rows right" in shown
    assert shown.count("equal") == 2
    assert outside("from importlib.resources import files; print(files('indrnn_np').joinpath('py.typed').is_file())",
                   tmp_path) == "True"


def test_versions_agree_wherever_they_are_written() -> None:
    assert version("indrnn-np") == ir.__version__
    assert f"version: {ir.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {ir.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_extras_are_there_and_ask_for_ranges_not_pins() -> None:
    assert set(PROJECT["optional-dependencies"]) >= {
        "cuda12", "cuda13", "fast", "plot", "torch", "jax", "experiments", "notebooks", "test"}
    assert metadata("indrnn-np")["Requires-Python"] == ">=3.11"
    every = [*PROJECT["dependencies"], *(r for group in PROJECT["optional-dependencies"].values() for r in group
                                         if not r.startswith("indrnn-np["))]  # an extra that takes in others
    assert all(">=" in requirement and "==" not in requirement for requirement in every)
    assert [r.partition(">")[0] for r in PROJECT["dependencies"]] == ["numpy", "rich"]
    assert requires("indrnn-np")


def test_every_public_name_is_documented() -> None:
    for name in ir.__all__:
        assert name == "ACTIVATIONS" or getattr(ir, name).__doc__, name


def test_the_readme_s_first_block_is_the_two_commands() -> None:
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert first
    assert first[1].splitlines() == ["pip install . && indrnn-np verify",
                                     "pip install '.[test]' && python -m pytest"]


def test_the_counts_in_the_readme_are_those_of_the_code(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"a catalogue of {len(FORWARD) + len(BACKWARD)} known mistakes" in readme
    ir.oracle.write_vectors(tmp_path)
    assert f"writes {len(ir.oracle.read_vectors(tmp_path))} cases as plain JSON" in readme


def test_the_readme_s_examples_run_as_they_stand(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    code = "\n".join(blocks)
    assert outside(code, tmp_path) == "True"
    with_a_bug = code.replace("(dz * h_prev).sum((0, 1))", "(dz * h).sum((0, 1))")
    assert with_a_bug != code
    shown = outside(with_a_bug + "\nprint(report)", tmp_path)
    (promised,) = re.findall(r"```text\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert promised in shown
