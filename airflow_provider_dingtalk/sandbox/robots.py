"""Checks of robots and conversations, with the codes of each page."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.state import Conversation, Robot


class RobotCodes(Struct, frozen=True, kw_only=True):
    """Error codes of one page."""

    unknown: str  # Code for an unknown robot
    foreign: str  # Code for a robot of another app
    absent: str = "invalidParameter.robotCode.notExsit"  # Code for a robot that is not in the conversation
    other_corp: str = "invalid.openConversationId"  # Code for a conversation of another organisation


SEND = RobotCodes(
    unknown="invalidParameter.robotCode.notExsit",
    foreign="invalidParameter.robotCode.auth",
    other_corp="conversation.org.notMatch",
)


def recall_codes(call: Call) -> RobotCodes:
    """Return the codes of a recall's page, or those that switches select."""
    behaviour = call.state.behaviour
    return RobotCodes(
        unknown=behaviour.unknown_robot_code,
        foreign=behaviour.foreign_robot_code or "not.allowed.robotCode",
        other_corp=behaviour.foreign_conversation_code or "invalid.openConversationId",
    )


def query_codes(call: Call) -> RobotCodes:
    """Return the codes of a query's page, or those that switches select."""
    behaviour = call.state.behaviour
    return RobotCodes(
        unknown=behaviour.unknown_robot_query_code,
        foreign=behaviour.foreign_robot_code or "invalidParameter.robotCode.invalid",
        other_corp=behaviour.foreign_conversation_code or "conversation.org.dismatch",
    )


def own_robot(call: Call, codes: RobotCodes, *, needs_template: bool = True) -> Robot:
    """Return the robot that the call names.

    :param needs_template: Refuse a robot whose template is missing or stopped; default True.
    :raises ApiError: If it is unknown, belongs to another app, or lacks a template.
    """
    robot = call.state.robots.get(call.request.robot_code)
    if robot is None:
        raise ApiError(codes.unknown, "there is no such robot")
    if robot.client_id != call.client.client_id:
        raise ApiError(codes.foreign, "the robot belongs to another app")
    if needs_template and robot.template != "in_use":
        raise ApiError("template.stopped" if robot.template == "stopped" else "template.not.existed")
    return robot


def conversation_of(call: Call, kind: str, robot: Robot, codes: RobotCodes) -> Conversation:
    """Return the conversation that the call names.

    :raises ApiError: If it is unknown, has another kind or organisation, or the robot is absent or stopped.
    """
    conversation = call.state.conversations.get(call.request.open_conversation_id)
    if conversation is None or conversation.kind != kind:
        raise ApiError("invalid.openConversationId", "there is no such conversation")
    if conversation.corp_id not in call.client.corp_ids:
        raise ApiError(codes.other_corp, "the conversation belongs to another organisation")
    if robot.robot_code not in conversation.robots:
        raise ApiError(codes.absent, "the robot is not in the conversation")
    if robot.stopped or conversation.stopped:
        raise ApiError("bot.stopped", "the robot is stopped")
    return conversation
