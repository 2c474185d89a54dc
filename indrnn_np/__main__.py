"""`python -m indrnn_np` is the command `indrnn-np`."""

import sys

from .cli import main

sys.exit(main())
