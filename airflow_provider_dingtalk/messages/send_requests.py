"""Send requests, built from the checked arguments of operators and scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from airflow_provider_dingtalk.client.content import check_text, robot_message, work_notification_message
from airflow_provider_dingtalk.client.endpoints import (
    MAX_DEPTS_PER_WORK_NOTIFICATION,
    MAX_USERS_PER_APP_DING,
    MAX_USERS_PER_OTO_SEND,
    MAX_USERS_PER_PHONE_DING,
    MAX_USERS_PER_WORK_NOTIFICATION,
    SendDing,
    SendGroupMessage,
    SendOtoMessages,
    SendPrivateChatMessage,
    SendWorkNotification,
)
from airflow_provider_dingtalk.exceptions import InvalidInputError, shown
from airflow_provider_dingtalk.messages.receipt import NUMERIC_FIELDS, Kind, is_nothing, parse_id, parse_keys
from airflow_provider_dingtalk.messages.send_request import SendRequest, pages

#: ``remind_type`` of a DING by name.
REMIND_TYPES = {"app": 1, "sms": 2, "phone": 3}


def send_requests_for(kind: Kind | str, **arguments: Any) -> list[SendRequest]:
    """Build the send requests of a message of any kind.

    :param arguments: Arguments of :func:`group`, :func:`oto`, :func:`private_chat`, :func:`work_notification` or
        :func:`ding`.
    :raises InvalidInputError: If an argument is missing, unknown, invalid, or over DingTalk's limit.
    """
    try:
        build = _BUILDERS[Kind(kind)]
    except ValueError:
        raise InvalidInputError("kind", f"is {shown(kind)}; use one of {', '.join(Kind)}") from None
    parameters = signature(build).parameters
    for name in arguments.keys() - parameters.keys():
        raise InvalidInputError(name, f"is not an argument of kind {kind}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise InvalidInputError(name, "is missing")
    return build(**arguments)


def group(
    *,
    open_conversation_id: Any,
    robot_code: Any,
    cool_app_code: Any = None,
    text: str | None = None,
    title: str | None = None,
    markdown: str | None = None,
    msg_key: str | None = None,
    msg_param: Mapping[str, Any] | str | None = None,
) -> list[SendRequest]:
    """Build the send requests of a message to one or several groups.

    :param open_conversation_id: One group, or a list of groups.
    :param cool_app_code: Code of the group cool app; required if that app added the robot to the group.
    """
    message = robot_message(text=text, title=title, markdown=markdown, msg_key=msg_key, msg_param=msg_param)
    robot = _needed(robot_code, "robot_code")
    app = None if cool_app_code is None else parse_id(cool_app_code, "cool_app_code")
    return [
        SendRequest(
            kind=Kind.GROUP,
            to=(conversation,),
            call=SendGroupMessage(
                msg_key=message.msg_key,
                msg_param=message.msg_param,
                open_conversation_id=conversation,
                robot_code=robot,
                cool_app_code=app,
            ),
        )
        for conversation in _one_or_more(open_conversation_id, "open_conversation_id")
    ]


def oto(
    *,
    user_ids: Any,
    robot_code: Any,
    one_receipt_per_user: bool = False,
    text: str | None = None,
    title: str | None = None,
    markdown: str | None = None,
    msg_key: str | None = None,
    msg_param: Mapping[str, Any] | str | None = None,
) -> list[SendRequest]:
    """Build the send requests of a message from the robot to people.

    :param one_receipt_per_user: If True, make one call per person, so that one person's message can be recalled
        alone. By default, one call and one key serve 20 people.
    """
    message = robot_message(text=text, title=title, markdown=markdown, msg_key=msg_key, msg_param=msg_param)
    robot = _needed(robot_code, "robot_code")
    return [
        SendRequest(
            kind=Kind.OTO,
            to=users,
            recipients=len(users),
            call=SendOtoMessages(
                robot_code=robot, user_ids=list(users), msg_key=message.msg_key, msg_param=message.msg_param
            ),
        )
        for users in pages(_one_or_more(user_ids, "user_ids"), 1 if one_receipt_per_user else MAX_USERS_PER_OTO_SEND)
    ]


def private_chat(
    *,
    open_conversation_id: Any,
    robot_code: Any,
    cool_app_code: Any,
    text: str | None = None,
    title: str | None = None,
    markdown: str | None = None,
    msg_key: str | None = None,
    msg_param: Mapping[str, Any] | str | None = None,
) -> list[SendRequest]:
    """Build the send requests of a message to chats of two people."""
    message = robot_message(text=text, title=title, markdown=markdown, msg_key=msg_key, msg_param=msg_param)
    robot, app = _needed(robot_code, "robot_code"), _needed(cool_app_code, "cool_app_code")
    return [
        SendRequest(
            kind=Kind.PRIVATE_CHAT,
            to=(conversation,),
            call=SendPrivateChatMessage(
                msg_key=message.msg_key,
                msg_param=message.msg_param,
                open_conversation_id=conversation,
                robot_code=robot,
                cool_app_code=app,
            ),
        )
        for conversation in _one_or_more(open_conversation_id, "open_conversation_id")
    ]


def work_notification(
    *,
    agent_id: Any,
    user_ids: Any = None,
    dept_ids: Any = None,
    to_all_user: bool = False,
    text: str | None = None,
    title: str | None = None,
    markdown: str | None = None,
    msg: Mapping[str, Any] | str | None = None,
) -> list[SendRequest]:
    """Build the send requests of a work notification.

    It goes to people, to departments with all departments below them, or to all users.
    """
    body = work_notification_message(text=text, title=title, markdown=markdown, msg=msg)
    agent = int(_needed(agent_id, "agent_id"))
    users = _one_or_more(user_ids, "user_ids") if user_ids is not None else []
    depts = _one_or_more(dept_ids, "dept_ids") if dept_ids is not None else []
    if to_all_user and not (users or depts):
        call = SendWorkNotification(agent_id=agent, msg=body, to_all_user=True)
        return [SendRequest(kind=Kind.WORK_NOTIFICATION, call=call, to=("all users",))]
    if to_all_user or not (users or depts):
        raise InvalidInputError("user_ids", "give user_ids or dept_ids, or to_all_user alone")
    to_users = [
        SendRequest(
            kind=Kind.WORK_NOTIFICATION,
            to=some,
            recipients=len(some),
            call=SendWorkNotification(agent_id=agent, msg=body, userid_list=",".join(some)),
        )
        for some in pages(users, MAX_USERS_PER_WORK_NOTIFICATION)
    ]
    to_depts = [
        SendRequest(
            kind=Kind.WORK_NOTIFICATION,
            to=some,
            call=SendWorkNotification(agent_id=agent, msg=body, dept_id_list=",".join(some)),
        )
        for some in pages(depts, MAX_DEPTS_PER_WORK_NOTIFICATION)
    ]
    return to_users + to_depts


def ding(
    *,
    user_ids: Any,
    robot_code: Any,
    text: str | None = None,
    remind_type: str = "app",
    call_voice: str | None = None,
    content: str | None = None,
) -> list[SendRequest]:
    """Build the send requests of a DING to people.

    :param text: Plain text; required.
    :param remind_type: ``app`` (default), ``sms`` or ``phone``; the latter two cost DING credits.
    :param call_voice: DingTalk's name of the voice of a DING by telephone.
    :param content: Deprecated alias of ``text``.
    """
    if text is not None and content is not None:
        raise InvalidInputError("content", "is the former name of text; give only text")
    if not isinstance(remind_type, str) or remind_type not in REMIND_TYPES:
        raise InvalidInputError("remind_type", f"is {shown(remind_type)}; use one of {', '.join(REMIND_TYPES)}")
    field, words = ("text", text) if content is None else ("content", content)
    if words is None:
        raise InvalidInputError("text", "is missing")
    checked = check_text(words, field)
    if not checked:
        raise InvalidInputError(field, "is blank")
    robot = _needed(robot_code, "robot_code")
    most = MAX_USERS_PER_APP_DING if remind_type == "app" else MAX_USERS_PER_PHONE_DING
    return [
        SendRequest(
            kind=Kind.DING,
            to=users,
            recipients=len(users),
            call=SendDing(
                robot_code=robot,
                remind_type=REMIND_TYPES[remind_type],
                receiver_user_id_list=list(users),
                content=checked,
                call_voice=None if call_voice is None else parse_id(call_voice, "call_voice"),
            ),
        )
        for users in pages(_one_or_more(user_ids, "user_ids"), most)
    ]


_BUILDERS: dict[Kind, Callable[..., list[SendRequest]]] = {
    Kind.GROUP: group,
    Kind.OTO: oto,
    Kind.PRIVATE_CHAT: private_chat,
    Kind.WORK_NOTIFICATION: work_notification,
    Kind.DING: ding,
}


def _needed(value: Any, field: str) -> str:
    if value is None:
        raise InvalidInputError(field, "is missing; give it, or set it in the connection's extras")
    return parse_id(value, field)


def _one_or_more(value: Any, field: str) -> list[str]:
    """Parse distinct ids from one id, a list, or a JSON list."""
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
