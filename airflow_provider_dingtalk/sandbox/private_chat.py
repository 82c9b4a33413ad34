"""Private-chat messages, in a chat of two people."""

from __future__ import annotations

from airflow_provider_dingtalk.client.endpoints import (
    QueryPrivateChatMessage,
    RecallPrivateChatMessages,
    SendPrivateChatMessage,
)
from airflow_provider_dingtalk.sandbox.default import PRIVATE_CHAT
from airflow_provider_dingtalk.sandbox.robot_messages import conversation_type

TYPE = conversation_type(
    "private_chat",
    PRIVATE_CHAT,
    send=SendPrivateChatMessage,
    recall=RecallPrivateChatMessages,
    query=QueryPrivateChatMessage,
)
