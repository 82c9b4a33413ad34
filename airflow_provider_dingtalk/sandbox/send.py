"""Sends of robots to groups, people, and chats of two people."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.state import Conversation, Message, MessageKind
from airflow_provider_dingtalk.sandbox.templates import text_of

COOL_APP = "invalidParameter.robotCode.coolApp"


def send_group(call: Call) -> dict[str, Any]:
    """Send to a group."""
    return _send_into(call, "group")


def send_private_chat(call: Call) -> dict[str, Any]:
    """Send into a chat of two people."""
    return _send_into(call, "private_chat")


def send_oto(call: Call) -> dict[str, Any]:
    """Send one-on-one messages.

    Without any valid receiver the answer is still a key and the lists (our choice).
    """
    request, state = call.request, call.state
    robot = robots.own_robot(call, request.robot_code, robots.SEND)
    if robot.stopped:
        raise ApiError("chatbotId.notAllow.sendOTO", "the robot is stopped")
    text = text_of(request.msg_key, request.msg_param)
    users = list(dict.fromkeys(request.user_ids))
    if state.behaviour.unknown_receivers == "refused" and any(user not in state.people for user in users):
        raise ApiError("staffId.notExisted", "there is no such receiver")
    lists = {
        "invalidStaffIdList": [user for user in users if user not in state.people],
        "flowControlledStaffIdList": [user for user in users if user in state.flow_controlled],
    }
    if filtered := [user for user in users if user in state.filtered]:
        # This list is in DingTalk's SDK and on no page, so it is present only if it has entries.
        lists["filteredStaffIdList"] = filtered
    missed = {user for names in lists.values() for user in names}
    receivers = tuple(user for user in users if user not in missed)
    return {"processQueryKey": _deliver(call, "oto", text, receivers), **lists}


def _send_into(call: Call, kind: MessageKind) -> dict[str, Any]:
    request = call.request
    robot = robots.own_robot(call, request.robot_code, robots.SEND)
    conversation = robots.conversation_of(call, request.open_conversation_id, kind, robot, robots.SEND)
    if conversation.disbanded:
        raise ApiError("group.disbanded", "the group is disbanded")
    _check_cool_app(call, conversation)
    text = text_of(request.msg_key, request.msg_param)
    return {"processQueryKey": _deliver(call, kind, text, conversation.members)}


def _check_cool_app(call: Call, conversation: Conversation) -> None:
    code = call.request.cool_app_code
    if code is None:
        if conversation.cool_app_required:
            raise ApiError(COOL_APP, "the robot came with a cool app: coolAppCode is required here")
        return
    if call.state.cool_apps.get(code) != call.request.robot_code or code not in conversation.cool_apps:
        raise ApiError(COOL_APP, "the cool app is not this robot's, or not in this conversation")


def _deliver(call: Call, kind: MessageKind, text: str, receivers: tuple[str, ...]) -> str:
    request, state = call.request, call.state
    message = Message(
        key=state.new_key(kind),
        kind=kind,
        client_id=call.client.client_id,
        sent_at=state.time(),
        robot_code=request.robot_code,
        open_conversation_id=getattr(request, "open_conversation_id", None),
        msg_key=request.msg_key,
        text=text,
        receivers=receivers,
    )
    return str(state.deliver(message))
