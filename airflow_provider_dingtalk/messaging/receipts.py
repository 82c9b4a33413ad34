"""Receipts: what a send gives back, and all that a recall needs.

A receipt is plain JSON without secrets, safe in an XCom. One that you write yourself, for a message that
another program sent, is as good as one of ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
import pendulum
from msgspec import Struct

from airflow_provider_dingtalk.api.errors import InvalidInputError
from airflow_provider_dingtalk.api.messages import plain

#: Version of the receipt's shape; version 1 did not name its connection.
RECEIPT_VERSION = 2
#: Versions that are read.
READ_VERSIONS = (1, 2)
#: How deep lists may be nested: a mapped send in a mapped task group has three levels.
MAX_DEPTH = 8
#: What a template makes of a missing XCom.
NOTHING = ("None", "null")
#: Longest key, id or code that is taken, in characters. DingTalk's are under 100.
MAX_ID_LENGTH = 512


class Kind(StrEnum):
    """The kinds of message that DingTalk can take back."""

    GROUP = "group"
    OTO = "oto"
    PRIVATE_CHAT = "private_chat"
    WORK_NOTIFICATION = "work_notification"
    DING = "ding"


#: What identifies a message, and what else its recall needs, by kind.
KEY_FIELD = {
    Kind.GROUP: "process_query_key",
    Kind.OTO: "process_query_key",
    Kind.PRIVATE_CHAT: "process_query_key",
    Kind.WORK_NOTIFICATION: "task_id",
    Kind.DING: "open_ding_id",
}
#: What DingTalk gives and takes as a number.
NUMERIC_FIELDS = frozenset({"task_id", "msg_task_id", "agent_id", "dept_ids"})
SENDER_FIELDS = {
    Kind.GROUP: ("robot_code", "open_conversation_id"),
    Kind.OTO: ("robot_code",),
    Kind.PRIVATE_CHAT: ("robot_code", "open_conversation_id"),
    Kind.WORK_NOTIFICATION: ("agent_id",),
    Kind.DING: ("robot_code",),
}
#: Kinds whose status may be asked for by the key alone: their pages call robot and conversation optional.
#: https://open.dingtalk.com/document/development/query-the-read-list-of-robot-messages-in-person-to-person-conversations
ASKED_BY_KEY = frozenset({Kind.GROUP, Kind.PRIVATE_CHAT})


class Group(Struct, frozen=True, gc=False):
    """What the messages of one recall call have in common."""

    kind: Kind
    robot_code: str | None = None
    agent_id: str | None = None
    open_conversation_id: str | None = None


# Texts and numbers only: the garbage collector need not look at thousands of them.
class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """One message that can be taken back.

    :param kind: What kind of message it is.
    :param conn_id: Airflow connection that sent it; None: that of the task which handles the receipt.
    :param robot_code: The robot that sent it; not for work notifications.
    :param agent_id: The app that sent it; work notifications only.
    :param open_conversation_id: The group or the chat of two people it was sent to.
    :param process_query_key: Its key, for robot messages.
    :param task_id: Its key, for work notifications.
    :param open_ding_id: Its key, for DINGs.
    :param sent_at: When DingTalk accepted it: UTC, ISO 8601. None: unknown.
    :param recipients: To how many people it went, if known.
    """

    version: int = RECEIPT_VERSION
    kind: Kind
    conn_id: str | None = None
    robot_code: str | None = None
    agent_id: str | None = None
    open_conversation_id: str | None = None
    process_query_key: str | None = None
    task_id: str | None = None
    open_ding_id: str | None = None
    sent_at: str | None = None
    recipients: int | None = None

    @property
    def key(self) -> str:
        """What DingTalk knows the message by."""
        return str(getattr(self, KEY_FIELD[self.kind]))

    @property
    def group(self) -> Group:
        """What it must share with the others of a recall call."""
        return Group(self.kind, self.robot_code, self.agent_id, self.open_conversation_id)

    def sent(self) -> float | None:
        """When DingTalk accepted it, in seconds since the epoch; None: unknown."""
        return moment_of(self.sent_at) if self.sent_at else None

    def to_json(self) -> dict[str, Any]:
        """The receipt as plain JSON, without what does not apply to its kind."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in fields.items() if value is not None}


