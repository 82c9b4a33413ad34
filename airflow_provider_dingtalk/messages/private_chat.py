"""Type of a robot's messages to chats of two people."""

from __future__ import annotations

from airflow_provider_dingtalk.client.endpoints import (
    QueryPrivateChatMessage,
    RecallPrivateChatMessages,
    SendPrivateChatMessage,
)
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.robot import ConversationMessage


class PrivateChatMessage(ConversationMessage):
    """Type of a robot's messages to chats of two people. No recall window is documented."""

    kind = Kind.PRIVATE_CHAT
    plural = "private-chat messages"
    send_call = SendPrivateChatMessage
    recall_call = RecallPrivateChatMessages
    status_call = QueryPrivateChatMessage
    needs_cool_app = True


TYPE = PrivateChatMessage()
