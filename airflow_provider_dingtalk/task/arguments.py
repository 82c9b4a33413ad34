"""Templated arguments of operators and sensors, parsed and checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_dingtalk.exceptions import (
    InvalidInputError,
    shown,
)
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import (
    Kind,
    Receipt,
    is_nothing,
    moment_of,
    parse_id,
    parse_keys,
)
from airflow_provider_dingtalk.task.time_zone import both_times, default_time_zone

log = logging.getLogger(__name__)

ON_EMPTY = ("succeed", "skip", "fail")


def receipts_of_keys(
    kind: Kind, keys: Any, field: str, sender: Mapping[str, Any], *, to_ask: bool = False
) -> list[Receipt]:
    """Return receipts for messages of which only the keys are known.

    :param field: Name of the argument that holds the keys, for errors.
    :param sender: Mapping with ``robot_code``, ``agent_id`` and ``open_conversation_id``.
    :param to_ask: True to require only the fields that a status query needs; default False.
    :raises InvalidInputError: If a key is not valid, or a sender field is missing.
    """
    if field == "msg_task_id" and (isinstance(keys, int) or _is_one(keys)):
        keys = [keys]
    parsed = parse_keys(keys, field)
    if not parsed:
        return []
    needed: dict[str, Any] = {}
    of_kind = message_type(kind)
    for name in of_kind.sender_fields:
        if to_ask and of_kind.is_polled_by_key and is_nothing(sender.get(name)):
            continue
        if sender.get(name) is None:
            where = "" if name == "open_conversation_id" else ", or set it in the connection's extras"
            raise InvalidInputError(name, f"is missing; give it{where}")
        needed[name] = parse_id(sender[name], name)
    return [Receipt(kind=kind, **{**needed, of_kind.key_field: key}) for key in parsed]


def _is_one(keys: Any) -> bool:
    """Return True for a single text that is not a JSON list."""
    return isinstance(keys, str) and not is_nothing(keys) and not keys.lstrip().startswith("[")


def only_of_kind(receipts: Sequence[Receipt], kind: Kind) -> None:
    """Raise an error if a receipt is of another kind.

    :raises InvalidInputError: If there is such a receipt.
    """
    for index, receipt in enumerate(receipts):
        if receipt.kind is not kind:
            problem = f"is {receipt.kind}; this task is about {kind} only. DingTalkRollbackOperator takes any mixture"
            raise InvalidInputError(f"receipts[{index}].kind", problem)


def check_choices(on_empty: Any, fail_on: Any) -> frozenset[str]:
    """Return the outcomes for which the task fails.

    :raises InvalidInputError: If ``on_empty`` or ``fail_on`` is not one of the choices.
    """
    if on_empty not in ON_EMPTY:
        raise InvalidInputError("on_empty", f"is {shown(on_empty)}; use one of {', '.join(ON_EMPTY)}")
    allowed = {outcome.value for outcome in Outcome} - {Outcome.RECALLED}
    try:
        chosen = frozenset([fail_on] if isinstance(fail_on, str) else fail_on)
    except (TypeError, ValueError):
        raise InvalidInputError("fail_on", f"must be a set; use some of {sorted(allowed)}") from None
    if not chosen <= allowed:
        foreign = sorted(shown(item) for item in chosen - allowed)
        raise InvalidInputError("fail_on", f"holds {', '.join(foreign[:5])}; use some of {sorted(allowed)}")
    return chosen


def parse_flag(value: Any, field: str) -> bool:
    """Return a boolean, also from a template's text such as ``"False"``.

    :raises InvalidInputError: If the value is neither true nor false.
    """
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in ("true", "false"):
        raise InvalidInputError(field, f"is {shown(value)}; use True or False")
    return word == "true"


def parse_moment(value: Any, field: str) -> float | None:
    """Return a moment as Unix time in seconds; None if not given.

    Without a time zone the moment is in Airflow's ``default_timezone``. The log names the moment understood.

    :param value: A ``datetime`` or a text in ISO 8601.
    :raises InvalidInputError: If the value is neither.
    """
    if value == "" or is_nothing(value):
        return None
    text = value.isoformat() if hasattr(value, "isoformat") else value
    try:
        moment = moment_of(text, default_time_zone())
    except (ValueError, TypeError, OverflowError):
        raise InvalidInputError(field, "is not a date and time in ISO 8601, e.g. 2026-11-21T08:00:00Z") from None
    log.info("%s: %s.", field, both_times(moment))
    return moment


def parse_one_id(value: Any, field: str) -> str | None:
    """Return an id; None if none was given.

    :raises InvalidInputError: If the value is not an id, or is a list of ids.
    """
    return None if value == "" or is_nothing(value) else parse_id(value, field)


def parse_task_ids(value: Any, field: str) -> list[str]:
    """Return a list of task ids.

    :param value: One id, a list, or JSON of a list.
    :raises InvalidInputError: If the value is none of these.
    """
    return parse_keys([value] if _is_one(value) else value, field)
