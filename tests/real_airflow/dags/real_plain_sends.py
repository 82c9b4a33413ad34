"""A DAG that sends and has no rollback."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator


@dag(schedule=None, params={"text": "plain"})
def real_plain_sends():
    DingTalkSendOTOMessagesOperator(task_id="send", user_ids=["user001", "user002"], text="{{ params.text }}")


real_plain_sends()
