"""Execute the notebooks: each source, NAME.py, becomes NAME.ipynb with its outputs.

    python notebooks/build.py                  all of them
    python notebooks/build.py 1_derivation     one
    python notebooks/build.py --check          writes nothing; fails where a cell errors or a pair has drifted apart

What is edited and reviewed is the source (cells after `# %%`, prose after `# %% [markdown]`); jupytext reads it,
nbclient runs it. The picture of a cell that begins with `# %% picture="FILE.png"` is also written to pictures/, for
texts that show it. Executed again in the same environment a notebook comes out with the same bytes: no times, no counts
of who ran it when, cells numbered from the top. Outputs are not compared by --check: their last digits differ between
processors.
"""

from __future__ import annotations

import argparse
import base64
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
    committed = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    return [(cell.cell_type, cell.source) for cell in committed.cells] != \
        [(cell.cell_type, cell.source) for cell in read(name).cells]


def main() -> int:
    """Build or check the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*names(), []], metavar="NAME")
    parser.add_argument("--check", action="store_true")
    wish = parser.parse_args()
    wrong = 0
    for name in wish.name or names():
        start = time.perf_counter()
        book = execute(read(name))
        drawn = pictures(book)
        if not wish.check:
            import nbformat
            nbformat.write(book, HERE / f"{name}.ipynb")
            for file, picture in drawn.items():
                (HERE / "pictures").mkdir(exist_ok=True)
                (HERE / "pictures" / file).write_bytes(picture)
        elif drifted(name):
            wrong += 1
            print(f"{name}.ipynb has other cells than {name}.py: run python notebooks/build.py {name}")
        print(f"{name}: {time.perf_counter() - start:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
