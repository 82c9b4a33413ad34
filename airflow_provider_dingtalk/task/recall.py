"""Execution of operators inside a task: jobs, XComs and raised errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError, shown
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection
from airflow_provider_dingtalk.jobs.report import Outcome, Report, empty_report
from airflow_provider_dingtalk.messages.receipt import (
    ASKED_BY_KEY,
    KEY_FIELD,
    SENDER_FIELDS,
    Kind,
    Receipt,
    is_nothing,
    moment_of,
    parse_id,
    parse_keys,
)
from airflow_provider_dingtalk.task.checkpoint.recall import Before, RecallTaskLedger
from airflow_provider_dingtalk.task.checkpoint.store import SupersededError
from airflow_provider_dingtalk.task.time_zone import both_times, default_time_zone
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.hooks import DingTalkHook

log = logging.getLogger(__name__)

#: XCom keys.
REPORT = "report"
RECALLED = "recalled_{}"
ON_EMPTY = ("succeed", "skip", "fail")


class IncompleteRecallError(DingTalkError):
    """Error for messages that were not recalled.

    The XCom ``report`` names each message, the reason, and the next step.
    """


class LongWait(Exception):
    """Signal to defer the task until DingTalk accepts calls again.

    :param seconds: Seconds to defer the task, 60 or more.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn permanent errors into the one that Airflow does not retry.

    Other errors pass unchanged, for ``ExceptionRetryPolicy`` to classify.

    :raises AirflowFailException: If the error is permanent.
    """
    try:
        yield
    except DingTalkError as error:
        if not error.permanent:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def report_even_so(context: Context) -> Iterator[None]:
    """Push an empty report if a task fails without knowing its messages.

    So tasks that read the report always find one.
    """
    try:
        yield
    except SupersededError:
        # Airflow still lets a superseded try push XComs, which would replace those of the later try.
        raise
    except BaseException:
        push_report(context, empty_report(), {})
        raise


def receipts_of_keys(
    kind: Kind, keys: Any, field: str, sender: Mapping[str, Any], *, to_ask: bool = False
) -> list[Receipt]:
    """Return receipts for messages of which only the keys are known.

    :param field: Name of the argument that holds the keys, for errors.
    :param sender: Mapping with ``robot_code``, ``agent_id`` and ``open_conversation_id``.
    :param to_ask: True to require only the fields that a status query needs; default False.
    :raises InvalidInputError: If a key is not valid, or a sender field is missing.
    """
    if field == "msg_task_id" and (isinstance(keys, int) or _is_one(keys)):
        keys = [keys]
    parsed = parse_keys(keys, field)
    if not parsed:
        return []
    needed: dict[str, Any] = {}
    for name in SENDER_FIELDS[kind]:
        if to_ask and kind in ASKED_BY_KEY and is_nothing(sender.get(name)):
            continue
        if sender.get(name) is None:
            where = "" if name == "open_conversation_id" else ", or set it in the connection's extras"
            raise InvalidInputError(name, f"is missing; give it{where}")
        needed[name] = parse_id(sender[name], name)
    return [Receipt(kind=kind, **{**needed, KEY_FIELD[kind]: key}) for key in parsed]


def _is_one(keys: Any) -> bool:
    """Return True for a single text that is not a JSON list."""
    return isinstance(keys, str) and not is_nothing(keys) and not keys.lstrip().startswith("[")


def only_of_kind(receipts: Sequence[Receipt], kind: Kind) -> None:
    """Raise an error if a receipt is of another kind.

    :raises InvalidInputError: If there is such a receipt.
    """
    for index, receipt in enumerate(receipts):
        if receipt.kind is not kind:
            problem = (
                f"is {receipt.kind}; this task is about {kind} only. DingTalkRollbackOperator takes any mixture"
            )
            raise InvalidInputError(f"receipts[{index}].kind", problem)


def check_choices(on_empty: Any, fail_on: Any) -> frozenset[str]:
    """Return the outcomes for which the task fails.

    :raises InvalidInputError: If ``on_empty`` or ``fail_on`` is not one of the choices.
    """
    if on_empty not in ON_EMPTY:
        raise InvalidInputError("on_empty", f"is {shown(on_empty)}; use one of {', '.join(ON_EMPTY)}")
    allowed = {outcome.value for outcome in Outcome} - {Outcome.RECALLED}
    try:
        chosen = frozenset([fail_on] if isinstance(fail_on, str) else fail_on)
    except (TypeError, ValueError):
        raise InvalidInputError("fail_on", f"must be a set; use some of {sorted(allowed)}") from None
    if not chosen <= allowed:
        foreign = sorted(shown(item) for item in chosen - allowed)
        raise InvalidInputError("fail_on", f"holds {', '.join(foreign[:5])}; use some of {sorted(allowed)}")
    return chosen


def parse_flag(value: Any, field: str) -> bool:
    """Return a boolean, also from a template's text such as ``"False"``.

    :raises InvalidInputError: If the value is neither true nor false.
    """
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in ("true", "false"):
        raise InvalidInputError(field, f"is {shown(value)}; use True or False")
    return word == "true"


def parse_moment(value: Any, field: str) -> float | None:
    """Return a moment as Unix time in seconds; None if not given.

    Without a time zone the moment is in Airflow's ``default_timezone``. The log names the moment understood.

    :param value: A ``datetime`` or a text in ISO 8601.
    :raises InvalidInputError: If the value is neither.
    """
    if value == "" or is_nothing(value):
        return None
    text = value.isoformat() if hasattr(value, "isoformat") else value
    try:
        moment = moment_of(text, default_time_zone())
    except (ValueError, TypeError, OverflowError):
        raise InvalidInputError(field, "is not a date and time in ISO 8601, e.g. 2026-11-21T08:00:00Z") from None
    log.info("%s: %s.", field, both_times(moment))
    return moment


def parse_one_id(value: Any, field: str) -> str | None:
    """Return an id; None if none was given.

    :raises InvalidInputError: If the value is not an id, or is a list of ids.
    """
    return None if value == "" or is_nothing(value) else parse_id(value, field)


def parse_task_ids(value: Any, field: str) -> list[str]:
    """Return a list of task ids.

    :param value: One id, a list, or JSON of a list.
    :raises InvalidInputError: If the value is none of these.
    """
    return parse_keys([value] if _is_one(value) else value, field)


def recall_job(
    receipts: Sequence[Receipt], context: Context, conn_id: str, before: Before | None = None
) -> RecallByConnection:
    """Make a recall job, with a checkpoint if Airflow can store it.

    :param conn_id: Connection of receipts that name none.
    :param before: Messages that earlier jobs of this task recalled; default None.
    :raises InvalidInputError: If a key comes with two different senders.
    """
    store = context.get("task_state_store")
    if store is None:
        log.warning("This Airflow has no task state store (3.3 has): a retry of this recall starts over.")
        return RecallByConnection(receipts, default=conn_id)
    ledger = RecallTaskLedger(store, receipts, epoch_of(context), before)
    return RecallByConnection(receipts, default=conn_id, ledger=ledger)


def epoch_of(context: Context) -> int:
    """Return a task's clear count, the same for all its retries.

    Airflow raises ``max_tries`` with each clear.
    """
    return int(context["ti"].max_tries)


def run_recall(
    hook: DingTalkHook,
    job: RecallByConnection,
    context: Context,
    *,
    on_empty: str,
    fail_on: frozenset[str],
    more: Mapping[str, Any] | None = None,
    keep: Callable[[Report], None] = lambda _: None,
) -> dict[str, Any]:
    """Recall the messages, push the report, and raise an error if needed.

    :param on_empty: Result of a job without messages: ``succeed``, ``skip`` or ``fail``.
    :param fail_on: Outcomes for which the task fails.
    :param more: Further entries of the pushed report; default None.
    :param keep: Function that also receives the whole report; default does nothing.
    :returns: Report as plain JSON.
    :raises AirflowSkipException: If there is nothing to recall and ``on_empty`` is ``skip``.
    :raises LongWait: If DingTalk accepts no calls for 60 s or more; the checkpoint keeps the progress.
    :raises IncompleteRecallError: If messages ended in an outcome of ``fail_on``.
    """
    if job.is_empty:
        keep(job.report())
        return _nothing_to_recall(context, on_empty, more or {})
    try:
        report = hook.run_recall(job)
    except SupersededError:
        # Airflow still lets a superseded try push XComs, which would replace those of the later try.
        raise
    except BaseException:
        try:
            _publish(context, job.report(), more or {}, keep)
        except Exception as error:
            # Airflow must see the cause of the failure, so an error of the second place is only logged.
            log.warning("The report of the recall is not published everywhere (%s).", type(error).__name__)
        raise
    pushed = _publish(context, report, more or {}, keep)
    if job.wait and context.get("task_state_store") is not None:
        raise LongWait(job.wait)
    _raise_if_incomplete(report, fail_on, permanent=job.is_final)
    return pushed


def _publish(
    context: Context, report: Report, more: Mapping[str, Any], keep: Callable[[Report], None]
) -> dict[str, Any]:
    """Push a report; pass it to ``keep`` even if the push fails."""
    try:
        return push_report(context, report, more)
    finally:
        keep(report)


def _nothing_to_recall(context: Context, on_empty: str, more: Mapping[str, Any]) -> dict[str, Any]:
    log.info("Nothing to recall.")
    pushed = push_report(context, empty_report(), more)
    obey_on_empty(on_empty)
    return pushed


def obey_on_empty(on_empty: str, why: str = "") -> None:
    """Skip or fail a task with nothing to recall, as ``on_empty`` says.

    :param why: Text about the places that were searched; default empty.
    :raises AirflowSkipException: If ``on_empty`` is ``skip``.
    :raises InvalidInputError: If ``on_empty`` is ``fail``.
    """
    if on_empty == "skip":
        raise AirflowSkipException(f"Nothing to recall{why}.")
    if on_empty == "fail":
        raise InvalidInputError("receipts", f"is empty: nothing to recall{why}")


def push_report(context: Context, report: Report, more: Mapping[str, Any]) -> dict[str, Any]:
    """Push a report as an XCom, and log it as a table.

    :param more: Further entries of the pushed report.
    :returns: Report as plain JSON.
    """
    as_json = {**report.to_json(), **more}
    context["ti"].xcom_push(REPORT, as_json)
    log.info("Report\n%s", report.table())
    return as_json


def _raise_if_incomplete(report: Report, fail_on: frozenset[str], *, permanent: bool) -> None:
    counts = report.counts()
    left = {name: counts[name] for name in sorted(fail_on) if counts[name]}
    if left:
        reasons = {
            settled.reason for settled in report.settled.values() if settled.outcome in left and settled.reason
        }
        steps = sorted({reason.next_step for reason in reasons})[:3]
        raise IncompleteRecallError(
            f"{counts['recalled']} of {counts['total']} messages recalled; "
            + ", ".join(f"{number} {name}" for name, number in left.items())
            + ".",
            code="incomplete_recall",
            next_step=" ".join(steps),
            permanent=permanent,
        )
