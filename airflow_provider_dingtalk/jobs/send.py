"""Send job with calls side by side, whose receipts are stored before further calls begin.

DingTalk has no idempotency key. A send without an answer is ``unknown``, since its message may be in the chat.
That message has no key and cannot be recalled. It is listed, and sent again only with ``on_unknown="resend"``.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.client.retry import LONG_WAIT
from airflow_provider_dingtalk.exceptions import (
    ConnectionFailedError,
    DingTalkError,
    DroppedReceiversError,
    IncompleteSendError,
)
from airflow_provider_dingtalk.jobs.checkpoint import (
    AcceptedSend,
    MemorySendCheckpoint,
    SendCheckpoint,
    SendProgress,
    SendState,
)
from airflow_provider_dingtalk.jobs.checkpoint_writer import CheckpointWriter
from airflow_provider_dingtalk.jobs.progress import Progress
from airflow_provider_dingtalk.jobs.recall_results import leaves_doubt, pause_of
from airflow_provider_dingtalk.jobs.receipt_delivery import ReceiptDelivery, StoreReceipts
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.reason import NO_CODE, Reason
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.send_request import (
    FailedSend,
    SendRequest,
    is_about_a_receiver,
    shown,
)

log = get_logger(__name__)

#: Maximum calls that are begun and not written as accepted; after a kill, these are in doubt. Fewer if the client's
#: limit is lower: twice its calls in flight, so that one write serves a second of DingTalk's usual rate limit.
WORKERS = 20
#: Seconds for which a write waits for the other half of these calls.
GROUP_DELAY = 0.4

_CHECK_CHAT = "Look into the chat: the message may be there. It has no key and cannot be recalled by this package."
#: Reason for the doubt of a call that was in flight when its try ended.
CUT_OFF = Reason("no_answer", "The task stopped while this send was under way.", _CHECK_CHAT)


class Send:
    """Send job.

    :param send_requests: Send requests. The first one is made alone, so that a refusal of all costs one call.
    :param checkpoint: Checkpoint; default: in memory. With one, a second run sends only what is missing.
    :param store_receipts: Function that is awaited with further receipts: first with those of earlier runs. None
        disables it.
    :param store_late_receipts: Function that is awaited with the receipts of messages that were accepted after another
        try of the task began. None disables it.
    :param on_unknown: Treatment of a call in doubt. ``fail`` (default) lists it and counts as a failure, ``skip``
        only lists it, and ``resend`` repeats it in the next run.
    :param fail_on_refused: Fail if DingTalk refuses a receiver; default True. In either case, the others are
        served.
    :param fail_on_unreached: Fail if DingTalk accepted all calls and left out all people; default True.
    :param earlier_receipts: Receipts of an earlier job of the same task, which are stored with those of this one.
    :param clock: Source of time; default: the system's.
    :param workers: Maximum calls that are begun and not written as accepted; default 20.
    """

    def __init__(
        self,
        send_requests: Sequence[SendRequest],
        *,
        checkpoint: SendCheckpoint | None = None,
        store_receipts: StoreReceipts | None = None,
        store_late_receipts: StoreReceipts | None = None,
        on_unknown: str = "fail",
        fail_on_refused: bool = True,
        fail_on_unreached: bool = True,
        earlier_receipts: Sequence[Receipt] = (),
        clock: Clock | None = None,
        workers: int = WORKERS,
    ) -> None:
        self._send_requests = send_requests
        self._is_durable = checkpoint is not None
        self._checkpoint = checkpoint or MemorySendCheckpoint()
        self._clock = clock or SystemClock()
        self.delivery = ReceiptDelivery(self._checkpoint, store_receipts, store_late_receipts, self._clock)
        self._writer: CheckpointWriter[int, SendState] = CheckpointWriter(self._write, self._clock, GROUP_DELAY)
        self._progress = Progress(log, "Send", len(send_requests), self._clock)
        self._workers = workers
        self._on_unknown = on_unknown
        self._fail_on_refused = fail_on_refused
        self._fail_on_unreached = fail_on_unreached
        self._queue = deque(send_requests)
        self._numbers = count()
        self._in_flight: dict[int, SendRequest] = {}
        self._earlier_receipts = list(earlier_receipts)
        #: Receipts of this job's earlier tries.
        self._resumed: list[Receipt] = []
        #: Receipts of this run, by the number of their call.
        self._accepted: dict[int, Receipt] = {}
        self._unknown: list[FailedSend] = []
        self._stopping_error: DingTalkError | None = None
        self._may_begin = True
        #: Function that ends waits for the stores, called when the job is stopped.
        self.on_stop: Callable[[], None] = lambda: None
        self.dropped: dict[str, str] = {}
        #: Receivers that DingTalk refused one by one; the job continued.
        self.refused: list[FailedSend] = []
        #: Calls whose refusal ended the job.
        self.failed: list[FailedSend] = []
        self._first_error: DingTalkError | None = None
        self.used: Counter[str] = Counter()
        #: Seconds until the job may resume; 0 if DingTalk requires no pause.
        self.wait = 0.0

    async def run(self, client: DingTalkClient) -> list[Receipt]:
        """Make the calls and return the receipts.

        A refusal of one receiver or a lost answer does not end the job; any other refusal does. The results are in
        :attr:`receipts`, :attr:`dropped`, :attr:`unknown`, :attr:`refused` and :attr:`failed`.

        :raises CheckpointError: If the checkpoint cannot be read or written.
        """
        await self._resume()
        self._progress.log_start(len(self._queue))
        if self._next_begins:
            await self._send(client, self._queue.popleft())
        await self._send_rest(client)
        return self.receipts

    async def run_within(self, client: DingTalkClient, seconds: float) -> list[Receipt]:
        """Run with a timeout, after which a call in flight is unknown.

        :param seconds: Timeout in seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.run(client)
        except TimeoutError:
            log.warning("Time is up after %g s.", seconds)
            return self.receipts

    def stop(self) -> None:
        """Begin no further call. Safe to call from threads and signal handlers."""
        self._may_begin = False
        self.delivery.stopped = True
        self.on_stop()

    @property
    def receipts(self) -> list[Receipt]:
        """Receipts of earlier jobs, of this job's earlier tries, and of this run in the order of its calls."""
        return [*self._earlier_receipts, *self._own]

    @property
    def _own(self) -> list[Receipt]:
        return [*self._resumed, *(self._accepted[number] for number in sorted(self._accepted))]

    @property
    def requested(self) -> int:
        """Number of calls of the whole job."""
        return len(self._send_requests)

    @property
    def unknown(self) -> list[FailedSend]:
        """Calls in doubt, including those that were cut off in flight."""
        return self._unknown + [FailedSend(one.to, CUT_OFF) for one in self._in_flight.values()]

    @property
    def not_attempted(self) -> int:
        """Number of calls that were not begun."""
        return len(self._queue)

    @property
    def cause(self) -> DingTalkError | None:
        """Error that ended the job, or the first one if it went on; a call in doubt is listed besides."""
        return self._stopping_error or self._first_error

    @property
    def is_final(self) -> bool:
        """True if another run is pointless or harmful."""
        # Without a checkpoint, another run would repeat sends that were accepted or are in doubt.
        if not self._is_durable and (self._own or self.unknown):
            return True
        if self._stopping_error:
            return self._stopping_error.permanent
        # The next run can serve the other receivers in spite of a call in doubt.
        is_left = self.not_attempted or (self.unknown and self._on_unknown == "resend")
        return not is_left and bool(self.refused or self.unknown)

    def raise_if_incomplete(self) -> None:
        """Raise if the send is incomplete, in doubt, or reached no receiver.

        :raises IncompleteSendError: If a call failed, was refused, was not begun, or is in doubt. The error holds
            the receipts of the messages that were sent.
        :raises DroppedReceiversError: If DingTalk left out all people.
        """
        refused = self.refused and (self._fail_on_refused or not self._own)
        if self.failed or refused or self.not_attempted or (self.unknown and self._on_unknown != "skip"):
            raise self._incomplete()
        is_unreached = bool(self._own) and all(receipt.recipients == 0 for receipt in self._own)
        if self._fail_on_unreached and is_unreached and not self.unknown:
            raise DroppedReceiversError(
                f"The send reached no recipient: DingTalk left out {_with_reasons(self.dropped)}.",
                message_zh=f"消息没有送达任何人：钉钉遗漏 {_with_reasons(self.dropped)}。",
                code="dropped_receivers",
                next_step="Check user_ids: DingTalk's user id is meant, neither name nor telephone number.",
            )

    def _incomplete(self) -> IncompleteSendError:
        cause = self.cause or DingTalkError("", code="not_attempted")
        refused = [*self.refused, *self.failed]
        names = shown(map(str, refused))
        named, named_zh = (f"Refused: {names}. ", f"被拒绝：{names}。") if refused else ("", "")
        return IncompleteSendError(
            f"Sent {len(self.receipts)}, refused {len(refused)}, unknown {len(self.unknown)}, "
            f"not begun {self.not_attempted}. {named}{cause.message}",
            message_zh=f"已发送 {len(self.receipts)}，被拒绝 {len(refused)}，未知 {len(self.unknown)}，"
            f"未开始 {self.not_attempted}。{named_zh}{cause.in_chinese}",
            receipts=self.receipts,
            code=cause.code,
            next_step=cause.next_step,
            next_step_zh=cause.next_step_zh,
            permanent=self.is_final,
        )

    async def _resume(self) -> None:
        """Load the progress of earlier runs, and queue only missing calls."""
        earlier = await self._checkpoint.load()
        for sent in earlier.sent:
            self._resumed.append(sent.receipt)
            self._note_dropped(sent)
        if self._on_unknown == "resend" and earlier.in_doubt:
            await self._checkpoint.clear_doubts()
            earlier = SendProgress(earlier.sent)
        self._unknown = [FailedSend(address.to, CUT_OFF) for address in earlier.in_doubt]
        self._queue = deque(missing(self._send_requests, earlier))
        if earlier.sent or earlier.in_doubt:
            counts = len(earlier.sent), len(self._unknown), len(self._queue)
            log.info("Earlier tries made %d calls; %d unknown; %d are missing.", *counts)
        if self.receipts:
            await self.delivery.publish(self.receipts)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _next_begins(self) -> bool:
        """True if there is a call to begin."""
        return self._may_begin and bool(self._queue)

    async def _send_rest(self, client: DingTalkClient) -> None:
        """Make the calls of the queue side by side; after an error of one, the others end and none begins."""
        workers = max(1, min(self._workers, 2 * client.in_flight, len(self._queue)))
        ends = await asyncio.gather(*(self._work(client) for _ in range(workers)), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def _work(self, client: DingTalkClient) -> None:
        with self._writer.writer():
            # All workers are to be known to the writer before the first of them writes, so yield once.
            await asyncio.sleep(0)
            try:
                while self._next_begins:
                    await self._send(client, self._queue.popleft())
                    self._log_progress()
                await self._writer.write({})
            except BaseException:
                self._may_begin = False
                raise

    def _log_progress(self) -> None:
        if self._progress.is_due:
            done = len(self._own) + len(self._unknown) + len(self.refused) + len(self.failed)
            self._progress.log(min(done, len(self._send_requests)), self.used)

    async def _write(self, states: Mapping[int, SendState]) -> None:
        await self.delivery.write(states)

    async def _send(self, client: DingTalkClient, send_request: SendRequest) -> None:
        """Write the intent of a call with the results of others, and make the call."""
        number = next(self._numbers)
        try:
            await self._writer.write({number: send_request.address})
        except BaseException:
            self._queue.appendleft(send_request)
            raise
        if not self._may_begin:
            # The job was stopped during the write.
            self._queue.appendleft(send_request)
            self._writer.note({number: None})
            return
        self._in_flight[number] = send_request
        used: Counter[str] = Counter()
        try:
            response = await client.call(send_request.call, used, "send")
        except DingTalkError as error:
            self._fail(number, error)
        except Exception as error:  # of any library
            if used["send"]:
                raise
            # The client counts a request before its first byte goes out, so this call was not sent.
            self._fail(number, _not_sent(error))
        else:
            self._accept(number, response)
        finally:
            self.used.update(used)

    def _accept(self, number: int, response: Any) -> None:
        send_request = self._in_flight[number]
        of_kind = message_type(send_request.kind)
        dropped, receipt = of_kind.undelivered(response), of_kind.receipt(send_request, response, self._clock.now())
        log.info("DingTalk accepted %s %s, sent to %s.", receipt.kind, receipt.key, shown(send_request.to))
        sent = AcceptedSend(receipt, send_request.address, dropped)
        self._accepted[number] = receipt
        self.delivery.accept(number, sent)
        del self._in_flight[number]
        self._note_dropped(sent)
        self._writer.note({number: sent})

    def _fail(self, number: int, error: DingTalkError) -> None:
        send_request = self._in_flight.pop(number)
        log.warning("%s", error)
        self._first_error = self._first_error or error
        if pause := pause_of(error):
            self._stop_for(error)
            self.wait = max(LONG_WAIT, pause)
        if leaves_doubt(error):
            # The intent stays in the checkpoint, so the next run knows of the doubt.
            self._unknown.append(FailedSend(send_request.to, Reason(error.code or NO_CODE, error.message, _CHECK_CHAT)))
            return
        self._writer.note({number: None})
        if not is_about_a_receiver(error):
            self.failed.append(FailedSend(send_request.to, Reason.of(error)))
            self._stop_for(error)
        elif len(send_request.to) > 1:
            # A refused call sent nothing, so its halves may be sent, until the refused receiver is found.
            self._queue.extendleft(reversed(send_request.halves()))
        else:
            self.refused.append(FailedSend(send_request.to, Reason.of(error)))

    def _stop_for(self, error: DingTalkError) -> None:
        self._stopping_error = self._stopping_error or error
        self._may_begin = False

    def _note_dropped(self, sent: AcceptedSend) -> None:
        if sent.dropped:
            self.dropped |= sent.dropped
            log.warning("DingTalk left out %d people: %s.", len(sent.dropped), _with_reasons(sent.dropped))


def missing(send_requests: Iterable[SendRequest], earlier: SendProgress) -> list[SendRequest]:
    """Select the requests that earlier runs neither sent nor left in doubt.

    They are matched by content and receiver, not by index.
    """
    addresses = [*(sent.address for sent in earlier.sent), *earlier.in_doubt]
    done = Counter((address.content, receiver) for address in addresses for receiver in address.to)
    if not done:
        return [send_request for send_request in send_requests if send_request.to]
    found = []
    for send_request in send_requests:
        content, left = send_request.content, []
        for receiver in send_request.to:
            if done[content, receiver]:
                done[content, receiver] -= 1
            else:
                left.append(receiver)
        if left:
            found.append(send_request if len(left) == len(send_request.to) else send_request.narrowed(left))
    return found


def _not_sent(error: Exception) -> ConnectionFailedError:
    """Build the error of a call that failed before its request.

    It names only the exception's type, since its text may hold a secret.
    """
    return ConnectionFailedError(
        f"Not sent: {type(error).__name__} before the request.",
        message_zh=f"未发送：请求之前出现 {type(error).__name__}。",
        code="not_sent",
        next_step="Check the connection's settings and the proxy of the environment; then run the task again.",
    )


def _with_reasons(people: dict[str, str]) -> str:
    return shown(f"{user} ({why})" for user, why in people.items())
