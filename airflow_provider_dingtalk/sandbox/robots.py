"""Checks of robots and conversations, with the codes of each page."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.state import Conversation, Robot


class RobotCodes(Struct, frozen=True, kw_only=True):
    """Error codes of one page.

    :param unknown: Code for an unknown robot.
    :param foreign: Code for a robot of another app.
    :param absent: Code for a robot that is not in the conversation.
    :param other_corp: Code for a conversation of another organisation.
    """

    unknown: str
    foreign: str
    absent: str = "invalidParameter.robotCode.notExsit"
    other_corp: str = "invalid.openConversationId"


RECALL = RobotCodes(unknown="invalidParameter.robotCode", foreign="not.allowed.robotCode")
QUERY = RobotCodes(
    unknown="invalidParameter.robotCode.notExsit",
    foreign="invalidParameter.robotCode.invalid",
    other_corp="conversation.org.dismatch",
)
SEND = RobotCodes(
    unknown="invalidParameter.robotCode.notExsit",
    foreign="invalidParameter.robotCode.auth",
    other_corp="conversation.org.notMatch",
)
DING = RobotCodes(unknown="invalid.chatbotId", foreign="invalid.chatbotId")


def own_robot(call: Call, robot_code: str, codes: RobotCodes) -> Robot:
    """Return a robot of the calling app.

    :raises ApiError: If it is unknown, belongs to another app, or its template is missing or stopped.
    """
    robot = call.state.robots.get(robot_code)
    behaviour = call.state.behaviour
    if robot is None:
        unknown = {RECALL: behaviour.unknown_robot_code, QUERY: behaviour.unknown_robot_query_code}
        raise ApiError(unknown.get(codes, codes.unknown), "there is no such robot")
    if robot.client_id != call.client.client_id:
        foreign = behaviour.foreign_robot_code if codes in (RECALL, QUERY) else None
        raise ApiError(foreign or codes.foreign, "the robot belongs to another app")
    # The page of one-on-one recalls has no codes for templates, so such a recall needs none (our choice).
    if robot.template != "in_use" and call.endpoint.http.path != "/v1.0/robot/otoMessages/batchRecall":
        raise ApiError("template.stopped" if robot.template == "stopped" else "template.not.existed")
    return robot


def conversation_of(call: Call, open_conversation_id: str, kind: str, robot: Robot, codes: RobotCodes) -> Conversation:
    """Return a conversation in which the robot can act.

    :raises ApiError: If it is unknown, has another kind or organisation, or the robot is absent or stopped.
    """
    conversation = call.state.conversations.get(open_conversation_id)
    if conversation is None or conversation.kind != kind:
        raise ApiError("invalid.openConversationId", "there is no such conversation")
    if conversation.corp_id not in call.client.corp_ids:
        chosen = call.state.behaviour.foreign_conversation_code if codes in (RECALL, QUERY) else None
        raise ApiError(chosen or codes.other_corp, "the conversation belongs to another organisation")
    if robot.robot_code not in conversation.robots:
        raise ApiError(codes.absent, "the robot is not in the conversation")
    if robot.stopped or conversation.stopped:
        raise ApiError("bot.stopped", "the robot is stopped")
    return conversation
