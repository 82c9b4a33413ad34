"""Control requests for readers, messages, conversations, people and robots."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from airflow_provider_dingtalk.sandbox import default
from airflow_provider_dingtalk.sandbox.state import Conversation, Key, Message, MessageKind, World

Count = Annotated[int, Meta(ge=0)]


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of the control requests."""


class Read(Order, frozen=True, kw_only=True):
    """Control request that lets people read a message.

    :param key: Message key.
    :param user_ids: Ids of the readers; default None.
    :param count: Number of readers from the start of the receivers, with new people if there are too few.
    """

    key: Key
    user_ids: list[str] | None = None
    count: Count | None = None


class Plant(Order, frozen=True, kw_only=True):
    """Control request that creates messages as if sent ``age_seconds`` ago.

    Robot, agent and conversation are by default those of the default organisation.

    :param count: Number of messages; default 1.
    :param age_seconds: Time since the send in seconds; default 0.
    :param user_ids: Receivers; default the members of the conversation, or else the first person.
    :param readers: Number of readers of each message; default 0.
    :param source: Origin of the messages: a robot's send (default), a created and delivered card, or a template of
        a scene group. DingTalk accepts keys of all three alike (documented, not observed).
    :param undelivered: Ids of people who did not get a work notification, by the name of their list in DingTalk's
        answer, such as ``forbidden_user_id_list``.
    """

    kind: MessageKind
    count: Count = 1
    age_seconds: float = 0
    robot_code: str = default.ROBOT_CODE
    agent_id: int = default.AGENT_ID
    open_conversation_id: str | None = None
    user_ids: list[str] | None = None
    readers: Count = 0
    text: str = "planted"
    source: Literal["send", "card", "scene_group"] = "send"
    undelivered: dict[str, list[Any]] = {}


class ConversationOrder(Order, frozen=True, kw_only=True):
    """Control request that creates or changes a conversation; None keeps a value."""

    open_conversation_id: str
    kind: Literal["group", "private_chat"] | None = None
    corp_id: str | None = None
    robots: set[str] | None = None
    members: tuple[str, ...] | None = None
    cool_apps: set[str] | None = None
    cool_app_required: bool | None = None
    stopped: bool | None = None
    disbanded: bool | None = None


class PeopleOrder(Order, frozen=True, kw_only=True):
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


class RobotOrder(Order, frozen=True, kw_only=True):
    """Control request that stops or restarts a robot, or changes its template."""

    robot_code: str
    stopped: bool | None = None
    template: Literal["in_use", "stopped", "missing"] | None = None


def read(world: World, order: Read) -> dict[str, Any]:
    """Let people read a message and return the number of its readers.

    :raises LookupError: If there is no such message.
    """
    message = world.messages.get(order.key)
    if message is None:
        raise LookupError(f"there is no message {order.key!r}")
    readers = list(order.user_ids or ())
    if order.count is not None:
        readers += _first(world, message, order.count)
    world.read(message, readers)
    return {"key": message.key, "readers": len(message.readers)}


def _first(world: World, message: Message, count: int) -> list[str]:
    """Return the first receivers, with other people if there are too few."""
    chosen = dict.fromkeys(message.receivers[:count])
    if len(chosen) < count:
        strangers = sum(user not in world.people for user in chosen)
        chosen |= dict.fromkeys(world.crowd(count - strangers))
    return list(chosen)[:count]


#: ``msgKey`` of messages made by a control request, by source.
_MSG_KEYS = {"send": "sampleText", "card": "card", "scene_group": "scene group template"}


def plant(world: World, order: Plant) -> dict[str, Any]:
    """Create messages and return their keys, without API calls and faults."""
    conversation = _planted_in(world, order)
    if order.user_ids is not None:
        receivers = tuple(order.user_ids)
    else:
        receivers = conversation.members if conversation else tuple(world.crowd(1))
    client_id = _client_of(world, order)
    is_work = order.kind == "work_notification"
    keys = []
    for _ in range(order.count):
        message = Message(
            key=world.new_key(order.kind),
            kind=order.kind,
            client_id=client_id,
            sent_at=world.time() - order.age_seconds,
            robot_code=None if is_work else order.robot_code,
            agent_id=order.agent_id if is_work else None,
            open_conversation_id=conversation.open_conversation_id if conversation else None,
            msg_key=_MSG_KEYS[order.source],
            text=order.text,
            receivers=receivers,
            undelivered=dict(order.undelivered),
        )
        keys.append(world.deliver(message))
        if order.readers:
            world.read(message, _first(world, message, order.readers))
    return {"keys": keys}


def _planted_in(world: World, order: Plant) -> Conversation | None:
    if order.kind not in ("group", "private_chat"):
        return None
    usual = default.GROUPS[0] if order.kind == "group" else default.PRIVATE_CHAT
    return world.conversations[order.open_conversation_id or usual]


def _client_of(world: World, order: Plant) -> str:
    if order.kind != "work_notification":
        return world.robots[order.robot_code].client_id
    app = world.app_with_agent(order.agent_id)
    if app is None:
        raise LookupError(f"there is no agent {order.agent_id}")
    return app.client_id


def make_conversation(world: World, order: ConversationOrder) -> Any:
    """Create or change a conversation; a new one has only the default robot."""
    chat = world.conversations.get(order.open_conversation_id)
    if chat is None:
        chat = Conversation(open_conversation_id=order.open_conversation_id, robots={default.ROBOT_CODE})
        world.add_conversation(chat)
    for name, value in msgspec.structs.asdict(order).items():
        if value is not None:
            setattr(chat, name, value)
    world.add_people(chat.members)
    return chat


def make_people(world: World, order: PeopleOrder) -> dict[str, int]:
    """Create people and return the number of all people."""
    world.add_people(order.user_ids)
    world.crowd(order.count)
    if order.flow_controlled is not None:
        world.flow_controlled = set(order.flow_controlled)
    if order.filtered is not None:
        world.filtered = set(order.filtered)
    return {"people": len(world.people)}


def set_robot(world: World, order: RobotOrder) -> Any:
    """Change a robot.

    :raises LookupError: If there is no such robot.
    """
    robot = world.robots.get(order.robot_code)
    if robot is None:
        raise LookupError(f"there is no robot {order.robot_code!r}")
    if order.stopped is not None:
        robot.stopped = order.stopped
    if order.template is not None:
        robot.template = order.template
    return robot
