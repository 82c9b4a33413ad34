"""Control requests for the clock, readers, messages, conversations, people and robots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from airflow_provider_dingtalk.sandbox import default, limits
from airflow_provider_dingtalk.sandbox.call import MessageType
from airflow_provider_dingtalk.sandbox.handlers import MESSAGE_TYPES
from airflow_provider_dingtalk.sandbox.state import Conversation, Key, Message, Robot, ServerState

Count = Annotated[int, Meta(ge=0)]
T = TypeVar("T", Conversation, Robot)


class ControlRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of the control requests."""


class AdvanceClock(ControlRequest, frozen=True, kw_only=True):
    """Control request that moves the clock."""

    advance: float  # Seconds to move it by; negative moves it back


def clock(state: ServerState) -> dict[str, float]:
    """Return the time of the sandbox's clock and its offset, in seconds."""
    return {"time": state.time(), "offset": state.clock_offset}


def advance_clock(state: ServerState, request: AdvanceClock) -> dict[str, float]:
    """Move the clock and return its time and offset.

    :raises LimitError: If the clock would then be more than 10 years from the real time.
    """
    limits.check("advance", abs(state.clock_offset + request.advance), limits.MAX_CLOCK_OFFSET, "seconds in all")
    state.clock_offset += request.advance
    return clock(state)


class MarkRead(ControlRequest, frozen=True, kw_only=True):
    """Control request that lets people read a message.

    :param key: Message key.
    :param user_ids: Ids of the readers; default None.
    :param count: Number of readers from the start of the receivers, with new people if there are too few.
    """

    key: Key
    user_ids: list[str] | None = None
    count: Count | None = None


def mark_read(state: ServerState, request: MarkRead) -> dict[str, Any]:
    """Let people read a message and return the number of its readers.

    :raises LookupError: If there is no such message.
    """
    message = _find(state, request.key)
    _check_people(state, "user_ids", request.user_ids or ())
    state.read(message, [*(request.user_ids or ()), *_first_readers(state, message, request.count or 0)])
    return {"key": message.key, "readers": len(message.readers)}


class RecallMessage(ControlRequest, frozen=True, kw_only=True):
    """Control request that recalls a message without a call, as an administrator may."""

    key: Key


def recall_message(state: ServerState, request: RecallMessage) -> dict[str, Any]:
    """Recall a message.

    :raises LookupError: If there is no such message.
    """
    message = _find(state, request.key)
    state.recall(message)
    return {"key": message.key, "recalls": message.recalls}


def _find(state: ServerState, key: Key) -> Message:
    if key not in state.messages:
        raise LookupError(f"there is no message {key!r}")
    return state.messages[key]


def _first_readers(state: ServerState, message: Message, count: int) -> list[str]:
    """Return the first receivers, with other people if there are too few."""
    limits.check("count", count, limits.MAX_PEOPLE, "people")
    readers = dict.fromkeys(message.receivers[:count])
    if len(readers) < count:
        unknown = sum(user not in state.people for user in readers)
        readers |= dict.fromkeys(state.ensure_people(count - unknown))
    return list(readers)[:count]


class CreateMessages(ControlRequest, frozen=True, kw_only=True):
    """Control request that creates messages as if sent ``age_seconds`` ago.

    Robot, agent and conversation are by default those of the default organisation.

    :param kind: Type of the messages, such as ``group``.
    :param count: Number of messages; default 1.
    :param age_seconds: Time since the send in seconds; default 0.
    :param user_ids: Receivers; default the members of the conversation, or else the first person.
    :param readers: Number of readers of each message; default 0.
    :param msg_key: Template, such as ``sampleMarkdown``; default that of the source.
    :param msg_param: Content of the template, for the page; default empty, so that the page shows ``text``.
    :param source: Origin of the messages: a robot's send (default), a created and delivered card, or a template of
        a scene group. DingTalk accepts keys of all three alike (documented, not observed).
    :param undelivered: Ids of people who did not get a work notification, by the name of their list in DingTalk's
        response, such as ``forbidden_user_id_list``.
    """

    kind: str
    count: Count = 1
    age_seconds: float = 0
    robot_code: str = default.ROBOT_CODE
    agent_id: int = default.AGENT_ID
    open_conversation_id: str | None = None
    user_ids: list[str] | None = None
    readers: Count = 0
    text: str = "planted"
    msg_key: str | None = None
    msg_param: dict[str, Any] = {}
    source: Literal["send", "card", "scene_group"] = "send"
    undelivered: dict[str, list[Any]] = {}


#: ``msgKey`` of messages made by a control request, by source.
_MSG_KEYS = {"send": "sampleText", "card": "card", "scene_group": "scene group template"}


