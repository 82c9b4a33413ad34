"""Operators: send messages that can be taken back, and take them back."""

from airflow_provider_dingtalk.operators.recall import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
)
from airflow_provider_dingtalk.operators.rollback import (
    DingTalkRollbackOperator,
    DingTalkSweepOperator,
    rollback_on_failure,
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
    "DingTalkSweepOperator",
    "rollback_on_failure",
]
