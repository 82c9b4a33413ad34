"""Progress of a command as lines with the seconds since its start."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

_began = time.monotonic()


def print_step(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _began:5.1f} s  {text}", flush=True)


def run_until_interrupted(main: Callable[[], int]) -> None:
    """Run a command and exit with its status; Ctrl-C and SIGTERM end it in order, with status 130."""
    # Some shells start jobs with SIGINT ignored, so both handlers are set.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print_step("stopped")
        sys.exit(130)
