"""Arguments that sensors pass to their triggers."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.default import PRIVATE_CHAT, ROBOT_CODE
from airflow_provider_dingtalk.task.wait_spec import wait_spec_of


def wait_spec(receipts: Any, **wanted: Any) -> dict[str, Any]:
    """Return the ``wait_spec`` argument that a sensor passes to its trigger."""
    arguments = {"send_statuses": {"SUCCESS"}, "min_readers": 0, "read_by": None, **wanted}
    found = wait_spec_of(
        kind=Kind.PRIVATE_CHAT,
        key=None,
        receipts=receipts,
        robot_code=ROBOT_CODE,
        open_conversation_id=PRIVATE_CHAT,
        **arguments,
    )
    return found.to_json()
