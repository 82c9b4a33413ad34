"""Receipts: JSON that a send returns, and all that a recall needs.

A receipt is plain JSON without secrets, so it is safe in an XCom. A receipt that the user writes for a message of
another program is equally valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Any

import msgspec
import pendulum
from msgspec import Struct

from airflow_provider_dingtalk.client import endpoints
from airflow_provider_dingtalk.client.content import plain
from airflow_provider_dingtalk.exceptions import InvalidInputError

#: Version of the receipt's format; version 1 did not name its connection.
RECEIPT_VERSION = 2
#: Texts that a template renders for a missing XCom.
NOTHING = ("None", "null")
#: Maximum length of a key, id or code in characters; DingTalk's are under 100.
MAX_ID_LENGTH = 512
#: Maximum length of the text in a receipt, in characters.
MAX_TEXT_LENGTH = 40


Kind = endpoints.Kind
#: Fields that DingTalk returns and accepts as numbers.
NUMERIC_FIELDS = frozenset({"task_id", "msg_task_id", "agent_id", "dept_ids"})


class SenderKey(Struct, frozen=True, gc=False):
    """Sender and conversation that all messages of one recall call share."""

    kind: Kind
    robot_code: str | None = None
    agent_id: str | None = None
    open_conversation_id: str | None = None


# Receipts hold texts and numbers only, so gc=False spares the garbage collector thousands of objects.
class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """Receipt of one message that can be recalled.

    :param kind: Kind of the message.
    :param conn_id: Airflow connection that sent it; None means that of the task that handles the receipt.
    :param robot_code: Robot that sent it; not for work notifications.
    :param agent_id: App that sent it; work notifications only.
    :param open_conversation_id: Group or chat of two people that it was sent to.
    :param process_query_key: Message key of a robot message.
    :param task_id: Message key of a work notification.
    :param open_ding_id: Message key of a DING.
    :param sent_at: Time at which DingTalk accepted it, UTC in ISO 8601; None if unknown.
    :param recipients: Number of recipients, if known.
    :param text: First line of its text or its title, :data:`MAX_TEXT_LENGTH` characters at most; None if unknown.
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
    text: str | None = None

    @property
    def key(self) -> str:
        """Message key, by which DingTalk identifies the message."""
        return self.process_query_key or self.task_id or self.open_ding_id or ""

    @property
    def sender_key(self) -> SenderKey:
        """Sender and conversation, which all messages of a recall call share."""
        return SenderKey(self.kind, self.robot_code, self.agent_id, self.open_conversation_id)

    def sent(self) -> float | None:
        """Return the send time as Unix time in seconds; None if unknown."""
        return moment_of(self.sent_at) if self.sent_at else None

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as plain JSON, without empty fields."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in fields.items() if value is not None}


def iso(moment: float) -> str:
    """Format a Unix time in seconds as UTC in ISO 8601."""
    return pendulum.from_timestamp(moment).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_nothing(value: Any) -> bool:
    """Return True for None and a template's rendering of a missing XCom."""
    return value is None or (isinstance(value, str) and value in NOTHING)


def parse_keys(value: Any, field: str) -> list[str]:
    """Parse message keys from a list or JSON, keeping order and duplicates.

    :raises InvalidInputError: If the value is not a list, or an item is not a key.
    """
    if is_nothing(value):
        return []
    if isinstance(value, str):
        value = decoded(value, field)
    if not isinstance(value, Sequence | set | frozenset) or isinstance(value, str | bytes | bytearray):
        raise InvalidInputError(field, f"must be a list, not {type_of(value)}")
    for index, item in enumerate(value):
        if isinstance(item, Mapping | Receipt):
            raise InvalidInputError(
                f"{field}[{index}]", f"must be a key, not {type(item).__name__}; give receipts as receipts="
            )
    return [parse_id(item, f"{field}[{index}]") for index, item in enumerate(value)]


def parse_id(value: Any, field: str) -> str:
    """Parse a key, id or code.

    Ids that DingTalk returns as numbers, such as those of tasks and agents, may be numbers.

    :raises InvalidInputError: If the value is not text, is blank, is too long, or has control characters.
    """
    if field.rsplit(".", maxsplit=1)[-1].split("[", maxsplit=1)[0] in NUMERIC_FIELDS:
        return _number(value, field)
    if not isinstance(value, str):
        raise InvalidInputError(field, f"must be text, not {type_of(value)}")
    if not value.strip() or value != value.strip():
        raise InvalidInputError(field, "is blank, or has blanks around it")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidInputError(field, f"has {len(value)} characters; at most {MAX_ID_LENGTH} are taken")
    if not value.isprintable():
        raise InvalidInputError(field, "has control characters")
    return plain(value)


def type_of(value: Any) -> str:
    """Return the name of a value's type, for an error."""
    hint = ", a task; give its task_id or its output" if hasattr(value, "task_id") else ""
    return type(value).__name__ + hint


def _number(value: Any, field: str) -> str:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return str(value)
    raise InvalidInputError(field, f"must be a number as DingTalk gave it, not {type(value).__name__} of another form")


def decoded(text: str, field: str) -> Any:
    """Parse JSON in a text.

    :raises InvalidInputError: If it is not valid JSON.
    """
    try:
        return msgspec.json.decode(plain(text))
    except (msgspec.DecodeError, RecursionError, ValueError):
        hint = "; give a list"
        if text.lstrip().startswith(("[", "{", "(")):
            # A template renders an XCom as the repr of a Python object, so the error names the remedy.
            hint = ", but looks like Python; use the task's .output, or | tojson in the template"
        raise InvalidInputError(field, f"is a string that is not JSON{hint}") from None


@lru_cache(maxsize=16_384)
def moment_of(value: str, zone: tzinfo = UTC) -> float:
    """Parse a time in ISO 8601 into Unix time in seconds.

    Results are cached, since a recall parses the time of each message several times at 10 µs each.

    :param zone: Time zone of a time without one; default UTC.
    :raises ValueError: If the value is not a time with a date; also ``TypeError``.
    """
    if not (isinstance(value, str) and value[:4].isdigit()):
        # pendulum parses "now" and a time without a date as a time of today, so a year is required.
        raise ValueError("no date")
    parsed = pendulum.parse(value, strict=True, tz=zone)
    if not isinstance(parsed, pendulum.DateTime):
        raise TypeError(value)
    return parsed.timestamp()
