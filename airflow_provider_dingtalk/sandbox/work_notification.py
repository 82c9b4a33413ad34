"""Work notifications of the old host.

An app's agent sends them in the background. A recall covers all receivers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_dingtalk.client.endpoints import (
    MAX_DEPTS_PER_WORK_NOTIFICATION,
    MAX_USERS_PER_WORK_NOTIFICATION,
    MAX_WORK_NOTIFICATION_BYTES,
    RECALL_WINDOW_HOURS,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    RecallWorkNotification,
    SendWorkNotification,
)
from airflow_provider_dingtalk.sandbox.api_errors import ApiError, LegacyApiError, bad_parameter
from airflow_provider_dingtalk.sandbox.call import Call, Handler, MessageType
from airflow_provider_dingtalk.sandbox.meter import UTC_PLUS_8
from airflow_provider_dingtalk.sandbox.state import Key, Message, ServerState

KIND = "work_notification"
MSGTYPES = ("text", "image", "voice", "file", "link", "oa", "markdown", "action_card")
FIRST_TASK_ID = 256_271_667_526
#: Both pages name 24 hours for the result, and the page of the progress also names 7 days.
PROGRESS_HOURS = 7 * 24


def send(call: Call) -> dict[str, Any]:
    """Send a work notification.

    People who do not get it are listed in the result only (documented).
    """
    request, state = call.request, call.state
    if request.agent_id != call.client.agent_id:
        raise LegacyApiError(400002, "invalid agent_id")
    text = _text(request.msg)
    users, undelivered = _receivers(call)
    if state.behaviour.repeat_filter:
        is_new = {user: _is_first_today(call, user, text) for user in users}
        undelivered["forbidden_user_id_list"] = [user for user in users if not is_new[user]]
        users = [user for user in users if is_new[user]]
    key = call.deliver(
        KIND,
        _new_task_id(state),
        agent_id=request.agent_id,
        msg_key=str(request.msg["msgtype"]),
        text=text,
        msg_param=msgspec.json.encode(request.msg[request.msg["msgtype"]]).decode(),
        receivers=tuple(users),
        undelivered=undelivered,
    )
    return {**_ok(call), "task_id": key}


def recall(call: Call) -> dict[str, Any]:
    """Recall a work notification from all receivers, within 24 hours.

    A second recall is refused unless ``already_recalled`` is ``success``.
    """
    error = LegacyApiError(400002, "invalid agentId or taskId")
    message = _find_task(call, call.request.msg_task_id, RECALL_WINDOW_HOURS, error)
    if message.recalled_at is not None and call.state.behaviour.already_recalled != "success":
        raise error
    call.state.recall(message)
    return {"errcode": 0, "errmsg": "ok"}


def query_progress(call: Call) -> dict[str, Any]:
    """Return the progress of a task, which is done after ``processing_seconds``."""
    message = _find_task(call, call.request.task_id, PROGRESS_HOURS, LegacyApiError(40035, "invalid parameter"))
    age, seconds = call.state.age(message), call.state.behaviour.processing_seconds
    done = age >= seconds
    percent = 100 if done else int(100 * age / seconds)
    return {**_ok(call), "progress": {"progress_in_percent": percent, "status": 2 if done else 1}}


def query_result(call: Call) -> dict[str, Any]:
    """Return the readers of a work notification, for 24 hours.

    With more than 100 receivers DingTalk times out; the error code for that is our choice.
    """
    message = _find_task(call, call.request.task_id, RECALL_WINDOW_HOURS, LegacyApiError(40035, "invalid parameter"))
    if len(message.receivers) > MAX_USERS_PER_WORK_NOTIFICATION:
        raise LegacyApiError(-1, "call timed out: more than 100 receivers")
    forbidden = message.undelivered.get("forbidden_user_id_list", [])
    lists: dict[str, Any] = {
        "read_user_id_list": list(message.readers),
        "unread_user_id_list": [user for user in message.receivers if user not in message.readers],
        "failed_user_id_list": [],
        "invalid_user_id_list": [],
        "forbidden_user_id_list": [],
        "forbidden_list": [{"code": "143106", "count": 1, "userid": user} for user in forbidden],
        "invalid_dept_id_list": [],
    }
    return {**_ok(call), "send_result": lists | message.undelivered}


def _new_task_id(state: ServerState) -> Key:
    # Unique by the number of messages, and by chance after a reset, because a recall log may know the ids before it.
    return FIRST_TASK_ID + state.rng.randrange(2**20) * 2**20 + state.sent[KIND]


def _ok(call: Call) -> dict[str, Any]:
    return {"errcode": 0, "errmsg": "ok", "request_id": call.state.request_id()}


def _text(msg: dict[str, Any]) -> str:
    msgtype = msg.get("msgtype")
    part = msg.get(msgtype) if isinstance(msgtype, str) else None
    if msgtype not in MSGTYPES or not isinstance(part, dict):
        raise bad_parameter("msg has no known msgtype, or not its part", old_host=True)
    if len(msgspec.json.encode(msg)) > MAX_WORK_NOTIFICATION_BYTES:
        raise bad_parameter("msg is longer than 2048 bytes", old_host=True)
    return str(part.get("content") or part.get("title") or part.get("media_id") or msgtype)


def _receivers(call: Call) -> tuple[list[str], dict[str, list[Any]]]:
    """Return the receivers, and the unknown people and departments by list."""
    request, state = call.request, call.state
    if request.to_all_user:
        return list(state.people), {}
    users = _split(request.userid_list, MAX_USERS_PER_WORK_NOTIFICATION, "userid_list")
    departments = _split(request.dept_id_list, MAX_DEPTS_PER_WORK_NOTIFICATION, "dept_id_list")
    if not users and not departments:
        raise bad_parameter("no receivers", old_host=True)
    members = {str(number): people for number, people in state.departments.items()}
    chosen = [user for user in users if user in state.people]
    chosen += [user for number in departments for user in members.get(number, ())]
    undelivered: dict[str, list[Any]] = {
        "invalid_user_id_list": [user for user in users if user not in state.people],
        "invalid_dept_id_list": [int(n) if n.isdigit() else n for n in departments if n not in members],
    }
    return list(dict.fromkeys(chosen)), undelivered


def _split(text: str | None, limit: int, name: str) -> list[str]:
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if len(parts) > limit:
        raise bad_parameter(f"{name} is longer than {limit}", old_host=True)
    return parts


def _is_first_today(call: Call, user: str, text: str) -> bool:
    """Record a person's text and return True if it is new today."""
    day = int((call.state.time() + UTC_PLUS_8) // 86_400)
    mark = (day, call.request.agent_id, user, text)
    is_first = mark not in call.state.notified_today
    call.state.notified_today.add(mark)
    return is_first


def _find_task(call: Call, task_id: Key, window_hours: float, error: ApiError) -> Message:
    """Return a message of the calling agent, or raise the error outside the window."""
    message, agent_id = call.state.messages.get(task_id), call.request.agent_id
    if message is None or agent_id != call.client.agent_id or message.agent_id != agent_id:
        raise error
    if call.state.age(message) > window_hours * 3600:
        raise error
    return message


TYPE = MessageType(
    kind=KIND,
    new_key=_new_task_id,
    sent_by_agent=True,
    handlers={
        SendWorkNotification: Handler(run=send),
        RecallWorkNotification: Handler(run=recall),
        GetWorkNotificationProgress: Handler(run=query_progress),
        GetWorkNotificationResult: Handler(run=query_result),
    },
)
