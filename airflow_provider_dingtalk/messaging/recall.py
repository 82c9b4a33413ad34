"""Recall: take messages back, and say exactly what became of each.

Rounds, each run by a few workers under the client's pace:

1. every message once, by calls of 20, the most urgent first; the first call of each robot and conversation
   goes ahead of its others, so that a refusal of them all costs one call;
2. what is in doubt (no answer, named in neither list, in both, for a reason nobody knows) once more;
3. what is still open is asked for its state, where DingTalk lets it be asked.

What none of them settles is ``unknown``. A certain answer is never checked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from airflow_provider_dingtalk.api.client import LONG_WAIT, DingTalkClient
from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidKeyError
from airflow_provider_dingtalk.messaging import plan
from airflow_provider_dingtalk.messaging.ledger import Journal, Ledger, MemoryLedger
from airflow_provider_dingtalk.messaging.plan import Batch
from airflow_provider_dingtalk.messaging.progress import Progress
from airflow_provider_dingtalk.messaging.receipts import Group, Receipt
from airflow_provider_dingtalk.messaging.report import NO_CODE, Outcome, Reason, Report, Settled
from airflow_provider_dingtalk.messaging.verdicts import (
    NOT_ATTEMPTED,
    RECALLED,
    TOO_OLD,
    State,
    Verdict,
    asks_to_wait,
    in_doubt,
    is_about_one_key,
    is_outage,
    of_error,
    of_result,
    stops_everything,
    stops_the_group,
)

log = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Calls under way at once. At 20 calls a second and 100 ms each, two would do.
WORKERS = 10
#: Times a message is recalled whose answers get lost, and one whose answer nobody understands.
MAX_TRIES_LOST = 3
MAX_TRIES_ODD = 2
#: Calls in a row that do not reach DingTalk, after which the recall stops.
MAX_OUTAGES = 3
#: Seconds before a message in doubt is recalled again; doubled the next time.
PAUSE = 1.0

_OUTCOMES = {State.RECALLED: Outcome.RECALLED, State.FAILED: Outcome.FAILED, State.EXPIRED: Outcome.EXPIRED}
_INTENT = Verdict(State.INTENT, final=False)
#: Reasons of doubts that time may heal.
LOST = frozenset(
    {"no_answer", "unexpected_answer", NO_CODE, "system.error", "SYSTEM_ERROR", "500", "notRevoke.all.messages"}
)
_UNANSWERED = Reason(
    "no_answer",
    "The recall was under way when the task stopped; its answer is not known.",
    "Run the recall again.",
)


class Recall:
    """One recall of many messages, of any mixture of kinds.

    :param receipts: The messages. Each is recalled once, however often it is named.
    :param ledger: Where to keep how far it is; by default in memory.
    :raises InvalidInputError: A key comes with two different senders.
    """

    def __init__(
        self,
        receipts: Sequence[Receipt],
        *,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
        workers: int = WORKERS,
    ) -> None:
        self._client: DingTalkClient
        self._receipts = plan.unique(receipts)
        self._duplicates = len(receipts) - len(self._receipts)
        self._clock = clock or SystemClock()
        self._ledger = ledger or MemoryLedger()
        self._journal = Journal(self._ledger)
        self._workers = workers
        self._verdicts = dict.fromkeys(self._receipts, Verdict(State.PENDING))
        self._tries: Counter[str] = Counter()
        #: Messages of which an earlier call may have got hold: a later "no" may mean "already gone".
        self._touched: set[str] = set()
        self._used: Counter[str] = Counter()
        self._refused: dict[Group, Verdict] = {}
        self._outages = 0
        self._halted: Reason | None = None
        self._hopeless = False
        self._wait = 0.0
        self._progress = Progress(log, "Recall", len(self._receipts), self._clock)

    async def run(self, client: DingTalkClient) -> Report:
        """Recall, and give the account. Cancelled or failed, :meth:`report` still gives it."""
        self._client = client
        await self._resume()
        self._give_up_the_old()
        await self._recall_all(self._in(State.PENDING) + self._in(State.INTENT), "recall")
        for pause in (PAUSE, 2 * PAUSE):
            doubts = [key for key in self._in(State.INTENT) if self._worth_another_try(key)]
            if not doubts or self._halted:
                break
            await self._clock.sleep(pause)
            await self._recall_all(doubts, "again")
        await self._ask_about(self._in(State.INTENT))
        await self._journal.write({})
        return self.report()

    def stop(self) -> None:
        """Begin no further call. Safe to be called from another thread or a signal handler."""
        self._halted = self._halted or NOT_ATTEMPTED

    def report(self) -> Report:
        """The account as of now: every message in exactly one class."""
        settled = {key: self._settled(verdict) for key, verdict in self._verdicts.items()}
        return Report(settled, dict(self._used), self._duplicates)

    @property
    def wait(self) -> float:
        """Seconds after which to go on, if DingTalk wants no calls until then; else 0."""
        # What failed for now counts: with few calls, all of them may have been refused for the pace.
        is_open = any(not said.final or said.state is State.PENDING for said in self._verdicts.values())
        return self._wait if is_open else 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to recall."""
        return not self._receipts

    @property
    def is_final(self) -> bool:
        """Whether recalling the rest again, unchanged, is pointless."""
        settled = {*_OUTCOMES, State.PENDING} if self._hopeless else _OUTCOMES
        return all(verdict.final and verdict.state in settled for verdict in self._verdicts.values())

    def _settled(self, verdict: Verdict) -> Settled:
        if verdict.state is State.PENDING:
            return Settled(Outcome.FAILED, self._halted or NOT_ATTEMPTED)
        if verdict.state is State.INTENT:
            return Settled(Outcome.UNKNOWN, verdict.reason or _UNANSWERED)
        return Settled(_OUTCOMES[verdict.state], verdict.reason)

    def _in(self, state: State) -> list[str]:
        return [key for key, verdict in self._verdicts.items() if verdict.state is state]

    # ── before the first call ────────────────────────────────────────────────────────────────────────

    async def _resume(self) -> None:
        for key, verdict in (await self._ledger.load()).items():
            if key not in self._verdicts or not (verdict.final or verdict.state is State.INTENT):
                continue
            self._verdicts[key] = verdict
            if verdict.state is State.INTENT:
                self._touched.add(key)

    def _give_up_the_old(self) -> None:
        now = self._clock.now()
        old = [key for key in self._in(State.PENDING) if plan.gives_up(self._receipts[key], now)]
        self._settle(dict.fromkeys(old, Verdict(State.EXPIRED, TOO_OLD)))

    # ── recalling ────────────────────────────────────────────────────────────────────────────────────

    async def _recall_all(self, keys: Iterable[str], why: str) -> None:
        batches = plan.batches(self._receipts[key] for key in keys)
        if why == "recall" and batches:
            self._progress.begin(len(batches))
        ahead: dict[Group, Batch] = {}
        for batch in batches:
            ahead.setdefault(batch.group, batch)
        rest = [batch for batch in batches if ahead[batch.group] is not batch]
        await self._side_by_side(lambda batch: self._recall(batch, why), ahead.values())
        await self._side_by_side(lambda batch: self._recall(batch, why), rest)

    async def _recall(self, batch: Batch, why: str) -> None:
        batch = Batch(batch.group, self._still_to_recall(batch))
        if not batch.keys:
            return
        if why != "bisect":
            self._tries.update(batch.keys)
        before = {key: self._verdicts[key] for key in batch.keys}
        await self._journal.write(dict.fromkeys(batch.keys, _INTENT))
        self._verdicts.update(dict.fromkeys(batch.keys, _INTENT))
        try:
            result = await self._client.call(plan.recall_call(batch), self._used, why)
        except DingTalkError as error:
            if len(batch.keys) > 1 and is_about_one_key(error):
                self._verdicts.update(before)
                for half in plan.halves(batch):
                    await self._recall(half, "bisect")
                return
            self._after_failure(error, batch.group)
            self._settle(dict.fromkeys(batch.keys, of_error(error)))
        else:
            self._outages = 0
            self._settle(of_result(batch.keys, result))
        if self._progress.is_due:
            self._progress.tell(len(self._verdicts) - len(self._in(State.PENDING)), self._used)

    def _still_to_recall(self, batch: Batch) -> tuple[str, ...]:
        """The keys of a batch whose turn has come; those whose call would be in vain are settled without one."""
        if self._halted:
            return ()
        if refused := self._refused.get(batch.group):
            self._settle(dict.fromkeys(batch.keys, refused))
            return ()
        now = self._clock.now()
        old = [key for key in batch.keys if plan.gives_up(self._receipts[key], now)]
        self._settle(dict.fromkeys(old, Verdict(State.EXPIRED, TOO_OLD)))
        return tuple(key for key in batch.keys if key not in old)

    def _after_failure(self, error: DingTalkError, group: Group) -> None:
        """Learn from a failed call what it means for the others."""
        log.warning("%s", error)
        self._outages = self._outages + 1 if is_outage(error) else 0
        if stops_everything(error) or self._outages >= MAX_OUTAGES:
            self._hopeless = self._hopeless or (self._halted is None and error.permanent)
            self._halted = self._halted or Reason.of(error)
        if wait := asks_to_wait(error):
            self._wait = max(LONG_WAIT, wait)
        if stops_the_group(error):
            self._refused[group] = of_error(error)

    def _settle(self, verdicts: Mapping[str, Verdict]) -> None:
        """Take down what is now known. A "no" after a call that may have worked leaves the doubt."""
        for key, said in verdicts.items():
            doubtful = said.state in (State.FAILED, State.EXPIRED) and key in self._touched
            verdict = in_doubt(said.reason or _UNANSWERED) if doubtful else said
            if verdict.state is State.INTENT:
                self._touched.add(key)
            self._verdicts[key] = verdict
            self._journal.note({key: verdict})

    # ── doubts ───────────────────────────────────────────────────────────────────────────────────────

    def _worth_another_try(self, key: str) -> bool:
        reason = self._verdicts[key].reason
        lost = reason is None or reason.code in LOST
        return self._tries[key] < (MAX_TRIES_LOST if lost else MAX_TRIES_ODD)

    async def _ask_about(self, keys: Iterable[str]) -> None:
        askable = [key for key in keys if self._receipts[key].kind in plan.ASKABLE]
        await self._side_by_side(self._ask, askable)

    async def _ask(self, key: str) -> None:
        """Settle a doubt by the message's own state."""
        if self._halted:
            return
        reason = self._verdicts[key].reason or _UNANSWERED
        try:
            status = await self._client.call(
                plan.status_call(self._receipts[key].group, key), self._used, "status"
            )
        except InvalidKeyError as error:
            self._verdicts[key] = Verdict(State.FAILED, Reason.of(error))
        except DingTalkError as error:
            self._after_failure(error, self._receipts[key].group)
            return
        else:
            self._verdicts[key] = _of_status(getattr(status, "send_status", None), reason)
        self._journal.note({key: self._verdicts[key]})

    async def _side_by_side(self, work: Callable[[Item], Awaitable[None]], items: Iterable[Item]) -> None:
        todo = iter(items)

        async def worker() -> None:
            for item in todo:
                await work(item)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(worker())
        except ExceptionGroup as errors:
            # One worker's trouble (a ledger that cannot be written) ended the others: it is what matters.
            raise errors.exceptions[0] from None


def _of_status(send_status: str | None, reason: Reason) -> Verdict:
    """What a message's own state says after recalls without a clear answer."""
    if send_status == "RECALLED":
        return RECALLED
    if send_status in ("SUCCESS", "PROCESSING"):
        return Verdict(State.FAILED, reason, final=False)
    return in_doubt(reason)
