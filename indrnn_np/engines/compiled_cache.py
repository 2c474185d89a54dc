"""Numba's cache of compiled functions on disk, made safe: what is damaged or stale counts as missing.

Numba's own raises on a damaged index and on a full disk, and runs damaged machine code.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from hashlib import sha256
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile


class CompiledCache(FunctionCache):  # type: ignore[misc]
    """The cache of one function, in the folder that Numba chooses.

    Raises
    ------
    RuntimeError, OSError
        No folder can be written to.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _SealedFile(self._cache_path, self._impl.filename_base,
                                       self._impl.locator.get_source_stamp())

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the compiled function, or None."""
        with suppress(Exception):
            return super().load_overload(signature, target)
        return None

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep a compiled function, if that is possible."""
        with suppress(Exception):
            super().save_overload(signature, data)


class _SealedFile(IndexDataCacheFile):  # type: ignore[misc]
    """An index, and files of machine code that each begin with a digest of the rest."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:  # whatever unpickling damaged data raises
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            digest, content = file.read(32), file.read()
        return pickle.loads(content) if sha256(content).digest() == digest else None
