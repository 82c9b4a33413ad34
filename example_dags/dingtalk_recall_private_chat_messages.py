"""Send to a chat of two people and recall the message by its key."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import (
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
)

CHAT = "cidprivate1"


@dag(schedule=None, tags=["dingtalk"])
def dingtalk_recall_private_chat_messages():
    sent = DingTalkSendPrivateChatMessageOperator(
        task_id="send", open_conversation_id=CHAT, cool_app_code="COOLAPP-1", text="Shall we meet at 3?"
    )
    recall = DingTalkRecallPrivateChatMessagesOperator(
        task_id="recall",
        open_conversation_id=CHAT,
        # A template renders text, so the operator also accepts a list as JSON.
        process_query_keys='["{{ ti.xcom_pull(task_ids="send")[0]["process_query_key"] }}"]',
    )
    sent >> recall


dingtalk_recall_private_chat_messages()
