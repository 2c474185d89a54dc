"""The table of equations, functions and tests in the documentation says what is so."""

from __future__ import annotations

import re
import sys
from typing import Any

import equations
import pytest
from equations import OURS, PAPER, Row

import indrnn_np as ir

ROWS = [*PAPER, *OURS]
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.place)


def resolve(name: str) -> tuple[Any, list[str]]:
    """Return the object of a public dotted name, and what documents it: its own docstring and its module's."""
    owner: Any = ir
    for part in name.split("."):
        assert part in getattr(owner, "__all__", vars(owner)), f"{name} is not public"
        owner = getattr(owner, part)
    return owner, [owner.__doc__ or "", sys.modules[owner.__module__].__doc__ or ""]


def test_the_document_is_what_the_table_makes() -> None:
    assert equations.readme() == equations.README.read_text(encoding="utf-8")


def test_the_readme_s_table_is_what_the_rows_make() -> None:
    front = equations.FRONT.read_text(encoding="utf-8")
    assert front.count("<!-- equations -->\n" + equations.front_table() + "\n<!-- end -->") == 1
    assert equations.with_front_table(front) == front


def test_a_notebook_shows_a_row_if_it_calls_one_of_its_functions(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(equations, "NOTEBOOKS", tmp_path)
    row = next(row for row in PAPER if row.place == "Eq. 2")
    for text, shown in (("ir.forward(x, W, u)", True), ("trace = (ir.forward(x, W, u))", True), ("forward(x)", False),
                        ("ir.recurrent_forward(a, u)", False), ("ir.recurrence.forward(a, u)", True)):
        (tmp_path / "1_a.py").write_text(text, encoding="utf-8")
        assert bool(equations.notebooks_of(row)) == shown, text


@each_row
def test_every_function_is_public_and_names_its_source(row: Row) -> None:
    for name in equations.names(row.functions):
        function, documented = resolve(name)
        assert callable(function)
        assert any(row.source.lower() in " ".join(text.split()).lower() for text in documented), (name, row.source)


@each_row
def test_every_test_is_there(row: Row) -> None:
    assert row.tests
    for file, name in equations.tests_of(row):
        assert name in equations.source_of(file), f"{file.name}::{name}"


@each_row
def test_a_row_s_tests_name_what_it_lists(row: Row) -> None:
    """Each function occurs in one of the files whose tests are named."""
    text = "".join(file.read_text(encoding="utf-8") for file, _ in equations.tests_of(row))
    for name in equations.names(row.functions):
        assert re.search(rf"\b{name.split('.')[-1]}\b", text), name


def figures(text: str) -> list[str]:
    """Numbers of three characters or more; the numbers of equations, sections and years are shorter or named."""
    return [figure for figure in re.findall(r"(?<![\w.^{§])\d[\d.]*(?:e\d+)?", text) if len(figure.rstrip(".")) > 2]


@each_row
def test_every_figure_is_one_that_a_test_of_the_row_checks(row: Row) -> None:
    text = " ".join(equations.source_of(file)[name] + name for file, name in equations.tests_of(row))
    for figure in figures(row.statement + " " + row.remark):
        plain = figure.rstrip(".")
        assert plain in text.replace("e+", "e").replace("_", " "), plain


def test_figures_are_seen() -> None:
    found = figures("T = 5000 gives 7213, 1.4e50 and 50.01; §3.1 of Eq. 4 has 2^{1/T}")
    assert found == ["5000", "7213", "1.4e50", "50.01"]


def test_every_public_name_of_the_room_is_in_the_table_or_among_the_helpers() -> None:
    shown = [name for row in ROWS for name in equations.names(row.functions)]
    helpers = [name for listed in equations.HELPERS.values() for name in equations.names(listed)]
    tabled = {name.removeprefix("analysis.") for name in shown if name.startswith("analysis.")}
    assert tabled | set(helpers) == set(ir.analysis.__all__)
    assert not tabled & set(helpers)
    assert len(helpers) == len(set(helpers))


def test_no_text_cites_a_theorem_by_a_number_that_no_paper_has() -> None:
    root = equations.README.parent.parent
    for file in [*root.rglob("*.py"), *root.rglob("*.md"), *equations.TESTS.glob("*.py")]:
        assert not re.search(r"theorem \d", file.read_text(encoding="utf-8"), re.IGNORECASE), file.name
