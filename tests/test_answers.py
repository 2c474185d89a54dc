"""Each of the fifteen answers is short, and names tests and pages that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from equations import TESTS, source_of

PAGE = TESTS.parent / "notebooks" / "answers.md"


class Answer(NamedTuple):
    """A section of the page: the question, where it was asked, the answer, and what settles it."""

    question: str
    asked: str
    text: str
    settled_by: str


def answers(page: str) -> list[Answer]:
    form = r"^## \d+\. ([^\n]+\?[^\n]*)\n\n\*Asked in ([^\n]+)\.\*\n\n([^\n]+)\n\nSettled by:\n\n((?:- [^\n]+\n)+)"
    return [Answer(*found) for found in re.findall(form, page, flags=re.M)]


def sentences(text: str) -> int:
    """Count what ends with a mark at the end, or before anything but a small letter or a digit."""
    return len(re.findall(r"[.?!](?=\s+[^\sa-z\d]|$)", text))


def faults(page: str, folder: Path) -> list[str]:
    """Return what is wrong with the page's answers and links."""
    found = [f"{answer.question}: {count} sentences" for answer in answers(page)
             if (count := sentences(answer.text)) != 3]
    found += [f"{answer.question}: {asked}" for answer in answers(page) for asked in answer.asked.split(", ")
              if not re.fullmatch(r"[\w-]+/[\w-]+#\d+", asked)]
    found += [f"{answer.question}: no test" for answer in answers(page) if "::" not in answer.settled_by]
    for label, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", page):
        file = folder / target
        if not file.is_file():
            found.append(f"no file {target}")
            continue
        stem, _, test = label.strip("`").partition("::")
        if test and (stem != file.name or test not in source_of(file)):
            found.append(f"no test {label}")
    return found


def test_there_are_fifteen_answers_numbered_in_order() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^## (\d+)\.", page, flags=re.M)] == list(range(1, 16))
    assert len(answers(page)) == 15


def test_each_has_three_sentences_and_names_tests_and_files_that_are_there() -> None:
    assert faults(PAGE.read_text(encoding="utf-8"), PAGE.parent) == []


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ("Draw that layer's u", "Beware. Draw that layer's u", "4 sentences"),
    ("Draw that layer's u", "Beware. ∂h_T/∂u too. Draw that layer's u", "5 sentences"),
    ("batzner/indrnn#9", "number 9", "number 9"),
    ("](5_long_memory.ipynb)", "](5_short_memory.ipynb)", "no file 5_short_memory.ipynb"),
    ("::test_batch_normalisation`", "::test_batch_normalization`", "no test"),
    ("[`test_nn_pieces.py::", "[`test_nn_torch.py::", "no test"),
])
def test_the_check_fails_for_a_long_answer_and_for_what_is_not_there(old: str, new: str, complaint: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert old in page
    assert any(complaint in fault for fault in faults(page.replace(old, new), PAGE.parent))
