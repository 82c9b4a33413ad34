"""Recall: take messages back, and say exactly what became of each.

Rounds, each run by a few workers under the client's pace:

1. every message once, by calls of 20, the most urgent first, before all what an earlier try had under way;
   the first call of each robot and conversation goes ahead of its others, so that a refusal of them all
   costs one call;
2. what is in doubt (no answer, named in neither list, in both, for a reason nobody knows) once more;
3. what is still open is asked for its state, where DingTalk lets it be asked.

What none of them settles is ``unknown``. A certain answer is never checked again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from airflow_provider_dingtalk.api.client import DingTalkClient
from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidKeyError
from airflow_provider_dingtalk.messaging import plan
from airflow_provider_dingtalk.messaging.breaker import Breaker, refused_with_others
from airflow_provider_dingtalk.messaging.journal import Journal
from airflow_provider_dingtalk.messaging.ledger import Ledger, MemoryLedger
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
    in_doubt,
    is_about_one_key,
    is_outage,
    is_over_limit,
    leaves_doubt,
    of_error,
    of_result,
)
from airflow_provider_dingtalk.messaging.worker_pool import work_through

log = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Calls under way at once at most; fewer where the client lets fewer through.
WORKERS = 20
#: Times a message is recalled whose answers get lost, and one whose answer nobody understands.
MAX_TRIES_LOST = 3
MAX_TRIES_ODD = 2
#: Messages of a sender that are tried alone when its first call is refused for a reason that may concern all.
PROBES = 3
#: Seconds before a message in doubt is recalled again; doubled the next time.
PAUSE = 1.0

_OUTCOMES = {State.RECALLED: Outcome.RECALLED, State.FAILED: Outcome.FAILED, State.EXPIRED: Outcome.EXPIRED}
_INTENT = Verdict(State.INTENT, final=False)
#: Reasons of doubts that time may heal.
LOST = frozenset(
    {"no_answer", "unexpected_answer", NO_CODE, "system.error", "SYSTEM_ERROR", "500", "notRevoke.all.messages"}
)
_UNREAD = Reason(
    "ledger_not_read",
    "The task stopped before it knew what earlier tries recalled; this one sent nothing for it.",
    "Run the recall again.",
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
        #: Whether it is known what earlier tries did; until then nothing is known of any message.
        self._is_up_to_date = ledger is None
        self._journal = Journal(self._ledger, self._clock)
        self._workers = workers
        self._verdicts = dict.fromkeys(self._receipts, Verdict(State.PENDING))
        self._tries: Counter[str] = Counter()
        #: Messages of which an earlier call may have got hold: a later "no" may mean "already gone".
        self._touched: set[str] = set()
        self._used: Counter[str] = Counter()
        self._breaker = Breaker()
        self._progress = Progress(log, "Recall", len(self._receipts), self._clock)

    async def run(self, client: DingTalkClient) -> Report:
        """Recall, and give the account. Cancelled or failed, :meth:`report` still gives it."""
        self._client = client
        self._workers = min(self._workers, client.in_flight)
        await self._resume()
        self._give_up_the_old()
        doubts, fresh = self._batches(self._in(State.INTENT)), self._batches(self._in(State.PENDING))
        if doubts or fresh:
            self._progress.begin(len(doubts) + len(fresh))
        # What an earlier try had under way is the most urgent, and counted as what it is: recalled again.
        await self._recall_all(doubts, "again")
        await self._recall_all(fresh, "recall")
        for pause in (PAUSE, 2 * PAUSE):
            doubts = self._batches(key for key in self._in(State.INTENT) if self._worth_another_try(key))
            if not doubts or self._breaker.halted:
                break
            await self._clock.sleep(pause)
            await self._recall_all(doubts, "again")
        await self._ask_about_doubts()
        await self._journal.write({})
        return self.report()

    async def run_without_calls(self) -> Report:
        """Give the account of earlier tries; after :meth:`give_up`, when there is no client."""
        await self._resume()
        self._give_up_the_old()
        await self._journal.write({})
        return self.report()

    def give_up(self, error: DingTalkError) -> None:
        """Make no call, for the reason that an error gives."""
        self._breaker.give_up(error)

    def stop(self) -> None:
        """Begin no further call. Safe to be called from another thread or a signal handler."""
        self._breaker.stop()

    def report(self) -> Report:
        """The account as of now: every message in exactly one class."""
        settled = {key: self._settled(verdict) for key, verdict in self._verdicts.items()}
        return Report(settled, dict(self._used), self._duplicates)

    @property
    def wait(self) -> float:
        """Seconds after which to go on, if DingTalk wants no calls until then; else 0."""
        # What failed for now counts: with few calls, all of them may have been refused for the pace.
        is_open = any(not said.final or said.state is State.PENDING for said in self._verdicts.values())
        return self._breaker.wait if is_open else 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to recall."""
        return not self._receipts

    @property
    def is_final(self) -> bool:
        """Whether recalling the rest again, unchanged, is pointless."""
        settled = {*_OUTCOMES, State.PENDING} if self._breaker.is_hopeless else _OUTCOMES
        return all(verdict.final and verdict.state in settled for verdict in self._verdicts.values())

    def _settled(self, verdict: Verdict) -> Settled:
        if not self._is_up_to_date:
            return Settled(Outcome.UNKNOWN, _UNREAD)
        if verdict.state is State.PENDING:
            return Settled(Outcome.FAILED, self._breaker.halted or NOT_ATTEMPTED)
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
        self._is_up_to_date = True

    def _give_up_the_old(self) -> None:
        now = self._clock.now()
        old = [key for key in self._in(State.PENDING) if plan.gives_up(self._receipts[key], now)]
        self._settle(dict.fromkeys(old, Verdict(State.EXPIRED, TOO_OLD)))

    # ── recalling ────────────────────────────────────────────────────────────────────────────────────

    def _batches(self, keys: Iterable[str]) -> list[Batch]:
        return plan.batches(self._receipts[key] for key in keys)

    async def _recall_all(self, batches: Sequence[Batch], why: str) -> None:
        ahead: dict[Group, Batch] = {}
        for batch in batches:
            ahead.setdefault(batch.group, batch)
        rest = [batch for batch in batches if ahead[batch.group] is not batch]
        await self._side_by_side(lambda batch: self._recall(batch, why), ahead.values())
        await self._side_by_side(lambda batch: self._recall(batch, why), rest)

    async def _recall(self, batch: Batch, why: str) -> bool:
        """Recall some messages with one call, or with several if it is refused; whether the one was answered."""
        batch = Batch(batch.group, self._still_to_recall(batch))
        if not batch.keys:
            return False
        if len(batch.keys) > self._breaker.max_keys:
            return all([await self._recall(half, why) for half in plan.halves(batch)])
        if why != "bisect":
            self._tries.update(batch.keys)
        before = {key: self._verdicts[key] for key in batch.keys}
        batch = await self._intend(batch)
        if not batch.keys:
            return False
        try:
            result = await self._client.call(plan.recall_call(batch), self._used, why)
        except DingTalkError as error:
            if len(batch.keys) > 1 and is_about_one_key(error):
                self._verdicts.update({key: before[key] for key in batch.keys})
                await self._find_out_whom_it_concerns(batch, error)
                await self._take_apart(batch, error, why)
            else:
                self._fail(batch, error)
                await self._find_out_whom_it_concerns(batch, error)
            return False
        self._breaker.passed(batch.group)
        self._settle(of_result(batch.keys, result))
        if self._progress.is_due:
            self._progress.tell(len(self._verdicts) - len(self._in(State.PENDING)), self._used)
        return True

    async def _intend(self, batch: Batch) -> Batch:
        """Write down what is about to be recalled; what of it still is, when that is written."""
        await self._journal.write(dict.fromkeys(batch.keys, _INTENT))
        left = Batch(batch.group, self._still_to_recall(batch))
        if not left.keys:
            # Somebody stopped the recall meanwhile, or another call was refused for all of them.
            self._journal.note({key: self._verdicts[key] for key in batch.keys})
        self._verdicts.update(dict.fromkeys(left.keys, _INTENT))
        return left

    def _still_to_recall(self, batch: Batch) -> tuple[str, ...]:
        """The keys of a batch whose turn has come; those whose call would be in vain are settled without one."""
        if self._breaker.halted:
            return ()
        # Some may have been tried alone meanwhile.
        left = [key for key in batch.keys if self._is_open(key)]
        if refused := self._breaker.refused(batch.group):
            self._settle(dict.fromkeys(left, refused))
            return ()
        now = self._clock.now()
        old = [key for key in left if plan.gives_up(self._receipts[key], now)]
        self._settle(dict.fromkeys(old, Verdict(State.EXPIRED, TOO_OLD)))
        return tuple(key for key in left if key not in old)

    def _is_open(self, key: str) -> bool:
        return self._verdicts[key].state in (State.PENDING, State.INTENT)

    async def _find_out_whom_it_concerns(self, batch: Batch, error: DingTalkError) -> None:
        """Try a few messages of a refused sender alone, where the refusal may be about all of them.

        One that is not refused so shows that it is about single messages: they are found by bisection. If all are
        refused, the others are not worth a call for each batch.
        """
        if not self._breaker.takes_up(batch.group, error):
            return
        probes = self._probes(batch)
        for key in probes:
            await self._recall(Batch(batch.group, (key,)), "bisect")
            reason = self._verdicts[key].reason
            if reason is None or reason.code != error.code:
                return
        if probes:
            self._breaker.refuse(batch.group, error, len(probes))

    def _probes(self, batch: Batch) -> list[str]:
        """Messages of a sender far from each other: keys of two senders mostly come one list after the other."""
        group = [key for key, receipt in self._receipts.items() if receipt.group == batch.group]
        group = [key for key in group if self._is_open(key)]
        places = (len(group) * number // (PROBES - 1) for number in range(PROBES))
        return list(dict.fromkeys(group[min(place, len(group) - 1)] for place in places)) if group else []

    async def _take_apart(self, batch: Batch, error: DingTalkError, why: str) -> None:
        """Recall a refused batch by halves, to find the message it was refused for."""
        left = Batch(batch.group, self._still_to_recall(batch))
        if len(left.keys) < len(batch.keys):
            # Some were tried alone meanwhile, and the culprit may be one of them.
            await self._recall(left, "bisect")
            return
        if self._breaker.was_refused_to_the_last(batch, error):
            batch = await self._try_the_youngest(batch, error)
            if not batch.keys:
                return
        first, second = plan.halves(batch)
        if is_over_limit(error):
            self._breaker.max_keys = len(first.keys)
        passed = await self._recall(first, "bisect")
        if passed and len(second.keys) > 1 and not is_over_limit(error):
            # The culprit is in the second half, which would be refused as a whole once more.
            await self._take_apart(second, error, "bisect")
        else:
            await self._recall(second, "bisect")
        if why != "bisect":
            states = {self._verdicts[key].state for key in batch.keys}
            self._breaker.bisected(batch, error, in_vain=states <= {State.FAILED, State.EXPIRED})

    async def _try_the_youngest(self, batch: Batch, error: DingTalkError) -> Batch:
        """Try the message of a refused call that has the best chance; what is left to be tried.

        If even that one is refused, the others are not worth a call each.
        """
        *others, youngest = batch.keys
        await self._recall(Batch(batch.group, (youngest,)), "bisect")
        verdict = self._verdicts[youngest]
        if verdict.reason is None or verdict.reason.code != error.code:
            return Batch(batch.group, tuple(others))
        by_age = all(self._receipts[key].sent_at for key in batch.keys)
        self._settle(dict.fromkeys(others, refused_with_others(error, by_age=by_age)))
        return Batch(batch.group, ())

    def _fail(self, batch: Batch, error: DingTalkError) -> None:
        log.warning("%s", error)
        self._breaker.failed(error, batch.group)
        self._settle(dict.fromkeys(batch.keys, of_error(error)))

    def _settle(self, verdicts: Mapping[str, Verdict]) -> None:
        """Take down what is now known. A "no" after a call that may have worked leaves the doubt."""
        settled = {key: self._unless_touched(key, said) for key, said in verdicts.items()}
        self._touched.update(key for key, verdict in settled.items() if verdict.state is State.INTENT)
        self._verdicts.update(settled)
        self._journal.note(settled)

    def _unless_touched(self, key: str, said: Verdict) -> Verdict:
        doubtful = said.state in (State.FAILED, State.EXPIRED) and key in self._touched
        return in_doubt(said.reason or _UNANSWERED) if doubtful else said

    # ── doubts ───────────────────────────────────────────────────────────────────────────────────────

    def _worth_another_try(self, key: str) -> bool:
        reason = self._verdicts[key].reason
        lost = reason is None or reason.code in LOST
        return self._tries[key] < (MAX_TRIES_LOST if lost else MAX_TRIES_ODD)

    async def _ask_about_doubts(self) -> None:
        """Ask for the state of what is still open; once more, later, where nothing came back."""
        doubts = [key for key in self._in(State.INTENT) if self._receipts[key].kind in plan.ASKABLE]
        for pause in (0.0, PAUSE, 2 * PAUSE):
            if not doubts or self._breaker.halted:
                break
            if pause:
                await self._clock.sleep(pause)
            answered: set[str] = set()
            await self._side_by_side(partial(self._ask, answered), doubts)
            doubts = [key for key in doubts if key not in answered]

    async def _ask(self, answered: set[str], key: str) -> None:
        """Settle a doubt by the message's own state."""
        if self._breaker.halted:
            return
        group, reason = self._receipts[key].group, self._verdicts[key].reason or _UNANSWERED
        try:
            status = await self._client.call(plan.status_call(group, key), self._used, "status")
        except InvalidKeyError as error:
            verdict = Verdict(State.FAILED, Reason.of(error))
        except DingTalkError as error:
            log.warning("%s", error)
            self._breaker.failed(error, group)
            if not leaves_doubt(error) and not is_outage(error):
                answered.add(key)
            return
        else:
            self._breaker.passed()
            verdict = _of_status(getattr(status, "send_status", None), reason)
        if verdict.state is not State.INTENT:
            answered.add(key)
        self._verdicts[key] = verdict
        self._journal.note({key: verdict})

    async def _side_by_side(self, work: Callable[[Item], Awaitable[object]], items: Iterable[Item]) -> None:
        await work_through(items, work, workers=self._workers, around=self._journal.writer)


def _of_status(send_status: str | None, reason: Reason) -> Verdict:
    """What a message's own state says after recalls without a clear answer."""
    if send_status == "RECALLED":
        return RECALLED
    if send_status in ("SUCCESS", "PROCESSING"):
        return Verdict(State.FAILED, reason, final=False)
    return in_doubt(reason)
