"""Send: messages out, receipts back, the moment DingTalk answers.

DingTalk has no idempotency key. A send without an answer is ``unknown``: the message may be in the chat, has
no key, and cannot be recalled. It is listed and never sent again by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.api.client import LONG_WAIT, DingTalkClient
from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.endpoints import (
    DingResult,
    Endpoint,
    OtoSendResult,
    SendResult,
    WorkNotificationSent,
)
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.messaging.ledger import MemorySendLedger, SendLedger, SentLetter
from airflow_provider_dingtalk.messaging.progress import Progress
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt, iso
from airflow_provider_dingtalk.messaging.report import NO_CODE, Reason
from airflow_provider_dingtalk.messaging.verdicts import asks_to_wait, leaves_doubt

log = logging.getLogger(__name__)


class Letter(Struct, frozen=True, kw_only=True):
    """One call that sends.

    :param call: The call itself.
    :param to: Whom it goes to: user ids, department ids or a conversation, for reports.
    :param recipients: How many people that is, if known.
    :param conn_id: Airflow connection that it is sent by, for its receipt.
    """

    kind: Kind
    call: Endpoint[Any]
    to: tuple[str, ...]
    recipients: int | None = None
    conn_id: str | None = None


class Unsent(Struct, frozen=True):
    """A call that did not send, or nobody knows whether it did."""

    to: tuple[str, ...]
    reason: Reason

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"to": list(self.to), **self.reason.to_json()}


class IncompleteSendError(DingTalkError):
    """Not everything was sent, or nobody knows.

    :param job: The job of sending.
    :ivar receipts: What was sent, and can be recalled.
    """

    def __init__(self, job: Send) -> None:
        first = job.first_error
        super().__init__(
            f"Sent {len(job.receipts)}, refused {len(job.failed)}, unknown {len(job.unknown)}, "
            f"not begun {job.not_attempted}. " + (first.message if first else ""),
            code=first.code if first else "not_attempted",
            next_step=first.next_step if first else "",
            next_step_zh=first.next_step_zh if first else "",
            permanent=job.is_final,
        )
        self.receipts = list(job.receipts)


class Send:
    """One job of sending.

    :param letters: The calls, made one after the other.
    :param ledger: Where to keep how far it is. With one, a second run sends only what is missing.
    :param keep: Awaited with all receipts so far: first with those of earlier runs, then as soon as there is a
        new one, before the next call.
    :param on_unknown: What to do with a call of which nobody knows whether it sent: ``fail`` lists it and counts
        as a failure, ``skip`` only lists it, ``resend`` makes it again in the next run.
    :param carried: Receipts of an earlier job of the same task: handed on, or they would be forgotten.
    """

    def __init__(
        self,
        letters: Sequence[Letter],
        *,
        ledger: SendLedger | None = None,
        keep: Callable[[Sequence[Receipt]], Awaitable[None]] | None = None,
        on_unknown: str = "fail",
        carried: Sequence[Receipt] = (),
        clock: Clock | None = None,
    ) -> None:
        self._letters = letters
        self._is_durable = ledger is not None
        self._ledger = ledger or MemorySendLedger()
        self._keep = keep
        self._on_unknown = on_unknown
        self._clock = clock or SystemClock()
        self._stopped = False
        self._under_way: Letter | None = None
        self._sent = 0
        self._unknown: list[Unsent] = []
        self.receipts: list[Receipt] = list(carried)
        self.dropped: dict[str, str] = {}
        self.failed: list[Unsent] = []
        self.first_error: DingTalkError | None = None
        self.used: Counter[str] = Counter()
        #: Seconds after which to go on, if DingTalk wants no calls until then.
        self.wait = 0.0

    async def run(self, client: DingTalkClient) -> list[Receipt]:
        """Send. A call that is refused ends the job; one whose answer is lost does not.

        What happened to each call is in :attr:`receipts`, :attr:`dropped`, :attr:`unknown`, :attr:`failed`.

        :raises LedgerError: The ledger cannot be read or written; nothing more was sent.
        """
        settled = await self._resume()
        progress = Progress(log, "Send", len(self._letters), self._clock)
        progress.begin(len(self._letters) - len(settled))
        for place, letter in enumerate(self._letters):
            if self._stopped:
                break
            if place not in settled:
                await self._send(client, place, letter)
            if progress.is_due:
                progress.tell(place + 1, self.used)
        return self.receipts

    async def run_within(self, client: DingTalkClient, seconds: float) -> list[Receipt]:
        """Send; what is under way when time is up is cut off, and unknown."""
        try:
            async with asyncio.timeout(seconds):
                return await self.run(client)
        except TimeoutError:
            log.warning("Time is up after %g s.", seconds)
            return self.receipts

    def stop(self) -> None:
        """Begin no further call. Safe to be called from another thread or a signal handler."""
        self._stopped = True

    @property
    def unknown(self) -> list[Unsent]:
        """Calls of which nobody knows whether they sent; one that was cut off under way is among them."""
        cut_off = [Unsent(self._under_way.to, _CUT_OFF)] if self._under_way else []
        return self._unknown + cut_off

    @property
    def not_attempted(self) -> int:
        """How many calls were not begun."""
        return len(self._letters) - self._sent - len(self.unknown) - len(self.failed)

    @property
    def is_final(self) -> bool:
        """Whether another run is pointless, or would do harm."""
        if self.unknown and self._on_unknown == "fail":
            return True
        # What was sent once must not be sent again by a run that knows nothing of it.
        forgets = not self._is_durable and bool(self._sent or self.unknown)
        return forgets or bool(self.first_error and self.first_error.permanent)

    def raise_if_incomplete(self) -> None:
        """Say so if anything was not sent, or may not have been.

        :raises IncompleteSendError: It holds the receipts of what was sent.
        """
        if self.failed or self.not_attempted or (self.unknown and self._on_unknown != "skip"):
            raise IncompleteSendError(self)

    async def _resume(self) -> set[int]:
        """Take up what earlier runs did; the places of letters that need no call."""
        earlier = await self._ledger.load()
        for _, letter in sorted(earlier.sent.items()):
            self._note_sent(letter)
        settled = set(earlier.sent)
        for place in sorted(earlier.in_flight):
            if self._on_unknown != "resend":
                self._unknown.append(Unsent(self._letters[place].to, _CUT_OFF))
                settled.add(place)
        if settled:
            log.info(
                "An earlier try sent %d of %d; %d unknown.", self._sent, len(self._letters), len(self._unknown)
            )
        await self._hand_over()
        return settled

    async def _send(self, client: DingTalkClient, place: int, letter: Letter) -> None:
        await self._ledger.intend(place)
        self._under_way = letter
        try:
            result = await client.call(letter.call, self.used, "send")
        except DingTalkError as error:
            self._under_way = None
            self._note(error)
            if wait := asks_to_wait(error):
                self._stopped = True
                self.wait = max(LONG_WAIT, wait)
            if leaves_doubt(error):
                # The intent stays in the ledger: that is what "unknown" looks like to the next run.
                self._unknown.append(Unsent(letter.to, Reason(error.code or NO_CODE, error.message, _LOOK)))
            else:
                self.failed.append(Unsent(letter.to, Reason.of(error)))
                self._stopped = True
                await self._ledger.refused(place)
        else:
            dropped = _dropped(result)
            sent = SentLetter(receipt_of(letter, result, self._clock.now(), len(dropped)), dropped)
            self._note_sent(sent)
            self._under_way = None
            await self._ledger.accepted(place, sent)
            await self._hand_over()

    def _note_sent(self, letter: SentLetter) -> None:
        self._sent += 1
        self.receipts.append(letter.receipt)
        self.dropped |= letter.dropped

    async def _hand_over(self) -> None:
        if self._keep and self.receipts:
            await self._keep(self.receipts)

    def _note(self, error: DingTalkError) -> None:
        log.warning("%s", error)
        self.first_error = self.first_error or error


_LOOK = "Look into the chat: the message may be there. It has no key and cannot be recalled by this package."
_CUT_OFF = Reason("no_answer", "The task stopped while this send was under way.", _LOOK)


def receipt_of(letter: Letter, result: object, now: float, dropped: int = 0) -> Receipt:
    """The receipt of a call that DingTalk accepted."""
    call = letter.call
    key: dict[str, str] = {}
    if isinstance(result, SendResult):
        key["process_query_key"] = result.process_query_key
    elif isinstance(result, DingResult):
        key["open_ding_id"] = result.open_ding_id
    elif isinstance(result, WorkNotificationSent):
        key["task_id"] = str(result.task_id)
    agent_id = getattr(call, "agent_id", None)
    return Receipt(
        kind=letter.kind,
        conn_id=letter.conn_id,
        robot_code=getattr(call, "robot_code", None),
        agent_id=None if agent_id is None else str(agent_id),
        open_conversation_id=getattr(call, "open_conversation_id", None),
        process_query_key=key.get("process_query_key"),
        open_ding_id=key.get("open_ding_id"),
        task_id=key.get("task_id"),
        sent_at=iso(now),
        recipients=None if letter.recipients is None else letter.recipients - dropped,
    )


def _dropped(result: object) -> dict[str, str]:
    """People whom DingTalk left out of a send that it accepted, by user id, and why."""
    if isinstance(result, OtoSendResult):
        return {
            **dict.fromkeys(result.filtered_staff_id_list or (), "filtered"),
            **dict.fromkeys(result.flow_controlled_staff_id_list or (), "flow_controlled"),
            **dict.fromkeys(result.invalid_staff_id_list or (), "invalid"),
        }
    if isinstance(result, DingResult):
        return {user: reason for reason, users in (result.failed_list or {}).items() for user in users}
    return {}


def pages(items: Iterable[str], size: int) -> list[tuple[str, ...]]:
    """Items, each once, in groups of at most ``size``."""
    distinct = list(dict.fromkeys(items))
    return [tuple(distinct[start : start + size]) for start in range(0, len(distinct), size)]
