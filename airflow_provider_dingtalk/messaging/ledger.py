"""Ledgers: where a running recall or send writes down how far it is, so that a killed task goes on there.

The rule that makes it safe: the intent is written *before* the call goes out, the outcome after. What a crash
leaves as an intent may or may not have been carried out: a recall is made again, a send is not. An intent
that cannot be written means that the call is not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.messaging.verdicts import Verdict


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
