"""Each of the fifteen answers is short, names tests and pages that are there, and has its numbers from them."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from equations import TESTS, source_of

PAGE = TESTS.parent / "notebooks" / "answers.md"
WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
END = re.compile(r"[.?!](?=\s+[^\sa-z\d]|$)")
NUMBER = re.compile(r"(?<![\w.§])(?:\d+ ?/ ?[1-9]\d*|\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?: ?%)?|\b(?:"
                    + "|".join(WORDS) + r")\b")
MATHEMATICS = re.compile(r"[_^|=<>γεσθ∂∏∑√≤≥⊙′−·]|\b[TBMNWLUJuhzxbk]\b")


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
    return len(re.findall(END, text))


def prose(text: str) -> str:
    """Leave out code, and the numbers of equations."""
    return re.sub(r"`[^`]*`|Eq\. \d+", "", text)


def value(number: str) -> float:
    """Return what a number is, or a word, a fraction, or a percentage."""
    top, _, bottom = number.rstrip(" %").partition("/")
    return WORDS.get(top) or float(top) / (float(bottom) if bottom else 1) / (100 if number.endswith("%") else 1)


def stands_in(number: str, evidence: str) -> bool:
    """Tell whether a number is in a text, or one that rounds to it, where it has three digits or more."""
    wanted, mantissa = value(number), number.partition("e")[0].replace(".", "").strip("0")
    there = [value(found) for found in NUMBER.findall(evidence)]
    digits = len(mantissa) if mantissa.isdigit() else 0
    return wanted in there or (digits >= 3 and any(float(f"{other:.{digits}g}") == wanted for other in there))


@cache
def shown(file: Path, test: str) -> list[str]:
    """Return what a link leads to that can hold a number: a test's text, or what each cell of a notebook prints."""
    if test:
        text = source_of(file)[test] + " " + test
        return [re.sub(r"(?<=\d)_(?=\d)", "", text).replace("_", " ")]
    if file.suffix != ".ipynb":
        return []
    return ["\n".join("".join(output.get("text", output.get("data", {}).get("text/plain", "")))
                      for output in cell.get("outputs", []))
            for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]]


def unheld(answer: Answer, folder: Path) -> list[str]:
    """Return what is not held: for each sentence one test, or one cell's output, must have all its numbers."""
    links = re.findall(r"\[`?([^\]`]+)`?\]\(([^)]+)\)", answer.settled_by)
    evidence = [text for label, target in links for text in shown(folder / target, label.partition("::")[2])]
    said = [NUMBER.findall(sentence) for sentence in re.split(END, prose(answer.text))]
    return [", ".join(numbers) for numbers in said if not any(
        all(stands_in(number, text) for number in numbers) for text in [*evidence, "0, 1, 2"])]


def faults(page: str, folder: Path) -> list[str]:
    """Return what is wrong with the page's answers and links."""
    found = [f"{answer.question}: {count} sentences" for answer in answers(page)
             if (count := sentences(answer.text)) != 3]
    form = r"\[([\w-]+/[\w-]+)#(\d+)\]\(https://github\.com/\1/issues/\2\)"
    found += [f"{answer.question}: {asked} is no link to an issue" for answer in answers(page)
              for asked in answer.asked.split(", ") if not re.fullmatch(form, asked)]
    found += [f"{answer.question}: no test" for answer in answers(page) if "::" not in answer.settled_by]
    for answer in answers(page):
        for text in (answer.question, answer.text):
            outside = re.sub(r"`[^`]*`|\$[^$\s](?:[^$]*[^$\s])?\$(?!\w)", "", text)
            found += [f"{answer.question}: {bare} outside $…$" for bare in MATHEMATICS.findall(outside)]
            found += [f"{answer.question}: $ without another"] * ("$" in outside)
    for label, target in re.findall(r"\[([^\]]+)\]\((?!https:)([^)]+)\)", page):
        file = folder / target
        if not file.is_file():
            found.append(f"no file {target}")
            continue
        stem, _, test = label.strip("`").partition("::")
        if test and (stem != file.name or test not in source_of(file)):
            found.append(f"no test {label}")
    return found or [f"{answer.question}: {number} is in nothing that settles it"
                     for answer in answers(page) for number in unheld(answer, folder)]


