"""A block in a fail-fast DAG; a send and some work are running when other work fails."""

from __future__ import annotations

import time

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure


@dag(schedule=None, fail_fast=True, params={"groups": ["cidgroup2"], "label": "fail fast"})
def real_rollback_fail_fast():
    @task
    def slow() -> None:
        time.sleep(120)

    @task
    def quick() -> None:
        time.sleep(3)
        raise ValueError("The numbers are wrong.")

    @task
    def never() -> None:
        """Do nothing; Airflow skips it."""

    with rollback_on_failure():
        sent = DingTalkSendGroupMessageOperator(
            task_id="sent", open_conversation_id="cidgroup1", text="{{ params.label }}, sent"
        )
        sending = DingTalkSendGroupMessageOperator(
            task_id="sending", open_conversation_id="{{ params.groups | tojson }}", text="{{ params.label }}, sending"
        )
        sent >> [quick(), slow(), sending] >> never()


real_rollback_fail_fast()
