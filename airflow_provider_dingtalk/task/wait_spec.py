"""Messages and conditions of a wait, from a sensor's arguments or a trigger's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct, field

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.jobs.batching import unique
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import WaitOptions, WaitState, state_of
from airflow_provider_dingtalk.messages.conditions import Condition, Target, condition_of, target_of
from airflow_provider_dingtalk.messages.message_types import check_targets, message_type
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey, is_nothing, parse_keys
from airflow_provider_dingtalk.task.arguments import (
    only_of_kind,
    parse_count,
    parse_decimal,
    parse_flag,
    parse_number,
    parse_receipts,
    receipts_of_keys,
)
from airflow_provider_dingtalk.task.errors import NothingToWaitFor


class _StoredTargets(Struct, frozen=True):
    """Consecutive messages of one sender and connection, as a trigger's arguments store them."""

    sender_key: SenderKey = field(name="group")
    keys: list[str]
    sent: list[float | None]
    recipients: list[int | None]
    conn_id: str | None = None


class WaitSpec(Struct, frozen=True):
    """Messages, and the condition to wait for."""

    targets: tuple[Target, ...]
    condition: Condition

    def to_json(self) -> dict[str, Any]:
        """Return messages, by ids only, and condition as plain JSON, for a trigger's arguments."""
        condition: dict[str, Any] = msgspec.to_builtins(self.condition)
        # A trigger is identified by its arguments, and a set has no order, so the statuses are sorted.
        condition["send_statuses"] = sorted(condition["send_statuses"])
        condition["read_by"] = list(condition["read_by"])
        return {"messages": [msgspec.to_builtins(stored) for stored in self._stored()], "condition": condition}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WaitSpec:
        """Return messages and condition from the result of :meth:`to_json`."""
        targets = [
            Target(stored.sender_key, *each, stored.conn_id)
            for stored in msgspec.convert(value["messages"], list[_StoredTargets])
            for each in zip(stored.keys, stored.sent, stored.recipients, strict=True)
        ]
        return cls(tuple(targets), msgspec.convert(value["condition"], Condition))

    def _stored(self) -> list[_StoredTargets]:
        stored = []
        for (sender_key, conn_id), members in groupby(self.targets, key=lambda one: (one.sender_key, one.conn_id)):
            keys, sent, recipients = zip(*((one.key, one.sent, one.recipients) for one in members), strict=True)
            stored.append(_StoredTargets(sender_key, list(keys), list(sent), list(recipients), conn_id))
        return stored


class WaitProgress(Struct, frozen=True, kw_only=True):
    """State of a wait that a trigger takes over from a worker."""

    poll_schedule: PollSchedule
    #: Unix time in seconds at which the wait began.
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


def new_wait_progress(
    poll_schedule: PollSchedule, began: float, max_api_calls: Any, state: WaitState | None = None
) -> WaitProgress:
    """Return the state of a wait that begins, or that resumes from ``state``.

    :raises InvalidInputError: If ``max_api_calls`` is not a whole number of 1 or more.
    """
    calls = parse_count(max_api_calls, "max_api_calls", 1)
    return WaitProgress(poll_schedule=poll_schedule, began=began, max_api_calls=calls, state=state or WaitState())


def wait_of(
    wait_spec: WaitSpec,
    wait_progress: WaitProgress,
    *,
    end: float | None,
    with_readers: bool = False,
    clock: Clock | None = None,
) -> Wait:
    """Make the wait for messages and a condition.

    :param end: Unix time in seconds at which the wait times out; None disables it.
    :param with_readers: True to record the readers; default False.
    :param clock: Clock of the wait; default None, which means the system's clock.
    """
    options = WaitOptions(
        poll_schedule=wait_progress.poll_schedule,
        began=wait_progress.began,
        end=end,
        max_api_calls=wait_progress.max_api_calls,
    )
    state = wait_progress.state
    return Wait(wait_spec.targets, wait_spec.condition, options, with_readers=with_readers, clock=clock, state=state)


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
    """Make messages and condition from a sensor's arguments.

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
        sender = {"robot_code": robot_code, "open_conversation_id": open_conversation_id, "agent_id": agent_id}
        if isinstance(key, str) and key.lstrip().startswith("["):
            raise InvalidInputError(name, f"Invalid {name}: a list; expected one key. Give receipts for several")
        parsed = receipts_of_keys(of_kind.kind, [key], name, sender, to_ask=True) + parsed
    if not parsed and not is_named:
        raise InvalidInputError(name, "is missing; give it, or receipts")
    if not parsed:
        raise NothingToWaitFor
    return _wait_spec(parsed, **wanted)


def wait_spec_of_receipts(receipts: Any, **wanted: Any) -> WaitSpec:
    """Make messages and condition for receipts of any mixture of kinds.

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
    names = sorted(_condition.__kwdefaults__ or ())
    if unknown := wanted.keys() - names:
        raise InvalidInputError("wanted", f"holds {sorted(map(str, unknown))[:5]}; use some of {names}")
    _condition(**wanted)


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
        parse_number(min_readers),
        people,
        min_read_share=None if is_nothing(min_read_share) else parse_decimal(min_read_share),
        audience=None if is_nothing(audience) else parse_number(audience),
        match=match,
        needs_recipients=parse_flag(fail_on_unreached, "fail_on_unreached"),
    )
