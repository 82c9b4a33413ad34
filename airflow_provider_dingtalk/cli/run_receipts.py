"""Find the receipts of what runs sent, by way of Airflow's REST API; the rule is that of the rollbacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_dingtalk.api.errors import InvalidInputError
from airflow_provider_dingtalk.cli.airflow_rest import AirflowRest, XCom
from airflow_provider_dingtalk.cli.exits import AirflowUnreachableError
from airflow_provider_dingtalk.execution import RECALLED, REPORT
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.run_history import (
    SentMessages,
    clean,
    in_doubt_error,
    merge,
    missing_error,
    recalled_by,
    sent_by,
)

log = logging.getLogger(__name__)

#: States of runs that have no end yet.
_UNFINISHED = ("running", "queued")
#: A task that a user stops may send for some seconds after its run has ended.
_LAST_BREATH = timedelta(minutes=1)


class _RestXComs:
    """XComs of one task, as the REST API gives them."""

    #: It gives the text by which a custom XCom backend finds a value, not the value.
    hides_values = True
    #: Unknown here: a send that is under way is not taken for one that was cut off.
    is_running = True

    def __init__(self, airflow: AirflowRest, task_id: str, xcoms: Sequence[XCom]) -> None:
        self._airflow = airflow
        self._xcoms = xcoms
        self.task_id = task_id
        self.instances = len({xcom.map_index for xcom in xcoms})

    def pull(self, key: str) -> list[Any]:
        """Read the values of all instances under a key."""
        values = [self._airflow.xcom_value(xcom) for xcom in self._xcoms if xcom.key == key]
        return [value for value in values if value is not None]


def receipts_of_run(airflow: AirflowRest, dag_id: str, run_id: str, task_ids: Sequence[str] = ()) -> list[Receipt]:
    """Find what a run sent, without what a recall of the same run recalled already.

    :param task_ids: Only what these tasks sent.
    :raises InvalidInputError: If there is no such run, or no such task in it.
    :raises AirflowUnreachableError: If the REST API does not give all of it.
    """
    if not airflow.has_run(dag_id, run_id):
        raise InvalidInputError("--run", f"Airflow knows no run {clean(run_id)!r} of a DAG {clean(dag_id)!r}")
    if task_ids and (strangers := sorted(set(task_ids) - airflow.task_ids(dag_id, run_id))):
        raise InvalidInputError("--task", f"the run has no task {clean(strangers[0])!r}")
    sent = _sent_by_run(airflow, dag_id, run_id, task_ids)
    _check_complete(sent)
    return sent.receipts


def receipts_since(
    airflow: AirflowRest, since: datetime, dag_ids: Sequence[str] = (), task_ids: Sequence[str] = ()
) -> list[Receipt]:
    """Find what runs sent since a moment; a receipt that does not say when it was sent counts.

    :raises InvalidInputError: If there is no such DAG.
    :raises AirflowUnreachableError: If the REST API does not give all of it.
    """
    ended = {"end_date_gte": (since - _LAST_BREATH).isoformat()}
    runs = {
        run: None
        for dag_id in dag_ids or (None,)
        for filters in (ended, {"state": list(_UNFINISHED)})
        for run in airflow.runs(dag_id, **filters)
    }
    sent = merge(_sent_by_run(airflow, run.dag_id, run.dag_run_id, task_ids) for run in runs)
    _check_complete(sent)
    moment = since.astimezone(UTC).timestamp()
    return [receipt for receipt in sent.receipts if (receipt.sent() or moment) >= moment]


def _sent_by_run(airflow: AirflowRest, dag_id: str, run_id: str, task_ids: Sequence[str]) -> SentMessages:
    tasks = list(_tasks(airflow, dag_id, run_id))
    gone = {key for task in tasks for key in _recalled(task)}
    sent = merge(sent_by(task, alerts=True) for task in tasks if not task_ids or task.task_id in task_ids)
    sent.receipts = [receipt for receipt in sent.receipts if receipt.key not in gone]
    return sent


def _tasks(airflow: AirflowRest, dag_id: str, run_id: str) -> Iterator[_RestXComs]:
    by_task: dict[str, list[XCom]] = {}
    for xcom in airflow.xcoms(dag_id, run_id):
        by_task.setdefault(xcom.task_id, []).append(xcom)
    for task_id, xcoms in by_task.items():
        yield _RestXComs(airflow, task_id, xcoms)


def _recalled(task: _RestXComs) -> set[str]:
    """Find the keys that a task recalled: numbered XComs name all, and a report, where there are none, some."""
    if named := recalled_by(task, RECALLED):
        return named
    # Other people's tasks may push a report of their own.
    reports = [report for report in task.pull(REPORT) if isinstance(report, dict) and "counts" in report]
    lists = [report["recalled"] for report in reports if isinstance(report.get("recalled"), list)]
    return {key for keys in lists for key in keys if isinstance(key, str)}


def _check_complete(sent: SentMessages) -> None:
    if sent.in_doubt:
        log.warning("%s", in_doubt_error(sent.in_doubt))
    if sent.missing:
        error = missing_error(sent.missing)
        raise AirflowUnreachableError(error.message, code="foreign_xcom", next_step=error.next_step)
