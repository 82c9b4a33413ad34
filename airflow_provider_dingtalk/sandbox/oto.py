"""One-on-one messages of robots to people."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.endpoints import (
    MAX_USERS_PER_OTO_SEND,
    RECALL_WINDOW_HOURS,
    QueryOtoMessage,
    RecallOtoMessages,
    SendOtoMessages,
)
from airflow_provider_dingtalk.sandbox import robot_messages, robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call, Handler, MessageType

KIND = "oto"


def send(call: Call) -> dict[str, Any]:
    """Send one-on-one messages.

    Without any valid receiver the response is still a key and the lists (our choice).
    """
    if robots.own_robot(call, robots.SEND).stopped:
        raise ApiError("chatbotId.notAllow.sendOTO", "the robot is stopped")
    state, users = call.state, list(dict.fromkeys(call.request.user_ids))
    dropped = {
        "invalidStaffIdList": [user for user in users if user not in state.people],
        "flowControlledStaffIdList": [user for user in users if user in state.flow_controlled],
        "filteredStaffIdList": [user for user in users if user in state.filtered],
    }
    if state.behaviour.unknown_receivers == "refused" and dropped["invalidStaffIdList"]:
        raise ApiError("staffId.notExisted", "there is no such receiver")
    unreached = {user for names in dropped.values() for user in names}
    key = robot_messages.deliver(call, KIND, tuple(user for user in users if user not in unreached))
    if not dropped["filteredStaffIdList"]:
        # This list is in DingTalk's SDK and on no page, so it is present only if it has entries.
        del dropped["filteredStaffIdList"]
    return {"processQueryKey": key, **dropped}


def recall(call: Call) -> dict[str, Any]:
    """Recall one-on-one messages.

    The page has no codes for templates, so the robot needs none (our choice).
    """
    robots.own_robot(call, robots.recall_codes(call), needs_template=False)
    return robot_messages.recall_batch(call, KIND, RECALL_WINDOW_HOURS)


def query(call: Call) -> dict[str, Any]:
    """Return the status of a one-on-one message and of each receiver.

    The response has one page, and is available for 24 hours (documented).
    """
    robots.own_robot(call, robots.query_codes(call))
    message = robot_messages.find_message(call, KIND, RECALL_WINDOW_HOURS)
    people, readers = call.state.people, robot_messages.readers_of(call, message)
    receivers = [
        {"name": people.get(user, user), "userId": user, "readStatus": "READ" if user in readers else "UNREAD"}
        for user in message.receivers
    ]
    return {"sendStatus": robot_messages.status_of(call, message), "messageReadInfoList": receivers}


TYPE = MessageType(
    kind=KIND,
    handlers={
        SendOtoMessages: Handler(
            run=send,
            missing={
                "robotCode": robot_messages.ROBOT_EMPTY,
                "userIds": "invalidParameter.userIds.empty",
                **robot_messages.TEMPLATE_MISSING,
            },
            too_many={"userIds": (MAX_USERS_PER_OTO_SEND, "invalidParameter.userIds.overMax")},
        ),
        RecallOtoMessages: Handler(run=recall, missing={"processQueryKeys": robot_messages.KEY_MISSING}),
        QueryOtoMessage: Handler(
            run=query,
            missing={"processQueryKey": robot_messages.KEY_MISSING, "robotCode": robot_messages.ROBOT_MISSING},
            empty={"robotCode": robot_messages.ROBOT_EMPTY},
        ),
    },
)
