"""Checkpoints of a recall or send, from which a killed task resumes.

The intent is written before the call goes out, the outcome after it. A call of which a crash left only the intent
is in doubt. A recall is then repeated, a send is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from airflow_provider_dingtalk.jobs.recall_results import KeyResult
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.send_request import Address


class Checkpoint(Protocol):
    """Checkpoint of a recall that outlives its task."""

    async def load(self) -> Mapping[str, KeyResult]:
        """Return the results of earlier tries, by message key.

        :raises CheckpointError: If the checkpoint cannot be read, or holds data that this package did not write.
        """

    async def write(self, results: Mapping[str, KeyResult]) -> None:
        """Store results.

        :raises CheckpointError: If they are not stored. The recall stops before its next call.
        """


class MemoryCheckpoint:
    """Checkpoint of a recall in the memory of its process, for scripts and tests."""

    def __init__(self) -> None:
        self.results: dict[str, KeyResult] = {}

    async def load(self) -> Mapping[str, KeyResult]:
        """Return the results of earlier runs in this process."""
        return dict(self.results)

    async def write(self, results: Mapping[str, KeyResult]) -> None:
        """Store results."""
        self.results.update(results)


class AcceptedSend(Struct, frozen=True):
    """Send request that DingTalk accepted.

    :param address: Content and receivers of the call.
    :param dropped: Reason for each person that DingTalk left out, by user id.
    """

    receipt: Receipt
    address: Address
    dropped: dict[str, str] = {}


class SendProgress(Struct, frozen=True):
    """Progress of the earlier tries of a send.

    :param sent: Calls that DingTalk accepted, in their order.
    :param in_doubt: Calls in flight when a try died. DingTalk may or may not have carried them out.
    """

    sent: Sequence[AcceptedSend] = ()
    in_doubt: Sequence[Address] = ()


#: State of a call: its address if it is intended, the receipt if DingTalk accepted it, None if nothing was sent.
SendState: TypeAlias = Address | AcceptedSend | None


class SendCheckpoint(Protocol):
    """Checkpoint of a send that outlives its task; each method raises :class:`CheckpointError` if it fails."""

    async def load(self) -> SendProgress:
        """Return the progress of earlier tries."""

    async def write(self, states: Mapping[int, SendState]) -> None:
        """Record the states of calls, by their number in this run, in one step.

        An intended call is in doubt until a later write settles it. The method is idempotent.
        """

    def write_now(self, states: Mapping[int, SendState]) -> None:
        """Record the states of calls from the calling thread, without an event loop."""

    async def clear_doubts(self) -> None:
        """Remove the calls in doubt of earlier tries before they are repeated."""


class MemorySendCheckpoint:
    """Checkpoint of a send in the memory of its process, for scripts and tests."""

    def __init__(self) -> None:
        self.sent: list[AcceptedSend] = []
        self.in_doubt: list[Address] = []
        self._intended: dict[int, Address] = {}

    async def load(self) -> SendProgress:
        """Return the progress of earlier runs in this process."""
        self._intended.clear()
        return SendProgress(tuple(self.sent), tuple(self.in_doubt))

    async def write(self, states: Mapping[int, SendState]) -> None:
        """Record the states of calls."""
        self.write_now(states)

    def write_now(self, states: Mapping[int, SendState]) -> None:
        """Record the states of calls from the calling thread."""
        for number, state in states.items():
            if (intended := self._intended.pop(number, None)) is not None:
                self.in_doubt.remove(intended)
            if isinstance(state, Address):
                self._intended[number] = state
                self.in_doubt.append(state)
            elif state is not None and state not in self.sent:
                self.sent.append(state)

    async def clear_doubts(self) -> None:
        """Remove the calls in doubt of earlier runs."""
        self.in_doubt.clear()
