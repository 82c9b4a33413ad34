"""Meters of event-loop lag, CPU time and memory."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

import psutil

#: Seconds between two samples of the loop's lag.
SAMPLE_INTERVAL = 0.01


def processor_seconds() -> float:
    """Return the CPU seconds of this process, its threads and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def processor_seconds_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds of other processes and of the children that they have reaped."""
    # User and system time of the process and of its children are the first four fields.
    return _total(pids, lambda process: sum(process.cpu_times()[:4]))


def unreaped(parents: Collection[int]) -> list[int]:
    """Return the zombie children of processes.

    Their CPU time is not yet counted as their parent's.
    """
    processes = [process.info for process in psutil.process_iter(["pid", "ppid", "status"])]
    return [one["pid"] for one in processes if one["status"] == psutil.STATUS_ZOMBIE and one["ppid"] in parents]


def resident_bytes_of(pids: Iterable[int]) -> int:
    """Return the proportional memory (PSS) of other processes in bytes."""
    return int(_total(pids, lambda process: process.memory_full_info().pss))


def _total(pids: Iterable[int], measure: Callable[[psutil.Process], float]) -> float:
    total = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            total += measure(psutil.Process(pid))
    return total


class LoopLag:
    """Meter of the delay with which an event loop wakes a sleeping task."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._due = time.monotonic()

    async def sample(self) -> None:
        """Sample the lag until cancelled."""
        while True:
            self._due = time.monotonic() + SAMPLE_INTERVAL
            await asyncio.sleep(SAMPLE_INTERVAL)
            self._late.append(time.monotonic() - self._due)

    def milliseconds(self, share: float) -> float:
        """Return a percentile of the lag in milliseconds; an overdue sample counts.

        :param share: Percentile, 0 to 100.
        """
        overdue = time.monotonic() - self._due
        late = sorted([*self._late, overdue] if overdue > 0 else self._late)
        return 1000 * late[min(len(late) - 1, int(len(late) * share / 100))] if late else 0.0
