"""A block whose send has retries."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure


@dag(schedule=None, params={"label": "hello"})
def real_send_retried():
    with rollback_on_failure(retry_delay=timedelta(seconds=1)):
        retried = {"retries": 2, "retry_delay": timedelta(seconds=1), "text": "{{ params.label }}"}
        send = DingTalkSendGroupMessageOperator(
            task_id="send", open_conversation_id=["cidgroup1", "cidgroup2", "cidgroup3"], **retried
        )
        mapped = DingTalkSendGroupMessageOperator.partial(task_id="mapped", **retried)
        mapped.expand(open_conversation_id=[["cidgroup1", "cidgroup2"]]) >> send


real_send_retried()
