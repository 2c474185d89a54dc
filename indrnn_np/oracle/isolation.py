"""Run somebody else's implementation in a process of its own, so that what it does there cannot hurt us.

A segfault, `os._exit`, an endless loop or an endless allocation ends that process (`worker`) and is raised here as a
`CandidateFailure`. Arrays travel both ways as .npy files in a private folder, of which we read no more than we expect
and never anything that could run code; all else is JSON, a line at a time. This guards against accidents. It is no
sandbox: the implementation has your rights on your files.
"""

from __future__ import annotations

import io
import json
import math
import os
import queue
import re
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from ..array_module import Array
from .answers import Refusal
from .vectors import RESULTS

PROGRAM = Path(__file__).with_name("worker.py")
GLANCE = 0.05  # seconds between two looks at the clock and at the worker's memory
MOST_SAID = 2**20  # bytes of standard error, after which we forget them


class CandidateFailure(Exception):
    """The implementation failed to answer a call.

    Attributes
    ----------
    verdict : "crashed", "timed out" or "out of memory"
    detail : what happened, in one sentence
    """

    def __init__(self, verdict: str, detail: str) -> None:
        super().__init__(f"{verdict}: {detail}")
        self.verdict, self.detail = verdict, detail


class CannotRun(Exception):
    """There is nothing to call: the target is no target, or cannot be imported, or has no such function."""


class Isolated:
    """A function of somebody else's, as a candidate for `verify` that runs in a worker process.

    It is a context manager: entering it starts the worker and imports the function there; leaving it ends the worker
    with all the processes of its group, and removes its folder. The call after a crash starts another worker.

    Parameters
    ----------
    target : "FILE.py:FUNCTION" or "package.module:function"
        The file's folder, or else the current one, goes first on the worker's `sys.path`.
    timeout : float
        Seconds that the import and each call may take.
    memory : int or None
        Bytes that the worker may hold, looked at every 50 ms. None for any number. Only where there is a /proc, as on
        Linux, is this watched at all; processes that the worker starts are not counted.

    Raises
    ------
    CannotRun
        Here, the target has another form, or there is no such file. On entering, it cannot be imported, has no such
        function, or took longer than the timeout.
    ValueError
        timeout or memory is not above 0.
    """

    def __init__(self, target: str, timeout: float = 60.0, memory: int | None = 4 * 2**30) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout: expected seconds above 0; got {timeout}.")
        if memory is not None and not memory > 0:
            raise ValueError(f"memory: expected bytes above 0, or None; got {memory}.")
        self.target, self.timeout, self.memory = target, timeout, memory
        self._request = parse(target)
        self._worker: _Worker | None = None
        self._entered = self.batch_first = False

    def __enter__(self) -> Isolated:
        self._worker = self._start()
        self.batch_first = self._worker.batch_first
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._entered = False
        self._stop()

    def __call__(self, activation: str, **arrays: Array) -> dict[str, Any]:
        """Call the function in the worker with these arrays, by keyword; those that it changes there are changed here.

        Returns
        -------
        dict : h, dx, dW, du, db, dh0, as far as the function returned them. What is no array of numbers, or has another
            name, is replaced by an object whose type has the same name.

        Raises
        ------
        CandidateFailure
            It raised, crashed, took too long or too much memory, or returned no mapping.
        Refusal
            It is an adapter's, which cannot make a candidate of what it was given.
        RuntimeError
            This is not inside its `with`.
        """
        if not self._entered:
            raise RuntimeError("Isolated: expected a call inside `with Isolated(...) as candidate`.")
        try:
            worker = self._worker = self._worker or self._start()
        except CannotRun as error:  # it could, the first time
            raise CandidateFailure("crashed", str(error)) from error
        try:
            answer, results = worker.call(arrays, activation)
        except BaseException:  # KeyboardInterrupt too: that worker is not one to ask again
            self._stop()
            raise
        if "refused" in answer:
            raise Refusal(answer["refused"])
        if "raised" in answer:
            raise CandidateFailure("crashed", answer["raised"])
        return results

    def _start(self) -> _Worker:
        worker = _Worker(self.timeout, self.memory)
        try:
            worker.load(self._request)
        except BaseException as error:
            worker.stop()
            if not isinstance(error, CandidateFailure):
                raise
            raise CannotRun(f"target: {self.target!r} cannot be loaded: {error.detail}.") from error
        return worker

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._worker = None


