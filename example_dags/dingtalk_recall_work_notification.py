"""Send a work notification and recall it from all recipients."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import (
    DingTalkRecallWorkNotificationOperator,
    DingTalkSendWorkNotificationOperator,
)


@dag(schedule=None, tags=["dingtalk"])
def dingtalk_recall_work_notification():
    sent = DingTalkSendWorkNotificationOperator(
        task_id="send",
        user_ids=["user001", "user002"],
        title="Payroll",
        markdown="Your payslip for **May** is ready.",
    )
    recall = DingTalkRecallWorkNotificationOperator(
        task_id="recall", msg_task_id='{{ ti.xcom_pull(task_ids="send")[0]["task_id"] }}'
    )
    sent >> recall


dingtalk_recall_work_notification()
