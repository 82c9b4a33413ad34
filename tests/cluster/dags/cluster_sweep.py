"""A run that times out, so that Airflow skips its rollback, and the sweep of such runs."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_dingtalk.operators import (
    DingTalkSendGroupMessageOperator,
    DingTalkSweepOperator,
    rollback_on_failure,
)

# The sends must have ended by then, also on a machine with other work.
with DAG("timed_out", schedule=None, dagrun_timeout=timedelta(seconds=50)):
    outside = DingTalkSendGroupMessageOperator(task_id="outside", open_conversation_id="cidgroup1", text="outside")

    @task
    def slow() -> None:
        """Take longer than the run may."""
        time.sleep(120)

    with rollback_on_failure():
        inside = DingTalkSendGroupMessageOperator(
            task_id="send", open_conversation_id=["cidgroup1", "cidgroup2"], text="inside"
        )
        outside >> inside >> slow()

with DAG("sweep", schedule=None):
    DingTalkSweepOperator(task_id="sweep", dag_ids=["timed_out"], retries=0)
