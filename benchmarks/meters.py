"""Meters inside a process: how late its event loop is, what processes take of processor and memory."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Collection, Iterable
from pathlib import Path

#: Seconds between two looks at the loop's clock.
BEAT = 0.01
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """What this process, its threads and its children took of the processor until now."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def processor_seconds_of(pids: Iterable[int]) -> float:
    """What other processes took of the processor until now, with those of their children that ended."""
    return sum(map(_ticks, pids)) / _TICKS


def unreaped(parents: Collection[int]) -> list[int]:
    """Children of some processes that have ended, and whose time is not yet counted as their parent's."""
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
    """Memory of other processes that is theirs: what several share is divided among them."""
    return sum(map(_share, pids))


def _ticks(pid: int) -> int:
    try:
        # User and system time, its own and that of children it has waited for.
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
    """How much later than asked an event loop wakes a sleeper, which is how late it is for all others."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._due = time.monotonic()

    async def watch(self) -> None:
        """Look, until cancelled."""
        while True:
            self._due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            self._late.append(time.monotonic() - self._due)

    def milliseconds(self, share: float) -> float:
        """The lateness that so many of a hundred looks did not exceed. One that is overdue now counts, too."""
        overdue = time.monotonic() - self._due
        late = sorted([*self._late, overdue] if overdue > 0 else self._late)
        return 1000 * late[min(len(late) - 1, int(len(late) * share / 100))] if late else 0.0
