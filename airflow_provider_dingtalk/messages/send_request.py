"""Send requests: identity, parts, arguments, and refusals of single receivers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.client.content import check_text
from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError, ResponseError
from airflow_provider_dingtalk.exceptions import shown as shown_value
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import NUMERIC_FIELDS, Kind, is_nothing, parse_id, parse_keys

#: Codes that refuse a send for one of its receivers: a person, a department, or a conversation. Documented for
#: these APIs; ``staffId.notExisted`` for robot messages is reported by users, not observed here.
ABOUT_A_RECEIVER = frozenset(
    ("staffId.notExisted", "miss.staffId", "illegal.receivers", "invalidParameter.userId.empty")
    + ("invalid.openConversationId", "openConversationId.notExisted")
    + ("conversation.org.dismatch", "conversation.org.notMatch", "session.expired", "session.notExisted")
    + ("group.disbanded", "bot.stopped", "bot.forbidden.sendMessage", "send.forbidden")
    + ("template.not.existed", "template.stopped", "invalidParameter.robotCode.coolApp", "robot.oto.notExist")
    + ("1430000", "1430004", "143105", "143106", "143205", "143206")
)


class Address(Struct, frozen=True):
    """Identity of a send by content and receivers, independent of its index.

    :param content: Fingerprint of the call without its receivers.
    :param to: Receivers as user ids, department ids, or one conversation id.
    """

    content: str
    to: tuple[str, ...]


class SendRequest(Struct, frozen=True):
    """Send request: one call that sends.

    :param call: API call.
    :param to: Receivers as user ids, department ids or one conversation id, for reports.
    :param recipients: Number of people that it goes to, if known.
    :param receiver_fields: Fields of such calls that may hold the receivers.
    :param conn_id: Airflow connection that sends it, for its receipt.
    """

    kind: Kind
    call: Endpoint[Any]
    to: tuple[str, ...]
    receiver_fields: tuple[str, ...]
    recipients: int | None = None
    conn_id: str | None = None

    @property
    def content(self) -> str:
        """Fingerprint without receivers, equal for all pages of one message."""
        fields = {name: getattr(self.call, name) for name in self.call.__struct_fields__}
        receivers = [name for name in self.receiver_fields if fields.pop(name, None)]
        text = msgspec.json.encode([self.call.name, receivers, fields], order="sorted")
        return hashlib.sha256(text).hexdigest()[:24]

    @property
    def address(self) -> Address:
        """Identity of the call: content and receivers."""
        return Address(self.content, self.to)

    def narrowed(self, to: Sequence[str]) -> SendRequest:
        """Copy the request for some of its receivers."""
        name = next(field for field in self.receiver_fields if getattr(self.call, field, None))
        value: Any = list(to) if isinstance(getattr(self.call, name), list) else ",".join(to)
        call = msgspec.structs.replace(self.call, **{name: value})
        recipients = None if self.recipients is None else len(to)
        return msgspec.structs.replace(self, call=call, to=tuple(to), recipients=recipients)

    def halves(self) -> tuple[SendRequest, SendRequest]:
        """Split the request in two, to find the refused receiver."""
        middle = len(self.to) // 2
        return self.narrowed(self.to[:middle]), self.narrowed(self.to[middle:])


def first_line(send_requests: Sequence[SendRequest]) -> str | None:
    """Return the title or first line of one message; None if the send requests differ or have no text."""
    contents = [_content(send_request.call) for send_request in send_requests]
    if not contents or any(content != contents[0] for content in contents):
        return None
    name, content = contents[0]
    if name == "msg_param":
        content = msgspec.json.decode(content)
    elif name == "msg":
        content = content.get(content.get("msgtype"))
    fields = content if isinstance(content, dict) else {"content": content}
    texts = (fields.get(field) for field in ("title", "content", "text"))
    lines = (line.strip() for text in texts if isinstance(text, str) for line in text.splitlines())
    return next(filter(None, lines), None)


def _content(call: Endpoint[Any]) -> tuple[str, Any]:
    """Return the field that holds the content of a call, and the content."""
    name = next((name for name in ("msg_param", "msg") if hasattr(call, name)), "content")
    return name, getattr(call, name, None)


class FailedSend(Struct, frozen=True):
    """Send request that was not sent or is in doubt."""

    to: tuple[str, ...]
    reason: Reason

    def to_json(self) -> dict[str, Any]:
        """Return the receivers and the reason as plain JSON."""
        return {"to": list(self.to), **self.reason.to_json()}

    def __str__(self) -> str:
        return f"{shown(self.to)} ({self.reason.code})"


def shown(names: Iterable[str]) -> str:
    """Join the first ten names for a log line."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f", … ({len(listed)} in all)" if len(listed) > 10 else "")


def is_about_a_receiver(error: DingTalkError) -> bool:
    """Return True if a send was refused for one of its receivers.

    The other receivers can still be served.
    """
    return isinstance(error, ResponseError) and error.code in ABOUT_A_RECEIVER


def pages(items: Iterable[str], size: int) -> list[tuple[str, ...]]:
    """Split distinct items into pages of at most ``size``."""
    distinct = list(dict.fromkeys(items))
    return [tuple(distinct[start : start + size]) for start in range(0, len(distinct), size)]


def required_id(value: Any, field: str) -> str:
    """Parse an id that the caller or the connection must give.

    :raises InvalidInputError: If it is missing or invalid.
    """
    if value is None:
        where = ", or set it in the connection's extras" if field in ("robot_code", "agent_id") else ""
        raise InvalidInputError(field, f"is missing; give it{where}")
    return parse_id(value, field)


def check_flag(value: Any, field: str) -> bool:
    """Return True or False; None means False.

    :raises InvalidInputError: If the value is something else, such as the text ``"False"``, which is true to Python.
    """
    if value is None or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise InvalidInputError(field, f"is {shown_value(value)}; use True or False")


def one_or_more(value: Any, field: str) -> list[str]:
    """Parse distinct ids from one id, a list, or a JSON list.

    :raises InvalidInputError: If the list is empty, or an id is invalid.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if field not in NUMERIC_FIELDS:
            check_text(value, field)
        value = [value]
    if isinstance(value, str) and not is_nothing(value) and not value.lstrip().startswith("["):
        value = [value]
    ids = parse_keys(value, field)
    if not ids:
        raise InvalidInputError(field, "is empty")
    if commas := [item for item in ids if "," in item]:
        raise InvalidInputError(field, f"{commas[0][:40]!r} holds a comma: give a list")
    return list(dict.fromkeys(ids))
