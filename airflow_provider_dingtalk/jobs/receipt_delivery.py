"""Delivery of the receipts of accepted messages to the checkpoint and XComs.

A message that DingTalk accepted cannot be unsent without its receipt. So the receipt goes to every available
store, a failure of one does not affect the others, and each is retried until the job is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.exceptions import CheckpointError, SupersededError
from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend, SendCheckpoint, SendState
from airflow_provider_dingtalk.language import choose, get_logger
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.send_request import Address, shown

log = get_logger(__name__)

#: First and longest pause before a retry, in seconds; each pause is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
#: Seconds for which the receipts wait for the checkpoint, since only it detects that another try has begun.
CHECKPOINT_HEAD_START = 1.0

#: Function that stores further receipts of a job.
StoreReceipts: TypeAlias = Callable[[Sequence[Receipt]], Awaitable[None]]


class ReceiptDelivery:
    """Delivery of the receipts of one send job to all stores.

    :param checkpoint: Checkpoint of the job.
    :param store_receipts: Store of the job's receipts. None disables it.
    :param store_late_receipts: Store of receipts of a superseded try. None disables it.
    """

    def __init__(
        self,
        checkpoint: SendCheckpoint,
        store_receipts: StoreReceipts | None,
        store_late_receipts: StoreReceipts | None,
        clock: Clock,
    ) -> None:
        self._checkpoint = checkpoint
        self._store_receipts = store_receipts
        self._store_late_receipts = store_late_receipts
        self._clock = clock
        #: True if no further call may begin; a failing store is then not retried.
        self.stopped = False
        #: Accepted messages that are not in the checkpoint yet, by the number of their call.
        self.unwritten: dict[int, AcceptedSend] = {}
        self._lock = asyncio.Lock()
        self._error: Exception | None = None

    def accept(self, number: int, sent: AcceptedSend) -> None:
        """Note an accepted message, which a later :meth:`write` has to store."""
        self.unwritten[number] = sent

    async def write(self, states: Mapping[int, SendState]) -> None:
        """Write states of calls to the checkpoint, and store the receipts of accepted messages everywhere.

        :raises SupersededError: If another try of the task has begun. The receipts were stored as late ones.
        :raises CheckpointError: If the checkpoint cannot be written. The receipts were stored, if possible.
        """
        async with self._lock:
            receipts = [sent.receipt for number, sent in self.unwritten.items() if number in states]
            try:
                if self._error is not None:
                    raise self._error
                await self._write(states, receipts)
            except SupersededError as error:
                self._error = error
                await self._store_as_late(receipts)
                self._note_written(states)
                raise
            except Exception as error:
                self._error = error
                raise

    def write_now(self) -> None:
        """Write accepted messages to the checkpoint from the calling thread."""
        states = dict(self.unwritten)
        self._checkpoint.write_now(states)
        self._note_written(states)

    async def publish(self, receipts: Sequence[Receipt]) -> None:
        """Store receipts of the job, with retries."""
        if (store := self._store_receipts) and receipts:
            await self._retry(lambda: store(receipts), "receipts")

    async def _write(self, states: Mapping[int, SendState], receipts: Sequence[Receipt]) -> None:
        """Write the states and publish the receipts, each also if the other one fails."""
        writing = asyncio.ensure_future(self._write_to_checkpoint(states, receipts))
        try:
            await asyncio.wait({writing}, timeout=CHECKPOINT_HEAD_START)
            if not _is_superseded(writing):
                await self.publish(receipts)
            await writing
        finally:
            if not writing.done():
                writing.cancel()
            elif not writing.cancelled():
                writing.exception()  # else asyncio logs an error that was raised already

    async def _write_to_checkpoint(self, states: Mapping[int, SendState], receipts: Sequence[Receipt]) -> None:
        if states and all(isinstance(state, Address) for state in states.values()):
            # No call went out, so the job may end.
            await self._checkpoint.write(states)
            return
        try:
            await self._retry(lambda: self._write_or_log(states, receipts), "the progress of a send")
        except SupersededError:
            raise
        except CheckpointError as error:
            raise _not_stored(receipts) if receipts else error from None
        self._note_written(states)

    async def _write_or_log(self, states: Mapping[int, SendState], receipts: Sequence[Receipt]) -> None:
        try:
            await self._checkpoint.write(states)
        except Exception:
            if receipts:
                told = choose("Receipts that are not stored yet", "尚未存储的回执")
                log.warning("%s: %s", told, [receipt.to_json() for receipt in receipts])
            raise

    def _note_written(self, states: Mapping[int, SendState]) -> None:
        for number in states:
            self.unwritten.pop(number, None)

    async def _retry(self, write: Callable[[], Awaitable[None]], what: str) -> None:
        """Write, and retry until the job is stopped."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await write()
            except SupersededError:
                raise
            except Exception as error:
                log.warning("Cannot store %s (%s: %s).", what, type(error).__name__, error)
                if self.stopped:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _store_as_late(self, receipts: Sequence[Receipt]) -> None:
        told = choose(
            "Another try of this task has begun; the receipt of a last message is",
            "该任务的另一次尝试已开始；最后一条消息的回执是",
        )
        for receipt in receipts:
            log.warning("%s %s", told, receipt.to_json())
        if (store := self._store_late_receipts) and receipts:
            await self._retry(lambda: store(receipts), "late receipts")


def _not_stored(receipts: Sequence[Receipt]) -> CheckpointError:
    keys = shown(receipt.key for receipt in receipts)
    return CheckpointError(
        f"DingTalk accepted {keys}, and the task state store does not take the receipts. They are in the log, and in "
        "the XComs receipts_0, … if Airflow takes XComs.",
        message_zh=f"钉钉已接受 {keys}，但任务状态存储无法写入回执。日志中有回执；"
        "如果 Airflow 能写入 XCom，receipts_0 等也有。",
        code="checkpoint",
        next_step="Do not repeat the send. See whether Airflow's API server is up, then recall or clear.",
        # Airflow deletes the XComs at the start of a try, which would find an intent without a receipt, so there
        # must be no retry.
        permanent=True,
    )


def _is_superseded(writing: asyncio.Future[None]) -> bool:
    return writing.done() and not writing.cancelled() and isinstance(writing.exception(), SupersededError)
