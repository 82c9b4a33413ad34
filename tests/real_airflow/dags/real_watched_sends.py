"""Sends whose readers another DAG waits for: a task, one that is mapped, and one that uses the hook."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator


@dag(schedule=None)
def real_watched_sends():
    DingTalkSendGroupMessageOperator(task_id="send", open_conversation_id="cidgroup1", text="One.")
    DingTalkSendGroupMessageOperator.partial(task_id="send_each", text="Each.").expand(
        open_conversation_id=["cidgroup2", "cidgroup3"]
    )

    @task
    def send_1():
        """Its id looks like an instance of a mapped task."""
        return DingTalkHook().send("group", open_conversation_id="cidgroup1", text="By the hook.")

    send_1()


real_watched_sends()
