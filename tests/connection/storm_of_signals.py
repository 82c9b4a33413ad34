"""Processes whose main thread is interrupted while it starts the event loop, and while it waits for its work.

``python -m tests.connection.storm_of_signals SEED`` interrupts the start at each line, and the wait at thousands of
random times. It prints the numbers of both interruptions, and that work still succeeds.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import traceback
from types import FrameType
from typing import Any

from airflow_provider_dingtalk.connection import event_loop

ROUNDS = 5_000
#: Maximum seconds before a round is interrupted; the work takes about as long.
LONGEST = 0.0006
#: Seconds after which a child ends that hangs.
TIMEOUT = 20


class Interrupted(BaseException):
    """Interruption like Airflow's timeouts: raised by a signal handler, and not an ``Exception``."""


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


async def work() -> str:
    for _ in range(3):
        await asyncio.sleep(0)
    return "done"


def a_round(seconds: float) -> bool:
    """Run the work once; return True if it was interrupted."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            assert event_loop.run(work) == "done"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        return True
    return False


def is_interrupted_at(number: int) -> bool:
    """Start a loop, interrupt the start at its line of this number, and return False if it has fewer lines."""
    left = number

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Interrupted
        return trace

    try:
        sys.settrace(trace)
        event_loop.run(work)
    except Interrupted:
        return True
    finally:
        sys.settrace(None)
    return False


def start_in_child(number: int) -> int:
    """Start a loop in a child and return its exit status: 0 after an interruption, 1 without, else an error."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(TIMEOUT)
    try:
        was_interrupted = is_interrupted_at(number)
        assert event_loop.run(work) == "done"
        os._exit(0 if was_interrupted else 1)
    except BaseException:
        traceback.print_exc()
    os._exit(2)


def interrupted_starts() -> int:
    """Return the number of lines at which a start was interrupted, each in a child."""
    number = 1
    while (status := start_in_child(number)) == 0:
        number += 1
    if status != 1:
        raise RuntimeError(f"interrupted at line {number} of the start: exit status {status}")
    return number - 1


if __name__ == "__main__":
    starts = interrupted_starts()
    signal.signal(signal.SIGALRM, interrupt)
    chance = random.Random(sys.argv[1])
    interruptions = sum(a_round(chance.uniform(LONGEST / 50, LONGEST)) for _ in range(ROUNDS))
    print(starts, interruptions, event_loop.run(work))