def iso(moment: float) -> str:
    """A moment in seconds since the epoch as UTC, ISO 8601."""
    return (
        pendulum.from_timestamp(moment).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def parse_receipts(
    value: Any, field: str = "receipts", *, to_ask: bool = False, zone: tzinfo = UTC
) -> list[Receipt]:
    """Receipts out of whatever an XCom or a template made of them.

    Takes receipts, JSON of them, and lists of both, nested as mapped tasks nest them; drops ``None`` and
    ``"None"``, which are what a skipped task leaves.

    :param field: Name of the argument, for errors.
    :param to_ask: Take receipts that are enough to ask for a status, though not for a recall.
    :param zone: Time zone of a ``sent_at`` without one; default UTC.
    :raises InvalidInputError: Something in it is no receipt.
    """
    optional = ASKED_BY_KEY if to_ask else frozenset()
    return [_receipt(item, path, optional, zone) for path, item in _flat(value, field, 0)]


def is_nothing(value: Any) -> bool:
    """Whether it is what a template makes of an XCom that is not there."""
    return value is None or (isinstance(value, str) and value in NOTHING)


def parse_keys(value: Any, field: str) -> list[str]:
    """Message keys out of a list, or of JSON of one. Order is kept, duplicates too.

    :raises InvalidInputError: It is no list, or something in it is no key.
    """
    if is_nothing(value):
        return []
    if isinstance(value, str):
        value = _decoded(value, field)
    if not isinstance(value, Sequence | set | frozenset) or isinstance(value, str | bytes | bytearray):
        raise InvalidInputError(field, f"must be a list, not {type(value).__name__}")
    return [parse_id(item, f"{field}[{index}]") for index, item in enumerate(value)]


def parse_id(value: Any, field: str) -> str:
    """A key, id or code. Ids that DingTalk gives as numbers (task, agent) may come as numbers.

    :raises InvalidInputError: It is no text, blank, too long, or has control characters.
    """
    if field.rsplit(".", maxsplit=1)[-1].split("[", maxsplit=1)[0] in NUMERIC_FIELDS:
        return _number(value, field)
    if not isinstance(value, str):
        raise InvalidInputError(field, f"must be text, not {type(value).__name__}")
    if not value.strip() or value != value.strip():
        raise InvalidInputError(field, "is blank, or has blanks around it")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidInputError(field, f"has {len(value)} characters; at most {MAX_ID_LENGTH} are taken")
    if not value.isprintable():
        raise InvalidInputError(field, "has control characters")
    return plain(value)


def _number(value: Any, field: str) -> str:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return str(value)
    raise InvalidInputError(
        field, f"must be a number as DingTalk gave it, not {type(value).__name__} of another form"
    )


def _flat(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if is_nothing(value):
        return
    if depth > MAX_DEPTH:
        raise InvalidInputError(path.split("[", maxsplit=1)[0], f"is nested deeper than {MAX_DEPTH} lists")
    if isinstance(value, str):
        value = _decoded(value, path)
    if isinstance(value, Mapping | Receipt):
        yield path, value
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]", depth + 1)
    else:
        raise InvalidInputError(path, f"must be a receipt or a list of receipts, not {type(value).__name__}")


def _decoded(text: str, field: str) -> Any:
    try:
        return msgspec.json.decode(plain(text))
    except (msgspec.DecodeError, RecursionError, ValueError):
        hint = "; give a list"
        if text.lstrip().startswith(("[", "{", "(")):
            # What a template makes of an XCom: the text of a Python object.
            hint = ", but looks like Python; use the task's .output, or | tojson in the template"
        raise InvalidInputError(field, f"is a string that is not JSON{hint}") from None


def _receipt(value: Mapping[str, Any] | Receipt, path: str, by_key: Collection[Kind], zone: tzinfo) -> Receipt:
    if isinstance(value, Receipt):
        # One that was made by hand may be half of one.
        value = msgspec.structs.asdict(value)
    kind = _kind(value.get("kind"), path)
    version = value.get("version", RECEIPT_VERSION)
    if type(version) is not int or version not in READ_VERSIONS:
        known = " and ".join(map(str, READ_VERSIONS))
        raise InvalidInputError(f"{path}.version", f"is {_shown(version)}; this package knows {known}")
    fields: dict[str, Any] = {
        name: _needed(value, name, path)
        for name in (KEY_FIELD[kind], *SENDER_FIELDS[kind])
        if name == KEY_FIELD[kind] or kind not in by_key or not is_nothing(value.get(name))
    }
    recipients = value.get("recipients")
    return Receipt(
        kind=kind,
        conn_id=_conn_id(value.get("conn_id"), f"{path}.conn_id"),
        sent_at=_sent_at(value.get("sent_at"), f"{path}.sent_at", zone),
        recipients=recipients if type(recipients) is int else None,
        **fields,
    )


def _kind(value: Any, path: str) -> Kind:
    try:
        return Kind(value)
    except ValueError:
        shown = "missing" if value is None else _shown(value)
        raise InvalidInputError(f"{path}.kind", f"is {shown}; use one of {', '.join(Kind)}") from None


def _shown(value: Any) -> str:
    """A value in an error's text: short whatever it is."""
    if isinstance(value, str):
        return repr(value[:40])
    return repr(value) if isinstance(value, int) and abs(value) < 2**63 else f"of type {type(value).__name__}"


def _needed(value: Mapping[str, Any], name: str, path: str) -> str:
    if value.get(name) is None:
        raise InvalidInputError(f"{path}.{name}", f"is missing; a receipt of kind {value['kind']} needs it")
    return parse_id(value[name], f"{path}.{name}")


def _conn_id(value: Any, field: str) -> str | None:
    return None if is_nothing(value) else parse_id(value, field)


def _sent_at(value: Any, field: str, zone: tzinfo) -> str | None:
    if value is None:
        return None
    try:
        return iso(moment_of(value, zone))
    except (ValueError, TypeError, OverflowError):
        raise InvalidInputError(field, "is no moment in ISO 8601, e.g. 2026-11-21T08:00:00Z") from None


@lru_cache(maxsize=16_384)
def moment_of(value: str, zone: tzinfo = UTC) -> float:
    """Read a moment in ISO 8601, in seconds since the epoch.

    Kept, for a recall reads that of each message several times, and reading it takes ten microseconds.

    :param zone: Time zone of a moment without one; default UTC.
    :raises ValueError: It is none; also ``TypeError``.
    """
    if not (isinstance(value, str) and value[:4].isdigit()):
        # Of "now" and of a time without a date pendulum makes a moment of today.
        raise ValueError("no date")
    parsed = pendulum.parse(value, strict=True, tz=zone)
    if not isinstance(parsed, pendulum.DateTime):
        raise TypeError(value)
    return parsed.timestamp()
