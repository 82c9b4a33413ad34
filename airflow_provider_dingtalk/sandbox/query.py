"""Queries for status and readers of robot messages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from itertools import islice
from typing import Any

from airflow_provider_dingtalk.client.endpoints import MAX_RESULTS_PER_PAGE, RECALL_WINDOW_HOURS
from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.state import Key, Message, MessageKind


def query_group(call: Call) -> dict[str, Any]:
    """Return the status and a page of readers of a group message."""
    return _query(call, "group")


def query_private_chat(call: Call) -> dict[str, Any]:
    """Return the status and a page of readers of a private-chat message."""
    return _query(call, "private_chat")


def query_oto(call: Call) -> dict[str, Any]:
    """Return the status of a one-on-one message and of each receiver.

    The answer has one page, and is available for 24 hours (documented).
    """
    robots.own_robot(call, call.request.robot_code, robots.QUERY)
    message = _find(call, "oto", RECALL_WINDOW_HOURS)
    people = call.state.people
    return {
        "sendStatus": _status(call, message),
        "messageReadInfoList": [
            {
                "name": people.get(user_id, user_id),
                "userId": user_id,
                "readStatus": "READ" if user_id in _readers(call, message) else "UNREAD",
            }
            for user_id in message.receivers
        ],
    }


def _query(call: Call, kind: MessageKind) -> dict[str, Any]:
    request = call.request
    if request.robot_code is not None:
        robot = robots.own_robot(call, request.robot_code, robots.QUERY)
        if request.open_conversation_id is not None:
            robots.conversation_of(call, request.open_conversation_id, kind, robot, robots.QUERY)
    message = _find(call, kind, call.state.behaviour.status_window_hours)
    if request.open_conversation_id not in (None, message.open_conversation_id):
        raise ApiError("invalid.processQueryKey", "the message is in another conversation")
    return {"sendStatus": _status(call, message), **_page(call, message)}


def _status(call: Call, message: Message) -> str:
    status = call.state.send_status(message)
    hidden = status == "RECALLED" and call.state.behaviour.status_after_recall != "recalled"
    return "SUCCESS" if hidden else status


def _readers(call: Call, message: Message) -> Collection[str]:
    gone = message.recalled_at is not None and call.state.behaviour.readers_after_recall == "gone"
    return () if gone else message.readers


def _find(call: Call, kind: MessageKind, hours: float | None) -> Message:
    """Return the queried message.

    :raises ApiError: If there is no such message, or its data are not yet or no longer available. The last two
        share a code.
    """
    message = call.state.messages.get(call.request.process_query_key)
    if message is None or message.kind != kind or message.client_id != call.client.client_id:
        raise ApiError("invalid.processQueryKey", "there is no such message")
    if call.request.robot_code not in (None, message.robot_code):
        raise ApiError("invalid.processQueryKey", "the message is another robot's")
    age = call.state.age(message)
    too_early = age < call.state.behaviour.status_delay_seconds
    if message.recalled_at is not None and call.state.behaviour.status_after_recall == "no_status":
        too_early = True
    if too_early or (hours is not None and age > hours * 3600):
        raise ApiError("processQueryKey.expireTime", "no data about this message yet, or no longer")
    return message


def _page(call: Call, message: Message) -> dict[str, Any]:
    """Return a page of readers.

    By default it has 200 readers, and the last page has no ``nextToken`` (our choices).
    """
    begin = _offset(message.key, call.request.next_token) if call.request.next_token else 0
    size = call.request.max_results or MAX_RESULTS_PER_PAGE
    end, readers = begin + size, _readers(call, message)
    page: dict[str, Any] = {
        "readUserIds": list(islice(readers, begin, end)),
        "hasMore": end < len(readers),
    }
    if page["hasMore"]:
        page["nextToken"] = cursor(message.key, end)
    return page


def cursor(key: Key, offset: int) -> str:
    """Return an opaque cursor, because DingTalk's page calls it encrypted."""
    check = hashlib.blake2b(f"{key}:{offset}".encode(), digest_size=8).hexdigest()
    return base64.b64encode(f"{offset}:{check}".encode()).decode()


def _offset(key: Key, token: str) -> int:
    try:
        offset = int(base64.b64decode(token, validate=True).partition(b":")[0])
    except ValueError:
        offset = -1
    if offset < 0 or cursor(key, offset) != token:
        raise ApiError("invalidParameter.cursor.invalid", "nextToken is none of this message")
    return offset
