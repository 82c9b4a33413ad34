"""Delivery of the receipts of accepted messages to the checkpoint and XComs.

A message that DingTalk accepted cannot be unsent without its receipt. So the receipt goes to every available
store, a failure of one does not affect the others, and each is retried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.exceptions import CheckpointError, SupersededError
from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend, SendCheckpoint
from airflow_provider_dingtalk.messages.receipt import Receipt

log = logging.getLogger(__name__)

#: Seconds for which a failing checkpoint, and a failing store of receipts, is retried.
CHECKPOINT_TIMEOUT, RECEIPTS_TIMEOUT = 60.0, 600.0
#: First and longest pause before a retry, in seconds; each pause is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
#: Seconds for which the receipts wait for the checkpoint, since only it detects that another try has begun.
CHECKPOINT_HEAD_START = 1.0

#: Function that stores all receipts of a job.
StoreReceipts: TypeAlias = Callable[[Sequence[Receipt]], Awaitable[None]]
#: Function that stores the receipt of a message that was accepted after another try of the task began.
StoreLateReceipt: TypeAlias = Callable[[Receipt], Awaitable[None]]


class ReceiptDelivery:
    """Delivery of the receipts of one send job to all stores.

    :param checkpoint: Checkpoint of the job.
    :param store_receipts: Store of all receipts of the job. None disables it.
    :param store_late_receipt: Store of receipts of a superseded try. None disables it.
    """

    def __init__(
        self,
        checkpoint: SendCheckpoint,
        store_receipts: StoreReceipts | None,
        store_late_receipt: StoreLateReceipt | None,
        clock: Clock,
    ) -> None:
        self._checkpoint = checkpoint
        self._store_receipts = store_receipts
        self._store_late_receipt = store_late_receipt
        self._clock = clock
        #: True if no further call may begin; a failing store is then not retried.
        self.stopped = False
        #: Accepted message that is not in the checkpoint yet, else None.
        self.unwritten: AcceptedSend | None = None

    async def store(self, sent: AcceptedSend, receipts: Sequence[Receipt]) -> None:
        """Store the receipt of an accepted message everywhere.

        :param receipts: All receipts of the job, including this one.
        :raises SupersededError: If another try of the task has begun. The receipt was stored as a late one.
        :raises CheckpointError: If the checkpoint cannot be written. The receipts were stored, if possible.
        """
        self.unwritten = sent
        writing = asyncio.ensure_future(self._write(sent))
        try:
            await asyncio.wait({writing}, timeout=CHECKPOINT_HEAD_START)
            if not _is_superseded(writing):
                await self.store_all(receipts)
            await writing
        except SupersededError:
            await self._store_as_late(sent.receipt)
            raise
        finally:
            if not writing.done():
                writing.cancel()
            elif not writing.cancelled():
                writing.exception()  # else asyncio logs an error that was raised already

    def write_now(self, sent: AcceptedSend) -> None:
        """Write an accepted message to the checkpoint from the calling thread."""
        self._checkpoint.accept_now(sent)
        self.unwritten = None

    async def store_all(self, receipts: Sequence[Receipt]) -> None:
        """Store all receipts of the job, with retries."""
        if store := self._store_receipts:
            await self.retry(lambda: store(receipts), "receipts", RECEIPTS_TIMEOUT)

    async def retry(self, write: Callable[[], Awaitable[None]], what: str, timeout: float = CHECKPOINT_TIMEOUT) -> None:
        """Write, and retry until the timeout ends or the job is stopped.

        :param what: Name of the written data, for the log.
        :param timeout: Timeout of the retries in seconds; default 60.
        """
        pause, until = FIRST_PAUSE, self._clock.monotonic() + timeout
        while True:
            try:
                await write()
            except SupersededError:
                raise
            except Exception as error:
                log.warning("Cannot store %s (%s: %s).", what, type(error).__name__, error)
                if self.stopped or self._clock.monotonic() >= until:
                    raise
            else:
                return
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _write(self, sent: AcceptedSend) -> None:
        try:
            await self.retry(lambda: self._checkpoint.accepted(sent), "the progress of a send")
        except SupersededError:
            raise
        except CheckpointError:
            raise CheckpointError(
                f"DingTalk accepted the message {sent.receipt.key}, and the task state store does not take its "
                "receipt. It is in the log, and in the XComs receipts_0, … if Airflow takes XComs.",
                code="checkpoint",
                next_step="Do not repeat the send. See whether Airflow's API server is up, then recall or clear.",
                # Airflow deletes the XComs at the start of a try, which would find an intent without a receipt, so
                # there must be no retry.
                permanent=True,
            ) from None
        self.unwritten = None

    async def _store_as_late(self, receipt: Receipt) -> None:
        log.warning("Another try of this task has begun; the receipt of the last message is %s", receipt.to_json())
        if store := self._store_late_receipt:
            await self.retry(lambda: store(receipt), "a late receipt")


def _is_superseded(writing: asyncio.Future[None]) -> bool:
    return writing.done() and not writing.cancelled() and isinstance(writing.exception(), SupersededError)
