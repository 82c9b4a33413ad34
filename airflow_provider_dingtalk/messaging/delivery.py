"""Where the receipt of an accepted message goes: ledger and XComs, whichever of them is available.

After DingTalk accepted a message there is no way back. The receipt goes to every place, a failure of one place
does not keep it from the others, and each place is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.messaging.ledger import LedgerError, SendLedger, SentLetter, SupersededError
from airflow_provider_dingtalk.messaging.receipts import Receipt

log = logging.getLogger(__name__)

#: Seconds for which a failing place is tried again.
PATIENCE = {"ledger": 60.0, "receipts": 600.0}
#: Seconds between two tries, at first and at most; each pause is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
#: Seconds for which the receipts wait for the ledger, which alone knows that another try has begun.
FENCE = 1.0


class Places:
    """The places of the receipts of one job.

    :param keep: Takes all receipts of the job.
    :param keep_late: Takes the receipt of a message that was accepted after another try of the task began.
    """

    def __init__(
        self,
        ledger: SendLedger,
        keep: Callable[[Sequence[Receipt]], Awaitable[None]] | None,
        keep_late: Callable[[Receipt], Awaitable[None]] | None,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._keep = keep
        self._keep_late = keep_late
        self._clock = clock
        #: Begin nothing more; a place that fails is not tried again here.
        self.stopped = False
        #: The accepted message that is not in the ledger yet.
        self.unwritten: SentLetter | None = None

    async def keep(self, sent: SentLetter, receipts: Sequence[Receipt]) -> None:
        """Bring the receipt of an accepted message to every place.

        :param receipts: All of the job, this one included.
        :raises SupersededError: If another try of the task has begun. The receipt was kept as a late one.
        :raises LedgerError: If the ledger does not take it. The receipts were kept, if they could be.
        """
        self.unwritten = sent
        writing = asyncio.ensure_future(self._write(sent))
        try:
            await asyncio.wait({writing}, timeout=FENCE)
            if not _is_superseded(writing):
                await self.keep_all(receipts)
            await writing
        except SupersededError:
            await self._keep_as_late(sent.receipt)
            raise
        finally:
            if not writing.done():
                writing.cancel()
            elif not writing.cancelled():
                writing.exception()  # else asyncio reports an error that was told already

    def write_now(self, sent: SentLetter) -> None:
        """Write to the ledger from the calling thread that a message was accepted."""
        self._ledger.accept_now(sent)
        self.unwritten = None

    async def keep_all(self, receipts: Sequence[Receipt]) -> None:
        """Keep all receipts of the job, and try until they are kept."""
        if self._keep is not None:
            keep = self._keep
            await self.persistently(lambda: keep(receipts), "receipts", PATIENCE["receipts"])

    async def persistently(
        self, write: Callable[[], Awaitable[None]], what: str, patience: float = PATIENCE["ledger"]
    ) -> None:
        """Write, and try again after a failure, until patience ends or the job is stopped.

        :param what: What is written, for the log.
        :param patience: Seconds.
        """
        pause, until = FIRST_PAUSE, self._clock.monotonic() + patience
        while True:
            try:
                await write()
            except SupersededError:
                raise
            except Exception as error:
                log.warning("Cannot keep %s (%s: %s).", what, type(error).__name__, error)
                if self.stopped or self._clock.monotonic() >= until:
                    raise
            else:
                return
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _write(self, sent: SentLetter) -> None:
        try:
            await self.persistently(lambda: self._ledger.accepted(sent), "the progress of a send")
        except SupersededError:
            raise
        except LedgerError:
            raise LedgerError(
                f"DingTalk accepted the message {sent.receipt.key}, and the task state store does not take its "
                "receipt. It is in the log, and in the XComs receipts_0, … if Airflow takes XComs.",
                code="ledger",
                next_step="Do not repeat the send. See whether Airflow's API server is up, then recall or clear.",
                # The next try would find an intent without a receipt, and Airflow would delete the XComs.
                permanent=True,
            ) from None
        self.unwritten = None

    async def _keep_as_late(self, receipt: Receipt) -> None:
        log.warning("Another try of this task has begun; the receipt of the last message is %s", receipt.to_json())
        if self._keep_late is not None:
            keep_late = self._keep_late
            await self.persistently(lambda: keep_late(receipt), "a late receipt")


def _is_superseded(writing: asyncio.Future[None]) -> bool:
    return writing.done() and not writing.cancelled() and isinstance(writing.exception(), SupersededError)
