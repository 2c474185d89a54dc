"""The program in which somebody else's implementation runs: `python -P worker.py FOLDER`.

It imports nothing of the package, so the implementation finds an interpreter with NumPy, as in a script of its own.
`isolation` starts it and speaks with it: requests and answers are JSON, a line each, on what were standard input and
output when it started; arrays are .npy files in FOLDER. The first request names the function, each other one is a call.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Function = Callable[..., Any]


def main() -> None:
    """Load the function that the first request names, then call it once for every other request; never return."""
    folder = sys.argv[1]
    requests, answers = _private_pipes()
    _tell_places(os.dup(2))
    received: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, received, folder), daemon=True).start()

    target = received.get()
    file = target["file"]
    try:
        function, file = load(**target)
        answer: dict[str, Any] = {"file": file, "batch_first": getattr(function, "batch_first", False) is True}
    except BaseException as error:  # SystemExit too: whatever happens on import, there is nothing to call
        answer = {"raised": told(error, file)}
    while True:
        _send(answers, answer)
        request = received.get()
        try:
            answer = call(function, Path(folder), **request)
        except BaseException as error:
            refused = getattr(error, "is_refusal", False)
            answer = {"refused": str(error)} if refused else {"raised": told(error, file)}


def load(path: str, file: str, module: str, name: str) -> tuple[Function, str]:
    """Import a module and return the function of that name, with the file in which it was looked for.

    Parameters
    ----------
    path : the folder that goes first on `sys.path`, as Python itself would put it there
    file : of the module; empty if it is to be found by its name
    module, name : of module and function

    Raises
    ------
    AttributeError, TypeError
        The module has no such name, or it is not callable.
    Exception
        Whatever importing the module raises.
    """
    sys.path.insert(0, path)
    sys.argv = [file or module]
    if file:
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None, "a name that ends in .py has a loader"
        assert spec.loader is not None
        loaded = sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(module)
    if not hasattr(loaded, name):
        there = ", ".join(key for key, value in vars(loaded).items() if callable(value) and not key.startswith("_"))
        raise AttributeError(f"expected one of {there or 'no functions'}; got {name!r}")
    function = getattr(loaded, name)
    if not callable(function):
        raise TypeError(f"expected a function; {name} is of type {type(function).__name__}")
    return function, file or getattr(loaded, "__file__", None) or ""


def call(function: Function, folder: Path, given: list[str], wanted: list[str], activation: str,
         largest: int) -> dict[str, Any]:
    """Call the function on arrays of the folder, and write there what it returned and what it changed.

    Parameters
    ----------
    function, folder
    given : names of its array arguments, each of which is in the folder
    wanted : names of the arrays that it should return
    activation : its other argument
    largest : how many bytes an array that it returns may have

    Returns
    -------
    dict : names of the `arrays` written, type names of the `others`, which are no arrays of numbers or have a name that
        was not wanted, names of the arguments `changed`

    Raises
    ------
    TypeError
        It returned no mapping.
    Exception
        Whatever the function raises, and what converting its results does.
    """
    us = os.getpid()
    arguments = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in given}
    before = {name: array.copy() for name, array in arguments.items()}
    try:
        returned = function(**arguments, activation=activation)
    finally:
        if os.getpid() != us:  # the function forked, and its child came back too
            os._exit(0)
    if not isinstance(returned, Mapping):
        raise TypeError(f"expected a mapping with {', '.join(wanted)}; got {type(returned).__name__}")

    results = {name: as_numpy(returned[name]) for name in wanted if name in returned}
    others = {name: kind for name, value in results.items() if (kind := _cannot_travel(value, largest))}
    unknown = {name if isinstance(name, str) else repr(name): type(value).__name__
               for name, value in returned.items() if name not in wanted}
    changed = {name: array for name, array in arguments.items() if not _same(array, before[name])}
    arrays = {name: value for name, value in results.items() if name not in others}
    for name, array in {**arrays, **changed}.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return {"arrays": list(arrays), "others": unknown | others, "changed": list(changed)}


def as_numpy(value: Any) -> Any:
    """Return arrays of PyTorch, JAX and CuPy as NumPy's, and anything else as it is; import none of these."""
    torch, jax, cupy = map(sys.modules.get, ("torch", "jax", "cupy"))
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if jax is not None and isinstance(value, jax.Array):
        return np.asarray(value)
    if cupy is not None and isinstance(value, cupy.ndarray):
        return value.get()
    return value


def told(error: BaseException, file: str) -> str:
    """Say in one line what was raised, and where: the last line in that file, or else in any but ours."""
    ours = str(Path(__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.filename != importlib.__file__ and not frame.filename.startswith((ours, "<frozen"))]
    frames = [frame for frame in frames if frame.filename == file] or frames
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
    message = textwrap.shorten(str(error), 500, placeholder=" …")
    return type(error).__name__ + (f": {message}" if message else "") + place


def _private_pipes() -> tuple[BinaryIO, int]:
    """Take standard input and output for ourselves; what the function reads is empty, what it prints is stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _tell_places(stderr: int) -> None:
    """Have Python say where it is when a fatal signal comes, or when we are asked because nothing comes."""
    faulthandler.enable(stderr, all_threads=False)
    if hasattr(faulthandler, "register"):  # not on Windows
        faulthandler.register(signal.SIGUSR1, stderr, all_threads=False)


def _receive(requests: BinaryIO, received: SimpleQueue[dict[str, Any]], folder: str) -> None:
    """Hand on requests; end the worker, whatever it is doing, once there is nobody who could send any."""
    for line in requests:
        received.put(json.loads(line))
    shutil.rmtree(folder, ignore_errors=True)  # who made it was killed, or would have killed us first
    os._exit(0)


def _send(answers: int, answer: dict[str, Any]) -> None:
    os.write(answers, json.dumps(answer).encode() + b"\n")


def _cannot_travel(value: Any, largest: int) -> str:
    """Say what it is, where it is no array of numbers or one of unreasonable size; empty where it can be sent."""
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    if value.dtype.kind not in "biufc" or value.nbytes > largest:
        return f"{type(value).__name__} of shape {value.shape}, {value.dtype}"
    return ""


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays agree in every bit, NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


if __name__ == "__main__":
    main()
