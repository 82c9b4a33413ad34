"""Dry runs of nothing."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator


@dag(schedule=None)
def real_plan_of_nothing():
    for choice in ("succeed", "skip", "fail"):
        DingTalkRollbackOperator(
            task_id=choice,
            from_dag="real_plain_sends",
            since="2026-11-01",
            until="2026-11-02",
            dry_run=True,
            on_empty=choice,
        )


real_plan_of_nothing()
