"""Messages of robots: what groups, private chats and one-on-one messages share.

A recall takes a batch of keys. Each message is recalled or fails with a reason, or the whole batch is refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from enum import Enum, auto
from functools import partial
from itertools import islice
from typing import Any

from airflow_provider_dingtalk.client.endpoints import MAX_RESULTS_PER_PAGE, Endpoint
from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call, Handler, MessageType
from airflow_provider_dingtalk.sandbox.faults import FailKeys, OmitKeys, Partial, PoisonKeys, actions
from airflow_provider_dingtalk.sandbox.state import Conversation, Key, Message
from airflow_provider_dingtalk.sandbox.templates import text_of

KEY_MISSING = "invalidParameter.processQueryKey.missing"
ROBOT_MISSING = "invalidParameter.robotCode.missing"
ROBOT_EMPTY = "invalidParameter.robotCode.empty"
TEMPLATE_MISSING = {"msgKey": "invalidParameter.msgKey.empty", "msgParam": "invalidParameter.msgParam.invalid"}
COOL_APP = "invalidParameter.robotCode.coolApp"
_CONVERSATION_MISSING = {"openConversationId": "miss.openConversationId"}

SYSTEM_ERROR_REASON = "SYSTEM_ERROR"  # the only reason in failedResult on DingTalk's pages


class _Recall(Enum):
    """Results of one message's recall that are not the reason of a failure."""

    DONE = auto()
    OMITTED = auto()
    REPEATED = auto()


def conversation_type(
    kind: str,
    default_conversation: str,
    *,
    send: type[Endpoint[Any]],
    recall: type[Endpoint[Any]],
    query: type[Endpoint[Any]],
) -> MessageType:
    """Create the type of the messages in one kind of conversation."""
    send_missing = {"robotCode": ROBOT_MISSING, "coolAppCode": COOL_APP, **_CONVERSATION_MISSING, **TEMPLATE_MISSING}
    recall_missing = {"robotCode": "miss.chatbotId", "processQueryKeys": KEY_MISSING, **_CONVERSATION_MISSING}
    query_missing = {
        "robotCode": ROBOT_MISSING,
        "processQueryKey": KEY_MISSING,
        "openConversationId": "openConversationId.notExisted",
    }
    handlers = {
        send: Handler(run=partial(_send, kind), missing=send_missing, empty={"robotCode": ROBOT_EMPTY}),
        recall: Handler(run=partial(_recall, kind), missing=recall_missing),
        query: Handler(run=partial(_query, kind), missing=query_missing),
    }
    return MessageType(kind=kind, handlers=handlers, default_conversation=default_conversation)


def _send(kind: str, call: Call) -> dict[str, Any]:
    """Send into a conversation."""
    robot = robots.own_robot(call, robots.SEND)
    conversation = robots.conversation_of(call, kind, robot, robots.SEND)
    if conversation.disbanded:
        raise ApiError("group.disbanded", "the group is disbanded")
    _check_cool_app(call, conversation)
    return {"processQueryKey": deliver(call, kind, conversation.members)}


def _check_cool_app(call: Call, conversation: Conversation) -> None:
    code, robot_code = call.request.cool_app_code, call.request.robot_code
    if code is None and conversation.cool_app_required:
        raise ApiError(COOL_APP, "the robot came with a cool app: coolAppCode is required here")
    if code is not None and (call.state.cool_apps.get(code) != robot_code or code not in conversation.cool_apps):
        raise ApiError(COOL_APP, "the cool app is not this robot's, or not in this conversation")


def deliver(call: Call, kind: str, receivers: tuple[str, ...]) -> Key:
    """Add the message of a send and return its key.

    :raises ApiError: If the template or its parameters are invalid.
    """
    request = call.request
    return call.deliver(
        kind,
        call.state.random_key(),
        robot_code=request.robot_code,
        open_conversation_id=getattr(request, "open_conversation_id", None),
        msg_key=request.msg_key,
        text=text_of(request.msg_key, request.msg_param),
        msg_param=request.msg_param,
        receivers=receivers,
    )


def _recall(kind: str, call: Call) -> dict[str, Any]:
    """Recall messages of a conversation."""
    codes = robots.recall_codes(call)
    robots.conversation_of(call, kind, robots.own_robot(call, codes), codes)
    return recall_batch(call, kind, call.state.behaviour.recall_window_hours)


def recall_batch(call: Call, kind: str, window_hours: float | None) -> dict[str, Any]:
    """Recall a batch of messages and return both lists.

    :param window_hours: Recall window in hours; None for no limit.
    :raises ApiError: If the whole batch is refused.
    """
    named: list[str] = call.request.process_query_keys
    behaviour = call.state.behaviour
    keys = list(dict.fromkeys(named))
    if len(keys) < len(named) and behaviour.duplicate_keys == "refused":
        raise ApiError(behaviour.duplicate_keys_code, "a key is named twice")
    failed = _unfit_keys(call, keys, kind, window_hours)
    _refuse_repeated(call, [key for key in keys if key not in failed])
    results = _recall_each(call, keys, failed)
    reported = named if behaviour.duplicate_keys == "twice" else keys
    return {
        "successResult": [key for key in reported if results.get(key) is _Recall.DONE],
        "failedResult": failed | {key: reason for key, reason in results.items() if isinstance(reason, str)},
    }


