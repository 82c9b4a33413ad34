"""Selection of a rollback's messages, by task, run, time or unfinished rollback."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.receipt import Receipt, iso
from airflow_provider_dingtalk.task import asset_events
from airflow_provider_dingtalk.task.arguments import both_times
from airflow_provider_dingtalk.task.dag_history import DagHistory
from airflow_provider_dingtalk.task.recall_log import RecallLog
from airflow_provider_dingtalk.task.run_history import (
    Tasks,
    indexes_not_rolled_back,
    names_of,
    run_ends,
    runs_not_rolled_back,
    runs_since,
    task_names,
    tasks_of_run,
)
from airflow_provider_dingtalk.task.sent_messages import clean, in_doubt_error
from airflow_provider_dingtalk.task.xcoms import KEPT_BEFORE_ERROR, SENDING

if TYPE_CHECKING:
    from airflow.sdk import Context


log = get_logger(__name__)


class RunMessages(Struct):
    """Messages that one run sent.

    :param receipts: Receipts of messages that are not known to be recalled.
    :param missing: Number of registered receipts that cannot be read, by task id.
    :param in_doubt: Maximum number of calls that sent a message without a receipt, by task id.
    :param already: Number of messages that are known to be recalled.
    """

    dag_id: str
    run_id: str
    receipts: list[Receipt] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    in_doubt: dict[str, int] = field(default_factory=dict)
    already: int = 0


def _recall_log(context: Context, dag_id: str, earliest: float = math.inf) -> RecallLog:
    """Return the messages that the rollback log of a DAG notes as recalled; none if it cannot be read."""

    def read_events(after: str | None) -> list[Any]:
        return [] if context.get("outlet_events") is None else asset_events.read(context, dag_id, after)

    def keys_of(source_dag_id: str, run_id: str, task_id: str) -> set[str]:
        return Tasks(context, [task_id], dag_id=source_dag_id, run_id=run_id).recalled()

    return RecallLog(read_events, keys_of, earliest)


def of_tasks(context: Context, task_ids: Sequence[str]) -> RunMessages:
    """Return the messages that tasks of this run sent."""
    tasks = Tasks(context, task_ids)
    return _not_recalled(tasks, tasks, _recall_log(context, tasks.dag_id))


def of_run(
    context: Context,
    dag_id: str | None,
    run_id: str,
    task_ids: Sequence[str] = (),
    *,
    errors: list[DingTalkError] | None = None,
) -> RunMessages:
    """Return the messages that a run, or some of its tasks, sent, also if they failed or were killed.

    :param dag_id: Id of the DAG; None means the DAG of this task.
    :param task_ids: Ids of the tasks; default empty, which means all tasks of the run.
    :param errors: List that gets an error if no task ran in the run, and for each task that does not exist, because a
        user may have mistyped them; default None, which takes both for "nothing sent".
    """
    dag_id = dag_id or context["ti"].dag_id
    all_tasks = tasks_of_run(context, dag_id, run_id)
    if errors is not None and not all_tasks.ids:
        problem = f"is {run_id[:100]!r}, no run of {dag_id!r} in which a task ran"
        zh = f"{run_id[:100]!r} 不是 {dag_id!r} 中有任务执行过的运行"
        errors.append(InvalidInputError("from_run", problem, zh))
        return RunMessages(dag_id, run_id)
    if errors is not None:
        where = f"the run {run_id[:100]!r}", f"运行 {run_id[:100]!r}"
        errors += _unknown(task_ids, task_names(context, dag_id, run_id), *where)
    tasks = Tasks(context, task_ids, dag_id=dag_id, run_id=run_id) if task_ids else all_tasks
    return _not_recalled(tasks, all_tasks, _recall_log(context, dag_id), alerts=True)


def _unknown(task_ids: Sequence[str], names: Collection[str], where: str, where_zh: str) -> list[InvalidInputError]:
    """Return an error for each task that is not among the names."""
    unknown = [clean(task_id) for task_id in task_ids if task_id not in names]
    return [
        InvalidInputError("from_tasks", f"holds {one!r}, no task of {where}", f"{one!r} 不是{where_zh} 的任务")
        for one in unknown
    ]


def of_window(
    context: Context,
    dag_id: str | None,
    since: float,
    until: float | None,
    task_ids: Sequence[str] = (),
    *,
    errors: list[DingTalkError] | None = None,
) -> list[RunMessages]:
    """Return the messages that a DAG's runs, or some of their tasks, sent in a time window.

    The DAG needs no rollback. A receipt without a send time counts if its run may have sent in the window.

    :param dag_id: Id of the DAG; None means the DAG of this task.
    :param since: Start of the window, as Unix time in seconds.
    :param until: End of the window, as Unix time in seconds; None leaves it open.
    :param task_ids: Ids of the tasks; default empty, which means all tasks.
    :param errors: List that gets an error for each task that no run of the DAG has; default None.
    :raises InvalidInputError: If the window is empty or begins in the future, or if Airflow knows no such DAG.
    """
    dag_id = dag_id or context["ti"].dag_id
    if until is not None and until <= since:
        last, first = both_times(until), both_times(since)
        problem = f"is {last}, not later than since, {first}"
        raise InvalidInputError("until", problem, f"{last} 不晚于 since {first}")
    if since > time.time():
        first = both_times(since)
        raise InvalidInputError("since", f"is {first}, which is yet to come", f"{first} 是将来的时间")
    history, recall_log = DagHistory(context, dag_id), _recall_log(context, dag_id, since)
    end = math.inf if until is None else until
    found = []
    for run_id in runs_since(context, history, since):
        every = tasks_of_run(context, dag_id, run_id, history.of(run_id))
        tasks = every if not task_ids else Tasks(context, task_ids, dag_id=dag_id, run_id=run_id, history=every.history)
        one = _not_recalled(tasks, every, recall_log, alerts=True, window=(since, end))
        found.append(_with_doubts_of_window(one, history, since, end))
    if not history.is_confirmed():
        return of_window(context, dag_id, since, until, task_ids, errors=errors)
    if errors is not None and history.states:
        names = names_of(name for states in history.states.values() for name in states)
        errors += _unknown(task_ids, names, f"any run of {dag_id!r}", f" {dag_id!r} 任何运行")
    return found


def _with_doubts_of_window(one: RunMessages, history: DagHistory, since: float, until: float) -> RunMessages:
    """Drop the calls in doubt of a run that is not wholly in the window, because they have no send time."""
    if one.in_doubt and not history.is_within(one.run_id, since, until):
        log.warning("Run %s: %s", clean(one.run_id), in_doubt_error(one.in_doubt))
        one.in_doubt = {}
    return one


def of_unfinished(
    context: Context, dag_id: str, rollbacks: Sequence[str], earliest: float = -math.inf
) -> list[RunMessages]:
    """Return the messages of ended runs whose rollback did not succeed, and that no sweep has finished since.

    A message belongs to a rollback if its send is in that rollback's block.

    :param rollbacks: Ids of the rollback tasks.
    :param earliest: Unix time in seconds; runs that ended before are left out. Default: none is.
    :raises InvalidInputError: If Airflow knows no such DAG, or none of its runs has one of these tasks.
    """
    history = DagHistory(context, dag_id)
    ends = run_ends(context, history, runs_not_rolled_back(context, dag_id, rollbacks))
    recent = {run_id: end for run_id, end in ends.items() if end is None or end >= earliest}
    if number := len(ends) - len(recent):
        log.info("Leaving out %d runs of %s that ended before %s.", number, clean(dag_id), both_times(earliest))
    swept = _swept_runs(context, dag_id, recent, earliest) if recent else {}
    due = [run_id for run_id, end in recent.items() if (end or 0.0) >= swept.get(run_id, -math.inf)]
    history.read_states(due)
    recall_log = _recall_log(context, dag_id, earliest)
    found = [_of_blocks(context, history, recall_log, run_id, rollbacks) for run_id in due]
    return found if history.is_confirmed() else of_unfinished(context, dag_id, rollbacks, earliest)


def _swept_runs(context: Context, dag_id: str, ends: Mapping[str, float | None], earliest: float) -> dict[str, float]:
    """Return the Unix times of the last sweeps that left nothing to recall, by run."""
    if context.get("outlet_events") is None:
        return {}
    # Without the ends of the runs, a sweep of any age counts.
    after = None if None in ends.values() else iso(max(earliest, 0.0))
    swept = [event for event in asset_events.read(context, dag_id, after) if event.extra.get("swept")]
    return {str(event.extra["run_id"]): event.timestamp.timestamp() for event in swept if event.extra.get("left") == 0}


def _of_blocks(
    context: Context, history: DagHistory, recall_log: RecallLog, run_id: str, rollbacks: Sequence[str]
) -> RunMessages:
    """Return the messages of those blocks of a run whose rollback did not succeed."""
    where: dict[str, Any] = {"dag_id": history.dag_id, "run_id": run_id, "history": history.of(run_id)}
    all_tasks = tasks_of_run(context, history.dag_id, run_id, where["history"])
    blocks = {task_id: _rollbacks_of(Tasks(context, [task_id], **where)) for task_id in all_tasks.ids}
    found = RunMessages(history.dag_id, run_id)
    for rollback in rollbacks:
        in_block = [task_id for task_id, of_task in blocks.items() if rollback in of_task]
        # In a mapped task group, the instances of a rollback and of its sends have the same index.
        for map_index in indexes_not_rolled_back(context, history.dag_id, run_id, rollback, where["history"]):
            if _had_nothing_to_do(Tasks(context, [rollback], map_index=map_index, **where)):
                continue
            tasks = Tasks(context, in_block, map_index=map_index, **where)
            left = _not_recalled(tasks, all_tasks, recall_log)
            found.receipts += left.receipts
            found.missing |= left.missing
            found.in_doubt |= left.in_doubt
            found.already += left.already
    return found


def _had_nothing_to_do(rollback: Tasks) -> bool:
    """Return True if a rollback failed by a mistake in its arguments, although no task of its block had failed."""
    # The note may be of an execution before a clear, unless the rollback has run since.
    return "failed" in rollback.states().values() and bool(rollback.pull(KEPT_BEFORE_ERROR))


def _rollbacks_of(task: Tasks) -> Sequence[str]:
    """Return the ids of the rollbacks that a send task noted."""
    for value in task.pull(SENDING)[:1]:
        if isinstance(value, dict):
            return value.get("rollbacks") or ()
    return ()


def _not_recalled(
    tasks: Tasks,
    all_tasks: Tasks,
    recall_log: RecallLog,
    *,
    alerts: bool = False,
    window: tuple[float, float] = (-math.inf, math.inf),
) -> RunMessages:
    """Return the messages that tasks sent in a window, without those known to be recalled.

    :param all_tasks: Tasks whose recalls count, beside those in the rollback log.
    """
    sent = tasks.sent(alerts=alerts)
    since, until = window
    receipts = [one for one in sent.receipts if (moment := one.sent()) is None or since <= moment <= until]
    keys = {receipt.key for receipt in receipts}
    gone = keys & recall_log.recalled(receipts)
    if keys:
        gone |= all_tasks.recalled(keys)
    left = [receipt for receipt in receipts if receipt.key not in gone]
    return RunMessages(tasks.dag_id, tasks.run_id, left, sent.missing, sent.in_doubt, len(receipts) - len(left))
