"""Recall what a DAG sent since a given time and correct its readers.

The users who read a recalled message get a correction. The default time is one hour ago. A dry run recalls nothing
and returns the plan.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, task

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendOTOMessagesOperator


@dag(
    schedule=None,
    tags=["dingtalk"],
    params={
        "dag_id": Param("dingtalk_rollback_on_failure", type="string", title="DAG"),
        "since": Param(None, type=["string", "null"], format="date-time", title="Since"),
        "dry_run": Param(True, type="boolean", title="Dry run"),
    },
)
def dingtalk_take_back_and_correct():
    @task
    def since(params: dict) -> str:
        return params["since"] or pendulum.now("UTC").subtract(hours=1).isoformat()

    take_back = DingTalkRollbackOperator(
        task_id="take_back",
        from_dag="{{ params.dag_id }}",
        since=since(),
        dry_run="{{ params.dry_run }}",
        max_messages=1000,
        with_readers=True,
    )

    @task.short_circuit
    def has_readers(ti=None) -> bool:
        report = ti.xcom_pull(task_ids="take_back")
        return not report.get("dry_run") and bool(ti.xcom_pull(task_ids="take_back", key="readers"))

    correct = DingTalkSendOTOMessagesOperator(
        task_id="correct",
        user_ids="{{ ti.xcom_pull(task_ids='take_back', key='readers') | tojson }}",
        text="The message that you have read a moment ago was wrong, and is gone. The right one follows.",
    )
    take_back >> has_readers() >> correct


dingtalk_take_back_and_correct()
