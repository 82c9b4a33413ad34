"""A block in a mapped task group; each instance recalls its own messages."""

from __future__ import annotations

from airflow.sdk import dag, task, task_group

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException


@dag(schedule=None)
def real_rollback_each():
    @task
    def work(conversation: str) -> None:
        if conversation == "cidgroup2":
            raise AirflowFailException("The numbers are wrong.")

    @task_group
    def each(conversation: str) -> None:
        with rollback_on_failure():
            send = DingTalkSendGroupMessageOperator(task_id="send", open_conversation_id=conversation, text="Each")
            send >> work(conversation)

    each.expand(conversation=["cidgroup1", "cidgroup2", "cidgroup3"])


real_rollback_each()
