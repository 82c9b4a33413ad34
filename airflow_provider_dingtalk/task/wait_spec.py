"""Waits shared by sensors and triggers, for the same result in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct, field

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError, MessageRecalledError
from airflow_provider_dingtalk.jobs.batching import unique
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import ERRORS, WaitOptions, WaitState, state_of
from airflow_provider_dingtalk.messages.conditions import (
    Condition,
    Target,
    condition_of,
    target_of,
)
from airflow_provider_dingtalk.messages.message_types import check_targets, message_type
from airflow_provider_dingtalk.messages.receipt import (
    Receipt,
    SenderKey,
    is_nothing,
    parse_keys,
)
from airflow_provider_dingtalk.task.arguments import only_of_kind, parse_flag, receipts_of_keys
from airflow_provider_dingtalk.task.errors import NothingToWaitFor
from airflow_provider_dingtalk.task.time_zone import parse_receipts
from airflow_provider_dingtalk.version_compat import AirflowSensorTimeout

__all__ = ["MessageRecalledError", "WaitProgress", "WaitSpec", "result_of_event", "wait_spec_of"]


class _Run(Struct, frozen=True):
    """Consecutive messages of one sender, connection and conversation, with shared fields once."""

    sender_key: SenderKey = field(name="group")  # the name in stored triggers
    keys: list[str]
    sent: list[float | None]
    recipients: list[int | None]
    conn_id: str | None = None


class WaitSpec(Struct, frozen=True):
    """Messages, and the condition to wait for."""

    targets: tuple[Target, ...]
    condition: Condition

    def to_json(self) -> dict[str, Any]:
        """Return the watch as plain JSON, for a trigger's arguments.

        It holds only ids, because there may be thousands of messages.
        """
        condition: dict[str, Any] = msgspec.to_builtins(self.condition)
        # A trigger is identified by its arguments, and a set has no order, so the statuses are sorted.
        condition["send_statuses"] = sorted(condition["send_statuses"])
        condition["read_by"] = list(condition["read_by"])
        return {"messages": [msgspec.to_builtins(run) for run in self._runs()], "condition": condition}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WaitSpec:
        """Return the watch from the result of :meth:`to_json`."""
        runs = msgspec.convert(value["messages"], list[_Run])
        targets = [
            Target(run.sender_key, *each, run.conn_id)
            for run in runs
            for each in zip(run.keys, run.sent, run.recipients, strict=True)
        ]
        return cls(tuple(targets), msgspec.convert(value["condition"], Condition))

    def _runs(self) -> list[_Run]:
        runs = []
        for (sender_key, conn_id), members in groupby(
            self.targets, key=lambda target: (target.sender_key, target.conn_id)
        ):
            run = list(members)
            keys = [target.key for target in run]
            sent, recipients = [each.sent for each in run], [each.recipients for each in run]
            runs.append(_Run(sender_key, keys, sent, recipients, conn_id))
        return runs


class WaitProgress(Struct, frozen=True, kw_only=True):
    """State of a wait that a trigger takes over from a worker.

    :param poll_schedule: Poll schedule.
    :param began: Unix time in seconds at which the wait began.
    :param max_api_calls: Most API calls of the wait.
    :param state: Progress of the wait.
    """

    poll_schedule: PollSchedule
    began: float
    max_api_calls: int
    state: WaitState

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain JSON, for a trigger's arguments."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WaitProgress:
        """Return the state from the result of :meth:`to_json`."""
        # A progress of an older version, or a corrupt one, is dropped, which costs polls but not the wait.
        wait_progress = msgspec.convert({**value, "state": {}}, cls)
        return msgspec.structs.replace(wait_progress, state=state_of(value.get("state")))


def wait_of(
    wait_spec: WaitSpec,
    wait_progress: WaitProgress,
    *,
    end: float | None,
    with_readers: bool = False,
    clock: Clock | None = None,
) -> Wait:
    """Make the wait for a watch.

    :param end: Unix time in seconds at which the wait times out; None disables it.
    :param with_readers: True to record the readers; default False.
    :param clock: Clock of the wait; default None, which means the system's clock.
    """
    wait_options = WaitOptions(
        poll_schedule=wait_progress.poll_schedule,
        began=wait_progress.began,
        end=end,
        max_api_calls=wait_progress.max_api_calls,
    )
    return Wait(
        wait_spec.targets,
        wait_spec.condition,
        wait_options,
        with_readers=with_readers,
        clock=clock,
        state=wait_progress.state,
    )


def wait_spec_of(
    *,
    kind: str,
    key: Any,
    receipts: Any,
    robot_code: Any,
    open_conversation_id: Any,
    agent_id: Any = None,
    is_named: bool = True,
    **wanted: Any,
) -> WaitSpec:
    """Make a watch from a sensor's arguments.

    :param key: Key of one message; ``process_query_key``, or ``msg_task_id`` of a work notification.
    :param is_named: True if the sensor was given receipts, even empty ones; default True.
    :param wanted: Conditions, by their names.
    :raises InvalidInputError: If an argument is missing or not valid.
    :raises NothingToWaitFor: If the receipts that were given are empty.
    """
    of_kind = message_type(kind)
    name = of_kind.key_argument
    parsed = parse_receipts(receipts, to_ask=True)
    only_of_kind(parsed, of_kind.kind)
    if not is_nothing(key):
        sender = {
            "robot_code": robot_code,
            "open_conversation_id": open_conversation_id,
            "agent_id": agent_id,
        }
        if isinstance(key, str) and key.lstrip().startswith("["):
            raise InvalidInputError(name, f"Invalid {name}: a list; expected one key. Give receipts for several")
        parsed = receipts_of_keys(of_kind.kind, [key], name, sender, to_ask=True) + parsed
    if not parsed and not is_named:
        raise InvalidInputError(name, "is missing; give it, or receipts")
    if not parsed:
        raise NothingToWaitFor
    return _wait_spec(parsed, **wanted)


def wait_spec_of_receipts(receipts: Any, **wanted: Any) -> WaitSpec:
    """Make a watch for messages of any mixture of kinds.

    :param wanted: Conditions, by their names.
    :raises InvalidInputError: If there is no receipt, or an argument is not valid.
    """
    parsed = parse_receipts(receipts, to_ask=True)
    if not parsed:
        raise InvalidInputError("receipts", "is empty: nothing to wait for")
    check_wanted(wanted)
    return _wait_spec(parsed, **wanted)


def check_wanted(wanted: Mapping[str, Any]) -> None:
    """Check conditions by their names, before the messages are known.

    :raises InvalidInputError: If a name or a value is not valid.
    """
    if foreign := wanted.keys() - _CONDITIONS:
        problem = f"holds {sorted(map(str, foreign))[:5]}; use some of {sorted(_CONDITIONS)}"
        raise InvalidInputError("wanted", problem)
    _condition(**wanted)


_CONDITIONS = {
    "send_statuses",
    "min_readers",
    "read_by",
    "min_read_share",
    "audience",
    "match",
    "fail_on_unreached",
}


def _wait_spec(receipts: Sequence[Receipt], **wanted: Any) -> WaitSpec:
    condition = _condition(**wanted)
    targets = tuple(target_of(receipt) for receipt in unique(receipts).values())
    check_targets(condition, targets)
    return WaitSpec(targets, condition)


def _condition(
    *,
    send_statuses: Any = ("SUCCESS",),
    min_readers: Any = 0,
    read_by: Any = None,
    min_read_share: Any = None,
    audience: Any = None,
    match: Any = "all",
    fail_on_unreached: Any = True,
) -> Condition:
    people = parse_keys(read_by, "read_by") if read_by is not None else []
    if read_by is not None and not people:
        raise InvalidInputError("read_by", "is empty; leave it out to wait for any reader")
    statuses = send_statuses if isinstance(send_statuses, str) else parse_keys(send_statuses, "send_statuses")
    return condition_of(
        statuses,
        _number(min_readers),
        people,
        min_read_share=_share(min_read_share),
        audience=None if is_nothing(audience) else _number(audience),
        match=match,
        needs_recipients=parse_flag(fail_on_unreached, "fail_on_unreached"),
    )


def _number(value: Any) -> Any:
    """Return the number in a template's text; other values unchanged."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        return int(value)
    return value


