"""Ledgers: where a running recall or send writes down how far it is, so that a killed task goes on there.

The rule that makes it safe: the intent is written *before* the call goes out, the outcome after. What a crash
leaves as an intent may or may not have been carried out: a recall is made again, a send is not. An intent
that cannot be written means that the call is not made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct, field

from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.messaging.verdicts import Verdict

#: Seconds of a write for which holding back the next one is not worth it.
SHORT = 0.002
#: Seconds between two looks whether others have come.
LOOK = 0.004
#: Seconds for which a write is held back if half of the writers wait for it, and at most.
MOMENT, LONGEST_HELD_BACK = 0.02, 0.5


class LedgerError(DingTalkError):
    """The ledger cannot be read or written. Nothing more was sent."""


class Ledger(Protocol):
    """A place for a recall that outlives its task."""

    async def load(self) -> Mapping[str, Verdict]:
        """What earlier tries wrote, by message key.

        :raises LedgerError: It cannot be read, or holds what this package did not write.
        """

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep these.

        :raises LedgerError: They are not kept: the recall stops before anything else is sent.
        """


class MemoryLedger:
    """A ledger that lives as long as its process: for scripts and tests."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}

    async def load(self) -> Mapping[str, Verdict]:
        """What earlier runs in this process wrote."""
        return dict(self.verdicts)

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep these."""
        self.verdicts.update(verdicts)


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


class SentLetter(Struct, frozen=True):
    """A call that DingTalk accepted.

    :param dropped: People it left out, by user id, and why.
    """

    receipt: Receipt
    dropped: dict[str, str] = field(default_factory=dict)


class Sendings(Struct, frozen=True):
    """What earlier tries of a send did, by the letter's place in the job.

    :param sent: Letters that DingTalk accepted.
    :param in_flight: Letters that were under way when a try died: nobody knows whether they were sent.
    """

    sent: dict[int, SentLetter] = field(default_factory=dict)
    in_flight: frozenset[int] = frozenset()


class SendLedger(Protocol):
    """A place for a send that outlives its task. Each method raises :class:`LedgerError` if it cannot."""

    async def load(self) -> Sendings:
        """What earlier tries did."""

    async def intend(self, place: int) -> None:
        """The letter at this place is about to go out."""

    async def accepted(self, place: int, letter: SentLetter) -> None:
        """DingTalk accepted it."""

    async def refused(self, place: int) -> None:
        """DingTalk refused it: it was not sent."""


class MemorySendLedger:
    """A ledger for sends that lives as long as its process: for scripts and tests."""

    def __init__(self) -> None:
        self.sent: dict[int, SentLetter] = {}
        self.in_flight: set[int] = set()

    async def load(self) -> Sendings:
        """What earlier runs in this process did."""
        return Sendings(dict(self.sent), frozenset(self.in_flight))

    async def intend(self, place: int) -> None:
        """The letter at this place is about to go out."""
        self.in_flight.add(place)

    async def accepted(self, place: int, letter: SentLetter) -> None:
        """DingTalk accepted it."""
        self.sent[place] = letter
        self.in_flight.discard(place)

    async def refused(self, place: int) -> None:
        """DingTalk refused it: it was not sent."""
        self.in_flight.discard(place)
