"""DAG that tells the approvers on DingTalk."""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import dag

from airflow_provider_dingtalk.notifications import DingTalkNotifier


@dag(schedule=None)
def real_approval_told():
    told = DingTalkNotifier(to={"open_conversation_id": "cidgroup3"}, text="Please approve {{ run_id }}.")
    ApprovalOperator(task_id="approve", subject="May I?", notifiers=[told])


real_approval_told()
