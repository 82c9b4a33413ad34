"""Recalls of robot messages in batches of up to 20.

Each message is recalled or fails with a reason, or the whole batch is refused.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.endpoints import RECALL_WINDOW_HOURS
from airflow_provider_dingtalk.sandbox import robots
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.state import Message, MessageKind

#: Only reason in ``failedResult`` on DingTalk's pages.
SYSTEM_ERROR_REASON = "SYSTEM_ERROR"
#: Internal results of a second recall.
REPEATED, OMITTED = "repeated", "omitted"
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
    """Recall a batch."""
    keys = _each_once(call)
    call.refuse_poisoned_keys(keys)
    failed = _unfit(call, keys, kind, open_conversation_id)
    _refuse_repetition(call, [key for key in keys if key not in failed])
    failed |= call.failed_keys(keys)
    omitted_keys = call.omitted_keys(keys)
    limit = call.recalled_first()
    succeeded = []
    refused_repetition = False
    for key in keys[:limit]:
        if key in failed or key in omitted_keys:
            continue
        match _recall_one(call, call.state.messages[key]):
            case None:
                succeeded.append(key)
            case "repeated":
                refused_repetition = True
            case "omitted":
                pass
            case reason:
                failed[key] = reason
    if refused_repetition or limit is not None:
        raise ApiError(NOT_ALL, "not all messages were recalled")
    return _lists(call, succeeded, failed)


def _each_once(call: Call) -> list[str]:
    """Remove repeated keys, or refuse them if a switch says so (undocumented)."""
    named: list[str] = call.request.process_query_keys
    keys = list(dict.fromkeys(named))
    behaviour = call.state.behaviour
    if len(keys) < len(named) and behaviour.duplicate_keys == "refused":
        raise ApiError(behaviour.duplicate_keys_code, "a key is named twice")
    return keys


def _unfit(call: Call, keys: list[str], kind: MessageKind, open_conversation_id: str | None) -> dict[str, str]:
    """Return the codes of the keys that this call may not recall.

    :raises ApiError: If there is such a key and the whole batch is refused for it.
    """
    unfit = {}
    for key in keys:
        if code := _unfitness(call, key, kind, open_conversation_id):
            if call.state.behaviour.unfit_keys == "whole_batch":
                raise ApiError(code, f"{key}: {code}")
            unfit[key] = code
    return unfit


def _refuse_repetition(call: Call, keys: list[str]) -> None:
    behaviour = call.state.behaviour
    if behaviour.already_recalled != "refused":
        return
    if any(call.state.messages[key].recalled_at is not None for key in keys):
        raise ApiError(behaviour.already_recalled_reason, "a message is recalled already")


def _lists(call: Call, succeeded: list[str], failed: dict[str, str]) -> dict[str, Any]:
    behaviour = call.state.behaviour
    if behaviour.duplicate_keys == "twice":
        succeeded = [key for key in call.request.process_query_keys if key in set(succeeded)]
    # Faults change the map and set its form themselves, so with faults it stays a map here.
    if behaviour.failed_result_form == "list" and not call.rules:
        entries = [{"processQueryKey": key, "code": reason} for key, reason in failed.items()]
        return {"successResult": succeeded, "failedResult": entries}
    return {"successResult": succeeded, "failedResult": failed}


def _unfitness(call: Call, key: str, kind: MessageKind, open_conversation_id: str | None) -> str | None:
    """Return the code for a key that cannot be recalled, or None."""
    message = call.state.messages.get(key)
    if message is None or message.kind != kind or message.open_conversation_id != open_conversation_id:
        return call.state.behaviour.unknown_key_code
    if message.robot_code != call.request.robot_code:
        return "not.allowed.robotCode"
    hours = RECALL_WINDOW_HOURS if kind == "oto" else call.state.behaviour.recall_window_hours
    if hours is not None and call.state.age(message) > hours * 3600:
        return "robot.processQueryKey.expired"
    return None


def _recall_one(call: Call, message: Message) -> str | None:
    """Recall a message.

    :returns: None for success, ``repeated``, ``omitted``, or the reason of the failure.
    """
    behaviour = call.state.behaviour
    if message.recalled_at is not None and behaviour.already_recalled != "success":
        responses = {"failed": behaviour.already_recalled_reason, "omitted": OMITTED, "not_revoke_all": REPEATED}
        return responses[behaviour.already_recalled]
    if call.state.age(message) < behaviour.recall_too_early_seconds:
        return SYSTEM_ERROR_REASON
    call.state.recall(message)
    return None
