"""Execution of a rollback task: choice, recall, records for other runs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.client.clock import SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.batching import batches, is_too_old, unique
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection
from airflow_provider_dingtalk.jobs.recall_results import NOT_ATTEMPTED
from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome, Report
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.task import asset_events
from airflow_provider_dingtalk.task.checkpoint.recall import RecalledKeys
from airflow_provider_dingtalk.task.recall import RECALLED, obey_on_empty, push_report, recall_job, run_recall
from airflow_provider_dingtalk.task.rollback_filters import (
    MAX_LISTED,
    ReaderFilter,
    RollbackFilters,
    SkippedMessages,
    by_age,
)
from airflow_provider_dingtalk.task.rollback_source import RunMessages
from airflow_provider_dingtalk.task.run_history import Tasks
from airflow_provider_dingtalk.task.sent_messages import SentMessages, clean, in_doubt_error, merge, missing_error

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.hooks import DingTalkHook

log = logging.getLogger(__name__)

#: XCom key of the user ids of all readers of the messages to recall.
READERS = "readers"
#: Message keys in one XCom, about 250 kB. Airflow takes 15 ms for each XCom.
KEYS_PER_XCOM = 5000


def keep_all(context: Context, task_ids: Sequence[str]) -> dict[str, int]:
    """Keep all messages, and note it in the rollback log.

    The caller found that no task failed.
    """
    kept = Tasks(context, task_ids).number_sent()
    log.info("Nothing failed: %d messages kept.", kept)
    if kept:
        ti = context["ti"]
        asset_events.write(context, ti.dag_id, ti.run_id, {"kept": kept, "recalled": 0, "left": 0})
    return {"kept": kept}


def publish_result(context: Context, report: Report) -> None:
    """Push the recalled keys, and note the outcomes in the rollback log."""
    _push_recalled(context, report)
    _note_own(context, report)


def _push_recalled(context: Context, report: Report) -> None:
    """Push the recalled keys, so that other tasks leave them out."""
    recalled = report.keys(Outcome.RECALLED)
    for number in range(0, len(recalled), KEYS_PER_XCOM):
        context["ti"].xcom_push(RECALLED.format(number // KEYS_PER_XCOM), recalled[number : number + KEYS_PER_XCOM])


def _note_own(context: Context, report: Report) -> None:
    if report.results:
        ti, counts = context["ti"], Counter(str(result.outcome) for result in report.results.values())
        asset_events.write(context, ti.dag_id, ti.run_id, _noted(counts, len(report.results)))


def _noted(counts: Counter[str], total: int) -> dict[str, int]:
    left = total - counts["recalled"] - counts["expired"]
    return {"recalled": counts["recalled"], **counts, "left": left}


class RollbackTask:
    """Rollback job of one task.

    :param found: Messages to recall, by run.
    :param loose: Receipts that belong to no run.
    :param rollback_filters: Limits of the rollback.
    :param is_sweep: True if the messages are those that a run's own rollback left; default False.
    :param problems: Errors of the search; the task recalls all other messages and fails then.
    """

    def __init__(
        self,
        found: Sequence[RunMessages],
        loose: Sequence[Receipt],
        rollback_filters: RollbackFilters,
        context: Context,
        *,
        is_sweep: bool = False,
        problems: Sequence[DingTalkError] = (),
    ) -> None:
        self._found = found
        self._missing = _missing(found)
        self._in_doubt = _in_doubt(found)
        self._problems = [*problems, *([missing_error(self._missing)] if self._missing else [])]
        self._rollback_filters = rollback_filters
        self._context = context
        self._is_sweep = is_sweep
        self._now = SystemClock().now()
        self._kept = SkippedMessages(Counter())
        self._more: dict[str, Any] = {}
        self._asking: ReaderFilter | None = None
        self._job: RecallByConnection | None = None
        self._recalled_keys: RecalledKeys | None = None
        everything = [*loose, *(receipt for one in found for receipt in one.receipts)]
        self._receipts = by_age(everything, rollback_filters, self._now, self._kept)

    def choose(self, hook: DingTalkHook) -> None:
        """Apply the guards; ask DingTalk only if readers matter.

        If that fails, a report lists each message as not recalled.

        :raises TooManyMessagesError: If there are more messages than ``max_messages``.
        """
        try:
            self._choose(hook)
        except BaseException as error:
            reason = Reason.of(error) if isinstance(error, DingTalkError) else NOT_ATTEMPTED
            self._push_not_recalled(reason)
            raise

    def _push_not_recalled(self, reason: Reason) -> None:
        results = dict.fromkeys(unique(self._receipts), MessageResult(Outcome.FAILED, reason))
        used = {"status": self._asking.used["status"]} if self._asking else {}
        push_report(self._context, Report(results, used, len(self._receipts) - len(results)), self._more)

    def _choose(self, hook: DingTalkHook) -> None:
        if self._rollback_filters.ask and self._receipts:
            self._ask(hook, list(unique(self._receipts).values()))
        if self._kept.why:
            self._more["kept"] = dict(self._kept.why)
            log.info("Kept: %s.", ", ".join(f"{number} {why}" for why, number in self._kept.why.items()))
        self._rollback_filters.check_number(len(unique(self._receipts)))

    def plan(self, on_empty: str = "succeed") -> dict[str, Any]:
        """Return and push the plan, without a recall.

        :param on_empty: Result of an empty plan: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
        """
        receipts = list(unique(self._receipts).values())
        old = [receipt.key for receipt in receipts if is_too_old(receipt, self._now)]
        fit = [receipt for receipt in receipts if receipt.key not in set(old)]
        plan = {
            "dry_run": True,
            "would_recall": [receipt.key for receipt in fit][:MAX_LISTED],
            "expired": old[:MAX_LISTED],
            "counts": {**Counter(str(receipt.kind) for receipt in fit), "total": len(fit), "expired": len(old)},
            # Number of people as far as the receipts state it, not of calls or messages.
            "people": people(fit),
            "api_calls": len(batches(fit)),
            **({"missing": self._missing} if self._missing else {}),
            **({"sends_in_doubt": self._in_doubt} if self._in_doubt else {}),
            **self._more,
        }
        log.info(
            "Dry run: %d messages, to %s, would be recalled in about %d API calls; %d messages are too old.",
            len(fit),
            _people_in_words(fit),
            plan["api_calls"],
            len(old),
        )
        self._context["ti"].xcom_push("plan", plan)
        if self._missing and receipts and len(self._problems) == 1:
            log.warning("%s", self._problems[0])
            return plan
        self._fail_if_blind()
        if not receipts:
            obey_on_empty(on_empty, self._why_empty())
        return plan

    def run(self, hook: DingTalkHook, *, on_empty: str, fail_on: frozenset[str]) -> dict[str, Any]:
        """Recall the messages, and record it for other tasks; see :func:`run_recall`."""
        context = self._context
        store = context.get("task_state_store")
        self._recalled_keys = RecalledKeys(store) if store is not None else None
        before = self._recalled_keys.before() if self._recalled_keys else None
        if receipts := list(unique(self._receipts).values()):
            log.info("Recalling %d messages, to %s.", len(receipts), _people_in_words(receipts))
        else:
            log.info("Nothing to recall%s.", self._why_empty())
        self._job = recall_job(self._receipts, context, hook.dingtalk_conn_id, before)
        if self._in_doubt:
            self._more["sends_in_doubt"] = self._in_doubt
            log.warning("%s", in_doubt_error(self._in_doubt))
            if Outcome.UNKNOWN in fail_on:
                self._problems.append(in_doubt_error(self._in_doubt))
        on_empty = "succeed" if self._problems else on_empty
        report = run_recall(
            hook, self._job, context, on_empty=on_empty, fail_on=fail_on, more=self._more, keep=self._leave_word
        )
        self._fail_if_blind()
        return report

    def _fail_if_blind(self) -> None:
        """Raise the first search error, because that place may hold messages.

        :raises DingTalkError: If there is one.
        """
        if self._problems:
            raise self._problems[0]

    def _why_empty(self) -> str:
        dags = ", ".join(dict.fromkeys(clean(one.dag_id) for one in self._found))
        already = sum(one.already for one in self._found)
        runs = f": looked through {len(self._found)} runs" + (f" of {dags}" if dags else "")
        return f"{runs}; {already} messages are recalled already, {self._kept.why.total()} are kept"

    def stop(self) -> None:
        """Begin no further call."""
        for job in (self._asking, self._job):
            if job:
                job.stop()

    def _ask(self, hook: DingTalkHook, receipts: Sequence[Receipt]) -> None:
        self._asking = ReaderFilter(receipts, self._rollback_filters, self._now, self._kept)
        hook.run_by_connection(self._asking.run, self._asking.connections, self._asking.stop)
        self._receipts = self._asking.fit
        self._more["readers_api_calls"] = self._asking.used["status"]
        if self._rollback_filters.with_readers:
            chosen = {receipt.key for receipt in self._receipts}
            by_key = {key: who for key, who in self._asking.readers.items() if key in chosen}
            self._more["readers"] = {key: by_key[key] for key in list(by_key)[:MAX_LISTED]}
            everybody = dict.fromkeys(who for readers in by_key.values() for who in readers)
            self._context["ti"].xcom_push(READERS, list(everybody))

    def _leave_word(self, report: Report) -> None:
        """Push the recalled keys, and note outcomes in each run's log."""
        context = self._context
        try:
            if self._recalled_keys:
                self._recalled_keys.keep(report.keys(Outcome.RECALLED))
        finally:
            _push_recalled(context, report)
        if not self._found:
            _note_own(context, report)
        for one in self._found:
            keys = {receipt.key for receipt in one.receipts}
            if not keys and not self._is_sweep:
                continue
            counts = Counter(str(report.results[key].outcome) for key in keys if key in report.results)
            swept = {"swept": 1} if self._is_sweep else {}
            asset_events.write(context, one.dag_id, one.run_id, _noted(counts, len(keys)) | swept)


def people(receipts: Sequence[Receipt]) -> int | None:
    """Return the total number of recipients; None if no receipt states it."""
    known = [receipt.recipients for receipt in receipts if receipt.recipients is not None]
    return sum(known) if known else None


def _people_in_words(receipts: Sequence[Receipt]) -> str:
    known = people(receipts)
    if known is None:
        return "an unknown number of people"
    return f"{known} people" + (" at least" if any(one.recipients is None for one in receipts) else "")


def _missing(found: Sequence[RunMessages]) -> dict[str, int]:
    return merge(SentMessages(missing=one.missing) for one in found).missing


def _in_doubt(found: Sequence[RunMessages]) -> dict[str, int]:
    return merge(SentMessages(in_doubt=one.in_doubt) for one in found).in_doubt
