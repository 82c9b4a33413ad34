"""Templated arguments of operators and sensors, parsed and checked.

Times without a time zone are in Airflow's ``[core] default_timezone``.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pendulum

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError, shown
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages import receipt_parser
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, is_nothing, moment_of, parse_id, parse_keys

log = logging.getLogger(__name__)

ON_EMPTY = ("succeed", "skip", "fail")
#: Unix time in seconds of the last day that has a date in all time zones.
LATEST = 253_402_128_000.0


def is_missing(value: Any) -> bool:
    """Return True for None, an empty text and a template's rendering of a missing XCom."""
    return is_nothing(value) or (isinstance(value, str) and not value)


# ── choices and numbers ──────────────────────────────────────────────────────────────────────────────


def check_choices(on_empty: Any, fail_on: Any) -> frozenset[str]:
    """Return the outcomes for which the task fails.

    :raises InvalidInputError: If ``on_empty`` or ``fail_on`` is not one of the choices.
    """
    if not isinstance(on_empty, str) or on_empty not in ON_EMPTY:
        raise InvalidInputError("on_empty", f"is {shown(on_empty)}; use one of {', '.join(ON_EMPTY)}")
    allowed = {outcome.value for outcome in Outcome} - {Outcome.RECALLED}
    try:
        chosen = frozenset([fail_on] if isinstance(fail_on, str) else fail_on)
    except (TypeError, ValueError):
        raise InvalidInputError("fail_on", f"must be a set; use some of {sorted(allowed)}") from None
    if not chosen <= allowed:
        unknown = sorted(shown(item) for item in chosen - allowed)
        raise InvalidInputError("fail_on", f"holds {', '.join(unknown[:5])}; use some of {sorted(allowed)}")
    return chosen


def valid_outcome_options(
    on_empty: Any, fail_on: Any, default_fail_on: frozenset[str], errors: list[DingTalkError]
) -> dict[str, Any]:
    """Return ``on_empty`` and ``fail_on``; if one is invalid, the defaults, because neither may stop a recall.

    :param errors: List that gets the error.
    """
    try:
        return {"on_empty": on_empty, "fail_on": check_choices(on_empty, fail_on)}
    except InvalidInputError as error:
        errors.append(error)
        return {"on_empty": "succeed", "fail_on": default_fail_on}


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


def parse_number(value: Any) -> Any:
    """Return the whole number in a template's text; other values unchanged."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        return int(value)
    return value


def parse_decimal(value: Any) -> Any:
    """Return the number in a template's text; other values unchanged."""
    try:
        return float(value) if isinstance(value, str) and len(value) < 20 else value
    except ValueError:
        return value


def parse_count(value: Any, field: str, minimum: int) -> int:
    """Return a whole number of ``minimum`` or more.

    :raises InvalidInputError: If the value is not such a number.
    """
    number = parse_number(value)
    if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number < 2**63:
        raise InvalidInputError(field, f"must be a whole number, {minimum} or more")
    return number


def parse_seconds(value: Any, field: str, *, allow_zero: bool = True) -> float:
    """Return a duration in seconds, from a ``timedelta``, a number or its text.

    :raises InvalidInputError: If the value is not a duration, is negative, or is a 0 that is not allowed.
    """
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else parse_decimal(value)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds < 1e10 or (seconds == 0 and not allow_zero):
        least = "0 or more" if allow_zero else "more than 0"
        raise InvalidInputError(field, f"must be a timedelta or a number of seconds, {least}")
    return float(seconds)


def parse_look_back(value: Any) -> float:
    """Return how far a sweep looks back in seconds; infinity for a missing value.

    :raises InvalidInputError: If the value is not a duration.
    """
    return math.inf if is_missing(value) else parse_seconds(value, "look_back")


# ── ids and receipts ─────────────────────────────────────────────────────────────────────────────────


def parse_one_id(value: Any, field: str) -> str | None:
    """Return an id; None if none was given.

    :raises InvalidInputError: If the value is not an id, or is a list of ids.
    """
    return None if is_missing(value) else parse_id(value, field)


def parse_task_ids(value: Any, field: str) -> list[str]:
    """Return a list of task ids, from one id, a list, or JSON of a list.

    :raises InvalidInputError: If the value is none of these.
    """
    return parse_keys([value] if _is_one_text(value) else value, field)


def _is_one_text(keys: Any) -> bool:
    """Return True for a single text that is not a JSON list."""
    return isinstance(keys, str) and not is_nothing(keys) and not keys.lstrip().startswith("[")


def parse_receipts(value: Any, field: str = "receipts", *, to_ask: bool = False) -> list[Receipt]:
    """Parse receipts, also user-written ones; see :mod:`airflow_provider_dingtalk.messages.receipt_parser`.

    :param field: Name of the argument, for errors; default ``receipts``.
    :param to_ask: Accept receipts that are sufficient to poll a status, but not to recall; default False.
    :raises InvalidInputError: If an item is not a receipt.
    """
    return receipt_parser.parse_receipts(value, field, to_ask=to_ask, zone=default_time_zone())


