"""Recall job inside a running task: checkpoint, XComs and raised errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.exceptions import IncompleteRecallError, InvalidInputError, SupersededError
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection
from airflow_provider_dingtalk.jobs.report import Report
from airflow_provider_dingtalk.language import CHINESE, Language, choose, get_logger, in_each_language, in_language
from airflow_provider_dingtalk.messages.reason import advice
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.task.api_server import api_server_of, note_interruption
from airflow_provider_dingtalk.task.checkpoint.recall import EarlierRecalls, RecallTaskCheckpoint
from airflow_provider_dingtalk.task.conversations import lines
from airflow_provider_dingtalk.task.errors import DeferRequested
from airflow_provider_dingtalk.task.xcoms import REPORT
from airflow_provider_dingtalk.version_compat import AirflowSkipException, has_custom_xcom_backend

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.task.hook_protocol import Hook

log = get_logger(__name__)


@contextmanager
def report_on_failure(context: Context) -> Iterator[None]:
    """Push an empty report, for tasks that read one, if a task fails without knowing its messages."""
    try:
        yield
    except SupersededError:
        # Airflow still lets a superseded try push XComs, which would replace those of the later try.
        raise
    except BaseException as error:
        push_before_error(context, error, Report(), {})
        raise


def push_before_error(
    context: Context,
    error: BaseException,
    report: Report,
    more: Mapping[str, Any],
    receipts: Sequence[Receipt] = (),
) -> None:
    """Push a report before an error is raised, which Airflow must see even if the push fails."""
    note_interruption(context, error)
    try:
        push_report(context, report, more, receipts)
    except Exception as second:
        log.warning("The report is not pushed (%s).", type(second).__name__)


def recall_job(
    receipts: Sequence[Receipt], context: Context, conn_id: str, earlier: EarlierRecalls | None = None
) -> RecallByConnection:
    """Make a recall job, with a checkpoint if Airflow can store it.

    :param conn_id: Connection of receipts that name none.
    :param earlier: Messages that earlier jobs of this task recalled; default None.
    :raises InvalidInputError: If a key comes with two different senders.
    """
    store = context.get("task_state_store")
    if store is None:
        log.warning("This Airflow has no task state store (3.3 has): a retry of this recall starts over.")
        return RecallByConnection(receipts, default=conn_id)
    checkpoint = RecallTaskCheckpoint(store, receipts, clear_count_of(context), earlier)
    return RecallByConnection(receipts, default=conn_id, checkpoint=checkpoint)


def clear_count_of(context: Context) -> int:
    """Return a task's clear count, the same for all its retries."""
    # Airflow raises max_tries with each clear.
    return int(context["ti"].max_tries)


def run_recall(
    hook: Hook,
    job: RecallByConnection,
    context: Context,
    *,
    on_empty: str,
    fail_on: frozenset[str],
    more: Mapping[str, Any] | None = None,
    receipts: Sequence[Receipt] = (),
    publish: Callable[[Report], None] = lambda _: None,
) -> dict[str, Any]:
    """Recall the messages, push the report, and raise an error if needed.

    :param on_empty: Result of a job without messages: ``succeed``, ``skip`` or ``fail``.
    :param fail_on: Outcomes for which the task fails.
    :param more: Further entries of the pushed report; default None.
    :param receipts: Receipts of the messages, for the report in the log; default empty.
    :param publish: Function that also receives the whole report; default does nothing.
    :returns: Report as plain JSON.
    :raises AirflowSkipException: If there is nothing to recall and ``on_empty`` is ``skip``.
    :raises DeferRequested: If DingTalk accepts no calls for 60 s or more; the checkpoint keeps the progress.
    :raises IncompleteRecallError: If messages ended in an outcome of ``fail_on``.
    """
    if job.is_empty:
        publish(job.report())
        log.info("%s", choose("Nothing to recall.", "没有需要撤回的消息。"))
        pushed = push_report(context, Report(), more or {})
        apply_on_empty(on_empty)
        return pushed

    def stop() -> None:
        job.stop()
        api_server_of(context).stop()

    try:
        report = hook.run_by_connection(job.run, job.connections, stop)
    except SupersededError:
        # Airflow still lets a superseded try push XComs, which would replace those of the later try.
        raise
    except BaseException as error:
        try:
            push_before_error(context, error, job.report(), more or {}, receipts)
            publish(job.report())
        except Exception as second:
            # As for the push: Airflow must see the cause of the failure.
            log.warning("The outcomes of the recall are not published everywhere (%s).", type(second).__name__)
        raise
    try:
        pushed = push_report(context, report, more or {}, receipts)
    finally:
        # Other tasks must know what was recalled, even if the push fails.
        publish(report)
    if job.wait and context.get("task_state_store") is not None:
        raise DeferRequested(job.wait)
    _raise_if_incomplete(report, fail_on, permanent=job.is_final)
    return pushed


def apply_on_empty(on_empty: str, searched: Callable[[], str] = str) -> None:
    """Skip or fail a task with nothing to recall, as ``on_empty`` says.

    :param searched: Function that makes a text about the places that were searched; default an empty text.
    :raises AirflowSkipException: If ``on_empty`` is ``skip``.
    :raises InvalidInputError: If ``on_empty`` is ``fail``.
    """
    en, zh = (in_language(one, searched) for one in (Language.EN, Language.ZH))
    if on_empty == "skip":
        raise AirflowSkipException(choose(f"Nothing to recall{en}.", f"没有需要撤回的消息{zh}。"))
    if on_empty == "fail":
        raise InvalidInputError("receipts", f"nothing to recall{en}", f"没有需要撤回的消息{zh}")


def push_report(
    context: Context, report: Report, more: Mapping[str, Any], receipts: Sequence[Receipt] = ()
) -> dict[str, Any]:
    """Push a report as an XCom, and log it as a table; as JSON too if Airflow's UI cannot show its XComs.

    :param more: Further entries of the pushed report.
    :param receipts: Receipts of the messages, for the lines by conversation; default empty.
    :returns: Report as plain JSON.
    """
    as_json = {**report.to_json(), **more}
    # The log comes first, because Airflow's API server may be away.
    log.info("%s", in_each_language(lambda: _table(report, receipts)))
    if has_custom_xcom_backend():
        log.info("%s: %s", choose("Whole report", "完整报告"), json.dumps(as_json, ensure_ascii=False))
    context["ti"].xcom_push(REPORT, as_json)
    return as_json


def _table(report: Report, receipts: Sequence[Receipt]) -> str:
    counts, *rest = report.table().splitlines()
    return "\n".join([choose("Report", "报告"), counts, *lines(receipts, time.time(), report.results), *rest])


def _raise_if_incomplete(report: Report, fail_on: frozenset[str], *, permanent: bool) -> None:
    counts = report.counts()
    left = {name: counts[name] for name in sorted(fail_on) if counts[name]}
    if not left:
        return
    reasons = {result.reason for result in report.results.values() if result.outcome in left and result.reason}
    steps = sorted({reason.next_step for reason in reasons})[:3]
    recalled, total = counts["recalled"], counts["total"]
    left_zh = "，".join(f"{CHINESE[name]} {number}" for name, number in left.items())
    raise IncompleteRecallError(
        f"{recalled} of {total} messages recalled; {', '.join(f'{number} {name}' for name, number in left.items())}.",
        message_zh=f"{total} 条消息中已撤回 {recalled} 条；{left_zh}。",
        code="incomplete_recall",
        next_step=" ".join(steps),
        next_step_zh=in_language(Language.ZH, lambda: "".join(map(advice, steps))),
        permanent=permanent,
    )
