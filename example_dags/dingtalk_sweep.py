"""Finish incomplete rollbacks every ten minutes, e.g. of runs that timed out.

The sweep checks the runs of the given DAGs. It recalls once the messages that the blocks of their rollbacks sent.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSweepOperator


@dag(
    schedule="*/10 * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Two sweeps at the same time would recall the same messages.
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["dingtalk"],
)
def dingtalk_sweep():
    DingTalkSweepOperator(task_id="sweep", dag_ids=["dingtalk_rollback_on_failure"])


dingtalk_sweep()
