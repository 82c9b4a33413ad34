"""The same with ``fail_on=set()``, for users who only want the report; templates render lists."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import (
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
)

NOTHING: dict[str, list[str]] = {"group": [], "oto": [], "private_chat": [], "work_notification": []}
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=0)}


@dag(schedule=None, params=NOTHING, default_args=RETRIES, render_template_as_native_obj=True)
def real_recall_keys_leniently():
    DingTalkRecallGroupMessagesOperator(
        task_id="group",
        process_query_keys="{{ params.group }}",
        open_conversation_id="cidgroup1",
        fail_on=set(),
    )
    DingTalkRecallOTOMessagesOperator(task_id="oto", process_query_keys="{{ params.oto }}", fail_on=set())
    DingTalkRecallPrivateChatMessagesOperator(
        task_id="private_chat",
        process_query_keys="{{ params.private_chat }}",
        open_conversation_id="cidprivate1",
        fail_on=set(),
    )
    DingTalkRecallWorkNotificationOperator(
        task_id="work_notification", msg_task_id="{{ params.work_notification }}", fail_on=set()
    )


real_recall_keys_leniently()
