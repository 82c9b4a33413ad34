"""DINGs: urgent robot messages in the app, by SMS or by telephone."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.endpoints import MAX_USERS_PER_PHONE_DING
from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.state import Message

IN_THE_APP = 1


def send_ding(call: Call) -> dict[str, Any]:
    """Send a DING.

    Unknown receivers are in ``failedList``. If all receivers are unknown, the call is refused.
    """
    request, state = call.request, call.state
    robots.own_robot(call, request.robot_code, robots.DING)
    users = list(dict.fromkeys(request.receiver_user_id_list))
    if request.remind_type != IN_THE_APP:
        _pay(call, len(users))
    unknown = [user for user in users if user not in state.people]
    if len(unknown) == len(users):
        raise ApiError("miss.staffId", "there is no such receiver")
    message = Message(
        key=state.new_key("ding"),
        kind="ding",
        client_id=call.client.client_id,
        sent_at=state.time(),
        robot_code=request.robot_code,
        msg_key=f"remindType {request.remind_type}",
        text=request.content,
        receivers=tuple(user for user in users if user in state.people),
    )
    response: dict[str, Any] = {"openDingId": state.deliver(message)}
    return response | ({"failedList": {"staffId.notExisted": unknown}} if unknown else {})


def recall_ding(call: Call) -> dict[str, Any]:
    """Recall a DING of the same robot.

    A second recall is refused unless ``already_recalled`` is ``success``.
    """
    request, state = call.request, call.state
    robots.own_robot(call, request.robot_code, robots.RobotCodes(unknown=EXCEPTION, foreign=EXCEPTION))
    message = state.messages.get(request.open_ding_id)
    if message is None or message.kind != "ding" or message.robot_code != request.robot_code:
        raise ApiError(EXCEPTION, "this robot sent no such DING")
    if message.recalled_at is not None and state.behaviour.already_recalled != "success":
        raise ApiError(EXCEPTION, "the DING is recalled already")
    state.recall(message)
    return {"openDingId": message.key}


#: Only code on the recall's page, except those for bad parameters.
EXCEPTION = "recall.ding.exception"


def _pay(call: Call, receivers: int) -> None:
    """Charge DINGs by SMS or telephone, for at most 20 receivers."""
    if receivers > MAX_USERS_PER_PHONE_DING:
        raise ApiError("ding.receivercount.limit", "too many receivers for SMS or telephone")
    left = call.state.behaviour.phone_dings_left
    if left is None:
        return
    if left < receivers:
        raise ApiError("ding.serverquota.insufficient", "not enough paid DINGs left")
    call.state.behaviour = call.state.behaviour.changed({"phone_dings_left": left - receivers})
