"""Selection of a rollback's messages, by task, run, time or unfinished rollback."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.receipt import Receipt, iso
from airflow_provider_dingtalk.task import asset_events
from airflow_provider_dingtalk.task.arguments import both_times
from airflow_provider_dingtalk.task.run_history import (
    Tasks,
    indexes_not_rolled_back,
    runs_not_rolled_back,
    runs_since,
    task_names,
    tasks_of_run,
)
from airflow_provider_dingtalk.task.sent_messages import clean, in_doubt_error
from airflow_provider_dingtalk.task.xcoms import SENDING

if TYPE_CHECKING:
    from airflow.sdk import Context


log = logging.getLogger(__name__)


class RunMessages(Struct):
    """Messages that one run sent.

    :param receipts: Receipts of messages that are not known to be recalled.
    :param missing: Number of registered receipts that cannot be read, by task id.
    :param in_doubt: Number of calls that may have sent a message without a receipt, by task id.
    :param already: Number of messages that are known to be recalled.
    """

    dag_id: str
    run_id: str
    receipts: list[Receipt] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    in_doubt: dict[str, int] = field(default_factory=dict)
    already: int = 0


def of_tasks(context: Context, task_ids: Sequence[str]) -> RunMessages:
    """Return the messages that tasks of this run sent."""
    return _not_recalled(context, Tasks(context, task_ids))


def of_run(
    context: Context, dag_id: str | None, run_id: str, task_ids: Sequence[str] = (), *, must_be: bool = False
) -> RunMessages:
    """Return the messages that a run, or some of its tasks, sent, also if they failed or were killed.

    :param dag_id: Id of the DAG; None means the DAG of this task.
    :param task_ids: Ids of the tasks; default empty, which means all tasks of the run.
    :param must_be: True if a user named the run, and may have mistyped it; default False.
    :raises InvalidInputError: If ``must_be`` is set, and a task does not exist, or no task ran in the run.
    """
    dag_id = dag_id or context["ti"].dag_id
    all_tasks = tasks_of_run(context, dag_id, run_id)
    if must_be and not all_tasks.ids:
        raise InvalidInputError("from_run", f"is {run_id[:100]!r}, no run of {dag_id!r} in which a task ran")
    if must_be and (unknown := [one for one in task_ids if one not in task_names(context, dag_id, run_id)]):
        raise InvalidInputError("from_tasks", f"holds {unknown[0]!r}, no task of the run {run_id[:100]!r}")
    tasks = Tasks(context, task_ids, dag_id=dag_id, run_id=run_id) if task_ids else all_tasks
    return _not_recalled(context, tasks, all_tasks.recalled(), alerts=True)


def of_window(context: Context, dag_id: str | None, since: float, until: float | None) -> list[RunMessages]:
    """Return the messages that a DAG's runs sent in a time window.

    The DAG needs no rollback. A receipt without a send time counts if its run may have sent in the window.

    :param dag_id: Id of the DAG; None means the DAG of this task.
    :param since: Start of the window, as Unix time in seconds.
    :param until: End of the window, as Unix time in seconds; None leaves it open.
    :raises InvalidInputError: If the window is empty or begins in the future, or if Airflow knows no such DAG.
    """
    dag_id = dag_id or context["ti"].dag_id
    if until is not None and until <= since:
        raise InvalidInputError("until", f"is {both_times(until)}, not later than since, {both_times(since)}")
    if since > time.time():
        raise InvalidInputError("since", f"is {both_times(since)}, which is yet to come")
    found = [of_run(context, dag_id, run_id) for run_id in runs_since(context, dag_id, since)]
    for one in found:
        one.receipts = [
            receipt
            for receipt in one.receipts
            if (sent := receipt.sent()) is None or since <= sent <= (math.inf if until is None else until)
        ]
        if one.in_doubt:
            # A call without an answer has no send time, so it may have been made before the window.
            log.warning("Run %s: %s", clean(one.run_id), in_doubt_error(one.in_doubt))
            one.in_doubt = {}
    return found


def swept_runs(dag_id: str) -> set[str]:
    """Return a DAG's runs in which a sweep left nothing to recall."""
    swept = [event.extra for event in asset_events.read(dag_id) if event.extra.get("swept")]
    return {str(extra["run_id"]) for extra in swept if extra.get("left") == 0}


def of_unfinished(
    context: Context, dag_id: str, rollbacks: Sequence[str], finished: Collection[str]
) -> list[RunMessages]:
    """Return the messages of runs whose rollback did not succeed.

    A message belongs to a rollback if its send is in that rollback's block.

    :param rollbacks: Ids of the rollback tasks.
    :param finished: Ids of runs that a sweep has finished since.
    """
    run_ids = [run_id for run_id in runs_not_rolled_back(context, dag_id, rollbacks) if run_id not in finished]
    return [_of_blocks(context, dag_id, run_id, rollbacks) for run_id in run_ids]


def _of_blocks(context: Context, dag_id: str, run_id: str, rollbacks: Sequence[str]) -> RunMessages:
    """Return the messages of those blocks of a run whose rollback did not succeed."""
    all_tasks = tasks_of_run(context, dag_id, run_id)
    found = RunMessages(dag_id, run_id)
    for rollback in rollbacks:
        # In a mapped task group, the instances of a rollback and of its sends have the same index.
        for map_index in indexes_not_rolled_back(context, dag_id, run_id, rollback):
            in_block = [
                task_id
                for task_id in all_tasks.ids
                for value in Tasks(context, [task_id], dag_id=dag_id, run_id=run_id).pull(SENDING)[:1]
                if isinstance(value, dict) and rollback in (value.get("rollbacks") or ())
            ]
            tasks = Tasks(context, in_block, dag_id=dag_id, run_id=run_id, map_index=map_index)
            left = _not_recalled(context, tasks, all_tasks.recalled())
            found.receipts += left.receipts
            found.missing |= left.missing
            found.in_doubt |= left.in_doubt
            found.already += left.already
    return found


def _not_recalled(context: Context, tasks: Tasks, recalled: Iterable[str] = (), *, alerts: bool = False) -> RunMessages:
    """Return the messages that tasks sent, without those known to be recalled."""
    sent = tasks.sent(alerts=alerts)
    gone = {*recalled, *_recalled_elsewhere(context, tasks.dag_id, sent.receipts)}
    left = [receipt for receipt in sent.receipts if receipt.key not in gone]
    already = len(sent.receipts) - len(left)
    return RunMessages(tasks.dag_id, tasks.run_id, left, sent.missing, sent.in_doubt, already)


def _recalled_elsewhere(context: Context, dag_id: str, receipts: Sequence[Receipt]) -> set[str]:
    """Return the keys of messages that this or another DAG's rollbacks noted as recalled."""
    if not receipts or context.get("outlet_events") is None:
        return set()
    sent = [moment for receipt in receipts if (moment := receipt.sent()) is not None]
    gone: set[str] = set()
    for event in asset_events.read(dag_id, iso(min(sent)) if sent else None):
        if event.extra.get("recalled"):
            source = {"dag_id": event.source_dag_id, "run_id": event.source_run_id}
            gone |= Tasks(context, [event.source_task_id], **source).recalled()
    return gone
