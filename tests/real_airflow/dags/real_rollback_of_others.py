"""Rollback of another DAG: of one run, or since a given time."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendOTOMessagesOperator


@dag(
    schedule=None,
    params={"dag": "", "run": None, "since": None, "tasks": None, "dry_run": False, "max": None, "readers": None},
)
def real_rollback_of_others():
    undo = DingTalkRollbackOperator(
        task_id="undo",
        from_dag="{{ params.dag }}",
        from_run="{{ params.run }}",
        from_tasks="{{ params.tasks }}",
        since="{{ params.since }}",
        dry_run="{{ params.dry_run }}",
        max_messages="{{ params.max }}",
        max_readers="{{ params.readers }}",
        with_readers="{{ params.readers is not none }}",
        retries=0,
    )

    @task.short_circuit
    def anybody_read_it(ti=None) -> bool:
        return bool(ti.xcom_pull(task_ids="undo", key="readers"))

    correct = DingTalkSendOTOMessagesOperator(
        task_id="correct",
        user_ids="{{ ti.xcom_pull(task_ids='undo', key='readers') | tojson }}",
        text="Please forget the last message.",
    )
    undo >> anybody_read_it() >> correct


real_rollback_of_others()
