"""Operators: send messages that can be taken back, and take them back.

Rollbacks are imported when somebody asks for one: the dag-processor imports this package for every DAG file.
"""

from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.operators.recall import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
)
from airflow_provider_dingtalk.operators.send import (
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
)

if TYPE_CHECKING:
    from airflow_provider_dingtalk.operators.rollback import (
        DingTalkRollbackOperator,
        DingTalkSweepOperator,
        rollback_on_failure,
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_dingtalk.operators import rollback

    return getattr(rollback, name)
