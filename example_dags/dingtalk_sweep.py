"""Every ten minutes, finish rollbacks that did not: of runs that timed out, for instance.

It looks through the runs of the DAGs it is given, and takes back once what the blocks of their rollbacks sent.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSweepOperator


@dag(
    schedule="*/10 * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # One that looks while another one recalls would recall the same.
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["dingtalk"],
)
def dingtalk_sweep():
    DingTalkSweepOperator(task_id="sweep", dag_ids=["dingtalk_rollback_on_failure"])


dingtalk_sweep()
