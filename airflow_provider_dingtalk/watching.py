"""Watching: what a sensor and its trigger have in common, so that all modes come to the same result."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from airflow.sdk.exceptions import AirflowSensorTimeout
from msgspec import Struct

from airflow_provider_dingtalk.api.client import DingTalkClient
from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.execution import only_of_kind, receipts_of_keys
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt, parse_keys, parse_receipts
from airflow_provider_dingtalk.messaging.status import (
    Condition,
    Judgement,
    Reading,
    condition_of,
    evaluate,
    read,
    summary,
)

log = logging.getLogger(__name__)


class MessageRecalledError(DingTalkError):
    """The message was recalled while somebody waited for something else."""

    permanent = True


class Watch(Struct, frozen=True):
    """Messages, and what somebody waits for."""

    receipts: tuple[Receipt, ...]
    condition: Condition

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, for a trigger's arguments: ids only."""
        condition: dict[str, Any] = msgspec.to_builtins(self.condition)
        # A set has no order, and a trigger is known by its arguments.
        condition["send_statuses"] = sorted(condition["send_statuses"])
        condition["read_by"] = list(condition["read_by"])
        return {"receipts": [receipt.to_json() for receipt in self.receipts], "condition": condition}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Watch:
        """The reverse of :meth:`to_json`."""
        return cls(tuple(parse_receipts(value["receipts"])), msgspec.convert(value["condition"], Condition))


class Look(Struct, frozen=True):
    """What one look showed."""

    readings: dict[str, Reading]
    is_met: bool

    def line(self) -> str:
        """The look as a line for the log."""
        states = Counter(reading.send_status or "no status yet" for reading in self.readings.values())
        line = ", ".join(f"{number} {state}" for state, number in states.items())
        if any(reading.readers is not None for reading in self.readings.values()):
            line += f", {sum(len(reading.readers or ()) for reading in self.readings.values())} readers"
        return line + "."

    def result(self, *, with_readers: bool) -> list[dict[str, Any]]:
        """The look as a task's result."""
        return summary(self.readings, with_readers=with_readers)


def watch_of(
    *,
    kind: str,
    key: Any,
    receipts: Any,
    robot_code: Any,
    open_conversation_id: Any,
    send_statuses: Collection[str],
    min_readers: Any,
    read_by: Any,
) -> Watch:
    """A watch out of a sensor's arguments.

    :raises InvalidInputError: An argument is missing or of no use.
    """
    parsed = parse_receipts(receipts)
    only_of_kind(parsed, Kind(kind))
    if key is not None and key != "None":
        sender = {"robot_code": robot_code, "open_conversation_id": open_conversation_id}
        parsed = receipts_of_keys(Kind(kind), [key], "process_query_key", sender) + parsed
    if not parsed:
        raise InvalidInputError("process_query_key", "is missing; give it, or receipts")
    people = parse_keys(read_by, "read_by") if read_by is not None else []
    statuses = send_statuses if isinstance(send_statuses, str) else parse_keys(send_statuses, "send_statuses")
    return Watch(tuple(parsed), condition_of(statuses, _number(min_readers), people))


def _number(value: Any) -> Any:
    """A number out of a template's text; anything else as it is."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        return int(value)
    return value


async def look(client: DingTalkClient, watch: Watch, clock: Clock | None = None) -> Look:
    """Look at all messages once. What passes by itself (an outage, a busy DingTalk) means "not yet".

    :raises MessageRecalledError: The conditions cannot be met any more.
    :raises DingTalkError: Waiting is pointless for another reason.
    """
    now = (clock or SystemClock()).now()
    used: Counter[str] = Counter()
    readings: dict[str, Reading] = {}
    judgements: list[Judgement] = []
    for receipt in watch.receipts:
        try:
            asks = watch.condition.asks_for_readers
            readings[receipt.key] = await read(client, receipt, readers=asks, now=now, used=used)
        except DingTalkError as error:
            if error.permanent:
                raise
            log.warning("%s", error)
            readings[receipt.key] = Reading(key=receipt.key, send_status=None)
        judgements.append(evaluate(readings[receipt.key], watch.condition))
        if judgements[-1] is Judgement.NEVER:
            raise _recalled(receipt.key)
    return Look(readings, all(judgement is Judgement.MET for judgement in judgements))


def _recalled(key: str) -> MessageRecalledError:
    return MessageRecalledError(
        f"The message {key} was recalled.",
        code="recalled",
        next_step="If that is what you wait for, add RECALLED to send_statuses.",
    )


# ── what a trigger says to its sensor ────────────────────────────────────────────────────────────────


def met_event(seen: Look, *, with_readers: bool) -> dict[str, Any]:
    """The conditions are met."""
    return {"status": "met", "messages": seen.result(with_readers=with_readers)}


def timeout_event() -> dict[str, Any]:
    """Time is up."""
    return {"status": "timeout"}


def error_event(error: DingTalkError) -> dict[str, Any]:
    """Waiting is pointless."""
    return {
        "status": "error",
        "recalled": isinstance(error, MessageRecalledError),
        "code": error.code,
        "message": error.message,
        "next_step": error.next_step,
    }


def result_of_event(event: Mapping[str, Any] | None, *, timeout: float) -> Any:
    """A trigger's event as a sensor's result, or as its error. An event that nobody knows is an error.

    :param timeout: The sensor's, in seconds, for the text.
    :raises AirflowSensorTimeout: Time is up.
    :raises DingTalkError: Waiting is pointless.
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
        }:
            error = MessageRecalledError if recalled else DingTalkError
            raise error(message, code=code, next_step=next_step, permanent=True)
    raise DingTalkError(
        "The trigger ended without a word that this package knows.", code="no_event", permanent=True
    )
