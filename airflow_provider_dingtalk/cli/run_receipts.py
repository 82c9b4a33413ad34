"""Receipts of runs from Airflow's REST API, by the rule of rollbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from airflow_provider_dingtalk.cli.airflow_api import AirflowRest, AssetEvent, Run, XCom
from airflow_provider_dingtalk.exceptions import AirflowRefusedError, AirflowUnreachableError, InvalidInputError
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.task import asset_events
from airflow_provider_dingtalk.task.recall_log import RecallLog
from airflow_provider_dingtalk.task.sent_messages import (
    SentMessages,
    clean,
    in_doubt_error,
    merge,
    missing_error,
    recalled_by,
    sent_by,
)
from airflow_provider_dingtalk.task.xcoms import KEPT, REPORT

log = get_logger(__name__)

_T = TypeVar("_T")

#: Runs that are read at the same time.
RUNS_AT_ONCE = 8
#: States of runs that have not ended.
_UNFINISHED = ("running", "queued")
#: Time after a run's end in which a task that a user stops may still send.
_STOP_GRACE = timedelta(minutes=1)


class _RestXComs:
    """XComs of one task, read through the REST API."""

    #: For a custom XCom backend, the REST API returns the backend's reference and not the value.
    hides_values = True
    #: Unknown here, so True: a send in flight must not count as interrupted.
    is_running = True

    def __init__(self, airflow: AirflowRest, run: Run, task_id: str, xcoms: Sequence[XCom]) -> None:
        self._airflow = airflow
        self._run = run
        self.is_settled = run.end_date is not None and run.end_date < datetime.now(UTC) - _STOP_GRACE
        self._xcoms = xcoms
        self.task_id = task_id
        # A rollback that kept its messages returned no receipts, so its returned value is not read.
        kept = {xcom.map_index for xcom in xcoms if xcom.key == KEPT}
        self.instances = len({xcom.map_index for xcom in xcoms} - kept)

    def pull(self, key: str) -> list[Any]:
        """Return the values of all task instances for a key."""
        values = [self._airflow.xcom_value(self._run, xcom) for xcom in self._xcoms if xcom.key == key]
        return [value for value in values if value is not None]


def messages_of_run(airflow: AirflowRest, dag_id: str, run_id: str, task_ids: Sequence[str] = ()) -> SentMessages:
    """Return the messages of a run, except those that are recalled already.

    :param task_ids: Ids of the tasks whose receipts are returned; default all.
    :raises InvalidInputError: If there is no such run, or no such task in it.
    :raises AirflowUnreachableError: If the REST API does not return all receipts.
    """
    run = airflow.run(dag_id, run_id)
    if run is None:
        run_id, dag_id = clean(run_id), clean(dag_id)
        problem = f"Airflow knows no run {run_id!r} of a DAG {dag_id!r}"
        raise InvalidInputError("--run", problem, f"Airflow 中没有 DAG {dag_id!r} 的运行 {run_id!r}")
    if task_ids and (unknown := sorted(set(task_ids) - airflow.task_ids(run))):
        task_id = clean(unknown[0])
        raise InvalidInputError("--task", f"the run has no task {task_id!r}", f"该运行没有任务 {task_id!r}")
    sent = _not_recalled_elsewhere(airflow, [(dag_id, _sent_by_run(airflow, run, task_ids))])
    return _checked(sent, f"from_dag={dag_id!r}, from_run={run_id!r}")


def messages_since(
    airflow: AirflowRest, since: datetime, dag_ids: Sequence[str] = (), task_ids: Sequence[str] = ()
) -> SentMessages:
    """Return the messages that runs sent since a time, except those that are recalled already.

    A receipt without a time of its send is included.

    :param dag_ids: Ids of the DAGs whose runs are read; default all.
    :param task_ids: Ids of the tasks whose receipts are returned; default all.
    :raises InvalidInputError: If there is no such DAG, or none of its runs has such a task.
    :raises AirflowUnreachableError: If the REST API does not return all receipts.
    """
    ended = {"end_date_gte": (since - _STOP_GRACE).isoformat()}
    # A run may end between the two lists, so those that have not ended are listed first.
    runs = {
        (run.dag_id, run.dag_run_id): run
        for dag_id in dag_ids or (None,)
        for filters in ({"state": list(_UNFINISHED)}, ended)
        for run in airflow.runs(dag_id, **filters)
    }
    _check_tasks(airflow, list(runs.values()), task_ids)
    start = since.timestamp()
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        found = list(pool.map(lambda run: (run.dag_id, _sent_by_run(airflow, run, task_ids)), runs.values()))
    source = f"from_dag={dag_ids[0] if dag_ids else '…'!r}, since={since.isoformat()!r}"
    sent = _checked(_not_recalled_elsewhere(airflow, found), source)
    sent.receipts = [receipt for receipt in sent.receipts if (receipt.sent() or start) >= start]
    return sent


def _check_tasks(airflow: AirflowRest, runs: Sequence[Run], task_ids: Sequence[str]) -> None:
    """Raise an error if none of the runs has one of the tasks, whose id may be mistyped."""
    unknown = {*task_ids}
    for run in runs:
        if unknown:
            unknown -= airflow.task_ids(run)
    if runs and unknown:
        raise InvalidInputError("--task", f"none of the runs has a task {clean(min(unknown))!r}")


def _sent_by_run(airflow: AirflowRest, run: Run, task_ids: Sequence[str]) -> SentMessages:
    by_task: dict[str, list[XCom]] = {}
    for xcom in airflow.xcoms(run):
        by_task.setdefault(xcom.task_id, []).append(xcom)
    tasks = [_RestXComs(airflow, run, task_id, xcoms) for task_id, xcoms in by_task.items()]
    sent = merge(sent_by(task, alerts=True) for task in tasks if not task_ids or task.task_id in task_ids)
    if sent.receipts:
        recalled = {key for task in tasks for key in _recalled(task)}
        sent.receipts = [receipt for receipt in sent.receipts if receipt.key not in recalled]
    return sent


def _not_recalled_elsewhere(airflow: AirflowRest, found: Sequence[tuple[str, SentMessages]]) -> SentMessages:
    """Merge what runs sent, by DAG id, without what other runs recalled by the rollback logs of their DAGs."""
    by_dag: dict[str, list[Receipt]] = {}
    for dag_id, one in found:
        by_dag.setdefault(dag_id, []).extend(one.receipts)
    gone = {key for dag_id, receipts in by_dag.items() for key in _recall_log(airflow, dag_id).recalled(receipts)}
    sent = merge(one for _, one in found)
    left = [receipt for receipt in sent.receipts if receipt.key not in gone]
    if number := len(sent.receipts) - len(left):
        log.info("Left out: %d messages that other runs recalled.", number)
    sent.receipts = left
    return sent


def _recall_log(airflow: AirflowRest, dag_id: str) -> RecallLog:
    def read_events(after: str | None) -> list[AssetEvent]:
        return _if_permitted(
            lambda: asset_events.of_this_version(airflow.asset_events(asset_events.rollback_log(dag_id).uri, after))
        )

    def keys_of(*source: str) -> set[str]:
        return set(_if_permitted(lambda: _recalled_by_source(airflow, *source)))

    return RecallLog(read_events, keys_of)


def _recalled_by_source(airflow: AirflowRest, dag_id: str, run_id: str, task_id: str) -> set[str]:
    run = Run(dag_id, run_id)
    return _recalled(_RestXComs(airflow, run, task_id, airflow.xcoms(run, task_id)))


def _if_permitted(read: Callable[[], Iterable[_T]]) -> list[_T]:
    """Return what Airflow shows; nothing if the user may not see it, since the recall matters more."""
    try:
        return list(read())
    except (AirflowRefusedError, InvalidInputError) as error:
        log.warning("Messages that other runs took back already may be among these: %s", error.message)
        return []


def _recalled(task: _RestXComs) -> set[str]:
    """Return the message keys that a task recalled.

    Numbered XComs name all keys. A report, read if there are none, may name a part of them.
    """
    if named := recalled_by(task):
        return named
    # Tasks outside this provider may push an XCom of that name, so its form is checked.
    reports = [report for report in task.pull(REPORT) if isinstance(report, dict) and "counts" in report]
    lists = [report["recalled"] for report in reports if isinstance(report.get("recalled"), list)]
    return {key for keys in lists for key in keys if isinstance(key, str)}


def _checked(sent: SentMessages, source: str) -> SentMessages:
    """Return the messages, or tell who can read them; ``source`` are the arguments of a rollback operator."""
    if sent.in_doubt:
        log.warning("%s", in_doubt_error(sent.in_doubt))
    if sent.missing:
        missing = missing_error(sent.missing)
        raise AirflowUnreachableError(
            missing.message,
            message_zh=missing.message_zh,
            code="foreign_xcom",
            next_step="The REST API does not return what a custom XCom backend keeps elsewhere; a task does. Trigger "
            "the DAG dingtalk_incident_rollback (docs/incident.md) for this run, or a task of your own: "
            f"DingTalkRollbackOperator({clean(source)}). If the XComs were deleted, recall by --keys.",
            next_step_zh="自定义 XCom backend 存放在别处的内容，REST API 不返回，任务可以读取。请为该运行触发 DAG "
            "dingtalk_incident_rollback（docs/incident.zh-CN.md），或使用自己的任务："
            f"DingTalkRollbackOperator({clean(source)})。如果 XCom 已被删除，请用 --keys 撤回。",
        )
    return sent