class _Worker:
    """One worker process, its folder and its pipes."""

    def __init__(self, timeout: float, memory: int | None) -> None:
        self.timeout, self.memory, self.file, self.batch_first = timeout, memory, "", False
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="indrnn-np-", ignore_cleanup_errors=True)
            self.folder = Path(stack.enter_context(folder))
            self._said: BinaryIO = stack.enter_context((self.folder / "stderr").open("ab+"))
            # -P: our folder does not come on the worker's path. A session of its own: Ctrl-C is for us to handle, and
            # all that the candidate starts can be ended with it. The encoding: it may print σ on any machine.
            self.process = subprocess.Popen([sys.executable, "-P", PROGRAM, self.folder], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=self._said, start_new_session=True,
                                            env={**os.environ, "PYTHONIOENCODING": "utf-8:replace"})
            stack.callback(self._kill)
            self._answers: queue.Queue[bytes | None] = queue.Queue()
            # A thread, since select takes no pipes on Windows.
            self._reader = threading.Thread(target=_read_lines, args=(self.process.stdout, self._answers), daemon=True)
            self._reader.start()
            self._cleanup = stack.pop_all()

    def stop(self) -> None:
        """End it, and leave nothing behind."""
        self._cleanup.close()

    def load(self, request: dict[str, str]) -> None:
        """Have the function imported; raise `CandidateFailure`."""
        self.file = request["file"]
        answer = self.ask(request)
        if "raised" in answer:
            raise CandidateFailure("crashed", answer["raised"])
        self.file, self.batch_first = answer["file"], answer.get("batch_first", False)

    def call(self, given: dict[str, Array], activation: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Send arrays, have the function called, fetch what it returned and changed; raise `CandidateFailure`."""
        largest = 16 * sum(array.nbytes for array in given.values()) + 2**20  # whatever is larger must be a mistake
        try:
            for name, array in given.items():
                np.save(self.folder / f"{name}.npy", array, allow_pickle=False)
        except FileNotFoundError as error:
            raise CandidateFailure("crashed", "it removed the folder of its arguments") from error
        answer = self.ask({"given": list(given), "wanted": RESULTS, "activation": activation, "largest": largest})
        if "raised" in answer or "refused" in answer:
            return answer, {}
        try:
            for name in answer["changed"]:
                given[name][...] = self._fetch(name, largest, like=given[name])
            arrays = {name: self._fetch(name, largest) for name in answer["arrays"]}
            return answer, {**arrays, **{name: type(kind, (), {})() for name, kind in answer["others"].items()}}
        except (KeyError, TypeError, AttributeError) as error:
            raise CandidateFailure("crashed", f"its answer makes no sense: {error!r}") from error

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer; raise `CandidateFailure` where none comes."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, and the wait below says how it died
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                line = self._answers.get(timeout=min(GLANCE, max(deadline - time.monotonic(), 0.001)))
                break
            except queue.Empty:
                self._look(deadline)
        if line is None:
            raise CandidateFailure("crashed", self._last_words())
        with suppress(ValueError):
            answer = json.loads(line)
            if isinstance(answer, dict):
                return answer
        raise CandidateFailure("crashed", f"its answer makes no sense: {line[:80]!r}")

    def _look(self, deadline: float) -> None:
        """See, while waiting, whether the worker is alive and within its limits."""
        if time.monotonic() >= deadline:
            raise CandidateFailure("timed out", f"no answer within {self.timeout:g} s{self._place_now()}")
        if self.memory is not None and _resident(self.process.pid) > self.memory:
            raise CandidateFailure("out of memory", f"used more than {self.memory / 2**30:.3g} GiB")
        if os.fstat(self._said.fileno()).st_size > MOST_SAID:
            self._said.truncate(0)
        if self.process.poll() is not None:  # its pipe may be held open by a process that it left behind
            self._answers.put(None)

    def _last_words(self) -> str:
        """Say how the process ended, where in the user's file if that is known, and what it said last."""
        try:
            code = self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "closed its pipe to us"
        said = self._tail()
        lines = said.partition("Fatal Python error")[0].split("\n")
        last = next((f"; it said last: {textwrap.shorten(line, 200)}" for line in reversed(lines) if line.strip()), "")
        return _ended(code) + self._place(said) + last

    def _place_now(self) -> str:
        """Ask the worker which line it is in; it answers even from an endless loop."""
        if hasattr(signal, "SIGUSR1"):
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(GLANCE)
        return self._place(self._tail())

    def _place(self, said: str) -> str:
        """Find the line of the user's file in what faulthandler wrote, the most recent call first."""
        _, heading, calls = said.rpartition("(most recent call first)")
        places = re.findall(r'File "(.*)", line (\d+)', calls if heading else "")
        return next((f" ({Path(file).name}, line {line})" for file, line in places if file == self.file), "")

    def _tail(self) -> str:
        """Return the end of what the worker said on standard error."""
        self._said.seek(max(os.fstat(self._said.fileno()).st_size - 10_000, 0))
        return self._said.read().decode(errors="replace")

    def _fetch(self, name: str, largest: int, like: Array | None = None) -> Array:
        try:
            array = read_array(self.folder / f"{name}.npy", largest)
        except (OSError, ValueError) as error:
            raise CandidateFailure("crashed", f"{name} cannot be read: {error}") from error
        if like is not None and (array.shape, array.dtype) != (like.shape, like.dtype):
            raise CandidateFailure("crashed", f"it changed {name} from {like.shape}, {like.dtype} to {array.shape}, "
                                   f"{array.dtype}")
        return array

    def _kill(self) -> None:
        assert self.process.stdin is not None
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # gone already (macOS: not yet waited for)
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            self.process.stdin.close()
        self._reader.join(timeout=1)  # longer only if a process that left the group holds the pipe


def parse(target: str) -> dict[str, str]:
    """Return what `worker.load` takes, from FILE.py:FUNCTION or package.module:function.

    Raises
    ------
    CannotRun
        It has neither form, or there is no such file.
    """
    where, _, name = target.rpartition(":")  # the last colon: the first may belong to a drive
    if where.endswith(".py") and name.isidentifier():
        file = Path(where)
        if not file.is_file():
            raise CannotRun(f"target: expected a file that is there; got {where!r}.")
        file = file.resolve()
        return {"path": str(file.parent), "file": str(file), "module": file.stem, "name": name}
    if not all(part.isidentifier() for part in (*where.split("."), name)):
        raise CannotRun(f"target: expected FILE.py:FUNCTION or package.module:function; got {target!r}.")
    return {"path": str(Path.cwd()), "file": "", "module": where, "name": name}


def read_array(path: Path, largest: int) -> Array:
    """Read an array of numbers from a .npy file that somebody else wrote; no more memory is used than it may have.

    Raises
    ------
    OSError
        There is no such file.
    ValueError
        It is no .npy file, or holds other things than numbers, or its size is too large or not the one it claims.
    """
    if not stat.S_ISREG(path.lstat().st_mode):  # a pipe would block, and a device might never end
        raise ValueError("expected a plain file")
    with path.open("rb") as file:
        content = file.read(largest + 2**16)
    stream = io.BytesIO(content)
    try:
        version = npy.read_magic(stream)
        shape, is_fortran, dtype = npy.read_array_header_1_0(stream)
    except Exception as error:  # ValueError, TokenError, RecursionError: it is read as a Python literal
        raise ValueError(f"expected the header of a .npy file; got {content[:80]!r}") from error
    if version != (1, 0):
        raise ValueError(f"expected version (1, 0) of the .npy format; got {version}")
    if dtype.kind not in "biufc":
        raise ValueError(f"expected numbers; got dtype {dtype}")
    start, size = stream.tell(), math.prod(shape) * dtype.itemsize
    if size > largest or size != len(content) - start:
        raise ValueError(f"expected {size} bytes for shape {shape}, {dtype}, and at most {largest}; got "
                         f"{len(content) - start}")
    flat = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C").copy(order="K")


def _read_lines(pipe: BinaryIO, lines: queue.Queue[bytes | None]) -> None:
    """Hand on what comes through a pipe, then None."""
    with pipe:
        for line in pipe:
            lines.put(line)
    lines.put(None)


def _resident(pid: int) -> int:
    """Return how many bytes of memory a process holds, 0 where that is not told."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    known = {each.value: each.name for each in signal.Signals}
    return f"killed by {known.get(-code, f'signal {-code}')}"
