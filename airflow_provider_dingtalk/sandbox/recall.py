"""Recalls by robots: up to 20 messages a call, each recalled, failed with a reason, or the whole batch refused."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.api.endpoints import RECALL_WINDOW_HOURS
from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.refusals import Refusal
from airflow_provider_dingtalk.sandbox.state import Message, MessageKind

#: The only reason in ``failedResult`` that a page of DingTalk shows.
SYSTEM_ERROR_REASON = "SYSTEM_ERROR"
NOT_ALL = "notRevoke.all.messages"


def recall_group(call: Call) -> dict[str, Any]:
    """Recall messages of a group."""
    robot = robots.own_robot(call, call.request.robot_code, robots.RECALL)
    robots.conversation_of(call, call.request.open_conversation_id, "group", robot, robots.RECALL)
    return _recall(call, "group", call.request.open_conversation_id)


def recall_private_chat(call: Call) -> dict[str, Any]:
    """Recall messages of a chat of two people."""
    robot = robots.own_robot(call, call.request.robot_code, robots.RECALL)
    robots.conversation_of(call, call.request.open_conversation_id, "private_chat", robot, robots.RECALL)
    return _recall(call, "private_chat", call.request.open_conversation_id)


def recall_oto(call: Call) -> dict[str, Any]:
    """Recall one-on-one messages."""
    robots.own_robot(call, call.request.robot_code, robots.RECALL)
    return _recall(call, "oto", None)


def _recall(call: Call, kind: MessageKind, open_conversation_id: str | None) -> dict[str, Any]:
    """Recall a batch. A key named twice is recalled and reported once (our choice)."""
    keys = list(dict.fromkeys(call.request.process_query_keys))
    call.refuse_poisoned(keys)
    failed: dict[str, str] = {}
    for key in keys:
        if code := _unfitness(call, key, kind, open_conversation_id):
            if call.world.behaviour.unfit_keys == "whole_batch":
                raise Refusal(code, f"{key}: {code}")
            failed[key] = code
    failed |= call.spared(keys)
    forgotten = call.forgotten(keys)
    limit = call.only_first()
    succeeded = []
    refused_repetition = False
    for key in keys[:limit]:
        if key in failed or key in forgotten:
            continue
        match _recall_one(call, call.world.messages[key]):
            case None:
                succeeded.append(key)
            case "repeated":
                refused_repetition = True
            case reason:
                failed[key] = reason
    if refused_repetition or limit is not None:
        raise Refusal(NOT_ALL, "not all messages were recalled")
    return {"successResult": succeeded, "failedResult": failed}


def _unfitness(call: Call, key: str, kind: MessageKind, open_conversation_id: str | None) -> str | None:
    """The code for a key that this call may not recall, or ``None`` when it may."""
    message = call.world.messages.get(key)
    if message is None or message.kind != kind or message.open_conversation_id != open_conversation_id:
        return "invalid.processQueryKey"
    if message.robot_code != call.request.robot_code:
        return "not.allowed.robotCode"
    hours = RECALL_WINDOW_HOURS if kind == "oto" else call.world.behaviour.recall_window_hours
    if hours is not None and call.world.age(message) > hours * 3600:
        return "robot.processQueryKey.expired"
    return None


def _recall_one(call: Call, message: Message) -> str | None:
    """Recall a message; the reason why not, ``repeated``, or ``None`` for success."""
    behaviour = call.world.behaviour
    if message.recalled_at is not None and behaviour.already_recalled == "failed":
        return SYSTEM_ERROR_REASON
    if message.recalled_at is not None and behaviour.already_recalled == "not_revoke_all":
        return "repeated"
    if call.world.age(message) < behaviour.recall_too_early_seconds:
        return SYSTEM_ERROR_REASON
    call.world.recall(message)
    return None
