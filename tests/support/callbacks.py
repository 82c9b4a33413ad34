"""Task instance that callbacks get, and the lines of the default text about it."""

from __future__ import annotations

from airflow.sdk import TaskInstanceState
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

#: A failed task instance as Airflow gives it to callbacks.
TI = RuntimeTaskInstance.model_construct(
    dag_id="revenue",
    task_id="load",
    run_id="manual__1+00:00",
    try_number=2,
    map_index=-1,
    state=TaskInstanceState.FAILED,
)
URL = "http://localhost:8080/dags"
LOG = f"Log: {URL}/revenue/runs/manual__1%2B00%3A00/tasks/load?try_number=2"
OF_TASK = f"Run: manual__1+00:00\nTry: 2\n{LOG}"
