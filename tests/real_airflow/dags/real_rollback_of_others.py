"""Rollbacks of another DAG, of one run or since a given time: of all its tasks, and in a second DAG of some."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendOTOMessagesOperator

PARAMS = {"dag": "", "run": None, "since": None, "tasks": None, "dry_run": False, "max": None, "readers": None}


def roll_back(**more: Any) -> None:
    undo = DingTalkRollbackOperator(
        task_id="undo",
        from_dag="{{ params.dag }}",
        from_run="{{ params.run }}",
        since="{{ params.since }}",
        dry_run="{{ params.dry_run }}",
        max_messages="{{ params.max }}",
        max_readers="{{ params.readers }}",
        with_readers="{{ params.readers is not none }}",
        retries=0,
        **more,
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


@dag(schedule=None, params=PARAMS)
def real_rollback_of_others():
    roll_back()


@dag(schedule=None, params=PARAMS)
def real_rollback_of_tasks():
    roll_back(from_tasks="{{ params.tasks }}")


real_rollback_of_others(), real_rollback_of_tasks()
