"""Receipts of what runs sent, out of their XComs: those of failed, killed and mapped tasks too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_dingtalk.api.errors import InvalidInputError
from airflow_provider_dingtalk.cli.airflow_rest import AirflowRest
from airflow_provider_dingtalk.cli.exits import AirflowUnreachableError
from airflow_provider_dingtalk.execution import REPORT
from airflow_provider_dingtalk.messaging.receipts import KEY_FIELD, MAX_DEPTH, Kind, Receipt, parse_receipts

_NUMBERED = re.compile(r"receipts_\d+")
_RECALLED = re.compile(r"recalled_\d+")
_RETURNED = "return_value"
#: States of runs that have no end yet.
_UNFINISHED = ("running", "queued")


def receipts_of_run(airflow: AirflowRest, dag_id: str, run_id: str, task_ids: Sequence[str] = ()) -> list[Receipt]:
    """What a run sent, without what a recall of the same run took back already.

    :param task_ids: Only what these tasks sent.
    :raises InvalidInputError: There is no such run, or no such task in it.
    """
    if airflow.run(dag_id, run_id) is None:
        raise InvalidInputError("--run", f"Airflow knows no run {run_id[:200]!r} of a DAG {dag_id[:200]!r}")
    if task_ids and (strangers := sorted(set(task_ids) - airflow.task_ids(dag_id, run_id))):
        raise InvalidInputError("--task", f"the run has no task {strangers[0][:200]!r}")
    entries = airflow.xcoms(dag_id, run_id)
    gone = _recalled(airflow, entries)
    return [receipt for receipt in _sent(airflow, entries, set(task_ids)) if receipt.key not in gone]


def receipts_since(
    airflow: AirflowRest, since: datetime, dag_ids: Sequence[str] = (), task_ids: Sequence[str] = ()
) -> list[Receipt]:
    """What runs sent since a moment; a receipt that does not say when it was sent counts.

    :raises InvalidInputError: There is no such DAG.
    """
    runs = {
        (run["dag_id"], run["dag_run_id"]): run
        for dag_id in dag_ids or (None,)
        for filters in ({"end_date_gte": since.isoformat()}, {"state": list(_UNFINISHED)})
        for run in airflow.runs(dag_id, **filters)
    }
    found = []
    for dag_id, run_id in runs:
        entries = airflow.xcoms(dag_id, run_id)
        gone = _recalled(airflow, entries)
        found += [one for one in _sent(airflow, entries, set(task_ids)) if one.key not in gone]
    moment = since.astimezone(UTC).timestamp()
    return [receipt for receipt in found if (receipt.sent() or moment) >= moment]


def _sent(airflow: AirflowRest, entries: Sequence[Mapping[str, Any]], task_ids: set[str]) -> Iterator[Receipt]:
    """Receipts among the XComs of a run.

    A send pushes them under numbered keys as DingTalk answers. A task of somebody's own, which sends with the
    hook, returns them.
    """
    wanted = [entry for entry in entries if not task_ids or entry["task_id"] in task_ids]
    numbered = [entry for entry in wanted if _NUMBERED.fullmatch(entry["key"])]
    told = {(entry["task_id"], entry["map_index"]) for entry in numbered}
    for entry in numbered:
        value = airflow.xcom_value(dict(entry))
        if not isinstance(value, list | str | None):
            raise _foreign(entry)
        try:
            yield from parse_receipts(value, f"{entry['task_id']}.{entry['key']}")
        except InvalidInputError:
            raise _foreign(entry) from None
    for entry in wanted:
        if entry["key"] == _RETURNED and (entry["task_id"], entry["map_index"]) not in told:
            yield from parse_receipts(list(_look_like_receipts(airflow.xcom_value(dict(entry)))))


def _look_like_receipts(value: Any, depth: int = 0) -> Iterator[Any]:
    """What in a value of any shape is a receipt: what else a task returns is nobody's business here."""
    if isinstance(value, dict):
        kind = value.get("kind")
        if "version" in value and kind in tuple(Kind) and value.get(KEY_FIELD[Kind(kind)]):
            yield value
    elif isinstance(value, list) and depth < MAX_DEPTH:
        for item in value:
            yield from _look_like_receipts(item, depth + 1)


def _recalled(airflow: AirflowRest, entries: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that the same run took back: numbered XComs name all, and a report, where there are none, some."""
    numbered = [entry for entry in entries if _RECALLED.fullmatch(entry["key"])]
    told = {(entry["task_id"], entry["map_index"]) for entry in numbered}
    named = [airflow.xcom_value(dict(entry)) for entry in numbered]
    for entry in entries:
        if entry["key"] == REPORT and (entry["task_id"], entry["map_index"]) not in told:
            report = airflow.xcom_value(dict(entry))
            # Other people's tasks may push a report of their own.
            named.append(report.get("recalled") if isinstance(report, dict) and "counts" in report else None)
    return {key for keys in named if isinstance(keys, list) for key in keys if isinstance(key, str)}


def _foreign(entry: Mapping[str, Any]) -> AirflowUnreachableError:
    return AirflowUnreachableError(
        f"{entry['dag_id']} {entry['run_id']} {entry['task_id']}: the XCom {entry['key']} holds no receipts.",
        code="foreign_xcom",
        next_step="A custom XCom backend keeps values where the REST API does not see them: recall by keys.",
    )
