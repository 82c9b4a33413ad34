"""Operators: send messages that can be taken back, and take them back."""

from airflow_provider_dingtalk.operators.recall import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
    DingTalkRollbackOperator,
)
from airflow_provider_dingtalk.operators.send import (
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
)

__all__ = [
    "DingTalkRecallDingOperator",
    "DingTalkRecallGroupMessagesOperator",
    "DingTalkRecallOTOMessagesOperator",
    "DingTalkRecallPrivateChatMessagesOperator",
    "DingTalkRecallWorkNotificationOperator",
    "DingTalkRollbackOperator",
    "DingTalkSendDingOperator",
    "DingTalkSendGroupMessageOperator",
    "DingTalkSendOTOMessagesOperator",
    "DingTalkSendPrivateChatMessageOperator",
    "DingTalkSendWorkNotificationOperator",
]
