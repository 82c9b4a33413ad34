"""DAG that sends, waits for an approval, and sends again."""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator


@dag(schedule=None)
def real_incident_still_sending():
    sends = [
        DingTalkSendGroupMessageOperator(task_id=task_id, open_conversation_id="cidgroup1", text="One more.")
        for task_id in ("send", "send_again")
    ]
    sends[0] >> ApprovalOperator(task_id="approve", subject="One more?") >> sends[1]


real_incident_still_sending()
