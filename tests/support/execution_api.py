"""Airflow's own Execution API in this process, and a task that asks it; each request is counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import structlog
import uuid6
from airflow.sdk import BaseOperator
from airflow.sdk.execution_time.supervisor import (
    InProcessSupervisorComms,
    InProcessTestSupervisor,
    set_supervisor_comms,
)
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance


class Asked:
    """Context of a task of another DAG, and the requests of its supervisor.

    :ivar requests: Path of each request to the API server, in order.
    """

    def __init__(self, context: dict[str, Any]) -> None:
        self.context: Any = context
        self.requests: list[str] = []

    def as_task(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return the context of another task of the same supervisor."""
        ids = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        ti = self.context["ti"].model_copy(update={**ids, "task": BaseOperator(task_id=task_id)})
        return {**self.context, "ti": ti}

    def number_of(self, part: str) -> int:
        """Count the requests whose path contains a text."""
        return sum(part in path for path in self.requests)


@contextmanager
def task_of_another_dag(*hooks: Callable[[httpx.Request], None]) -> Iterator[Asked]:
    """Connect a task with the API server, as Airflow's ``dag.test()`` does.

    :param hooks: Called with each request before it is made; an error of theirs is that of the request.
    """
    ti: Any = RuntimeTaskInstance.model_construct(
        id=uuid6.uuid7(), dag_id="sweeper", run_id="today", task_id="undo", map_index=-1, try_number=1, max_tries=0
    )
    # With outlet events the rollback logs are read.
    asked = Asked({"ti": ti, "outlet_events": {}})
    client = InProcessTestSupervisor._api_client()
    client.event_hooks["request"] += [lambda request: asked.requests.append(request.url.path), *hooks]
    log = structlog.get_logger(logger_name="task").bind()
    supervisor = InProcessTestSupervisor(
        id=ti.id, pid=os.getpid(), process=psutil.Process(), process_log=log, client=client
    )
    supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
    with set_supervisor_comms(supervisor.comms):
        yield asked
