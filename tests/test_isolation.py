"""Somebody else's implementation, in a process of its own: whatever it does there, we live to tell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indrnn_np as ir
from indrnn_np.oracle import isolation, worker
from indrnn_np.oracle.inputs import STANDARD, draw
from indrnn_np.oracle.isolation import CandidateFailure, CannotRun, Isolated

CASE = draw("small", STANDARD["small"], "relu", "float32")

MINE = '''
import builtins, ctypes, json, os, shutil, subprocess, sys, threading, time
from pathlib import Path
import numpy as np

NUMBER = 3
calls = 0
Path(__file__).with_name("pid").write_text(str(os.getpid()))


def right(x, W, u, b, h0, dh, activation):
    h, before = np.zeros_like(dh), h0
    for t in range(len(x)):
        h[t] = before = np.maximum(x[t] @ W.T + u * before + b, 0)
    dz, carry = np.zeros_like(dh), 0
    for t in reversed(range(len(x))):
        dz[t] = carry = (dh[t] + u * carry) * (h[t] > 0)
    h_prev = np.concatenate([h0[None], h[:-1]])
    return {"h": h, "dx": dz @ W, "dW": np.einsum("tbn,tbm->nm", dz, x), "du": (dz * h_prev).sum((0, 1)),
            "db": dz.sum((0, 1)), "dh0": u * dz[0]}

def in_torch(**given):
    import torch
    return {name: torch.from_numpy(value).requires_grad_() for name, value in right(**given).items()}

def in_jax(**given):
    import jax
    jax.config.update("jax_platforms", "cpu")
    return {name: jax.numpy.asarray(value) for name, value in right(**given).items()}

def prints(**given):
    print("σ" * 2_000_000, flush=True)
    print("e" * 2_000_000, file=sys.stderr, flush=True)
    os.write(1, b'{"raised": "a false answer"}\\n')
    subprocess.run([sys.executable, "-c", "print('{}', flush=True)"], check=True)
    return right(**given)

def prints_from_a_thread(**given):
    def forever():
        while True:
            print("still here")
            time.sleep(0.001)
    threading.Thread(target=forever).start()
    return right(**given)

def reads_stdin(**given):
    assert sys.stdin.read() == ""
    return right(**given)

def changes_directory(**given):
    os.chdir("/")
    return right(**given)

def closes_standard_files(**given):
    os.closerange(0, 3)
    return right(**given)

def forks(**given):
    os.fork()
    return right(**given)

def prints_a_lot_then_waits(**given):
    for _ in range(20):
        os.write(2, b"e" * 200_000)
        time.sleep(0.01)
    return right(**given)

def segfaults(**given):
    ctypes.string_at(0)

def exits_at_once(**given):
    print("last words", flush=True)
    os._exit(3)

def exits_at_first(**given):
    global calls
    if Path(__file__).with_name("once").exists():
        return right(**given)
    Path(__file__).with_name("once").touch()
    os._exit(3)

def exits(**given):
    sys.exit("enough")

def loops(**given):
    while True:
        pass

def leaves_a_child(**given):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    Path(__file__).with_name("child").write_text(str(child.pid))
    os._exit(3)

def forks_and_dies(**given):
    if os.fork():
        os._exit(3)
    time.sleep(100)

def allocates(**given):
    held = []
    for _ in range(256):
        held.append(np.ones(2**20))

def raises(**given):
    text = "boom \\n" * 3
    np.vectorize(lambda value: 1 / 0)([1])

def raises_the_unspeakable(**given):
    class Unspeakable(Exception):
        def __str__(self):
            raise self
    raise Unspeakable

def returns_none(**given):
    return None

def returns_lists(**given):
    return {**right(**given), "db": right(**given)["db"].tolist(), 5: 6, "other": 7}

def returns_objects(**given):
    return {**right(**given), "db": right(**given)["db"].astype(object)}

def returns_too_much(**given):
    return {**right(**given), "db": np.broadcast_to(np.float32(0), (10**6, 10**6))}

def returns_some(**given):
    return {name: right(**given)[name].astype(complex) for name in ("h", "dW")}

def returns_odd_shapes(**given):
    return {"h": np.zeros((0, 3)), "dx": np.array(2.5), "dW": np.zeros(3, "f8")[::2], "du": np.ones((2, 3)).T,
            "db": np.array([True]), "dh0": np.arange(3, dtype=">i2")}

def returns_nan(**given):
    return {**right(**given), "dW": np.asfortranarray(right(**given)["dW"]) * np.float32("nan")}

def modifies_x(**given):
    results = right(**given)
    given["x"][0, 0, 0] = np.nan
    return results

def reshapes_u(**given):
    results = right(**given)
    given["u"].dtype = np.int32
    return results

def removes_the_folder(**given):
    found = Path(os.readlink("/proc/self/fd/2")).parent
    shutil.rmtree(found)
    return right(**given)

def removes_the_folder_later(**given):
    threading.Timer(0.1, removes_the_folder, kwargs=given).start()
    return right(**given)

def speaks_nonsense(**given):
    json.dumps = lambda answer: "nonsense"
    return right(**given)

def speaks_in_numbers(**given):
    json.dumps = lambda answer: "5"
    return right(**given)

def answers_wrongly(**given):
    json.dumps = lambda answer: '{"arrays": 5}'
    return right(**given)

def writes_code(**given):
    np.save = lambda path, array, **options: np.lib.format.write_array(
        open(path, "wb"), np.array([print], object), allow_pickle=True)
    return right(**given)
'''


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mine.py, and one for temporary files, which must be empty in the end."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield tmp_path
    assert not list(temporary.iterdir())


def call(candidate: Isolated) -> dict[str, np.ndarray]:
    return candidate(**CASE.arrays(), activation="relu")


def call_often(candidate: Isolated) -> None:
    for _ in range(20):
        call(candidate)
        time.sleep(0.02)


def run(home: Path, function: str, **limits) -> dict[str, np.ndarray]:
    with Isolated(f"{home / 'mine.py'}:{function}", **limits) as candidate:
        return call(candidate)


def failure(home: Path, function: str, **limits) -> CandidateFailure:
    with pytest.raises(CandidateFailure) as raised:
        run(home, function, **limits)
    return raised.value


def in_this_process(home: Path) -> dict[str, Callable[..., dict[str, np.ndarray]]]:
    names: dict[str, Any] = {"__file__": str(home / "mine.py")}
    exec(MINE, names)
    return names


def line_of(text: str) -> int:
    return MINE[:MINE.index(text)].count("\n") + 1


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # no /proc
        return True
    except ProcessLookupError:
        return False


def eventually(condition) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_right_implementation_passes(home: Path) -> None:
    with Isolated(f"{home / 'mine.py'}:right") as candidate:
        report = ir.oracle.verify(candidate, ("relu",), ("float32",))
    assert report.passed, report


def test_results_arrive_bit_for_bit_whatever_the_layout(home: Path) -> None:
    here = in_this_process(home)
    for function in ("right", "returns_nan", "returns_some", "returns_odd_shapes"):
        given = CASE.arrays()
        given["x"] = np.asfortranarray(given["x"])
        with Isolated(f"{home / 'mine.py'}:{function}") as candidate:
            got = candidate(**given, activation="relu")
        want = here[function](**given, activation="relu")
        assert got.keys() == want.keys()
        for name, array in want.items():
            assert np.array_equal(got[name], array, equal_nan=True)
            assert (got[name].shape, got[name].dtype) == (array.shape, array.dtype)
            assert got[name].flags.writeable


@pytest.mark.parametrize("function", [
    "prints", "prints_from_a_thread", "reads_stdin", "changes_directory", "closes_standard_files",
    pytest.param("forks", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")),
    pytest.param("in_torch", marks=pytest.mark.extra("torch")),
    pytest.param("in_jax", marks=pytest.mark.extra("jax")),
])
def test_what_does_not_matter_to_the_result_does_not_disturb_it(home: Path, function: str) -> None:
    want = in_this_process(home)["right"](**CASE.arrays(), activation="relu")
    with Isolated(f"{home / 'mine.py'}:{function}") as candidate:
        for _ in range(3):
            got = call(candidate)
            assert got.keys() == want.keys()
            assert all(np.array_equal(got[name], want[name]) for name in want)


def test_of_what_it_prints_only_the_end_is_kept(home: Path) -> None:
    with Isolated(f"{home / 'mine.py'}:prints_a_lot_then_waits") as candidate:
        call(candidate)
        assert candidate._worker.folder.joinpath("stderr").stat().st_size < 3_000_000


@pytest.mark.parametrize(("function", "verdict", "detail"), [
    ("segfaults", "crashed", f"killed by SIGSEGV (mine.py, line {line_of('ctypes.string_at(0)')})"),
    ("exits_at_once", "crashed", "exit status 3; it said last: last words"),
    ("forks_and_dies", "crashed", "exit status 3"),
    ("exits", "crashed", f"SystemExit: enough (mine.py, line {line_of('sys.exit')}: sys.exit(\"enough\"))"),
    ("raises", "crashed", f"ZeroDivisionError: division by zero (mine.py, line {line_of('np.vectorize')}: "
                          "np.vectorize(lambda value: 1 / 0)([1]))"),
    ("raises_the_unspeakable", "crashed", "exit status 1; it said last: mine.raises_the_unspeakable.<locals>."
                                          "Unspeakable: <exception str() failed>"),
    ("returns_none", "crashed", "TypeError: expected a mapping with h, dx, dW, du, db, dh0; got NoneType"),
    ("reshapes_u", "crashed", "it changed u from (5,), float32 to (5,), int32"),
    ("speaks_nonsense", "crashed", "its answer makes no sense: b'nonsense\\n'"),
    ("speaks_in_numbers", "crashed", "its answer makes no sense: b'5\\n'"),
    ("answers_wrongly", "crashed", "its answer makes no sense: KeyError('changed')"),
    ("writes_code", "crashed", "h cannot be read: expected numbers; got dtype object"),
])
def test_a_failure_is_told_in_one_sentence(home: Path, function: str, verdict: str, detail: str) -> None:
    failed = failure(home, function)
    assert (failed.verdict, failed.detail) == (verdict, detail)
    assert str(failed) == f"{verdict}: {detail}"


def test_an_endless_loop_ends_and_its_line_is_named(home: Path) -> None:
    before = time.monotonic()
    failed = failure(home, "loops", timeout=1.5)
    assert failed.verdict == "timed out"
    line = line_of("    while True:\n        pass")
    assert re.fullmatch(rf"no answer within 1\.5 s \(mine.py, line ({line}|{line + 1})\)", failed.detail)
    assert time.monotonic() - before < 10


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is watched by /proc")
def test_an_endless_allocation_ends(home: Path) -> None:
    failed = failure(home, "allocates", memory=2**28)
    assert (failed.verdict, failed.detail) == ("out of memory", "used more than 0.25 GiB")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the folder is found by /proc")
@pytest.mark.parametrize("function", ["removes_the_folder", "removes_the_folder_later"])
def test_without_its_folder_a_call_fails_and_the_next_has_another(home: Path, function: str) -> None:
    with Isolated(f"{home / 'mine.py'}:{function}") as candidate:
        for _ in range(2):
            with pytest.raises(CandidateFailure, match=r"crashed: .*(No such file|removed the folder)"):
                call_often(candidate)


@pytest.mark.parametrize(("function", "words"), [
    ("returns_lists", r"^db: .*expected a NumPy array; got list|^(5|other): no such result; expected h, dx, dW,"),
    ("returns_objects", r"^db: .*expected a NumPy array; got ndarray of shape \(\d,\), object"),
    ("returns_too_much", r"^db: .* got ndarray of shape \(1000000, 1000000\), float32"),
    ("modifies_x", "^x: modifies its inputs"),
])
def test_the_oracle_finds_what_it_would_find_in_this_process(home, monkeypatch, function: str, words: str) -> None:
    monkeypatch.setattr("indrnn_np.oracle.verification.CHECKS", ir.oracle.verification.CHECKS[2:3])
    with Isolated(f"{home / 'mine.py'}:{function}") as candidate:
        report = ir.oracle.verify(candidate, ("relu",), ("float32",))
    assert not report.passed
    assert all(re.search(words, str(finding)) for finding in report.findings), report


def test_what_it_changes_is_changed_here_and_nothing_else(home: Path) -> None:
    given = CASE.arrays()
    with Isolated(f"{home / 'mine.py'}:modifies_x") as candidate:
        candidate(**given, activation="relu")
    changed = {name: int((given[name] != array).sum()) for name, array in CASE.arrays().items()}
    assert changed == {"x": 1, "W": 0, "u": 0, "b": 0, "h0": 0, "dh": 0}
    assert np.isnan(given["x"][0, 0, 0])


def test_after_a_crash_the_next_call_has_a_fresh_worker_and_after_an_exception_the_same(home: Path) -> None:
    with Isolated(f"{home / 'mine.py'}:exits_at_first") as candidate:
        with pytest.raises(CandidateFailure, match="exit status 3"):
            call(candidate)
        assert call(candidate).keys() == {"h", "dx", "dW", "du", "db", "dh0"}
    with Isolated(f"{home / 'mine.py'}:raises") as candidate:
        first = candidate._worker
        for _ in range(2):
            with pytest.raises(CandidateFailure, match="ZeroDivisionError"):
                call(candidate)
        assert candidate._worker is first


def test_a_file_that_vanishes_between_two_workers_is_a_failure(home: Path) -> None:
    with Isolated(f"{home / 'mine.py'}:exits_at_once") as candidate:
        with pytest.raises(CandidateFailure, match="exit status 3"):
            call(candidate)
        (home / "mine.py").unlink()
        with pytest.raises(CandidateFailure, match="cannot be loaded: FileNotFoundError"):
            call(candidate)


@pytest.mark.parametrize(("target", "message"), [
    ("mine.py", "target: expected FILE.py:FUNCTION or package.module:function; got 'mine.py'."),
    ("mine.py:", "target: expected FILE.py:FUNCTION or package.module:function; got 'mine.py:'."),
    (":right", "target: expected FILE.py:FUNCTION or package.module:function; got ':right'."),
    ("here/mine:right", "target: expected FILE.py:FUNCTION or package.module:function; got 'here/mine:right'."),
    ("yours.py:right", "target: expected a file that is there; got 'yours.py'."),
    ("C:\\yours.py:right", "target: expected a file that is there; got 'C:\\\\yours.py'."),
    ("yours:right", "target: 'yours:right' cannot be loaded: ModuleNotFoundError: No module named 'yours'."),
    ("half.py:right", "target: 'half.py:right' cannot be loaded: SyntaxError: '(' was never closed (half.py, line 1)."),
    ("lacking.py:right", "target: 'lacking.py:right' cannot be loaded: ModuleNotFoundError: No module named 'nowhere' "
                         "(lacking.py, line 2: import nowhere)."),
    ("exiting.py:right", "target: 'exiting.py:right' cannot be loaded: SystemExit: 5 (exiting.py, line 1: "
                         "raise SystemExit(5))."),
    ("dying.py:right", "target: 'dying.py:right' cannot be loaded: exit status 6."),
    ("waiting.py:right", "target: 'waiting.py:right' cannot be loaded: no answer within 1.5 s (waiting.py, line 1)."),
    ("few.py:right", "target: 'few.py:right' cannot be loaded: AttributeError: expected one of left, middle; "
                     "got 'right'."),
    ("few.py:NUMBER", "target: 'few.py:NUMBER' cannot be loaded: TypeError: expected a function; NUMBER is of type "
                      "int."),
])
def test_what_cannot_be_run_is_told_in_one_sentence(home: Path, monkeypatch, target: str, message: str) -> None:
    for name, text in {"half": "f(", "lacking": "import math\nimport nowhere", "exiting": "raise SystemExit(5)",
                       "dying": "import os; os._exit(6)", "waiting": "import time; time.sleep(100)",
                       "few": "NUMBER = 3\ndef left(): ...\ndef middle(): ...\ndef _hidden(): ..."}.items():
        (home / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(home)
    with pytest.raises(CannotRun) as raised, Isolated(target, timeout=1.5 if "waiting" in target else 60):
        pass
    assert str(raised.value) == message


def test_a_target_is_split_at_its_last_colon(monkeypatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    assert isolation.parse("C:\\x.py:f")["name"] == "f"
    assert isolation.parse("C:\\x.py:f")["file"].endswith("C:\\x.py")
    assert isolation.parse("a.b:f") == {"path": os.getcwd(), "file": "", "module": "a.b", "name": "f"}


def test_the_target_finds_its_neighbours_as_in_python_itself(home: Path, monkeypatch) -> None:
    """A module from the current directory, a file from its own folder, and neither from the package's."""
    (home / "inner").mkdir()
    (home / "inner" / "neighbour.py").write_text("from mine import right", encoding="utf-8")
    (home / "inner" / "numbers-1.2.py").write_text(
        "import sys; sys.path.append(r'" + str(home) + "'); from neighbour import right; assert not sys.argv[1:]\n"
        "try:\n    import references\nexcept ImportError:\n    left = right", encoding="utf-8")
    monkeypatch.chdir(home)
    for target in ("mine:right", "inner/numbers-1.2.py:left"):
        with Isolated(target) as candidate:
            assert call(candidate)