def _share(value: Any) -> Any:
    """Return the share in a template's text; other values unchanged."""
    if is_nothing(value):
        return None
    if isinstance(value, str) and len(value) < 20:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def calls_of(value: Any) -> int:
    """Return the most API calls of a wait.

    :raises InvalidInputError: If the value is not a whole number of 1 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError("max_api_calls", "must be a whole number, 1 or more")
    return value


def new_wait_progress(poll_schedule: PollSchedule, began: float, max_api_calls: int, state: Any = None) -> WaitProgress:
    """Return the state of a wait that begins, or that resumes."""
    return WaitProgress(
        poll_schedule=poll_schedule,
        began=began,
        max_api_calls=calls_of(max_api_calls),
        state=state if isinstance(state, WaitState) else state_of(state),
    )


# ── events of a trigger ──────────────────────────────────────────────────────────────────────────────


def met_event(messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the event for a condition that is met."""
    return {"status": "met", "messages": list(messages)}


def timeout_event() -> dict[str, Any]:
    """Return the event for a timeout."""
    return {"status": "timeout"}


def error_event(error: DingTalkError) -> dict[str, Any]:
    """Return the event for a wait that is pointless."""
    return {
        "status": "error",
        "recalled": isinstance(error, MessageRecalledError),
        "code": error.code,
        "message": error.message,
        "next_step": error.next_step,
    }


def result_of_event(event: Mapping[str, Any] | None, *, timeout: float) -> Any:
    """Return a sensor's result for a trigger's event, or raise its error.

    :param timeout: Timeout of the sensor in seconds, for the error text.
    :raises AirflowSensorTimeout: If the wait timed out.
    :raises DingTalkError: If waiting is pointless, or the event is unknown.
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
            error = ERRORS.get(code, MessageRecalledError if recalled else DingTalkError)
            raise error(message, code=code, next_step=next_step, permanent=True)
    raise DingTalkError("The trigger ended without a word that this package knows.", code="no_event", permanent=True)
