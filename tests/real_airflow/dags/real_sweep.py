"""A sweep of the DAG that times out."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSweepOperator


@dag(schedule=None, params={"dags": ["real_rollback_timeout"]})
def real_sweep():
    DingTalkSweepOperator(task_id="sweep", dag_ids="{{ params.dags | tojson }}", retries=0)


real_sweep()
