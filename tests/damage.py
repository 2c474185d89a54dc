"""What the fuzz tests do to a file: cut it off, change a byte, add some, take some out."""

from __future__ import annotations

from hypothesis import strategies as st


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
