"""A recall's way to its ledger: few writes for many calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.messaging.ledger import Ledger
from airflow_provider_dingtalk.messaging.verdicts import Verdict

#: Seconds of a write for which holding back the next one is not worth it.
SHORT = 0.002
#: Seconds between two looks whether others have come.
LOOK = 0.004
#: Seconds for which a write is held back if half of the writers wait for it, and at most.
MOMENT, LONGEST_HELD_BACK = 0.02, 0.5


class Journal:
    """Writes to a ledger, one write at a time, and in one write all that came together meanwhile.

    Where writes take long, the next one is held back for a moment, and until half of the writers wait for it. The
    others have calls to make, which they wrote down before: where calls wait for a pace it does not suffer, and
    where they do not, fewer writes cost some time. No more is in doubt after a crash than one call of each writer.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._unwritten: dict[str, Verdict] = {}
        self._one_at_a_time = asyncio.Lock()
        self._asked = self._done = 0
        self._writers = self._waiting = 0
        self._took = 0.0

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Be counted as one who will write again, and again."""
        self._writers += 1
        try:
            yield
        finally:
            self._writers -= 1

    def note(self, verdicts: Mapping[str, Verdict]) -> None:
        """Have these written with the next write."""
        self._unwritten.update(verdicts)

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Return when these, and all noted before, are written.

        :raises LedgerError: They are not.
        """
        self.note(verdicts)
        self._asked += 1
        number = self._asked
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                # Whoever held the lock before may have written ours too: what others want is not ours to wait for.
                if number > self._done:
                    await self._write_all()
        finally:
            self._waiting -= 1

    async def _write_all(self) -> None:
        await self._let_others_come()
        began = self._clock.monotonic()
        writing, self._unwritten = self._unwritten, {}
        number = self._asked
        try:
            if writing:
                await self._ledger.write(writing)
        except BaseException:
            # Whoever waits for the lock must not take these for written.
            self._unwritten = {**writing, **self._unwritten}
            raise
        self._done = number
        self._took = self._clock.monotonic() - began

    async def _let_others_come(self) -> None:
        began = self._clock.monotonic()
        while self._took > SHORT and self._waiting < self._writers:
            held_back = self._clock.monotonic() - began
            enough = MOMENT if 2 * self._waiting >= self._writers else LONGEST_HELD_BACK
            if held_back >= enough:
                break
            await self._clock.sleep(LOOK)
