"""Runs that never ran: rows of DAGs, runs, tasks and XComs in Airflow's database, for tests and benchmarks.

As a command, ``python -m dev.past_runs DAG_ID RUNS MESSAGES [--open OPEN] [--keys FILE]`` fills the database of the
environment's Airflow. It needs a database that ``airflow db migrate`` has made.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from airflow_provider_dingtalk.messages.receipt import iso
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.task.asset_events import VERSION, rollback_log
from airflow_provider_dingtalk.task.xcoms import with_run_id

Tasks = Mapping[tuple[str, int], str | None]
XComs = Mapping[tuple[str, int, str], Any]


def add_dag(dag_id: str) -> None:
    """Add a DAG, unless Airflow has parsed one of this id."""
    _add_bundle()
    with create_session() as session:
        if session.get(DagModel, dag_id) is not None:
            return
        dag: Any = DagModel
        session.add(dag(dag_id=dag_id, bundle_name="past", is_stale=False, fileloc=f"/{dag_id}.py"))
        session.flush()
        session.add(DagVersion(dag_id=dag_id, version_number=1, bundle_name="past"))


def _add_bundle() -> None:
    # Another process may add it at the same time, so the database refuses a second one.
    with suppress(IntegrityError), create_session() as session:
        session.add(DagBundleModel(name="past"))


class PastRuns:
    """Runs of one DAG, which :func:`add_dag` has added."""

    def __init__(self, dag_id: str) -> None:
        self.dag_id = dag_id

    def add(
        self,
        run_id: str,
        tasks: Tasks,
        xcoms: XComs,
        *,
        state: str = "success",
        ended: dt.datetime | None,
        began: dt.datetime | None = None,
        logical_date: dt.datetime | None = None,
        run_after: dt.datetime | None = None,
        clear_number: int = 0,
    ) -> None:
        """Add a run.

        :param tasks: States by task id and map index; -1 is the index of a task that is not mapped.
        :param xcoms: Values by task id, map index and key.
        :param ended: End of the run; None if it has not ended.
        :param began: Start of the run; default None, unknown.
        :param run_after: Time from which the run might begin; default its end, or now.
        """
        now = dt.datetime.now(dt.UTC)
        ids = {"dag_id": self.dag_id, "run_id": run_id}
        dates = {"logical_date": logical_date, "run_after": run_after or ended or now}
        dates |= {"start_date": began, "end_date": ended}
        with create_session() as session:
            (version,) = session.query(DagVersion.id).filter_by(dag_id=self.dag_id).limit(1).one()
            run = {"state": state, "run_type": "manual", "clear_number": clear_number, **ids, **dates}
            session.execute(DagRun.__table__.insert(), [run])
            number = session.query(DagRun.id).filter_by(**ids).scalar()
            rows = [
                {**ids, **_task(task_id, index), "state": state, "dag_version_id": version}
                for (task_id, index), state in tasks.items()
            ]
            session.execute(TaskInstance.__table__.insert(), rows)
            values = [
                {**ids, "task_id": task_id, "map_index": index, "key": key, "value": value, "dag_run_id": number}
                for (task_id, index, key), value in xcoms.items()
            ]
            if values:
                session.execute(XComModel.__table__.insert(), values)

    def delete(self, run_id: str) -> None:
        """Delete a run and its XComs, if it exists."""
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.run_id == run_id))

    def add_event(self, at: dt.datetime, extra: dict[str, Any]) -> None:
        """Add an event to the DAG's rollback log."""
        log = rollback_log(self.dag_id)
        with create_session() as session:
            asset = session.query(AssetModel).filter_by(name=log.name).one_or_none()
            if asset is None:
                asset = AssetModel(name=log.name, uri=log.uri, group="asset", extra={})
                session.add(asset)
                session.flush()
            extra = {"version": VERSION, "dag_id": self.dag_id, **extra}
            session.add(AssetEvent(asset_id=asset.id, timestamp=at, extra=extra, source_map_index=-1))


def _task(task_id: str, index: int) -> dict[str, Any]:
    return {"task_id": task_id, "map_index": index, "pool": "default_pool", "try_number": 1}


def receipts(keys: Iterable[str], sent: dt.datetime | None = None) -> list[dict[str, Any]]:
    """Return the receipts of one-on-one messages as plain JSON."""
    more = {"sent_at": iso(sent.timestamp())} if sent else {}
    return [{"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key, **more} for key in keys]


def send_xcoms(
    keys: Iterable[str], sent: dt.datetime | None = None, *, rollback: str = "", run_id: str = ""
) -> dict[Any, Any]:
    """Return the XComs of an ended task ``send``, as an operator pushes them.

    :param rollback: Id of the rollback task of its block; default none.
    :param run_id: Id of the run that the registered receipts name; default none, as in versions before.
    """
    made = receipts(keys, sent)
    registered = with_run_id(made, run_id) if run_id else made
    values = {"receipts_0": registered, "receipts_count": len(made), "return_value": made}
    if rollback:
        values["sending"] = {"is_over": True, "rollbacks": [rollback]}
    return {("send", -1, key): value for key, value in values.items()}


def add_runs(dag_id: str, runs: int, messages: int, *, unfinished: int = 0, message_keys: Sequence[str] = ()) -> None:
    """Add a DAG with runs that ended within the last hour, one second apart, each with a send and a rollback.

    :param unfinished: Number of runs whose rollback was skipped; the last ones.
    :param message_keys: Keys of all messages; default invented ones.
    """
    invented = [f"{dag_id}-{number}" for number in range(runs * messages)]
    left = iter(message_keys or invented)
    add_dag(dag_id)
    past = PastRuns(dag_id)
    for number in range(runs):
        ended = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1, seconds=runs - number)
        state = "skipped" if number >= runs - unfinished else "success"
        keys = [*islice(left, messages)]
        run_id = f"manual__{ended.isoformat()}"
        xcoms = send_xcoms(keys, ended, rollback="rollback", run_id=run_id)
        tasks = {("send", -1): "success", ("rollback", -1): state}
        if state == "success":
            xcoms["rollback", -1, "return_value"] = {"kept": messages}
            xcoms["rollback", -1, "kept"] = messages
        past.add(run_id, tasks, xcoms, ended=ended, logical_date=ended)


def main() -> None:
    """Fill the database of the environment's Airflow."""
    parser = argparse.ArgumentParser(prog="python -m dev.past_runs", description=__doc__)
    parser.add_argument("dag_id")
    parser.add_argument("runs", type=int)
    parser.add_argument("messages", type=int)
    parser.add_argument("--open", type=int, default=0, help="runs whose rollback was skipped; default 0")
    parser.add_argument("--keys", type=Path, help="JSON file with the keys of all messages; default invented ones")
    options = parser.parse_args()
    keys = json.loads(options.keys.read_text()) if options.keys else ()
    add_runs(options.dag_id, options.runs, options.messages, unfinished=options.open, message_keys=keys)


if __name__ == "__main__":
    main()
