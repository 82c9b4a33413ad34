"""Messages that other programs sent, by their keys, as a template renders them: JSON of a list."""

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


@dag(schedule=None, params=NOTHING, default_args=RETRIES)
def real_recall_keys():
    DingTalkRecallGroupMessagesOperator(
        task_id="group", process_query_keys="{{ params.group | tojson }}", open_conversation_id="cidgroup1"
    )
    DingTalkRecallOTOMessagesOperator(task_id="oto", process_query_keys="{{ params.oto | tojson }}")
    DingTalkRecallPrivateChatMessagesOperator(
        task_id="private_chat",
        process_query_keys="{{ params.private_chat | tojson }}",
        open_conversation_id="cidprivate1",
    )
    DingTalkRecallWorkNotificationOperator(
        task_id="work_notification", msg_task_id="{{ params.work_notification | tojson }}"
    )


real_recall_keys()
