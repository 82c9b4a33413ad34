"""Send requests: identity, parts, receipts, and refusals of single receivers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.client.endpoints import (
    DingResult,
    Endpoint,
    OtoSendResult,
    SendResult,
    WorkNotificationSent,
)
from airflow_provider_dingtalk.exceptions import DingTalkError, ResponseError
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, iso

#: Fields of a call that hold its receivers.
RECEIVER_FIELDS = (
    "open_conversation_id",
    "user_ids",
    "userid_list",
    "dept_id_list",
    "receiver_user_id_list",
    "to_all_user",
)
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


class SendRequest(Struct, frozen=True, kw_only=True):
    """Send request: one call that sends.

    :param call: API call.
    :param to: Receivers as user ids, department ids or one conversation id, for reports.
    :param recipients: Number of people that it goes to, if known.
    :param conn_id: Airflow connection that sends it, for its receipt.
    """

    kind: Kind
    call: Endpoint[Any]
    to: tuple[str, ...]
    recipients: int | None = None
    conn_id: str | None = None

    @property
    def content(self) -> str:
        """Fingerprint without receivers, equal for all pages of one message."""
        fields = {name: getattr(self.call, name) for name in self.call.__struct_fields__}
        receivers = [name for name in RECEIVER_FIELDS if fields.pop(name, None)]
        text = msgspec.json.encode([self.call.name, receivers, fields], order="sorted")
        return hashlib.sha256(text).hexdigest()[:24]

    @property
    def address(self) -> Address:
        """Identity of the call: content and receivers."""
        return Address(self.content, self.to)

    def narrowed(self, to: Sequence[str]) -> SendRequest:
        """Copy the request for some of its receivers."""
        name = next(field for field in RECEIVER_FIELDS if getattr(self.call, field, None))
        value: Any = list(to) if isinstance(getattr(self.call, name), list) else ",".join(to)
        call = msgspec.structs.replace(self.call, **{name: value})
        recipients = None if self.recipients is None else len(to)
        return msgspec.structs.replace(self, call=call, to=tuple(to), recipients=recipients)

    def halves(self) -> tuple[SendRequest, SendRequest]:
        """Split the request in two, to find the refused receiver."""
        middle = len(self.to) // 2
        return self.narrowed(self.to[:middle]), self.narrowed(self.to[middle:])


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


def receipt_of(send_request: SendRequest, result: object, now: float, dropped: int = 0) -> Receipt:
    """Build the receipt of a call that DingTalk accepted.

    :param now: Unix time in seconds at which DingTalk accepted it.
    :param dropped: Number of people that DingTalk left out; default 0.
    """
    call = send_request.call
    key: dict[str, str] = {}
    if isinstance(result, SendResult):
        key["process_query_key"] = result.process_query_key
    elif isinstance(result, DingResult):
        key["open_ding_id"] = result.open_ding_id
    elif isinstance(result, WorkNotificationSent):
        key["task_id"] = str(result.task_id)
    agent_id = getattr(call, "agent_id", None)
    return Receipt(
        kind=send_request.kind,
        conn_id=send_request.conn_id,
        robot_code=getattr(call, "robot_code", None),
        agent_id=None if agent_id is None else str(agent_id),
        open_conversation_id=getattr(call, "open_conversation_id", None),
        process_query_key=key.get("process_query_key"),
        open_ding_id=key.get("open_ding_id"),
        task_id=key.get("task_id"),
        sent_at=iso(now),
        recipients=None if send_request.recipients is None else send_request.recipients - dropped,
    )


def dropped_of(result: object) -> dict[str, str]:
    """Return the people that DingTalk left out of an accepted send.

    :returns: Reason by user id.
    """
    if isinstance(result, OtoSendResult):
        return {
            **dict.fromkeys(result.filtered_staff_id_list or (), "filtered"),
            **dict.fromkeys(result.flow_controlled_staff_id_list or (), "flow_controlled"),
            **dict.fromkeys(result.invalid_staff_id_list or (), "invalid"),
        }
    if isinstance(result, DingResult):
        return {user: reason for reason, users in (result.failed_list or {}).items() for user in users}
    return {}


def pages(items: Iterable[str], size: int) -> list[tuple[str, ...]]:
    """Split distinct items into pages of at most ``size``."""
    distinct = list(dict.fromkeys(items))
    return [tuple(distinct[start : start + size]) for start in range(0, len(distinct), size)]
