"""Send a DING and recall it."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRecallDingOperator, DingTalkSendDingOperator


@dag(schedule=None, tags=["dingtalk"])
def dingtalk_recall_ding():
    sent = DingTalkSendDingOperator(task_id="send", user_ids=["user001"], text="The cluster is down.")
    DingTalkRecallDingOperator(task_id="recall", receipts=sent.output)


dingtalk_recall_ding()
