"""Execute the notebooks: each source, NAME.py, becomes NAME.ipynb with its outputs.

    python notebooks/build.py                  all of them
    python notebooks/build.py 1_derivation     one
    python notebooks/build.py --check          writes nothing; fails where a cell errors, a pair has drifted apart, or
                                               a cell shows another text than the committed one

What is edited and reviewed is the source (cells after `# %%`, prose after `# %% [markdown]`); jupytext reads it,
nbclient runs it. The picture of a cell that begins with `# %% picture="FILE.png"` is also written to pictures/, for
texts that show it. Executed again in the same environment a notebook comes out with the same bytes: no times, no counts
of who ran it when, cells numbered from the top. On another processor sums round otherwise: --check wants the words that
are committed, and numbers within 5 %, or any numbers where a cell begins with `# %% tags=["varies"]`: those that are
roundings themselves, or that training made. Pictures are not compared. One notebook that fails does not stop the rest.
"""

from __future__ import annotations

import argparse
import base64
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = 300  # for one cell, on a slow machine
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|\binf\b|\bnan\b)")


def names() -> list[str]:
    """Return the notebooks' names, in the order of the book."""
    return sorted(path.stem for path in HERE.glob("[0-9]*_*.py"))


def read(name: str) -> Any:
    """Read a source as a notebook without outputs."""
    import jupytext
    book = jupytext.read(HERE / f"{name}.py")
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number}"
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                     "language_info": {"name": "python"}}
    return book


def execute(book: Any) -> Any:
    """Run the cells from the top in a new kernel; raise where one errors, warns, or shows what no second run will."""
    from nbclient import NotebookClient
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONHASHSEED="0")  # the same sums each time
    os.environ.pop("PYTHONOPTIMIZE", None)  # assertions count
    with tempfile.TemporaryDirectory() as scratch:  # no start-up files of the user's, and nothing left of the cells'
        os.environ.update(IPYTHONDIR=scratch, TMPDIR=scratch, TEMP=scratch, TMP=scratch)
        NotebookClient(book, timeout=SECONDS, record_timing=False, coalesce_streams=True,  # how prints split is chance
                       resources={"metadata": {"path": str(HERE)}},
                       extra_arguments=["--IPKernelApp.log_level=ERROR"]).execute()
    for cell in book.cells:
        for output in cell.get("outputs", []):
            shown = str(output.get("text", "")) + "".join(str(output.get("data", {}).get(f"text/{kind}", ""))
                                                          for kind in ("plain", "html", "markdown", "latex"))
            if output.get("name") == "stderr" or ADDRESS.search(shown):
                raise ValueError(f"{cell['id']}: a warning, or an address in memory, is shown: {shown.strip()}")
            if "image/png" in output.get("data", {}):
                output["data"].pop("text/plain", None)
    book.metadata["language_info"] = {"name": "python"}
    return book


def pictures(book: Any) -> dict[str, bytes]:
    """Return the pictures of an executed notebook that are wanted elsewhere, by the name of their file."""
    found = {cell.metadata["picture"]: base64.b64decode(output["data"]["image/png"]) for cell in book.cells
             if "picture" in cell.metadata for output in cell.outputs if "image/png" in output.get("data", {})}
    named = [cell.metadata["picture"] for cell in book.cells if "picture" in cell.metadata]
    if sorted(named) != sorted(found) or not all(re.fullmatch(r"\w+\.png", file) for file in named):
        raise ValueError(f"pictures {named}: each needs a plain name of its own, and a cell that draws")
    return found


def drifted(name: str) -> bool:
    """Tell whether the committed .ipynb holds other cells than the source."""
    import nbformat
    if not (HERE / f"{name}.ipynb").exists():
        return True
    pair = nbformat.read(HERE / f"{name}.ipynb", as_version=4), read(name)
    committed, source = ([(cell.cell_type, cell.source, cell.metadata) for cell in book.cells] for book in pair)
    return committed != source


def text(cell: Any) -> str:
    """Return what a cell shows in words and numbers."""
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "")
                   for output in cell.get("outputs", []))


def close(a: float, b: float) -> bool:
    """Tell whether two numbers are within 5 % of each other, or neither is one."""
    return math.isclose(a, b, rel_tol=0.05) or (math.isnan(a) and math.isnan(b))


def says_otherwise(now: str, committed: str, varies: bool) -> bool:
    """Tell whether two outputs differ in a word, or, unless the numbers vary, by more than 5 % in a number."""
    if NUMBER.sub("#", now).split() != NUMBER.sub("#", committed).split():
        return True
    pairs = zip(NUMBER.findall(now), NUMBER.findall(committed), strict=True)
    return not (varies or all(close(float(a), float(b)) for a, b in pairs))


def compare(name: str, book: Any) -> list[str]:
    """Return where an executed notebook is another than the committed one."""
    import nbformat
    if drifted(name):
        return [f"{name}.ipynb has other cells than {name}.py: run python notebooks/build.py {name}"]
    committed = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    return [f"{name}.ipynb, {cell['id']}: the committed output is\n{text(before)}\nand now it is\n{text(cell)}"
            for cell, before in zip(book.cells, committed.cells, strict=True)
            if says_otherwise(text(cell), text(before), "varies" in cell.metadata.get("tags", ()))]


def write(name: str, book: Any, drawn: dict[str, bytes]) -> None:
    """Write an executed notebook, and its pictures that are wanted elsewhere."""
    import nbformat
    nbformat.write(book, HERE / f"{name}.ipynb")
    for file, picture in drawn.items():
        (HERE / "pictures").mkdir(exist_ok=True)
        (HERE / "pictures" / file).write_bytes(picture)


def main() -> int:
    """Build or check the notebooks that are named, or all; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a notebook, without .py; all if none is named")
    parser.add_argument("--check", action="store_true", help="compare with what is committed, and write nothing")
    wish = parser.parse_args()
    if unknown := sorted({*wish.names} - {*names()}):
        parser.error(f"no notebook {', '.join(unknown)}; there are {', '.join(names())}")
    failed = []
    for name in wish.names or names():
        start, complaints = time.perf_counter(), []
        try:
            book = execute(read(name))
            drawn = pictures(book)
            if wish.check:
                complaints = compare(name, book)
            else:
                write(name, book, drawn)
        except Exception as error:  # whatever a cell raised: the others are run all the same
            complaints = [f"{name}: {type(error).__name__}: {error}"]
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
        print(*complaints, sep="\n", end="\n" if complaints else "", file=sys.stderr, flush=True)
        failed += [name] if complaints else []
    print(f"failed: {', '.join(failed)}" if failed else "all right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
