"""Dry runs of a rollback by time, and of a sweep, over the runs of another DAG."""

from __future__ import annotations

import os
import time
from typing import Any

from airflow.sdk import DAG, dag

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSweepOperator


class Timed:
    """Push the duration of the operator in seconds, without that of the start of its process."""

    def execute(self, context: Any) -> Any:
        """Execute the operator."""
        began = time.perf_counter()
        result = super().execute(context)  # type: ignore[misc]
        context["ti"].xcom_push("seconds", time.perf_counter() - began)
        return result


class TimedRollback(Timed, DingTalkRollbackOperator):
    """Rollback with its duration."""


class TimedSweep(Timed, DingTalkSweepOperator):
    """Sweep with its duration."""


@dag(schedule=None)
def bench_window():
    TimedRollback(
        task_id="task", from_dag="{{ dag_run.conf['dag'] }}", since="{{ dag_run.conf['since'] }}", dry_run="true"
    )


@dag(schedule=None)
def bench_sweep():
    TimedSweep(task_id="task", dag_ids="{{ dag_run.conf['dag'] }}", dry_run="true")


bench_window()
bench_sweep()
# DAGs whose runs are only rows of the database; Airflow's REST API lists runs of DAGs that it has parsed.
for name in os.environ["BENCH_PAST_DAGS"].split():
    globals()[name] = DAG(name, schedule=None)