@pytest.mark.parametrize(("limits", "message"), [
    ({"timeout": 0}, "timeout: expected seconds above 0; got 0."),
    ({"timeout": float("nan")}, "timeout: expected seconds above 0; got nan."),
    ({"memory": -1}, "memory: expected bytes above 0, or None; got -1."),
])
def test_limits_are_above_0(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Isolated("mine:right", **limits)


def test_a_call_outside_with_is_refused(home: Path) -> None:
    candidate = Isolated(f"{home / 'mine.py'}:right")
    with pytest.raises(RuntimeError, match="inside `with"):
        call(candidate)
    with candidate:
        call(candidate)
    with pytest.raises(RuntimeError, match="inside `with"):
        call(candidate)


@pytest.mark.parametrize("ending", ["leaves", "raises"])
def test_the_worker_and_its_folder_are_gone_in_the_end(home: Path, ending: str) -> None:
    try:
        with Isolated(f"{home / 'mine.py'}:right", memory=None) as candidate:
            folder, pid = candidate._worker.folder, int((home / "pid").read_text(encoding="ascii"))
            assert folder.is_dir()
            assert alive(pid)
            if ending == "raises":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert ending == "raises"
    assert not folder.exists()
    assert not alive(pid)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_what_the_candidate_starts_ends_with_it(home: Path) -> None:
    assert failure(home, "leaves_a_child").detail == "exit status 3"
    assert eventually(lambda: not alive(int((home / "child").read_text(encoding="ascii"))))


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_the_worker_does_not_outlive_us(home: Path, ending: str) -> None:
    """Though its candidate never returns, and however we end."""
    program = ("import signal, sys; from indrnn_np.oracle import isolation; import numpy as np\n"
               "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is born ignoring it\n"
               "with isolation.Isolated(sys.argv[1]) as candidate:\n"
               "    candidate(**dict.fromkeys(('x', 'W', 'u', 'b', 'h0', 'dh'), np.zeros(1)), activation='relu')")
    us = subprocess.Popen([sys.executable, "-c", program, f"{home / 'mine.py'}:loops"], stderr=subprocess.PIPE,
                          env={**os.environ, "TMPDIR": tempfile.gettempdir()})
    assert eventually(lambda: (home / "pid").exists() and (home / "pid").read_text(encoding="ascii"))
    pid = int((home / "pid").read_text(encoding="ascii"))
    time.sleep(0.1)
    assert alive(pid)
    us.send_signal(getattr(signal, ending))
    said = us.communicate(timeout=10)[1]
    assert (b"KeyboardInterrupt" in said) == (ending == "SIGINT")
    assert eventually(lambda: not alive(pid))
    assert eventually(lambda: not list(Path(tempfile.gettempdir()).iterdir()))


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(("content", "message"), [
    pytest.param(b"", "expected the header", id="empty"),
    pytest.param(b"\x80\x04N.", "expected the header", id="a bare pickle"),
    pytest.param(b"PK\x03\x04" + bytes(100), "expected the header", id="an archive"),
    pytest.param(npy(FLOATS % "(99999999, 99999999)"), "expected 39999999200000004 bytes .* got 0", id="claims much"),
    pytest.param(npy(FLOATS % "(3,)", bytes(8)), "expected 12 bytes .* got 8", id="too short"),
    pytest.param(npy(FLOATS % "(3,)", bytes(16)), "expected 12 bytes .* got 16", id="too long"),
    pytest.param(npy(FLOATS % "(1000,)", bytes(4000)), "at most 1000", id="too large"),
    pytest.param(npy(FLOATS % "(1000000,)", bytes(4_000_000)), "at most 1000", id="far too large"),
    pytest.param(npy(FLOATS % "(-1, -1)", bytes(4)), "dimension", id="negative sizes"),
    pytest.param(npy(FLOATS % "print"), "expected the header", id="no literal"),
    pytest.param(npy("(" * 9000), "expected the header", id="nested"),
    pytest.param(npy(FLOATS % "(1,)", bytes(4), b"\x02\x00"), r"version \(1, 0\)", id="another version"),
    pytest.param(npy(FLOATS.replace("<f4", "|O") % "()", b"\x80\x04N."), "expected numbers; got dtype object",
                 id="objects"),
    pytest.param(npy(FLOATS.replace("'<f4'", "[('a', '|O')]") % "()", bytes(8)), "expected numbers", id="records"),
])
def test_no_file_can_make_us_allocate_or_run_anything(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "h.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        isolation.read_array(tmp_path / "h.npy", 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_a_plain_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "link.npy").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(ValueError, match="expected a plain file"):
            isolation.read_array(tmp_path / f"{name}.npy", 1000)


@pytest.mark.parametrize("module", [isolation, worker], ids=["isolation", "worker"])
def test_nothing_is_ever_unpickled(module) -> None:
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert "allow_pickle=False" in text
    assert "pickle" not in text.replace("allow_pickle=False", "")
    assert text.count("np.load(") + text.count("np.save(") == text.count("allow_pickle=False")
    assert not re.search(r"\b(marshal|shelve|eval|exec|multiprocessing)\b", text)
