"""Type of a robot's messages to groups."""

from __future__ import annotations

from airflow_provider_dingtalk.client.endpoints import QueryGroupMessage, RecallGroupMessages, SendGroupMessage
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.robot import ConversationMessage


class GroupMessage(ConversationMessage):
    """Type of a robot's messages to groups. No recall window is documented."""

    kind = Kind.GROUP
    plural = "group messages"
    send_call = SendGroupMessage
    recall_call = RecallGroupMessages
    status_call = QueryGroupMessage


TYPE = GroupMessage()
