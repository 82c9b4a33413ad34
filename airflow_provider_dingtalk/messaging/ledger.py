"""Ledgers: where a running recall or send writes down how far it is, so that a killed task goes on there.

The rule that makes it safe: the intent is written *before* the call goes out, the outcome after. What a crash
leaves as an intent may or may not have been carried out: a recall is made again, a send is not. An intent
that cannot be written means that the call is not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.messaging.verdicts import Verdict


class LedgerError(DingTalkError):
    """The ledger cannot be read or written."""


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


class SupersededError(LedgerError):
    """Another try of this task has begun: this one may write no more."""


class Address(Struct, frozen=True):
    """What one call sends, and to whom: the identity of a send, whatever its place in the job.

    :param content: Fingerprint of the call without its receivers.
    :param to: Receivers: user ids, department ids, or one conversation.
    """

    content: str
    to: tuple[str, ...]


class SentLetter(Struct, frozen=True):
    """A call that DingTalk accepted.

    :param address: What was sent, and to whom.
    :param dropped: People it left out, by user id, and why.
    """

    receipt: Receipt
    address: Address
    dropped: dict[str, str] = field(default_factory=dict)


class Sendings(Struct, frozen=True):
    """What earlier tries of a send did.

    :param sent: Calls that DingTalk accepted, in their order.
    :param in_doubt: Calls that were under way when a try died: DingTalk may or may not have carried them out.
    """

    sent: Sequence[SentLetter] = ()
    in_doubt: Sequence[Address] = ()


class SendLedger(Protocol):
    """A place for a send that outlives its task. Each method raises :class:`LedgerError` if it cannot."""

    async def load(self) -> Sendings:
        """Read what earlier tries did."""

    async def intend(self, address: Address) -> None:
        """Keep that a call is about to go out. Unless settled, it stays in doubt."""

    async def accepted(self, letter: SentLetter) -> None:
        """Keep that DingTalk accepted the call under way. Doing it twice does no harm."""

    def accept_now(self, letter: SentLetter) -> None:
        """Keep the same from the calling thread, without an event loop."""

    async def refused(self, address: Address) -> None:
        """Keep that DingTalk refused the call under way: it was not sent."""

    async def clear_doubts(self) -> None:
        """Keep calls of earlier tries in doubt no longer: they are about to be made again."""


class MemorySendLedger:
    """A ledger for sends that lives as long as its process: for scripts and tests."""

    def __init__(self) -> None:
        self.sent: list[SentLetter] = []
        self.in_doubt: list[Address] = []

    async def load(self) -> Sendings:
        """Read what earlier runs in this process did."""
        return Sendings(tuple(self.sent), tuple(self.in_doubt))

    async def intend(self, address: Address) -> None:
        """Keep that a call is about to go out."""
        self.in_doubt.append(address)

    async def accepted(self, letter: SentLetter) -> None:
        """Keep that DingTalk accepted the call under way."""
        self.accept_now(letter)

    def accept_now(self, letter: SentLetter) -> None:
        """Keep the same from the calling thread."""
        if letter not in self.sent:
            self.sent.append(letter)
        if letter.address in self.in_doubt:
            self.in_doubt.remove(letter.address)

    async def refused(self, address: Address) -> None:
        """Keep that DingTalk refused the call under way."""
        if address in self.in_doubt:
            self.in_doubt.remove(address)

    async def clear_doubts(self) -> None:
        """Keep calls of earlier runs in doubt no longer."""
        self.in_doubt.clear()
