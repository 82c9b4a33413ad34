"""Recall of messages, with an exact outcome for each.

It has three rounds: every message once, in batches; those in doubt again; then the status of those still in doubt.
A message that no round settles is ``unknown``. A clear answer is never checked again (docs/design.md, decision 5).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidKeyError
from airflow_provider_dingtalk.jobs import batching, recall_results
from airflow_provider_dingtalk.jobs.batching import Batch
from airflow_provider_dingtalk.jobs.checkpoint import Checkpoint, MemoryCheckpoint
from airflow_provider_dingtalk.jobs.checkpoint_writer import CheckpointWriter
from airflow_provider_dingtalk.jobs.circuit_breaker import CircuitBreaker, refused_with_others
from airflow_provider_dingtalk.jobs.progress import Progress
from airflow_provider_dingtalk.jobs.recall_results import NOT_ATTEMPTED, TOO_OLD, KeyResult, KeyState, in_doubt
from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome, Report
from airflow_provider_dingtalk.jobs.worker_pool import run_workers
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.reason import NO_CODE, Reason
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey

log = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Maximum calls in flight; fewer if the client's limit is lower.
WORKERS = 20
#: Maximum calls for a message without an answer, and for one whose answer is not understood.
MAX_CALLS_NO_RESPONSE = 3
MAX_CALLS_UNCLEAR = 2
#: Messages of a sender that are tried alone if its first call is refused for a reason that may concern all.
PROBES = 3
#: Seconds before the first retry of a message in doubt; the second pause is twice as long.
PAUSE = 1.0

_OUTCOMES = {
    KeyState.RECALLED: Outcome.RECALLED,
    KeyState.FAILED: Outcome.FAILED,
    KeyState.EXPIRED: Outcome.EXPIRED,
}
_IN_FLIGHT = KeyResult(KeyState.IN_DOUBT, final=False)
#: Reason codes of doubts that a later call may settle.
RETRYABLE_DOUBTS = frozenset(
    {"no_answer", "unexpected_answer", NO_CODE, "system.error", "SYSTEM_ERROR", "500", "notRevoke.all.messages"}
)
_NOT_LOADED = Reason(
    "checkpoint_not_read",
    "The task stopped before it knew what earlier tries recalled; this one sent nothing for it.",
    recall_results.AGAIN,
)
_NO_RESPONSE = Reason(
    "no_answer", "The recall was under way when the task stopped; its answer is not known.", recall_results.AGAIN
)


class Recall:
    """Recall job for messages of any mixture of kinds.

    :param receipts: Receipts of the messages; a message that several of them name is recalled once.
    :param checkpoint: Checkpoint of the job; default: in memory.
    :param clock: Source of time; default: the system's.
    :param workers: Maximum calls in flight; default 20.
    :raises InvalidInputError: If a key comes with two different senders.
    """

    def __init__(
        self,
        receipts: Sequence[Receipt],
        *,
        checkpoint: Checkpoint | None = None,
        clock: Clock | None = None,
        workers: int = WORKERS,
    ) -> None:
        self._client: DingTalkClient
        self._receipts = batching.unique(receipts)
        self._duplicates = len(receipts) - len(self._receipts)
        self._clock = clock or SystemClock()
        self._checkpoint = checkpoint or MemoryCheckpoint()
        #: True after the checkpoint is loaded; until then, no message's state is known.
        self._is_loaded = checkpoint is None
        self._checkpoint_writer = CheckpointWriter(self._checkpoint.write, self._clock)
        self._workers = workers
        self._results = dict.fromkeys(self._receipts, KeyResult(KeyState.PENDING))
        self._calls_of: Counter[str] = Counter()
        #: Messages that an earlier call may have recalled, so a later refusal may mean "recalled already".
        self._maybe_recalled: set[str] = set()
        self._used: Counter[str] = Counter()
        self._breaker = CircuitBreaker()
        self._progress = Progress(log, "Recall", len(self._receipts), self._clock)

    async def run(self, client: DingTalkClient | None) -> Report:
        """Recall the messages and return the report.

        If the run fails or is cancelled, :meth:`report` still returns the report.

        :param client: Client for the calls. None makes no call, for a connection that does not work; the caller has
            to call :meth:`give_up` before.
        """
        await self._resume()
        self._expire(self._keys_in(KeyState.PENDING))
        try:
            if client is not None:
                self._client = client
                self._workers = min(self._workers, client.in_flight)
                await self._run_rounds()
        except Exception:
            # The calls in flight ended, so what they brought is written once more.
            with suppress(Exception):
                await self._checkpoint_writer.write({})
            raise
        await self._checkpoint_writer.write({})
        return self.report()

    def give_up(self, error: DingTalkError) -> None:
        """Stop further calls, with an error as the reason."""
        self._breaker.open(error)

    def stop(self) -> None:
        """Begin no further call. Safe to call from threads and signal handlers."""
        self._breaker.stop()

    def report(self) -> Report:
        """Return the report as of now, with each message in one class."""
        results = {key: self._message_result(key_result) for key, key_result in self._results.items()}
        return Report(results, dict(self._used), self._duplicates)

    @property
    def wait(self) -> float:
        """Seconds until the job may resume; 0 if DingTalk requires no pause."""
        # If there are few calls, all may have been throttled, so failures that are not final count as open.
        is_open = any(not each.final or each.state is KeyState.PENDING for each in self._results.values())
        return self._breaker.wait if is_open else 0.0

    @property
    def is_final(self) -> bool:
        """True if recalling the rest again, unchanged, is pointless."""
        settled = {*_OUTCOMES, KeyState.PENDING} if self._breaker.is_permanent else _OUTCOMES
        return all(each.final and each.state in settled for each in self._results.values())

    def _message_result(self, key_result: KeyResult) -> MessageResult:
        if not self._is_loaded:
            return MessageResult(Outcome.UNKNOWN, _NOT_LOADED)
        if key_result.state is KeyState.PENDING:
            return MessageResult(Outcome.FAILED, self._breaker.open_reason or NOT_ATTEMPTED)
        if key_result.state is KeyState.IN_DOUBT:
            return MessageResult(Outcome.UNKNOWN, key_result.reason or _NO_RESPONSE)
        return MessageResult(_OUTCOMES[key_result.state], key_result.reason)

    def _keys_in(self, state: KeyState) -> list[str]:
        return [key for key, key_result in self._results.items() if key_result.state is state]

    def _is_open(self, key: str) -> bool:
        return self._results[key].state in (KeyState.PENDING, KeyState.IN_DOUBT)

    async def _resume(self) -> None:
        for key, key_result in (await self._checkpoint.load()).items():
            is_doubt = key_result.state is KeyState.IN_DOUBT
            if key in self._results and (key_result.final or is_doubt):
                self._results[key] = key_result
                if is_doubt:
                    self._maybe_recalled.add(key)
        self._is_loaded = True

    # ── rounds ───────────────────────────────────────────────────────────────────────────────────────

    async def _run_rounds(self) -> None:
        doubts, fresh = (self._batches(self._keys_in(state)) for state in (KeyState.IN_DOUBT, KeyState.PENDING))
        if doubts or fresh:
            self._progress.log_start(len(doubts) + len(fresh))
        # Messages that an earlier try had in flight are the most urgent. Their calls count as "again".
        await self._recall_all(doubts, "again")
        await self._recall_all(fresh, "recall")
        for pause in (PAUSE, 2 * PAUSE):
            doubts = self._batches(key for key in self._keys_in(KeyState.IN_DOUBT) if self._may_settle(key))
            if not doubts or self._breaker.open_reason:
                break
            await self._clock.sleep(pause)
            await self._recall_all(doubts, "again")
        await self._poll_doubts()

    def _batches(self, keys: Iterable[str]) -> list[Batch]:
        return batching.batches(self._receipts[key] for key in keys)

    def _may_settle(self, key: str) -> bool:
        """Return True if another call may settle a message in doubt."""
        reason = self._results[key].reason
        is_retryable = reason is None or reason.code in RETRYABLE_DOUBTS
        return self._calls_of[key] < (MAX_CALLS_NO_RESPONSE if is_retryable else MAX_CALLS_UNCLEAR)

    async def _recall_all(self, batches: Sequence[Batch], purpose: str) -> None:
        first: dict[SenderKey, Batch] = {}
        for batch in batches:
            first.setdefault(batch.sender_key, batch)
        rest = [batch for batch in batches if first[batch.sender_key] is not batch]
        for part in (first.values(), rest):
            await self._run_workers(partial(self._recall, purpose=purpose), part)

    async def _run_workers(self, work: Callable[[Item], Awaitable[object]], items: Iterable[Item]) -> None:
        await run_workers(items, work, workers=self._workers, around=self._checkpoint_writer.writer)

    async def _recall(self, batch: Batch, purpose: str) -> bool:
        """Recall a batch, and return True if DingTalk answered one call for all of it without an error."""
        batch = self._still_to_recall(batch)
        if not batch.keys:
            return False
        if len(batch.keys) > self._breaker.max_keys:
            return all([await self._recall(half, purpose) for half in batching.halves(batch)])
        if purpose != "bisect":
            self._calls_of.update(batch.keys)
        before = {key: self._results[key] for key in batch.keys}
        batch = await self._intend(batch)
        if not batch.keys:
            return False
        try:
            of_kind = message_type(batch.sender_key.kind)
            request = of_kind.recall_request(batch.sender_key, batch.keys)
            response = await self._client.call(request, self._used, purpose)
        except DingTalkError as error:
            await self._handle(error, batch, purpose, before)
            return False
        self._breaker.record_answer(batch.sender_key)
        self._settle(recall_results.of_lists(batch.keys, *of_kind.recall_lists(batch.keys, response)))
        if self._progress.is_due:
            self._progress.log(len(self._results) - len(self._keys_in(KeyState.PENDING)), self._used)
        return True

    async def _handle(self, error: DingTalkError, batch: Batch, purpose: str, before: dict[str, KeyResult]) -> None:
        """Settle a batch whose call failed, or bisect it; ``before`` has the results before the call."""
        if len(batch.keys) > 1 and recall_results.is_about_one_key(error):
            self._results.update({key: before[key] for key in batch.keys})
            await self._probe_sender(batch, error)
            await self._bisect_batch(batch, error, purpose)
            return
        log.warning("%s", error)
        self._breaker.record_failure(error, batch.sender_key)
        self._settle(dict.fromkeys(batch.keys, recall_results.of_error(error)))
        await self._probe_sender(batch, error)

    async def _intend(self, batch: Batch) -> Batch:
        """Write the intent to recall a batch, and return the messages that still need a call afterwards."""
        left = Batch(batch.sender_key, ())
        try:
            await self._checkpoint_writer.write(dict.fromkeys(batch.keys, _IN_FLIGHT))
            left = self._still_to_recall(batch)
        finally:
            if not left.keys:
                # The write failed; or the recall was stopped meanwhile, or refused for all of these messages.
                self._checkpoint_writer.note({key: self._results[key] for key in batch.keys})
        self._results.update(dict.fromkeys(left.keys, _IN_FLIGHT))
        return left

    def _still_to_recall(self, batch: Batch) -> Batch:
        """Return the part of a batch that still needs a call, and settle refused and expired messages."""
        if self._breaker.open_reason:
            return Batch(batch.sender_key, ())
        # Another worker may have tried some of them alone.
        left = [key for key in batch.keys if self._is_open(key)]
        if refusal := self._breaker.refusal_of(batch.sender_key):
            self._settle(dict.fromkeys(left, refusal))
            return Batch(batch.sender_key, ())
        old = self._expire(left)
        return Batch(batch.sender_key, tuple(key for key in left if key not in old))

    def _expire(self, keys: Iterable[str]) -> list[str]:
        """Settle the messages that are too old for a recall, and return their keys."""
        now = self._clock.now()
        old = [key for key in keys if batching.is_too_old(self._receipts[key], now)]
        self._settle(dict.fromkeys(old, TOO_OLD))
        return old

    def _settle(self, results: Mapping[str, KeyResult]) -> None:
        """Record results, and keep messages in doubt if a refusal may mean "recalled already"."""
        results = {key: self._unless_maybe_recalled(key, key_result) for key, key_result in results.items()}
        self._maybe_recalled.update(key for key, each in results.items() if each.state is KeyState.IN_DOUBT)
        self._results.update(results)
        self._checkpoint_writer.note(results)

    def _unless_maybe_recalled(self, key: str, key_result: KeyResult) -> KeyResult:
        is_refusal = key_result.state in (KeyState.FAILED, KeyState.EXPIRED)
        return in_doubt(key_result.reason or _NO_RESPONSE) if is_refusal and key in self._maybe_recalled else key_result

    # ── refused calls ────────────────────────────────────────────────────────────────────────────────

    async def _probe_sender(self, batch: Batch, error: DingTalkError) -> None:
        """Try up to 3 messages alone if a refusal may concern the sender; if all fail, refuse the sender."""
        if not self._breaker.claim_probes(batch.sender_key, error):
            return
        probes = self._probes(batch.sender_key)
        for key in probes:
            if not await self._is_refused_alone(batch.sender_key, key, error):
                return
        if probes:
            self._breaker.refuse_sender(batch.sender_key, error, len(probes))

    async def _is_refused_alone(self, sender_key: SenderKey, key: str, error: DingTalkError) -> bool:
        """Recall one message, and return True if it is refused with the code of an error."""
        await self._recall(Batch(sender_key, (key,)), "bisect")
        reason = self._results[key].reason
        return reason is not None and reason.code == error.code

    def _probes(self, sender_key: SenderKey) -> list[str]:
        """Choose messages of a sender that are far apart in the list, and so cover two lists of keys."""
        keys = [key for key, receipt in self._receipts.items() if receipt.sender_key == sender_key]
        keys = [key for key in keys if self._is_open(key)]
        indexes = (len(keys) * number // (PROBES - 1) for number in range(PROBES))
        return list(dict.fromkeys(keys[min(index, len(keys) - 1)] for index in indexes)) if keys else []

    async def _bisect_batch(self, batch: Batch, error: DingTalkError, purpose: str) -> None:
        """Bisect a refused batch to find the message it was refused for."""
        left = self._still_to_recall(batch)
        if len(left.keys) < len(batch.keys):
            # Some were tried alone meanwhile, and the cause of the refusal may be one of them.
            await self._recall(left, "bisect")
            return
        if self._breaker.was_refused_one_by_one(batch, error):
            batch = await self._try_youngest(batch, error)
            if not batch.keys:
                return
        first, second = batching.halves(batch)
        if recall_results.is_over_limit(error):
            self._breaker.max_keys = len(first.keys)
        passed = await self._recall(first, "bisect")
        if passed and len(second.keys) > 1 and not recall_results.is_over_limit(error):
            # The cause is in the second half, so a call for all of that half would be refused again.
            await self._bisect_batch(second, error, "bisect")
        else:
            await self._recall(second, "bisect")
        if purpose != "bisect":
            states = {self._results[key].state for key in batch.keys}
            self._breaker.record_bisection(batch, error, in_vain=states <= {KeyState.FAILED, KeyState.EXPIRED})

    async def _try_youngest(self, batch: Batch, error: DingTalkError) -> Batch:
        """Try the youngest message of a refused batch, which has the best chance, and return those left to try."""
        *others, youngest = batch.keys
        if not await self._is_refused_alone(batch.sender_key, youngest, error):
            return Batch(batch.sender_key, tuple(others))
        by_age = all(self._receipts[key].sent_at for key in batch.keys)
        self._settle(dict.fromkeys(others, refused_with_others(error, by_age=by_age)))
        return Batch(batch.sender_key, ())

    # ── status of doubts ─────────────────────────────────────────────────────────────────────────────

    async def _poll_doubts(self) -> None:
        """Poll the status of messages in doubt; again after 1 s and 2 s where there was no answer."""
        doubts = [key for key in self._keys_in(KeyState.IN_DOUBT) if self._of_kind(key).status_tells_recall]
        for pause in (0.0, PAUSE, 2 * PAUSE):
            if not doubts or self._breaker.open_reason:
                break
            if pause:
                await self._clock.sleep(pause)
            answered: set[str] = set()
            await self._run_workers(partial(self._poll, answered), doubts)
            doubts = [key for key in doubts if key not in answered]

    def _of_kind(self, key: str) -> MessageType:
        return message_type(self._receipts[key].kind)

    async def _poll(self, answered: set[str], key: str) -> None:
        """Settle a message in doubt by its status."""
        if self._breaker.open_reason:
            return
        sender_key, reason = self._receipts[key].sender_key, self._results[key].reason or _NO_RESPONSE
        try:
            request = self._of_kind(key).status_request(sender_key, key)
            answer = await self._client.call(request, self._used, "status")
        except InvalidKeyError as error:
            key_result = KeyResult(KeyState.FAILED, Reason.of(error))
        except DingTalkError as error:
            log.warning("%s", error)
            self._breaker.record_failure(error, sender_key)
            if not recall_results.leaves_doubt(error) and not recall_results.is_outage(error):
                answered.add(key)
            return
        else:
            self._breaker.record_answer()
            key_result = recall_results.of_status(self._of_kind(key).send_status(answer), reason)
        if key_result.state is not KeyState.IN_DOUBT:
            answered.add(key)
        self._results[key] = key_result
        self._checkpoint_writer.note({key: key_result})
