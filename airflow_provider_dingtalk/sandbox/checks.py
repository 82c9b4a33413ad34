"""Checks of a call's fields, with each page's codes for invalid fields."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.sandbox.api_errors import PARAM_INVALID, ApiError, LegacyApiError
from airflow_provider_dingtalk.sandbox.call import Call

_KEY_MISSING = "invalidParameter.processQueryKey.missing"
_ROBOT_MISSING = "invalidParameter.robotCode.missing"
_ROBOT_EMPTY = "invalidParameter.robotCode.empty"
_CONVERSATION_MISSING = "miss.openConversationId"
_MSG_PARAM = "invalidParameter.msgParam.invalid"
_MSG_KEY = "invalidParameter.msgKey.empty"

_RECALL = {
    "openConversationId": _CONVERSATION_MISSING,
    "robotCode": "miss.chatbotId",
    "processQueryKeys": _KEY_MISSING,
}
_QUERY = {
    "processQueryKey": _KEY_MISSING,
    "robotCode": _ROBOT_MISSING,
    "openConversationId": "openConversationId.notExisted",
}
_SEND = {
    "robotCode": _ROBOT_MISSING,
    "openConversationId": _CONVERSATION_MISSING,
    "msgKey": _MSG_KEY,
    "msgParam": _MSG_PARAM,
    "coolAppCode": "invalidParameter.robotCode.coolApp",
}

#: Code for an absent or empty field, by API and field. All other fields are refused as bad parameters.
_MISSING: dict[type[e.Endpoint[Any]], dict[str, str]] = {
    e.RecallGroupMessages: _RECALL,
    e.RecallPrivateChatMessages: _RECALL,
    e.RecallOtoMessages: {"processQueryKeys": _KEY_MISSING},
    e.QueryGroupMessage: _QUERY,
    e.QueryPrivateChatMessage: _QUERY,
    e.QueryOtoMessage: {"processQueryKey": _KEY_MISSING, "robotCode": _ROBOT_MISSING},
    e.SendGroupMessage: _SEND,
    e.SendPrivateChatMessage: _SEND,
    e.SendOtoMessages: {
        "robotCode": _ROBOT_EMPTY,
        "userIds": "invalidParameter.userIds.empty",
        "msgKey": _MSG_KEY,
        "msgParam": _MSG_PARAM,
    },
    e.SendDing: {"robotCode": "invalid.chatbotId", "receiverUserIdList": "miss.staffId"},
    e.GetAccessToken: {"appKey": "invalidClientIdOrSecret", "appSecret": "invalidClientIdOrSecret"},
    e.GetCorpAccessToken: {
        "suiteKey": "invalidSuiteKey",
        "suiteSecret": "invalidSuiteKey",
        "suiteTicket": "invalidSuiteTicket",
        "authCorpId": "invalidAuthInfo",
    },
}

#: APIs whose pages name different codes for an empty and an absent ``robotCode``.
_EMPTY_ROBOT = (e.QueryOtoMessage, e.SendGroupMessage, e.SendPrivateChatMessage)
_QUERIES = (e.QueryGroupMessage, e.QueryPrivateChatMessage)


@cache
def _shape(endpoint: type[e.Endpoint[Any]]) -> tuple[tuple[str, bool], ...]:
    """List the name of each field in JSON and its required flag."""
    return tuple((f.encode_name, f.required) for f in msgspec.structs.fields(endpoint))


def checked(call: Call) -> e.Endpoint[Any]:
    """Convert the fields of a call to the struct of its endpoint.

    Unknown fields are refused as bad parameters (our choice; DingTalk may accept them).

    :raises ApiError: If a field is missing, too long, unknown, or of the wrong type.
    """
    _refuse_missing(call)
    _refuse_excess(call)
    given = {name: value for name, value in call.fields.items() if value is not None and value != ""}
    # The switch may allow more keys than the struct's documented limit, so keys beyond the limit are added later.
    keys: Any = given.get("processQueryKeys")
    spare = keys[e.MAX_KEYS_PER_RECALL :] if _longer(keys, e.MAX_KEYS_PER_RECALL) else []
    if spare:
        given["processQueryKeys"] = keys[: e.MAX_KEYS_PER_RECALL]
    try:
        # The old host receives text only, so numbers may be text there.
        request: e.Endpoint[Any] = msgspec.convert(given, call.endpoint, strict=not call.old_host)
        all_keys = msgspec.convert(keys, list[str]) if spare else []
    except msgspec.ValidationError as error:
        raise _bad_parameter(call, str(error)) from error
    return msgspec.structs.replace(request, process_query_keys=all_keys) if spare else request


def _refuse_missing(call: Call) -> None:
    codes = _MISSING.get(call.endpoint, {})
    scope_required = call.state.behaviour.query_scope == "required" and call.endpoint in _QUERIES
    for name, required in _shape(call.endpoint):
        value = call.fields.get(name)
        if isinstance(value, list) and all(value) and value:
            continue
        if value not in (None, "", []) and not isinstance(value, list):
            continue
        if not required and not (scope_required and name in codes):
            continue
        if name == "robotCode" and value == "" and call.endpoint in _EMPTY_ROBOT:
            raise ApiError(_ROBOT_EMPTY, "robotCode is empty")
        if name in codes:
            raise ApiError(codes[name], f"{name} is missing")
        raise _bad_parameter(call, f"{name} is missing")


def _refuse_excess(call: Call) -> None:
    fields = call.fields
    if _longer(fields.get("processQueryKeys"), call.state.behaviour.max_keys):
        raise ApiError("invalidParameter.processQueryKeys.overMax", "too many processQueryKeys")
    if _longer(fields.get("userIds"), e.MAX_USERS_PER_OTO_SEND):
        raise ApiError("invalidParameter.userIds.overMax", "too many userIds")
    if _longer(fields.get("receiverUserIdList"), e.MAX_USERS_PER_APP_DING):
        raise ApiError("ding.receivercount.limit", "too many receivers")
    page = fields.get("maxResults")
    if isinstance(page, int) and not isinstance(page, bool) and not 1 <= page <= e.MAX_RESULTS_PER_PAGE:
        raise ApiError("invalidParameter.pageSize.invalid", "maxResults is beyond 200")


def _longer(value: object, limit: int) -> bool:
    return isinstance(value, list) and len(value) > limit


def _bad_parameter(call: Call, detail: str) -> ApiError:
    # No page of these APIs names the old host's code for a missing parameter, so 40035 is our choice.
    return LegacyApiError(40035, f"invalid parameter: {detail}") if call.old_host else ApiError(PARAM_INVALID, detail)
