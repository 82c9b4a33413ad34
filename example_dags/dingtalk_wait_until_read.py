"""Wait in the triggerer for two readers of a group message, then send another."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator
from airflow_provider_dingtalk.sensors import DingTalkGroupMessageSensor


@dag(schedule=None, tags=["dingtalk"])
def dingtalk_wait_until_read():
    question = DingTalkSendGroupMessageOperator(
        task_id="ask", open_conversation_id="cidgroup1", text="Release at 5 pm. Any objections?"
    )
    read = DingTalkGroupMessageSensor(
        task_id="wait_until_read",
        receipts=question.output,
        min_readers=2,
        poke_interval=5,
        timeout=3600,
        deferrable=True,
    )
    go = DingTalkSendGroupMessageOperator(task_id="go", open_conversation_id="cidgroup1", text="No objections: we go.")
    question >> read >> go


dingtalk_wait_until_read()
