"""Inside a task: how operators run the core, what they push, and which error Airflow gets to see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.messaging.recall import Recall
from airflow_provider_dingtalk.messaging.receipts import (
    KEY_FIELD,
    SENDER_FIELDS,
    Kind,
    Receipt,
    parse_id,
    parse_keys,
)
from airflow_provider_dingtalk.messaging.report import Outcome, Report, empty_report
from airflow_provider_dingtalk.messaging.send import Send

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.hooks import DingTalkHook

log = logging.getLogger(__name__)

#: XCom keys.
REPORT = "report"
RECEIPTS = "receipts_{}"
RECEIPTS_COUNT = "receipts_count"
DROPPED = "dropped"
UNKNOWN = "unknown"
#: Receipts in one XCom.
RECEIPTS_PER_XCOM = 100

ON_EMPTY = ("succeed", "skip", "fail")


class IncompleteRecallError(DingTalkError):
    """Some messages are not recalled. The XCom ``report`` says which, why, and what to do next."""


class DroppedReceiversError(DingTalkError):
    """DingTalk accepted a send and left people out. The XCom ``dropped`` says whom, and why."""

    permanent = True


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn errors that no retry can mend into the one that Airflow does not retry; the one place for that.

    The others go through as they are, for ``ExceptionRetryPolicy`` to name.
    """
    try:
        yield
    except DingTalkError as error:
        if not error.permanent:
            raise
        raise AirflowFailException(str(error)) from error


def receipts_of_keys(kind: Kind, keys: Any, field: str, sender: Mapping[str, Any]) -> list[Receipt]:
    """Receipts for messages of which only the keys are known.

    :param field: Name of the argument that holds the keys, for errors.
    :param sender: ``robot_code``, ``agent_id``, ``open_conversation_id``.
    :raises InvalidInputError: A key is none, or the sender lacks something.
    """
    if field == "msg_task_id" and isinstance(keys, int | str) and not str(keys).lstrip().startswith("["):
        keys = [] if keys == "None" else [keys]
    parsed = parse_keys(keys, field)
    if not parsed:
        return []
    needed: dict[str, Any] = {}
    for name in SENDER_FIELDS[kind]:
        if sender.get(name) is None:
            where = "" if name == "open_conversation_id" else ", or set it in the connection's extras"
            raise InvalidInputError(name, f"is missing; give it{where}")
        needed[name] = parse_id(sender[name], name)
    return [Receipt(kind=kind, **{**needed, KEY_FIELD[kind]: key}) for key in parsed]


def only_of_kind(receipts: Sequence[Receipt], kind: Kind) -> None:
    """Refuse receipts of other kinds.

    :raises InvalidInputError: There is one.
    """
    for index, receipt in enumerate(receipts):
        if receipt.kind is not kind:
            problem = (
                f"is {receipt.kind}; this operator recalls {kind} only. Use DingTalkRollbackOperator for mixtures"
            )
            raise InvalidInputError(f"receipts[{index}].kind", problem)


def check_choices(on_empty: Any, fail_on: Any) -> frozenset[str]:
    """The classes to fail on.

    :raises InvalidInputError: ``on_empty`` or ``fail_on`` is none of the choices.
    """
    if on_empty not in ON_EMPTY:
        raise InvalidInputError("on_empty", f"is {str(on_empty)[:40]!r}; use one of {', '.join(ON_EMPTY)}")
    chosen = frozenset([fail_on] if isinstance(fail_on, str) else fail_on)
    allowed = {outcome.value for outcome in Outcome} - {Outcome.RECALLED}
    if not chosen <= allowed:
        raise InvalidInputError("fail_on", f"holds {sorted(chosen - allowed)}; use some of {sorted(allowed)}")
    return chosen


def run_recall(
    hook: DingTalkHook, job: Recall, context: Context, *, on_empty: str, fail_on: frozenset[str]
) -> dict[str, Any]:
    """Recall, push the report whatever happens, and fail the task if it must.

    :returns: The report as plain JSON.
    :raises AirflowSkipException: There is nothing to recall, and that is to be skipped.
    :raises IncompleteRecallError: Messages ended in a class of ``fail_on``.
    """
    if job.is_empty:
        return _nothing_to_recall(context, on_empty)
    try:
        report = hook.run(job.run, job.stop)
    except BaseException:
        _push_report(context, job.report())
        raise
    pushed = _push_report(context, report)
    _raise_if_incomplete(report, fail_on, permanent=job.is_final)
    return pushed