def create_messages(state: ServerState, request: CreateMessages) -> dict[str, Any]:
    """Create messages and return their keys, without API calls and faults.

    :raises LookupError: If the type, robot, agent or conversation is unknown.
    :raises LimitError: If the messages would be too many or too large.
    """
    _check_size(state, request)
    message_type = MESSAGE_TYPES.get(request.kind)
    if message_type is None:
        raise LookupError(f"Invalid kind {request.kind!r}; expected one of: {', '.join(MESSAGE_TYPES)}")
    fields = _sender_fields(state, request, message_type) | {
        "kind": request.kind,
        "sent_at": state.time() - request.age_seconds,
        "msg_key": request.msg_key or _MSG_KEYS[request.source],
        "msg_param": msgspec.json.encode(request.msg_param).decode(),
        "text": request.text,
    }
    if request.user_ids is not None:
        fields["receivers"] = tuple(request.user_ids)
    keys = []
    for _ in range(request.count):
        message = Message(key=message_type.new_key(state), undelivered=dict(request.undelivered), **fields)
        keys.append(state.deliver(message))
        if request.readers:
            state.read(message, _first_readers(state, message, request.readers))
    return {"keys": keys}


def _check_size(state: ServerState, request: CreateMessages) -> None:
    """Check the limits of a request, alone and with the messages that there are."""
    size, count = len(msgspec.json.encode(request)), request.count
    limits.check("count", count, limits.MAX_MESSAGES_PER_REQUEST, "messages")
    limits.check("count", count + len(state.messages), limits.MAX_MESSAGES, "messages in all")
    limits.check("count", count * size, limits.MAX_CREATED_BYTES, "bytes in all messages")
    limits.check("readers", request.readers, limits.MAX_PEOPLE, "people")
    limits.check("readers", count * request.readers, limits.MAX_CREATED_READERS, "readers of all messages")
    limits.check("age_seconds", abs(request.age_seconds), limits.MAX_CLOCK_OFFSET, "seconds")


def _check_people(state: ServerState, field: str, user_ids: Iterable[str]) -> None:
    new = sum(user_id not in state.people for user_id in user_ids)
    limits.check(field, len(state.people) + new, limits.MAX_PEOPLE, "people in all")


def _sender_fields(state: ServerState, request: CreateMessages, message_type: MessageType) -> dict[str, Any]:
    """Return sender, conversation and default receivers of a message."""
    if message_type.sent_by_agent:
        app = state.app_with_agent(request.agent_id)
        if app is None:
            raise LookupError(f"there is no agent {request.agent_id}")
        fields: dict[str, Any] = {"client_id": app.client_id, "agent_id": request.agent_id}
    else:
        robot = state.robots[request.robot_code]
        fields = {"client_id": robot.client_id, "robot_code": request.robot_code}
    if message_type.default_conversation is None:
        return fields | {"receivers": tuple(state.ensure_people(1))}
    conversation = state.conversations[request.open_conversation_id or message_type.default_conversation]
    return fields | {
        "open_conversation_id": conversation.open_conversation_id,
        "receivers": conversation.members,
    }


def set_conversation(state: ServerState, changes: dict[str, Any]) -> Conversation:
    """Create or change a conversation; a new one has only the default robot.

    :param changes: Fields of :class:`.state.Conversation`, with ``open_conversation_id``; None keeps a value.
    :raises msgspec.ValidationError: If a field is missing, unknown or invalid.
    """
    known = state.conversations.get(str(changes.get("open_conversation_id", "")))
    conversation = _changed(known or {"robots": {default.ROBOT_CODE}}, changes, Conversation)
    limits.check("open_conversation_id", len(state.conversations), limits.MAX_CONVERSATIONS, "conversations")
    _check_people(state, "members", conversation.members)
    state.add_conversation(conversation)
    return conversation


class SetPeople(ControlRequest, frozen=True, kw_only=True):
    """Control request that creates people.

    :param user_ids: Ids of the people to create.
    :param count: Minimum number of people afterwards; default 0.
    :param flow_controlled: Ids of people who get no robot messages, because of flow control; None keeps them.
    :param filtered: Ids of people who get no robot messages, because of a filter; None keeps them.
    """

    user_ids: list[str] = []
    count: Count = 0
    flow_controlled: set[str] | None = None
    filtered: set[str] | None = None


def set_people(state: ServerState, request: SetPeople) -> dict[str, int]:
    """Create people and return the number of all people.

    :raises LimitError: If there would be more than 100,000 people.
    """
    limits.check("count", request.count, limits.MAX_PEOPLE, "people")
    _check_people(state, "user_ids", request.user_ids)
    state.add_people(request.user_ids)
    state.ensure_people(request.count)
    if request.flow_controlled is not None:
        state.flow_controlled = set(request.flow_controlled)
    if request.filtered is not None:
        state.filtered = set(request.filtered)
    return {"people": len(state.people)}


def set_robot(state: ServerState, changes: dict[str, Any]) -> Robot:
    """Stop or restart a robot, or change its template.

    :param changes: Fields of :class:`.state.Robot`, with ``robot_code``; None keeps a value.
    :raises LookupError: If there is no such robot.
    :raises msgspec.ValidationError: If a field is unknown or invalid.
    """
    code = str(changes.get("robot_code", ""))
    if code not in state.robots:
        raise LookupError(f"there is no robot {code!r}")
    state.robots[code] = _changed(state.robots[code], changes, Robot)
    return state.robots[code]


def _changed(known: Any, changes: dict[str, Any], type_: type[T]) -> T:
    """Return a struct with the changes that are not None."""
    given = {name: value for name, value in changes.items() if value is not None}
    return msgspec.convert(msgspec.to_builtins(known) | given, type_)
