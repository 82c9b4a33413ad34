"""Tries of a task that sends."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import TaskInstance, TaskStateStore, context

PEOPLE = ["user001", "left", "user002", "user003"]
STAYED = ["user001", "user002", "user003"]


def try_number(number: int, *, clears: int = 0) -> TaskInstance:
    ti = TaskInstance()
    ti.try_number, ti.max_tries = number, clears
    return ti


def send(ti: TaskInstance, store: TaskStateStore, users: Any = PEOPLE, **arguments: Any) -> Any:
    options = {"one_receipt_per_user": True, "text": "hello", **arguments}
    return DingTalkSendOTOMessagesOperator(task_id="t", user_ids=users, **options).execute(
        {**context(ti), "task_state_store": store}
    )


def got(sandbox: SandboxServer) -> Counter[str]:
    """Return the number of messages that each user got."""
    return Counter(user for message in sandbox.state.messages.values() for user in message.receivers)
