"""Process whose main thread is interrupted at thousands of random times while it waits for the loop.

``python -m tests.connection.storm_of_signals SEED`` prints the number of interruptions, and that work still succeeds.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from types import FrameType

from airflow_provider_dingtalk.connection import event_loop

ROUNDS = 5_000
#: Maximum seconds before a round is interrupted; the work takes about as long.
LONGEST = 0.0006


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


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, interrupt)
    chance = random.Random(sys.argv[1])
    interruptions = sum(a_round(chance.uniform(LONGEST / 50, LONGEST)) for _ in range(ROUNDS))
    print(interruptions, event_loop.run(work))
