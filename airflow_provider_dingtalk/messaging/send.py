"""Send: messages out, receipts back, the moment DingTalk answers.

DingTalk has no idempotency key. A send without an answer is ``unknown``: the message may be in the chat, has
no key, and cannot be recalled. It is listed and never sent again by itself.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.api.client import DingTalkClient
from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.endpoints import (
    DingResult,
    Endpoint,
    OtoSendResult,
    SendResult,
    WorkNotificationSent,
)
from airflow_provider_dingtalk.api.errors import AmbiguousError, DingTalkError, ServerError
from airflow_provider_dingtalk.messaging.progress import Progress
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt, iso
from airflow_provider_dingtalk.messaging.report import Reason

log = logging.getLogger(__name__)


class Letter(Struct, frozen=True, kw_only=True):
    """One call that sends.

    :param call: The call itself.
    :param to: Whom it goes to: user ids, department ids or a conversation, for reports.
    :param recipients: How many people that is, if known.
    """

    kind: Kind
    call: Endpoint[Any]
    to: tuple[str, ...]
    recipients: int | None = None


class Unsent(Struct, frozen=True):
    """A call that did not send, or nobody knows whether it did."""

    to: tuple[str, ...]
    reason: Reason

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"to": list(self.to), **self.reason.to_json()}


class IncompleteSendError(DingTalkError):
    """Not everything was sent, or nobody knows.

    :param receipts: What was sent, and can be recalled.
    """

    def __init__(self, job: Send) -> None:
        first = job.first_error
        super().__init__(
            f"Sent {len(job.receipts)}, refused {len(job.failed)}, unknown {len(job.unknown)}, "
            f"not begun {job.not_attempted}. " + (first.message if first else ""),
            code=first.code if first else "not_attempted",
            next_step=first.next_step if first else "",
            next_step_zh=first.next_step_zh if first else "",
            # What was sent once must not be sent again by a retry that knows nothing of it.
            permanent=bool(job.receipts or job.unknown) or bool(first and first.permanent),
        )
        self.receipts = list(job.receipts)


class Send:
    """One job of sending.

    :param letters: The calls, made one after the other.
    :param keep: Awaited with all receipts so far as soon as there is a new one, before the next call.
    """

    def __init__(
        self,
        letters: Sequence[Letter],
        *,
        keep: Callable[[Sequence[Receipt]], Awaitable[None]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._letters = letters
        self._keep = keep
        self._clock = clock or SystemClock()
        self._stopped = False
        self._under_way: Letter | None = None
        self.receipts: list[Receipt] = []
        self.dropped: dict[str, str] = {}
        self._unknown: list[Unsent] = []
        self.failed: list[Unsent] = []
        self.first_error: DingTalkError | None = None
        self.used: Counter[str] = Counter()

    async def run(self, client: DingTalkClient) -> list[Receipt]:
        """Send. A call that is refused ends the job; one whose answer is lost does not.

        What happened to each call is in :attr:`receipts`, :attr:`dropped`, :attr:`unknown`, :attr:`failed`.
        """
        progress = Progress(log, "Send", len(self._letters), self._clock)
        progress.begin(len(self._letters))
        for number, letter in enumerate(self._letters):
            if self._stopped:
                break
            await self._send(client, letter)
            if progress.is_due:
                progress.tell(number + 1, self.used)
        return self.receipts

    def stop(self) -> None:
        """Begin no further call. Safe to be called from another thread or a signal handler."""
        self._stopped = True

    @property
    def unknown(self) -> list[Unsent]:
        """Calls of which nobody knows whether they sent; one that was cut off under way is among them."""
        if not self._under_way:
            return self._unknown
        reason = Reason("no_answer", "The task stopped while this send was under way.", _LOOK)
        return [*self._unknown, Unsent(self._under_way.to, reason)]

    @property
    def not_attempted(self) -> int:
        """How many calls were not begun."""
        return len(self._letters) - len(self.receipts) - len(self.unknown) - len(self.failed)

    def raise_if_incomplete(self) -> None:
        """Say so if anything was not sent, or may not have been.

        :raises IncompleteSendError: It holds the receipts of what was sent.
        """
        if self.failed or self.unknown or self.not_attempted:
            raise IncompleteSendError(self)

    async def _send(self, client: DingTalkClient, letter: Letter) -> None:
        self._under_way = letter
        try:
            result = await client.call(letter.call, self.used, "send")
        except (AmbiguousError, ServerError) as error:
            self._unknown.append(Unsent(letter.to, Reason(error.code, error.message, _LOOK)))
            self._note(error)
        except DingTalkError as error:
            self.failed.append(Unsent(letter.to, Reason.of(error)))
            self._note(error)
            self._stopped = True
        else:
            dropped = _dropped(result)
            self.receipts.append(receipt_of(letter, result, self._clock.now(), len(dropped)))
            self.dropped |= dropped
        self._under_way = None
        if self._keep and self.receipts:
            await self._keep(self.receipts)

    def _note(self, error: DingTalkError) -> None:
        log.warning("%s", error)
        self.first_error = self.first_error or error


_LOOK = "Look into the chat: the message may be there. It has no key and cannot be recalled by this package."


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
