"""Rollback job of a task: filters, recall, and records for other tasks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.client.clock import SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.batching import batches, is_too_old, unique
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection
from airflow_provider_dingtalk.jobs.recall_results import NOT_ATTEMPTED
from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome, Report
from airflow_provider_dingtalk.language import choose, in_each_language
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.task import asset_events, xcoms
from airflow_provider_dingtalk.task.checkpoint.recall import recalled_before
from airflow_provider_dingtalk.task.conversations import by_conversation, lines, number_of_people, people_in_words
from airflow_provider_dingtalk.task.recall import apply_on_empty, push_before_error, recall_job, run_recall
from airflow_provider_dingtalk.task.rollback_filters import MAX_LISTED, ReaderFilter, RollbackFilters, by_age
from airflow_provider_dingtalk.task.rollback_source import RunMessages
from airflow_provider_dingtalk.task.run_history import Tasks
from airflow_provider_dingtalk.task.running_registry import push_recalled
from airflow_provider_dingtalk.task.sent_messages import clean, in_doubt_error, missing_error, sum_by_task

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.task.hook_protocol import Hook

log = logging.getLogger(__name__)


def keep_all(context: Context, task_ids: Sequence[str], errors: Sequence[DingTalkError] = ()) -> dict[str, int]:
    """Keep all messages, because no task failed, and note it in the rollback log.

    :param errors: Errors of the task's arguments; default none. The first one is raised, after a note for sweeps,
        which search the runs of rollbacks that did not succeed.
    """
    kept = Tasks(context, task_ids).number_sent()
    log.info("%s", choose(f"Nothing failed: {kept} messages kept.", f"没有任务失败：保留 {kept} 条消息。"))
    # A rollback that succeeds pushes it too, so that the commands need not read what it returned.
    context["ti"].xcom_push(xcoms.KEPT_BEFORE_ERROR if errors else xcoms.KEPT, kept)
    if errors:
        raise errors[0]
    if kept:
        ti = context["ti"]
        asset_events.write(context, ti.dag_id, ti.run_id, {"kept": kept, "recalled": 0, "left": 0})
    return {"kept": kept}


def publish_result(context: Context, report: Report) -> None:
    """Push the recalled keys, and note the outcomes in the rollback log."""
    push_recalled(context, report.keys(Outcome.RECALLED))
    if report.results:
        ti = context["ti"]
        asset_events.write(context, ti.dag_id, ti.run_id, _outcomes(report, report.results))


def _outcomes(report: Report, keys: Collection[str]) -> dict[str, int]:
    """Count the outcomes of some messages, and those that are left."""
    counts = Counter(str(report.results[key].outcome) for key in keys if key in report.results)
    left = len(keys) - counts["recalled"] - counts["expired"]
    return {"recalled": counts["recalled"], **counts, "left": left}


class RollbackTask:
    """Rollback job of one task.

    :param found: Messages to recall, by run.
    :param receipts: Receipts that belong to no run.
    :param is_sweep: True if the messages are those that a run's own rollback left; default False.
    :param search_errors: Errors of the search; the task recalls all other messages and fails then.
    """

    def __init__(
        self,
        found: Sequence[RunMessages],
        receipts: Sequence[Receipt],
        rollback_filters: RollbackFilters,
        context: Context,
        *,
        is_sweep: bool = False,
        search_errors: Sequence[DingTalkError] = (),
    ) -> None:
        self._found = found
        self._missing = sum_by_task(one.missing for one in found)
        self._in_doubt = sum_by_task(one.in_doubt for one in found)
        self._search_errors = [*search_errors, *([missing_error(self._missing)] if self._missing else [])]
        self._rollback_filters = rollback_filters
        self._context = context
        self._is_sweep = is_sweep
        self._now = SystemClock().now()
        self._skipped: Counter[str] = Counter()
        #: Further entries of the report.
        self._more: dict[str, Any] = {}
        self._reader_filter: ReaderFilter | None = None
        self._job: RecallByConnection | None = None
        every = [*receipts, *(receipt for one in found for receipt in one.receipts)]
        self._receipts = by_age(every, rollback_filters, self._now, self._skipped)

    @property
    def _readers(self) -> dict[str, list[str]]:
        """User ids of readers by message key, if DingTalk was polled for them."""
        return self._reader_filter.readers if self._reader_filter else {}

    @property
    def _unique(self) -> list[Receipt]:
        """Receipts of the messages to recall, each once."""
        return list(unique(self._receipts).values())

    def choose(self, hook: Hook) -> None:
        """Apply the filters; poll DingTalk only if readers matter.

        If that fails, a report lists each message as not recalled.

        :raises TooManyMessagesError: If there are more messages than ``max_messages``.
        """
        try:
            if self._rollback_filters.needs_readers and self._receipts:
                self._filter_by_readers(hook)
            if self._skipped:
                self._more["kept"] = dict(self._skipped)
                log.info("%s", in_each_language(self._kept, " "))
            self._rollback_filters.check_number(len(self._unique))
        except BaseException as error:
            self._push_not_recalled(error)
            raise

    def _kept(self) -> str:
        kept = ", ".join(f"{number} {choose(reason)}" for reason, number in self._skipped.items())
        return choose(f"Kept: {kept}.", f"保留：{kept}。")

    def _filter_by_readers(self, hook: Hook) -> None:
        reader_filter = self._reader_filter = ReaderFilter(
            self._unique, self._rollback_filters, self._now, self._skipped
        )
        hook.run_by_connection(reader_filter.run, reader_filter.connections, reader_filter.stop)
        self._receipts = reader_filter.fit
        self._more["readers_api_calls"] = reader_filter.used["status"]
        if self._rollback_filters.with_readers:
            chosen = {receipt.key for receipt in self._receipts}
            readers = {key: user_ids for key, user_ids in reader_filter.readers.items() if key in chosen}
            self._more["readers"] = {key: readers[key] for key in list(readers)[:MAX_LISTED]}
            user_ids = dict.fromkeys(user_id for of_message in readers.values() for user_id in of_message)
            self._context["ti"].xcom_push(xcoms.READERS, list(user_ids))

    def _push_not_recalled(self, error: BaseException) -> None:
        reason = Reason.of(error) if isinstance(error, DingTalkError) else NOT_ATTEMPTED
        results = dict.fromkeys(unique(self._receipts), MessageResult(Outcome.FAILED, reason))
        used = {"status": self._reader_filter.used["status"]} if self._reader_filter else {}
        report = Report(results, used, len(self._receipts) - len(results))
        push_before_error(self._context, error, report, self._more, self._unique)

    def plan(self, on_empty: str = "succeed") -> dict[str, Any]:
        """Return and push the plan, without a recall.

        :param on_empty: Result of an empty plan: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
        """
        receipts = self._unique
        expired = [receipt.key for receipt in receipts if is_too_old(receipt, self._now)]
        fit = [receipt for receipt in receipts if not is_too_old(receipt, self._now)]
        calls, conversations = len(batches(fit)), by_conversation(fit)
        plan = {
            "dry_run": True,
            "would_recall": [receipt.key for receipt in fit][:MAX_LISTED],
            "expired": expired[:MAX_LISTED],
            "counts": {**Counter(str(receipt.kind) for receipt in fit), "total": len(fit), "expired": len(expired)},
            # Number of people as far as the receipts state it, not of calls or messages.
            "people": number_of_people(fit),
            "conversations": [one.to_json(self._readers) for one in conversations[:MAX_LISTED]],
            "more_conversations": max(len(conversations) - MAX_LISTED, 0),
            "api_calls": calls,
            **({"missing": self._missing} if self._missing else {}),
            **({"sends_in_doubt": self._in_doubt} if self._in_doubt else {}),
            **self._more,
        }
        log.info("%s", in_each_language(lambda: self._plan_text(fit, calls, len(expired))))
        self._context["ti"].xcom_push(xcoms.PLAN, plan)
        if self._missing and receipts and len(self._search_errors) == 1:
            log.warning("%s", self._search_errors[0])
            return plan
        self._raise_search_error()
        if not receipts:
            apply_on_empty(on_empty, self._searched)
        return plan

    def _plan_text(self, fit: Sequence[Receipt], calls: int, expired: int) -> str:
        people = people_in_words(fit)
        summary = choose(
            f"Dry run: {len(fit)} messages, to {people}, would be recalled in about {calls} API calls; "
            f"{expired} messages are too old.",
            f"计划：将撤回 {len(fit)} 条消息，{people}，约需 {calls} 次 API 调用；{expired} 条已过期。",
        )
        return "\n".join([summary, *lines(fit, self._now)])

    def run(self, hook: Hook, *, on_empty: str, fail_on: frozenset[str]) -> dict[str, Any]:
        """Recall the messages, and record it for other tasks; see :func:`run_recall`."""
        store = self._context.get("task_state_store")
        earlier = recalled_before(store) if store is not None else None
        receipts = self._unique
        log.info("%s", in_each_language(lambda: self._first_line(receipts), " "))
        self._job = recall_job(self._receipts, self._context, hook.dingtalk_conn_id, earlier)
        if self._in_doubt:
            error = in_doubt_error(self._in_doubt)
            self._more["sends_in_doubt"] = self._in_doubt
            log.warning("%s", error)
            self._search_errors += [error] if Outcome.UNKNOWN in fail_on else []
        report = run_recall(
            hook,
            self._job,
            self._context,
            on_empty="succeed" if self._search_errors else on_empty,
            fail_on=fail_on,
            more=self._more,
            receipts=receipts,
            publish=self._publish_result,
        )
        self._raise_search_error()
        return report

    def _first_line(self, receipts: Sequence[Receipt]) -> str:
        if not receipts:
            searched = self._searched()
            return choose(f"Nothing to recall{searched}.", f"没有需要撤回的消息{searched}。")
        number, people = len(receipts), people_in_words(receipts)
        return choose(f"Recalling {number} messages, to {people}.", f"正在撤回 {number} 条消息，{people}。")

    def _raise_search_error(self) -> None:
        """Raise the first error of the search, because that place may hold messages."""
        if self._search_errors:
            raise self._search_errors[0]

    def _searched(self) -> str:
        dags = ", ".join(dict.fromkeys(clean(one.dag_id) for one in self._found))
        runs, already, kept = len(self._found), sum(one.already for one in self._found), self._skipped.total()
        return choose(
            f": looked through {runs} runs{f' of {dags}' if dags else ''}; {already} messages are recalled already, "
            f"{kept} are kept",
            f"：已查看{f' {dags} 的' if dags else ''} {runs} 次运行；{already} 条此前已撤回，{kept} 条保留",
        )

    def stop(self) -> None:
        """Begin no further call."""
        for job in (self._reader_filter, self._job):
            if job:
                job.stop()

    def _publish_result(self, report: Report) -> None:
        """Push the recalled keys, and note outcomes in each run's log."""
        if not self._found:
            publish_result(self._context, report)
        else:
            push_recalled(self._context, report.keys(Outcome.RECALLED))
        for one in self._found:
            keys = {receipt.key for receipt in one.receipts}
            if keys or self._is_sweep:
                swept = {"swept": 1} if self._is_sweep else {}
                asset_events.write(self._context, one.dag_id, one.run_id, _outcomes(report, keys) | swept)
