"""Dry runs of a rollback by time, and of a sweep, over the runs of another DAG."""

from __future__ import annotations

import os

from airflow.sdk import DAG, dag

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSweepOperator


@dag(schedule=None)
def bench_window():
    DingTalkRollbackOperator(
        task_id="task", from_dag="{{ dag_run.conf['dag'] }}", since="{{ dag_run.conf['since'] }}", dry_run="true"
    )


@dag(schedule=None)
def bench_sweep():
    DingTalkSweepOperator(task_id="task", dag_ids="{{ dag_run.conf['dag'] }}", dry_run="true")


bench_window()
bench_sweep()
# DAGs whose runs are only rows of the database; Airflow's REST API lists runs of DAGs that it has parsed.
for name in os.environ["BENCH_PAST_DAGS"].split():
    globals()[name] = DAG(name, schedule=None)
