"""Receipts that a task registered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk.execution_time.context import set_current_context

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import TaskInstance, TaskStateStore, context

GROUP_SEND = "robot/groupMessages/send"


@contextmanager
def task(ti: TaskInstance, store: TaskStateStore | None = None, **more: Any) -> Iterator[Any]:
    """A running task."""
    inside = {**context(ti, store=False), **({"task_state_store": store} if store else {}), **more}
    with set_current_context(inside):
        yield inside


def keys_in_chat(sandbox: SandboxServer) -> set[str]:
    return {str(key) for key in sandbox.state.messages}


def registered(ti: TaskInstance) -> list[str]:
    """Return the keys of all receipts as a rollback finds them."""
    found: list[dict[str, Any]] = []
    for number in range((ti.pushed("receipts_count") + 99) // 100):
        found += ti.pushed(f"receipts_{number}")
    assert len(found) == ti.pushed("receipts_count")
    return [receipt["process_query_key"] for receipt in found]


def to_group(hook: DingTalkHook, text: str = "hello") -> Any:
    return hook.send("group", open_conversation_id=GROUPS[0], text=text)