def _unfit_keys(call: Call, keys: list[str], kind: str, window_hours: float | None) -> dict[str, str]:
    """Return the codes of the keys that this call may not recall, or refuse the batch."""
    for action in actions(call.rules, PoisonKeys):
        if action.of(keys):
            raise ApiError(action.code, "injected fault")
    unfit = {key: code for key in keys if (code := _unfit_code(call, key, kind, window_hours))}
    if unfit and call.state.behaviour.unfit_keys == "whole_batch":
        key, code = next(iter(unfit.items()))
        raise ApiError(code, f"{key}: {code}")
    return unfit


def _unfit_code(call: Call, key: str, kind: str, window_hours: float | None) -> str | None:
    """Return the code for a key that cannot be recalled, or None."""
    message = call.state.messages.get(key)
    conversation = getattr(call.request, "open_conversation_id", None)
    if message is None or message.kind != kind or message.open_conversation_id != conversation:
        return call.state.behaviour.unknown_key_code
    if message.robot_code != call.request.robot_code:
        return "not.allowed.robotCode"
    if window_hours is not None and call.state.age(message) > window_hours * 3600:
        return "robot.processQueryKey.expired"
    return None


def _refuse_repeated(call: Call, keys: list[str]) -> None:
    behaviour = call.state.behaviour
    is_repeated = any(call.state.messages[key].recalled_at is not None for key in keys)
    if is_repeated and behaviour.already_recalled == "refused":
        raise ApiError(behaviour.already_recalled_reason, "a message is recalled already")


def _recall_each(call: Call, keys: list[str], unfit: dict[str, str]) -> dict[str, _Recall | str]:
    """Recall the keys that neither a check nor a fault fails, and return the result of each."""
    faults: dict[str, _Recall | str] = {}
    for fail in actions(call.rules, FailKeys):
        faults |= dict.fromkeys(fail.of(keys), fail.reason)
    for omit in actions(call.rules, OmitKeys):
        faults |= {} if omit.recalled else dict.fromkeys(omit.of(keys), _Recall.OMITTED)
    limit = min((action.first for action in actions(call.rules, Partial)), default=None)
    results = {
        key: faults[key] if key in faults else _recall_one(call, call.state.messages[key])
        for key in keys[:limit]
        if key in faults or key not in unfit
    }
    if limit is not None or _Recall.REPEATED in results.values():
        raise ApiError("notRevoke.all.messages", "not all messages were recalled")
    return results


def _recall_one(call: Call, message: Message) -> _Recall | str:
    """Recall a message and return the result, or the reason of the failure."""
    behaviour = call.state.behaviour
    if message.recalled_at is not None and behaviour.already_recalled != "success":
        results = {"omitted": _Recall.OMITTED, "not_revoke_all": _Recall.REPEATED}
        return results.get(behaviour.already_recalled, behaviour.already_recalled_reason)
    if call.state.age(message) < behaviour.recall_too_early_seconds:
        return SYSTEM_ERROR_REASON
    call.state.recall(message)
    return _Recall.DONE


def _query(kind: str, call: Call) -> dict[str, Any]:
    """Return the status and a page of readers."""
    request, codes = call.request, robots.query_codes(call)
    if request.robot_code is not None:
        robot = robots.own_robot(call, codes)
        if request.open_conversation_id is not None:
            robots.conversation_of(call, kind, robot, codes)
    message = find_message(call, kind, call.state.behaviour.status_window_hours)
    if request.open_conversation_id not in (None, message.open_conversation_id):
        raise ApiError("invalid.processQueryKey", "the message is in another conversation")
    return {"sendStatus": status_of(call, message), **_page(call, message)}


def find_message(call: Call, kind: str, window_hours: float | None) -> Message:
    """Return the queried message.

    :param window_hours: Hours after the send in which it can be queried; None for no limit.
    :raises ApiError: If there is no such message, or its data are not yet or no longer available. The last two
        share a code.
    """
    message, behaviour = call.state.messages.get(call.request.process_query_key), call.state.behaviour
    if message is None or message.kind != kind or message.client_id != call.client.client_id:
        raise ApiError("invalid.processQueryKey", "there is no such message")
    if call.request.robot_code not in (None, message.robot_code):
        raise ApiError("invalid.processQueryKey", "the message is another robot's")
    age = call.state.age(message)
    is_hidden = message.recalled_at is not None and behaviour.status_after_recall == "no_status"
    is_late = window_hours is not None and age > window_hours * 3600
    if is_hidden or is_late or age < behaviour.status_delay_seconds:
        raise ApiError("processQueryKey.expireTime", "no data about this message yet, or no longer")
    return message


def status_of(call: Call, message: Message) -> str:
    """Return ``sendStatus`` of a message, as the switches show it."""
    status = call.state.send_status(message)
    is_hidden = status == "RECALLED" and call.state.behaviour.status_after_recall != "recalled"
    return "SUCCESS" if is_hidden else status


def readers_of(call: Call, message: Message) -> Collection[str]:
    """Return the readers of a message, as the switches show them."""
    is_hidden = message.recalled_at is not None and call.state.behaviour.readers_after_recall == "gone"
    return () if is_hidden else message.readers


def _page(call: Call, message: Message) -> dict[str, Any]:
    """Return a page of readers.

    By default it has 200 readers, and the last page has no ``nextToken`` (our choices).
    """
    request, readers = call.request, readers_of(call, message)
    begin = _offset(message.key, request.next_token) if request.next_token else 0
    end = begin + (request.max_results or MAX_RESULTS_PER_PAGE)
    page = {"readUserIds": list(islice(readers, begin, end)), "hasMore": end < len(readers)}
    return page | ({"nextToken": cursor(message.key, end)} if page["hasMore"] else {})


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
        raise ApiError("invalidParameter.cursor.invalid", "invalid nextToken of this message")
    return offset
