"""A run that times out. Airflow skips tasks that have not begun, also the rollback, so a sweep recalls."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure


@dag(schedule=None, dagrun_timeout=timedelta(seconds=25), params={"sleep": 120})
def real_rollback_timeout():
    outside = DingTalkSendGroupMessageOperator(task_id="outside", open_conversation_id="cidgroup1", text="outside")

    @task
    def slow(params: dict) -> None:
        time.sleep(params["sleep"])

    with rollback_on_failure():
        send = DingTalkSendGroupMessageOperator(
            task_id="send", open_conversation_id=["cidgroup1", "cidgroup2"], text="inside"
        )
        outside >> send >> slow()


real_rollback_timeout()