def test_there_are_fifteen_answers_numbered_in_order() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^## (\d+)\.", page, flags=re.M)] == list(range(1, 16))
    assert len(answers(page)) == 15


def test_each_has_three_sentences_and_names_tests_and_files_that_are_there() -> None:
    assert faults(PAGE.read_text(encoding="utf-8"), PAGE.parent) == []


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ("Draw that layer's $u$", "Beware. Draw that layer's $u$", "4 sentences"),
    ("Draw that layer's $u$", "Beware. $h_T$ too. Draw that layer's $u$", "5 sentences"),
    ("[batzner/indrnn#9](https://github.com/batzner/indrnn/issues/9)", "batzner/indrnn#9", "no link to an issue"),
    ("batzner/indrnn/issues/9", "batzner/indrnn/issues/8", "no link to an issue"),
    ("$T = 5000$", "T = 5000", "T outside $…$"),
    ("$|u|$", "|u|", "| outside $…$"),
    ("is for slopes", "≥ 1 is for slopes", "≥ outside $…$"),
    ("$du$ is", "du$ is", "$ without another"),
    ("](5_long_memory.ipynb)", "](5_short_memory.ipynb)", "no file 5_short_memory.ipynb"),
    ("::test_batch_normalisation`", "::test_batch_normalization`", "no test"),
    ("[`test_nn_pieces.py::", "[`test_nn_torch.py::", "no test"),
])
def test_the_check_fails_for_a_long_answer_and_for_what_is_not_there(old: str, new: str, complaint: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert old in page
    assert any(complaint in fault for fault in faults(page.replace(old, new), PAGE.parent))


def planted(text: str) -> list[str]:
    """Return an answer with another number in it, once for each of two digits or more: the last but zeros is 9 − d."""
    found = []
    for number in re.finditer(NUMBER, text):
        if digits := re.match(r"(\d[\d.]*)([1-9])([0.]*)|([1-9])([0.]+)", number[0]):
            start, last, zeros = digits[1] or "", digits[2] or digits[4], digits[3] or digits[5] or ""
            other = f"{start}{9 - int(last)}{zeros}" + number[0][digits.end():]
            found.append(text[:number.start()] + other + text[number.end():])
    return found


def test_every_planted_number_of_two_digits_or_more_is_caught() -> None:
    """A number of one digit is mostly part of a formula, and in every test."""
    page = PAGE.read_text(encoding="utf-8")
    pairs = [(answer.text, other) for answer in answers(page) for other in planted(answer.text)]
    assert len(pairs) >= 20
    for text, other in pairs:
        found = faults(page.replace(text, other), PAGE.parent)
        assert any("nothing that settles it" in fault for fault in found), other


@pytest.mark.parametrize(("old", "new"), [("six layers", "seven layers"), ("three seeds", "four seeds"),
                                          ("slope, 1/4", "slope, 1/5"), ("96 %", "0.95"), ("2.0e7", "2.0e6"),
                                          ("0.3086", "0.30864"), ("answering 1 has", "answering 17 has")])
def test_so_are_words_fractions_exponents_and_digits_too_many(old: str, new: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(old) == 1
    assert any("nothing that settles it" in fault for fault in faults(page.replace(old, new), PAGE.parent))


@pytest.mark.parametrize(("number", "text", "held"), [
    ("0.309", "|u| ≤ 0.30861", True), ("0.308", "|u| ≤ 0.30861", False), ("96 %", "above 0.96", True),
    ("96 %", "96.1 %", False), ("1/6", "- 1 / 6)", True), ("three", "== {3}", True), ("2.0e7", "du 2e+07", True),
    ("5000", "50000 and 500", False), ("128", "h128 x.128", False),
])
def test_a_number_stands_where_its_value_does_or_what_rounds_to_it(number: str, text: str, held: bool) -> None:
    assert stands_in(number, text) == held
