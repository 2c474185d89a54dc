"""What the fuzz tests do to a file: cut it off, change a byte, add some, take some out; and what its reader may do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from indrnn_np.experiments.tasks import DataError


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, likely: bytes = b"") -> bytes:
    """Return the file with one to three changes; `likely` are bytes that mean something in its format."""
    data = whole
    byte = st.integers(0, 255) if not likely else st.one_of(st.sampled_from(likely), st.integers(0, 255))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("cut", "change", "insert", "remove"))):
            case "cut":
                data = data[:at]
            case "change":
                data = data[:at] + bytes([draw(byte)]) + data[at + 1:]
            case "insert":
                data = data[:at] + bytes(draw(st.lists(byte, min_size=1, max_size=4))) + data[at:]
            case _:
                data = data[:at] + data[at + draw(st.integers(1, 4)):]
    return data


def faithful(read: Callable[[Path], Any], path: Path, want: Any) -> bool:
    """Whether a reader does right by the file at `path`: returns what is wanted, or raises a DataError that names it
    where nothing is (None). Another exception goes through, and is a failure too."""
    try:
        got = read(path)
    except DataError as error:
        return want is None and str(error).startswith(str(path))
    return want is not None and bool(got == want)


def survives(read: Callable[[Path], Any], understood: Callable[[bytes], Any], path: Path, whole: bytes, likely: bytes,
             note: Callable[[bool], None] = lambda refused: None) -> None:
    """Damage a file in many ways, and hold what `read` makes of it against what another reader, `understood`, does.

    `note` is told of each file whether it had to be refused.
    """

    @given(damaged(whole, likely))
    @settings(max_examples=300, report_multiple_bugs=False)
    def claim(data: bytes) -> None:
        path.write_bytes(data)
        want = understood(data)
        note(want is None)
        assert faithful(read, path, want)

    claim()