def _nothing_to_recall(context: Context, on_empty: str) -> dict[str, Any]:
    log.info("Nothing to recall.")
    pushed = _push_report(context, empty_report())
    if on_empty == "skip":
        raise AirflowSkipException("Nothing to recall.")
    if on_empty == "fail":
        raise InvalidInputError("receipts", "is empty: nothing to recall")
    return pushed


def _push_report(context: Context, report: Report) -> dict[str, Any]:
    as_json = report.to_json()
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


def run_send(hook: DingTalkHook, job: Send, context: Context, *, fail_on_dropped: bool) -> list[dict[str, Any]]:
    """Send, push what is known whatever happens, and fail the task if it must.

    :returns: Receipts as plain JSON.
    :raises IncompleteSendError: Not everything was sent, or nobody knows.
    :raises DroppedReceiversError: DingTalk left people out, and that is to fail the task.
    """
    try:
        hook.run(job.run, job.stop)
    finally:
        _push_rest(context, job)
    job.raise_if_incomplete()
    if job.dropped and fail_on_dropped:
        raise DroppedReceiversError(f"DingTalk left out {len(job.dropped)} people.", code="dropped_receivers")
    return [receipt.to_json() for receipt in job.receipts]


def _push_rest(context: Context, job: Send) -> None:
    if job.dropped:
        context["ti"].xcom_push(DROPPED, job.dropped)
        log.warning("DingTalk left out %d people: %s", len(job.dropped), _few(job.dropped))
    if job.unknown:
        context["ti"].xcom_push(UNKNOWN, [unsent.to_json() for unsent in job.unknown])
    log.info("Sent %d, refused %d, unknown %d.", len(job.receipts), len(job.failed), len(job.unknown))


def _few(people: Mapping[str, str]) -> str:
    shown = [f"{user} ({why})" for user, why in list(people.items())[:10]]
    return ", ".join(shown) + (", …" if len(people) > len(shown) else "")


class ReceiptsInXCom:
    """Pushes receipts the moment DingTalk answered: under ``receipts_0``, ``receipts_1``, … and their count.

    A task that dies later has not lost them, and a rollback downstream finds them.
    """

    def __init__(self, context: Context) -> None:
        self._ti = context["ti"]
        self._pushed = 0

    async def __call__(self, receipts: Sequence[Receipt]) -> None:
        """Push those that are new."""
        # In a thread: Airflow waits for its supervisor's answer, and the event loop must not.
        await asyncio.to_thread(self._push, receipts)

    def _push(self, receipts: Sequence[Receipt]) -> None:
        first = self._pushed // RECEIPTS_PER_XCOM
        last = (len(receipts) - 1) // RECEIPTS_PER_XCOM
        for number in range(first, last + 1):
            chunk = receipts[number * RECEIPTS_PER_XCOM : (number + 1) * RECEIPTS_PER_XCOM]
            self._ti.xcom_push(RECEIPTS.format(number), [receipt.to_json() for receipt in chunk])
        self._ti.xcom_push(RECEIPTS_COUNT, len(receipts))
        self._pushed = len(receipts)


def receipts_in_xcom(context: Context, task_ids: Sequence[str]) -> list[Any]:
    """Receipts that send tasks of this run pushed, those of failed, killed and mapped ones included."""
    found: list[Any] = []
    number = 0
    while True:
        chunks = context["ti"].xcom_pull(task_ids=list(task_ids), key=RECEIPTS.format(number))
        if not any(chunks or ()):
            return found
        found += [chunk for chunk in chunks if chunk]
        number += 1


def has_failed(context: Context, task_ids: Sequence[str]) -> bool:
    """Whether one of these tasks of this run failed, or could not run because another one did."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=None, run_ids=[ti.run_id]).get(ti.run_id, {})
    # A mapped task's states come as task_0, task_1, …
    return any(
        state in ("failed", "upstream_failed")
        for name, state in states.items()
        if any(name == task_id or name.removeprefix(f"{task_id}_").isdigit() for task_id in task_ids)
    )
