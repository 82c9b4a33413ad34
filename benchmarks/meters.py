"""Meters of event-loop lag, CPU time and memory."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Collection, Iterable
from pathlib import Path

#: Seconds between two samples of the loop's lag.
SAMPLE_INTERVAL = 0.01
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """Return the CPU seconds of this process, its threads and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def processor_seconds_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds of other processes and of their ended children."""
    return sum(map(_ticks, pids)) / _TICKS


def unreaped(parents: Collection[int]) -> list[int]:
    """Return the zombie children of processes.

    Their CPU time is not yet counted as their parent's.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) in parents:
            found.append(int(entry.name))
    return found


def resident_bytes_of(pids: Iterable[int]) -> int:
    """Return the proportional memory (PSS) of other processes in bytes."""
    return sum(map(_share, pids))


def _ticks(pid: int) -> int:
    try:
        # User and system time of the process and of the children that it has reaped.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:15]
    except OSError:
        return 0
    return sum(map(int, fields))


def _share(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


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
