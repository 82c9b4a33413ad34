"""Events with which a trigger ends a wait, and the payload of asset events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_dingtalk.exceptions import DingTalkError, MessageRecalledError
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import ERRORS
from airflow_provider_dingtalk.version_compat import AirflowSensorTimeout

#: Most message keys in an asset event, because Airflow keeps the payload with the asset for ever.
KEYS_IN_PAYLOAD = 20


def met_event(messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the event for a condition that is met."""
    return {"status": "met", "messages": list(messages)}


def timeout_event() -> dict[str, Any]:
    """Return the event for a timeout."""
    return {"status": "timeout"}


def error_event(error: DingTalkError) -> dict[str, Any]:
    """Return the event for a wait that can no longer succeed."""
    return {
        "status": "error",
        "recalled": isinstance(error, MessageRecalledError),
        "code": error.code,
        "message": error.message,
        "next_step": error.next_step,
        "next_step_zh": error.next_step_zh,
        "message_zh": error.message_zh,
    }


def result_of_event(event: Mapping[str, Any] | None, *, timeout: float) -> Any:
    """Return a sensor's result for a trigger's event, or raise its error.

    :param timeout: Timeout of the sensor in seconds, for the error text.
    :raises AirflowSensorTimeout: If the wait timed out.
    :raises DingTalkError: If the wait can no longer succeed, or the event is unknown.
    """
    match event:
        case {"status": "met", "messages": list(messages)}:
            return messages
        case {"status": "timeout"}:
            raise AirflowSensorTimeout(f"Sensor has timed out after {timeout} seconds.")
        case {
            "status": "error",
            "recalled": bool(recalled),
            "message": str(message),
            "code": str(code),
            "next_step": str(next_step),
            **more,
        }:
            error = ERRORS.get(code, MessageRecalledError if recalled else DingTalkError)
            # An event that Airflow stored before an upgrade has no Chinese text.
            in_chinese = {name: str(more.get(name) or "") for name in ("message_zh", "next_step_zh")}
            raise error(message, code=code, next_step=next_step, permanent=True, **in_chinese)
    raise DingTalkError("The trigger ended with an event of unknown form.", code="no_event", permanent=True)


def payload_of(wait: Wait) -> dict[str, Any]:
    """Return the payload of the asset event for a wait whose condition is met."""
    polled = [message for message in wait.result() if message["send_status"] is not None]
    return {
        "status": "met",
        "messages": len(polled),
        "keys": [message["key"] for message in polled[:KEYS_IN_PAYLOAD]],
        "readers": sum(message["readers"] or 0 for message in polled),
    }
