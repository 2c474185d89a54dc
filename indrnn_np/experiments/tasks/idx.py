"""The IDX format, in which MNIST comes: a magic number, the size of each dimension, and then the bytes.

    byte 0    two zeros, the type of the elements (8: unsigned byte), the number of dimensions
    byte 4    the size of each dimension, four bytes each, the highest first
    then      the elements, the last dimension running fastest

A file whose name ends in .gz is unpacked as it is read; places are then counted in what it holds. The file must be
exactly as long as its header says. Its elements are read into the array that is returned, and are never held twice.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from io import BufferedReader
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ...array_module import Array
from .files import DataError

Stream: TypeAlias = BufferedReader | gzip.GzipFile

UNSIGNED_BYTE = 8
# Deflate describes at most 258 bytes by 2 bits: no packed file holds more than this many times its own size.
MOST_PACKED = 1032
CHUNK = 1 << 20


def read(path: str | os.PathLike[str], dimensions: int) -> Array:
    """Read an IDX file of unsigned bytes.

    Parameters
    ----------
    path : the file; packed by gzip if its name ends in .gz
    dimensions : how many it must have

    Returns
    -------
    array of uint8, read-only, with the shape that the header says

    Raises
    ------
    DataError
        It is no such file: cut off, too long, damaged, or of another kind; the message names the file and the byte.
    OSError
        It cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        packed = path.suffix == ".gz"
        stream = gzip.GzipFile(fileobj=file) if packed else file
        shape = _header(stream, path, dimensions)
        start, size = 4 + 4 * dimensions, math.prod(shape)
        promise = f"the {' × '.join(map(str, shape))} that the header says"
        holds = os.fstat(file.fileno()).st_size
        if size > holds * (MOST_PACKED if packed else 1):
            raise DataError(path, f"byte {start}", f"expected {size} bytes, {promise}; the whole file has {holds}"
                            f"{', packed' if packed else ''}.")
        array = np.empty(shape, np.uint8)
        _fill(stream, array.reshape(-1).data, path, start, promise)
        if _into(stream, memoryview(bytearray(1)), path, start + size):
            raise DataError(path, f"byte {start + size}", f"expected the end, after {promise}; the file goes on.")
    array.flags.writeable = False
    return array


def _header(stream: Stream, path: Path, dimensions: int) -> tuple[int, ...]:
    """Read the magic number and the sizes."""
    header = bytearray(4 + 4 * dimensions)
    _fill(stream, memoryview(header)[:4], path, 0, "the magic number")
    want = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if header[:4] != want:
        hint = ""
        if header[:2] == b"\x1f\x8b":
            hint = " It is packed by gzip: give it a name that ends in .gz."
        elif header[:3] == want[:3]:
            hint = f" It has {header[3]} dimensions, not {dimensions}: is it another file under this name?"
        raise DataError(path, "byte 0", f"expected the magic number {want.hex(' ')} (unsigned bytes, dimensions: "
                        f"{dimensions}); got {header[:4].hex(' ')}.{hint}")
    _fill(stream, memoryview(header)[4:], path, 4, "the size of each dimension")
    shape = tuple(int.from_bytes(header[at:at + 4], "big") for at in range(4, len(header), 4))
    if 0 in shape:
        raise DataError(path, f"byte {4 + 4 * shape.index(0)}", "expected a size above 0; got 0.")
    return shape


def _fill(stream: Stream, buffer: memoryview, path: Path, start: int, part: str) -> None:
    """Fill the buffer, which is that part of the file, from the stream, which is at byte `start`."""
    done = 0
    while done < len(buffer):
        came = _into(stream, buffer[done:done + CHUNK], path, start + done)
        if came == 0:
            raise DataError(path, f"byte {start + done}", f"expected {len(buffer) - done} more bytes of {part}; "
                            "the file ends here.")
        done += came


def _into(stream: Stream, buffer: memoryview, path: Path, at: int) -> int:
    """Read some bytes into the buffer; 0 where the file ends. Damage to a packed file shows here."""
    try:
        return stream.readinto(buffer)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(path, f"byte {at}", f"expected bytes packed by gzip; from about here it cannot be unpacked: "
                        f"{error}") from None
