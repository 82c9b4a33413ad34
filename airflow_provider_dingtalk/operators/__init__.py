"""Operators to send messages and to recall them.

Each operator is imported on first access, because the dag-processor imports this package for every DAG file. For
the same reason its modules import heavy modules inside methods.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_dingtalk.operators.ding import DingTalkRecallDingOperator, DingTalkSendDingOperator
    from airflow_provider_dingtalk.operators.group import (
        DingTalkRecallGroupMessagesOperator,
        DingTalkSendGroupMessageOperator,
    )
    from airflow_provider_dingtalk.operators.oto import (
        DingTalkRecallOTOMessagesOperator,
        DingTalkSendOTOMessagesOperator,
    )
    from airflow_provider_dingtalk.operators.private_chat import (
        DingTalkRecallPrivateChatMessagesOperator,
        DingTalkSendPrivateChatMessageOperator,
    )
    from airflow_provider_dingtalk.operators.rollback import DingTalkRollbackOperator, DingTalkSweepOperator
    from airflow_provider_dingtalk.operators.rollback_context import rollback_on_failure
    from airflow_provider_dingtalk.operators.work_notification import (
        DingTalkRecallWorkNotificationOperator,
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

_HOMES = {
    "DingTalkRecallDingOperator": "ding",
    "DingTalkRecallGroupMessagesOperator": "group",
    "DingTalkRecallOTOMessagesOperator": "oto",
    "DingTalkRecallPrivateChatMessagesOperator": "private_chat",
    "DingTalkRecallWorkNotificationOperator": "work_notification",
    "DingTalkRollbackOperator": "rollback",
    "DingTalkSendDingOperator": "ding",
    "DingTalkSendGroupMessageOperator": "group",
    "DingTalkSendOTOMessagesOperator": "oto",
    "DingTalkSendPrivateChatMessageOperator": "private_chat",
    "DingTalkSendWorkNotificationOperator": "work_notification",
    "DingTalkSweepOperator": "rollback",
    "rollback_on_failure": "rollback_context",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
