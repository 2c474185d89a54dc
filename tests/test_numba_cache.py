"""Compiled code on disk: only the first use compiles, and what is damaged, stale or unwritable breaks no call."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from test_numba import arguments, run, same_bits

import indrnn_np as ir

pytestmark = pytest.mark.extra("fast")


@pytest.fixture
def engine():
    return import_module("indrnn_np.engines.numba")


@pytest.fixture
def cached(engine, tmp_path, monkeypatch):
    """A cache folder with one compiled function in it, and a call that takes it from there or compiles it."""
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    given = arguments(5, 2, 9, "float32")

    def call(expect: str) -> None:
        engine._kernel.cache_clear()
        h = ir.recurrent_forward(given["a"], given["u"], given["h0"], "identity", "numba")
        assert same_bits(h, run("reference", "identity", **given)[0])
        stats = engine._kernel(engine._forward, "identity", "f", in_place=False).stats
        assert (sum(stats.cache_hits.values()), sum(stats.cache_misses.values())) == {
            "loaded": (1, 0), "compiled": (0, 1)}[expect]

    call("compiled")
    call("loaded")
    yield call, tmp_path
    engine._kernel.cache_clear()


def spoil(folder: Path, suffix: str, change) -> None:
    (file,) = folder.rglob(f"*{suffix}")
    file.write_bytes(change(file.read_bytes()))


def flip(content: bytes) -> bytes:
    """Change one byte of machine code, which pickle does not notice."""
    middle = content.index(b"\x7fELF") + 600 if b"\x7fELF" in content else len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1:]


DAMAGE = [
    (".nbc", flip), (".nbc", lambda content: content[:-1]), (".nbc", lambda content: b""),
    (".nbi", lambda content: b""), (".nbi", lambda content: content[:40]), (".nbi", lambda content: b"\x80\x05junk."),
    (".nbi", lambda content: pickle.dumps("0.1") + content[len(pickle.dumps(pickle.loads(content))):]),
]


@pytest.mark.parametrize(("suffix", "change"), DAMAGE, ids=["flipped", "cut", "empty", "empty index", "cut index",
                                                            "index of garbage", "of another Numba"])
def test_a_damaged_or_stale_cache_is_mended_by_the_next_call(suffix: str, change, cached) -> None:
    call, folder = cached
    spoil(folder, suffix, change)
    call("compiled")
    call("loaded")


def test_a_cache_of_an_older_text_of_the_engine_is_not_used(cached, engine, monkeypatch) -> None:
    call, _ = cached
    monkeypatch.setattr("numba.core.caching._SourceFileBackedLocatorMixin.get_source_stamp", lambda self: "newer")
    call("compiled")
    call("loaded")


def test_a_full_disk_or_a_folder_that_cannot_be_written_to_does_not_break_a_call(cached, engine, monkeypatch) -> None:
    call, folder = cached
    for file in folder.rglob("*.nb?"):
        file.unlink()

    def full(self, path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("numba.core.caching.IndexDataCacheFile._open_for_write", full)
        call("compiled")
    blocked = folder / "file"
    blocked.write_text("")
    with monkeypatch.context() as disk:
        disk.setattr("numba.config.CACHE_DIR", str(blocked / "under"))
        disk.setattr("numba.core.caching.CacheImpl._locator_classes",
                     [import_module("numba.core.caching").UserProvidedCacheLocator])
        call("compiled")
        call("compiled")


USE = """
import sys
import indrnn_np as ir
import numpy as np
assert "numba" not in sys.modules, "imported too early"
a, u = np.ones((4, 2, 3), np.float32), np.ones(3, np.float32)
trace = ir.forward(np.ones((4, 2, 3)), np.ones((5, 3)), np.ones(5))
ir.backward(trace.h, trace)
engine = ir.engines.get(trace.engine)
kernels = (engine._forward, True), (engine._backward, False)
stats = [engine._kernel(direction, "relu", "d", in_place=in_place).stats for direction, in_place in kernels]
print(trace.engine, sum(sum(s.cache_misses.values()) for s in stats), sum(sum(s.cache_hits.values()) for s in stats))
"""


def test_only_the_first_use_ever_compiles_and_importing_the_package_leaves_numba_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    def use() -> str:
        return subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True).stdout.strip()

    assert use() == "numba 2 0"
    assert use() == "numba 0 2"
