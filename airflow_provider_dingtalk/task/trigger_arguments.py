"""Arguments and event payloads of asset watchers' triggers, as plain JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any, overload

import msgspec

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.jobs.wait import Wait

#: Most message keys in an asset event, because Airflow keeps the payload with the asset for ever.
KEYS_IN_PAYLOAD = 20


def payload_of(wait: Wait) -> dict[str, Any]:
    """Return the event payload of a wait whose condition is met."""
    seen = [message for message in wait.result() if message["send_status"] is not None]
    return {
        "status": "met",
        "messages": len(seen),
        "keys": [message["key"] for message in seen[:KEYS_IN_PAYLOAD]],
        "readers": sum(message["readers"] or 0 for message in seen),
    }


@overload
def seconds_of(value: None) -> None: ...
@overload
def seconds_of(value: float | dt.timedelta) -> float: ...
def seconds_of(value: float | dt.timedelta | None) -> float | None:
    """Return a duration in seconds; None stays None."""
    return value.total_seconds() if isinstance(value, dt.timedelta) else value


def as_text(value: Any, field: str) -> str | None:
    """Return a value as JSON text; a text is returned unchanged.

    :raises InvalidInputError: If the value is not plain JSON.
    """
    if value is None or isinstance(value, str):
        return value
    try:
        # Airflow identifies a watcher by its arguments, and sets have no order, so the JSON is sorted.
        return msgspec.json.encode(value, enc_hook=_plain, order="deterministic").decode()
    except (TypeError, ValueError, msgspec.EncodeError):
        raise InvalidInputError(field, f"Invalid {field}: expected plain JSON, not {type(value).__name__}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    raise TypeError(type(value).__name__)
