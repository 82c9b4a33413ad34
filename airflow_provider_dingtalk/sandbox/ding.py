"""DINGs: urgent robot messages in the app, by SMS or by telephone."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.endpoints import (
    MAX_USERS_PER_APP_DING,
    MAX_USERS_PER_PHONE_DING,
    RecallDing,
    SendDing,
)
from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call, Handler, MessageType
from airflow_provider_dingtalk.sandbox.state import ServerState

KIND = "ding"
IN_THE_APP = 1
TOO_MANY_RECEIVERS = "ding.receivercount.limit"
#: Only code on the recall's page, except those for bad parameters.
RECALL_FAILED = "recall.ding.exception"


def send(call: Call) -> dict[str, Any]:
    """Send a DING.

    Unknown receivers are in ``failedList``. If all receivers are unknown, the call is refused.
    """
    request, state = call.request, call.state
    robots.own_robot(call, robots.RobotCodes(unknown="invalid.chatbotId", foreign="invalid.chatbotId"))
    users = list(dict.fromkeys(request.receiver_user_id_list))
    receivers = tuple(user for user in users if user in state.people)
    if request.remind_type != IN_THE_APP and len(users) > MAX_USERS_PER_PHONE_DING:
        raise ApiError(TOO_MANY_RECEIVERS, "too many receivers for SMS or telephone")
    if not receivers:
        raise ApiError("miss.staffId", "there is no such receiver")
    if request.remind_type != IN_THE_APP:
        _charge(state, len(users))
    key = call.deliver(
        KIND,
        state.random_hex(),
        robot_code=request.robot_code,
        msg_key=f"remindType {request.remind_type}",
        text=request.content,
        receivers=receivers,
    )
    unknown = [user for user in users if user not in state.people]
    return {"openDingId": key} | ({"failedList": {"staffId.notExisted": unknown}} if unknown else {})


def _charge(state: ServerState, receivers: int) -> None:
    """Charge a DING by SMS or telephone.

    :raises ApiError: If not enough paid DINGs are left.
    """
    left = state.behaviour.phone_dings_left
    if left is None:
        return
    if left < receivers:
        raise ApiError("ding.serverquota.insufficient", "not enough paid DINGs left")
    state.behaviour = state.behaviour.changed({"phone_dings_left": left - receivers})


def recall(call: Call) -> dict[str, Any]:
    """Recall a DING of the same robot.

    A second recall is refused unless ``already_recalled`` is ``success``.
    """
    request, state = call.request, call.state
    robots.own_robot(call, robots.RobotCodes(unknown=RECALL_FAILED, foreign=RECALL_FAILED))
    message = state.messages.get(request.open_ding_id)
    if message is None or message.kind != KIND or message.robot_code != request.robot_code:
        raise ApiError(RECALL_FAILED, "this robot sent no such DING")
    if message.recalled_at is not None and state.behaviour.already_recalled != "success":
        raise ApiError(RECALL_FAILED, "the DING is recalled already")
    state.recall(message)
    return {"openDingId": message.key}


TYPE = MessageType(
    kind=KIND,
    new_key=ServerState.random_hex,
    handlers={
        SendDing: Handler(
            run=send,
            missing={"robotCode": "invalid.chatbotId", "receiverUserIdList": "miss.staffId"},
            too_many={"receiverUserIdList": (MAX_USERS_PER_APP_DING, TOO_MANY_RECEIVERS)},
        ),
        RecallDing: Handler(run=recall),
    },
)
