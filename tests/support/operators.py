"""Operators with short arguments, and their run in a task."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.operators import (
    DingTalkRecallGroupMessagesOperator,
    DingTalkRollbackOperator,
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
    DingTalkSweepOperator,
)
from airflow_provider_dingtalk.sandbox.default import AGENT_ID, COOL_APP_CODE, GROUPS, PRIVATE_CHAT, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, calls, context
from tests.support.connections import Connect

GROUP_SEND = "robot/groupMessages/send"
OTO_SEND = "robot/oToMessages/batchSend"
OTO_RECALL = "robot/otoMessages/batchRecall"
HOUR = 3600


def rollback(receipts: Any = None, **arguments: Any) -> DingTalkRollbackOperator:
    return DingTalkRollbackOperator(task_id="rollback", receipts=receipts, **arguments)


def sweep(**arguments: Any) -> DingTalkSweepOperator:
    return DingTalkSweepOperator(task_id="sweep", dag_ids=["revenue"], **arguments)


def run(operator: Any, ti: TaskInstance | None = None, *, store: bool = True) -> Any:
    """Execute as a task does.

    :param store: Add a task state store, as in Airflow 3.3 and later.
    """
    return operator.execute(context(ti, store=store))


GOOD = {"kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": "k"}
GROUP = {"kind": "group", "robot_code": ROBOT_CODE, "open_conversation_id": GROUPS[0], "process_query_key": "k"}
WORK = {"kind": "work_notification", "agent_id": AGENT_ID, "task_id": 5}


def send_group(**arguments: Any) -> Any:
    return DingTalkSendGroupMessageOperator(
        task_id="t", **{"open_conversation_id": GROUPS[0], "text": "hello", **arguments}
    )


def send_oto(**arguments: Any) -> Any:
    return DingTalkSendOTOMessagesOperator(task_id="t", **{"user_ids": ["user001"], "text": "hello", **arguments})


def send_private(**arguments: Any) -> Any:
    given = {"open_conversation_id": PRIVATE_CHAT, "cool_app_code": COOL_APP_CODE, "text": "hello", **arguments}
    return DingTalkSendPrivateChatMessageOperator(task_id="t", **given)


def send_work(**arguments: Any) -> Any:
    given = {"user_ids": ["user001"], "text": "hello", **arguments}
    return DingTalkSendWorkNotificationOperator(task_id="t", **given)


def send_ding(**arguments: Any) -> Any:
    return DingTalkSendDingOperator(task_id="t", **{"user_ids": ["user001"], "text": "hello", **arguments})


def group_keys(**arguments: Any) -> Any:
    given = {"process_query_keys": ["k"], "open_conversation_id": GROUPS[0], **arguments}
    return DingTalkRecallGroupMessagesOperator(task_id="t", **given)


BadInput = list[tuple[Callable[[], Any], str]]


def numbered(bad: BadInput) -> dict[str, Any]:
    """Return the arguments of ``parametrize`` for bad input, with short ids."""
    return {
        "argnames": ("make", "field"),
        "argvalues": bad,
        "ids": [f"{number}-{field}" for number, (_, field) in enumerate(bad)],
    }


def check_refused(sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str) -> None:
    """Check that bad input fails for good by the name of its field, before the first call."""
    # The same for all: Airflow's masker of secrets gets slower with each connection that it sees.
    connect(extra={"test": "bad input"})
    operator = make()
    with pytest.raises(AirflowFailException) as raised:
        run(operator)
    text = str(raised.value)
    # One value without a list around it is the first of a list of one.
    assert re.match(rf"{re.escape(field)}(\[0\])?: ", text), text[:200]
    assert len(text) < 500, "an error is for people"
    assert raised.value.__cause__ is not None
    assert calls(sandbox) == {}
