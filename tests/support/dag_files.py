"""Snippets of DAG files, parsed with short names of operators, sensors and the notifier."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_dingtalk import operators, sensors
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.notifications import DingTalkNotifier
from tests.support.arrays import Array

NAMES: dict[str, Any] = {
    "Group": operators.DingTalkSendGroupMessageOperator,
    "OTO": operators.DingTalkSendOTOMessagesOperator,
    "PrivateChat": operators.DingTalkSendPrivateChatMessageOperator,
    "Ding": operators.DingTalkSendDingOperator,
    "Work": operators.DingTalkSendWorkNotificationOperator,
    "RecallGroup": operators.DingTalkRecallGroupMessagesOperator,
    "RecallOTO": operators.DingTalkRecallOTOMessagesOperator,
    "RecallDing": operators.DingTalkRecallDingOperator,
    "RecallWork": operators.DingTalkRecallWorkNotificationOperator,
    "Rollback": operators.DingTalkRollbackOperator,
    "Sweep": operators.DingTalkSweepOperator,
    "Sensor": sensors.DingTalkGroupMessageSensor,
    "WorkSensor": sensors.DingTalkWorkNotificationSensor,
    "Notifier": DingTalkNotifier,
    "rollback_on_failure": operators.rollback_on_failure,
    "timedelta": dt.timedelta,
    "datetime": dt.datetime,
    "date": dt.date,
    "task": task,
    "Array": Array,
    "RECEIPT": {"kind": "group", "open_conversation_id": "cid", "robot_code": "r", "process_query_key": "k"},
}
BLOCK = "with rollback_on_failure({}):\n    Group(task_id='send', open_conversation_id='cid', text='x')"


def parse(snippet: str, **dag_arguments: Any) -> None:
    """Parse a snippet inside a DAG."""
    with DAG("dag", schedule=None, **dag_arguments):
        exec(snippet, {**NAMES})


def mistake_in(snippet: str) -> str:
    """Return the text of the error that the parse of a snippet raises."""
    with pytest.raises(InvalidInputError) as caught:
        parse(snippet)
    return str(caught.value)
