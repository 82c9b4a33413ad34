"""Registry of message types, and what is built on all of them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from inspect import signature
from typing import Any

from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.exceptions import InvalidInputError, shown
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.conditions import Condition, Obstacle, Target
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.send_request import SendRequest

#: Type by kind; the module with the kind's name has it as ``TYPE``.
MESSAGE_TYPES: dict[Kind, MessageType] = {
    kind: import_module(f"airflow_provider_dingtalk.messages.{kind}").TYPE for kind in Kind
}

#: Fields of send calls that hold user ids.
_FIELDS_OF_PEOPLE = ("user_ids", "userid_list", "receiver_user_id_list")


def message_type(kind: Kind | str) -> MessageType:
    """Return the type of a kind of message.

    :raises InvalidInputError: If there is no such kind.
    """
    try:
        return MESSAGE_TYPES[Kind(kind)]
    except ValueError:
        raise InvalidInputError("kind", f"is {shown(kind)}; use one of {', '.join(Kind)}") from None


def send_requests_for(kind: Kind | str, **arguments: Any) -> list[SendRequest]:
    """Build the send requests of a message of any kind.

    :param arguments: Arguments of the type's ``send_requests``, for instance those of
        :meth:`~airflow_provider_dingtalk.messages.ding.Ding.send_requests`.
    :raises InvalidInputError: If an argument is missing, unknown, invalid, or over DingTalk's limit.
    """
    of_kind = message_type(kind)
    own = [one for one in signature(of_kind.send_requests).parameters.values() if one.kind is one.KEYWORD_ONLY]
    for name in arguments.keys() - {one.name for one in own} - {*of_kind.content_arguments}:
        raise InvalidInputError(name, f"is not an argument of kind {kind}")
    for one in own:
        if one.default is one.empty and one.name not in arguments:
            raise InvalidInputError(one.name, "is missing")
    return of_kind.send_requests(**arguments)


def send_request_of(call: Endpoint[Any]) -> SendRequest | None:
    """Return the send request of a call that the caller built; None if it sends no message of a known kind."""
    of_kind = next((one for one in MESSAGE_TYPES.values() if isinstance(call, one.send_call)), None)
    if of_kind is None:
        return None
    name = next(field for field in of_kind.receiver_fields if getattr(call, field, None))
    value = getattr(call, name)
    to = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else ["all users"]
    return of_kind.send_request(call, to, len(to) if name in _FIELDS_OF_PEOPLE else None)


def obstacle_of(target: Target, condition: Condition) -> Obstacle | None:
    """Return the reason, known without a call, why a message can never meet a condition."""
    of_kind = message_type(target.sender_key.kind)
    try:
        of_kind.check_condition(condition, target)
    except InvalidInputError as error:
        problem, zh = f"cannot be waited for ({error.message})", f"无法等待（{error.message_zh or error.message}）"
        return Obstacle("condition_unreachable", problem, "Leave it out.", zh)
    return of_kind.obstacle(target, condition)


def check_targets(condition: Condition, targets: Iterable[Target]) -> None:
    """Refuse a condition that DingTalk cannot answer or that cannot hold.

    The check makes no call. With ``match="any"``, it refuses a condition only if no message can meet it.

    :raises InvalidInputError: If DingTalk does not give the status, readers or share, or the condition can never
        hold.
    """
    targets = list(targets)
    if condition.match == "all":
        for target in targets:
            message_type(target.sender_key.kind).check_condition(condition, target)
    obstacles = [(target, found) for target in targets if (found := obstacle_of(target, condition))]
    if obstacles and (condition.match == "all" or len(obstacles) == len(targets)):
        target, found = obstacles[0]
        problem, zh = f"the message {target.key} {found.problem}.", f"消息 {target.key} {found.problem_zh}。"
        raise InvalidInputError("receipts", problem, zh, next_step=found.next_step)