def receipts_of_keys(
    kind: Kind, keys: Any, field: str, sender: Mapping[str, Any], *, to_ask: bool = False
) -> list[Receipt]:
    """Return receipts for messages of which only the keys are known.

    :param field: Name of the argument that holds the keys, for errors.
    :param sender: Mapping with ``robot_code``, ``agent_id`` and ``open_conversation_id``.
    :param to_ask: True to require only the fields that a status query needs; default False.
    :raises InvalidInputError: If a key is not valid, or a sender field is missing.
    """
    if field == "msg_task_id" and (isinstance(keys, int) or _is_one_text(keys)):
        keys = [keys]
    parsed = parse_keys(keys, field)
    if not parsed:
        return []
    fields: dict[str, Any] = {}
    of_kind = message_type(kind)
    for name in of_kind.sender_fields:
        if to_ask and of_kind.is_polled_by_key and is_nothing(sender.get(name)):
            continue
        if sender.get(name) is None:
            where = "" if name == "open_conversation_id" else ", or set it in the connection's extras"
            raise InvalidInputError(name, f"is missing; give it{where}")
        fields[name] = parse_id(sender[name], name)
    return [Receipt(kind=kind, **{**fields, of_kind.key_field: key}) for key in parsed]


def messages_to_recall(
    of_kind: MessageType, keys: Any, receipts: Any, sender: Mapping[str, Any], defaults: Callable[[], Mapping[str, Any]]
) -> list[Receipt]:
    """Return the messages of the keys and of the receipts that a recall of one kind is given.

    :param sender: Mapping with ``robot_code``, ``agent_id`` and ``open_conversation_id``.
    :param defaults: Function that returns the connection's, called only if a key needs one.
    :raises InvalidInputError: If a key or receipt is invalid or of another kind, or a sender field is missing.
    """
    of_receipts = parse_receipts(receipts)
    only_of_kind(of_receipts, of_kind.kind)
    if keys is None:
        return of_receipts
    missing = [name for name in of_kind.sender_fields if sender[name] is None]
    of_sender = dict(sender) | {name: defaults().get(name) for name in missing}
    return receipts_of_keys(of_kind.kind, keys, of_kind.keys_argument, of_sender) + of_receipts


def only_of_kind(receipts: Sequence[Receipt], kind: Kind) -> None:
    """Raise an error if a receipt is of another kind.

    :raises InvalidInputError: If there is such a receipt.
    """
    for index, one in enumerate(receipts):
        if one.kind is not kind:
            problem = f"is {one.kind}; this task is about {kind} only. DingTalkRollbackOperator takes any mixture"
            raise InvalidInputError(f"receipts[{index}].kind", problem)


# ── times ────────────────────────────────────────────────────────────────────────────────────────────


def default_time_zone() -> dt.tzinfo:
    """Return the time zone of ``[core] default_timezone``."""
    from airflow_provider_dingtalk.version_compat import conf

    return _zone(conf.get("core", "default_timezone", fallback="utc"))


@cache
def _zone(name: str) -> dt.tzinfo:
    if name.lower() == "utc":
        return dt.UTC
    zone = (pendulum.now().timezone or dt.UTC) if name == "system" else ZoneInfo(name)
    # Zones of pendulum 3.2 cannot be hashed, but times are cached by zone, so the zone is converted.
    return ZoneInfo(zone.key) if isinstance(zone, ZoneInfo) else zone


def parse_moment(value: Any, field: str) -> float | None:
    """Return a ``datetime`` or a text in ISO 8601 as Unix time in seconds; None if not given.

    The log names the moment understood.

    :raises InvalidInputError: If the value is neither.
    """
    if is_missing(value):
        return None
    text = value.isoformat() if hasattr(value, "isoformat") else value
    try:
        moment = moment_of(text, default_time_zone())
    except (ValueError, TypeError, OverflowError):
        raise InvalidInputError(field, "is not a date and time in ISO 8601, e.g. 2026-11-21T08:00:00Z") from None
    log.info("%s: %s.", field, both_times(moment))
    return moment


def both_times(moment: float) -> str:
    """Format a Unix time in seconds, in UTC and in Airflow's time zone, once if that is UTC; of a year 1970 to 9999."""
    zone, moment = default_time_zone(), min(max(moment, 0.0), LATEST)
    utc = f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    local = f"{dt.datetime.fromtimestamp(moment, zone):%Y-%m-%d %H:%M:%S} {zone}"
    return utc if local == utc else f"{utc} ({local})"


# ── arguments of triggers ────────────────────────────────────────────────────────────────────────────


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
