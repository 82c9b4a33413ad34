"""Changes to Airflow's database for row ``triggerer``: ``python -m benchmarks.triggerer_rows WORK``.

To defer 2,000 tasks in workers takes minutes and measures workers. So the task instances that the scheduler made
are set to the state after a deferral, each with its trigger; for the triggerer there is no difference. The process
reads one line of JSON and prints one.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_dingtalk.jobs.poll_schedule import poll_schedule_of
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.task.wait_spec import new_wait_progress, wait_spec_of_receipts
from benchmarks.triggerer import CONN_ID, HTTP_CONN_ID, POOL
from benchmarks.triggerer_parts import Each, Shared

#: Call limit of a wait, higher than any wait needs.
MANY = 100_000


def prepare(given: dict[str, Any]) -> dict[str, Any]:
    """Create the connections, and the pool without slots."""
    with create_session() as session:
        extra = json.dumps(given["connection"].pop("extra"))
        session.add(Connection(conn_id=CONN_ID, extra=extra, **given["connection"]))
        session.add(Connection(conn_id=HTTP_CONN_ID, conn_type="http", host=given["url"]))
        session.add(Pool(pool=POOL, slots=0, description="", include_deferred=False))
    return {}


def defer(given: dict[str, Any]) -> dict[str, Any]:
    """Defer the tasks of a run.

    :returns: ``at``, the time of the commit, after which the triggerer can see them.
    """
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    make = TRIGGERS[given["variant"]]
    with create_session() as session:
        tasks = list(session.scalars(select(TaskInstance).where(TaskInstance.run_id == given["run_id"])))
        for task, key in zip(tasks, given["keys"], strict=True):
            task.trigger = Trigger.from_object(make(key, given))
            task.state = "deferred"
            task.start_date = dt.datetime.now(dt.UTC)
            task.next_method, task.next_kwargs, task.trigger_timeout = "execute_complete", {}, later
    return {"at": time.time()}


def states(given: dict[str, Any]) -> dict[str, Any]:
    """Count the tasks of a run by state, and those whose event is ``met``."""
    with create_session() as session:
        tasks = list(session.scalars(select(TaskInstance).where(TaskInstance.run_id == given["run_id"])))
        met = sum('"met"' in json.dumps(task.next_kwargs, default=str) for task in tasks)
        return {"states": dict(Counter(str(task.state) for task in tasks)), "met": met}


def end(given: dict[str, Any]) -> dict[str, Any]:
    """Set the tasks of a run to skipped, so the triggerer cancels their triggers."""
    with create_session() as session:
        for task in session.scalars(select(TaskInstance).where(TaskInstance.run_id == given["run_id"])):
            task.state = "skipped"
    return {}


def _ours(kind: type[Shared | Each]) -> Callable[[str, dict[str, Any]], Any]:
    def make(key: str, given: dict[str, Any]) -> Any:
        receipt = Receipt(kind=Kind.OTO, robot_code=ROBOT_CODE, process_query_key=key).to_json()
        interval, now = given["poke_interval"], time.time()
        return kind(
            dingtalk_conn_id=CONN_ID,
            wait_spec=wait_spec_of_receipts([receipt], min_readers=1).to_json(),
            poke_interval=interval,
            end=now + 86_400,
            wait_progress=new_wait_progress(poll_schedule_of(interval), now, MANY).to_json(),
        )

    return make


def _http(key: str, given: dict[str, Any]) -> Any:
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    return HttpSensorTrigger(
        endpoint=f"v1.0/not-yet/{key}",
        http_conn_id=HTTP_CONN_ID,
        method="GET",
        poke_interval=given["poke_interval"],
    )


TRIGGERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "shared": _ours(Shared),
    "each": _ours(Each),
    "http": _http,
}
WORKS = {work.__name__: work for work in (prepare, defer, states, end)}


def main() -> None:
    """Run the function that the command line names."""
    done = WORKS[sys.argv[1]](json.loads(sys.stdin.readline()))
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
