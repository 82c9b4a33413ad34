"""A send to many people, one by one, that is killed; then a rollback of whatever went out."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator, DingTalkSendOTOMessagesOperator


@dag(
    schedule=None,
    params={"users": 10, "text": "hello"},
    default_args={"retries": 10, "retry_delay": timedelta(seconds=1)},
    user_defined_macros={"people": lambda count: [f"user{number:03d}" for number in range(1, count + 1)]},
)
def fault_send():
    send = DingTalkSendOTOMessagesOperator(
        task_id="send",
        user_ids="{{ people(params.users) | tojson }}",
        text="{{ params.text }}",
        one_receipt_per_user=True,
    )
    rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks="send", trigger_rule="all_done")
    send >> rollback


fault_send()
