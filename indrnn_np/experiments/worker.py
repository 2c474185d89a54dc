"""The process that trains one run of a local sweep: `python -m indrnn_np.experiments.worker FOLDER`.

It resumes the run whose configuration lies in the folder, and leaves its result there. Its standard input is a pipe
from the process that started it: where that ends, this ends too, at once, which a run survives at any moment.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def _end_with(parent: int) -> None:
    """Wait for the end of the pipe."""
    while os.read(parent, 64):
        pass
    os._exit(1)


def main() -> int:
    """Resume the run; return 0 where it ended, in a result or in a divergence that is one."""
    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    from .configuration import from_dict
    from .files import read_json
    from .memory import keep_freed_memory
    from .training import Diverged, train
    keep_freed_memory()
    folder = Path(sys.argv[1])
    try:
        train(from_dict(read_json(folder / "configuration.json")), folder, resume=True)
    except Diverged:
        return 0
    except (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
