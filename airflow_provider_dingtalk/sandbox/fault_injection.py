"""Application of faults: delays, cut connections, other responses, and changed results."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import msgspec
from starlette.types import Receive

from airflow_provider_dingtalk.sandbox import connections
from airflow_provider_dingtalk.sandbox import faults as f
from airflow_provider_dingtalk.sandbox.api_errors import DEAD_TOKEN, ApiError, GatewayError, LegacyApiError
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.responses import ApiResponse, ClientDisconnected, DropConnection, error_response
from airflow_provider_dingtalk.sandbox.robot_messages import SYSTEM_ERROR_REASON, cursor
from airflow_provider_dingtalk.sandbox.tokens import revoke_all

HTML_TYPE = "text/html;charset=utf-8"
#: Offset beyond the readers of any message, so that a made-up cursor leads to an empty page.
FAR_PAGE = 10**9

Result = dict[str, Any]


async def apply(call: Call, when: Literal["before", "after"], receive: Receive) -> ApiResponse | None:
    """Apply the faults of one side of the effect.

    :returns: Response of the first fault that has one, else None.
    :raises DropConnection: If a fault cuts the connection.
    :raises ClientDisconnected: If the client disconnected during a delay.
    """
    for action in (rule.action for rule in call.rules if rule.when == when):
        if isinstance(action, f.Delay):
            if await connections.client_disconnected(receive, action.seconds) and not action.although_gone:
                raise ClientDisconnected
        elif isinstance(action, f.Drop):
            raise DropConnection(reset=action.reset)
        elif isinstance(action, f.GzipBomb):
            body = await asyncio.to_thread(_bomb, action.megabytes)
            return ApiResponse(200, body, action.type, headers=(("content-encoding", "gzip"),))
        elif response := _replacement(call, action):
            return response
    return None


def _replacement(call: Call, action: f.AnyAction) -> ApiResponse | None:
    """Return the response that replaces the real one; None if the fault has none."""
    match action:
        case f.Html():
            return ApiResponse(action.status, action.html.encode(), action.type, HTML_TYPE)
        case f.Body():
            return ApiResponse(action.status, action.text.encode(), action.type, action.content_type)
        case f.Ban():
            return _ban(call, action)
        case f.Redirect():
            return ApiResponse(action.status, b"", action.type, HTML_TYPE, (("location", action.url),))
        case f.Status() | f.Throttle() | f.DeadToken():
            headers = action.headers if isinstance(action, f.Status) else None
            return error_response(_error(call, action), call.state.request_id(), headers)
    return None


def _error(call: Call, action: f.Status | f.Throttle | f.DeadToken) -> ApiError:
    match action:
        case f.DeadToken():
            if action.revoke:
                revoke_all(call.state)
            return DEAD_TOKEN.on(old_host=call.old_host)
        case f.Throttle():
            return GatewayError(action.code, action.errcode, "too many calls").on(old_host=call.old_host)
    if call.old_host:
        return LegacyApiError(action.errcode, action.message, wrapped=action.wrapped)
    return ApiError(action.code, action.message, action.status)


def _ban(call: Call, action: f.Ban) -> ApiResponse:
    """Return the page of DingTalk's firewall; JSON is documented, HTML made up."""
    if action.form == "html":
        html = "<html><head><title>405</title></head><body>Your IP address is blocked.</body></html>"
        return ApiResponse(200, html.encode(), action.type, HTML_TYPE)
    page = {"status": 1111, "wait": action.wait, "source": "x5", "punish": "deny", "uuid": call.state.random_hex()}
    return ApiResponse(200, msgspec.json.encode(page), action.type)


@lru_cache(maxsize=2)
def _bomb(megabytes: int) -> bytes:
    """Compress spaces to a thousandth, followed by an empty JSON object."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 1_000_000
    return b"".join([*(packer.compress(block) for _ in range(megabytes)), packer.compress(b"{}"), packer.flush()])


def change_result(call: Call, result: Result) -> Result:
    """Apply the faults that change a call's result, and the form of ``failedResult``."""
    for rule in call.rules:
        needed, change = _CHANGES.get(type(rule.action), ("", None))
        if change and (not needed or needed in result):
            result = change(call, rule.action, result)
    if call.state.behaviour.failed_result_form == "list" or f.actions(call.rules, f.ListForm):
        return _with_failed_list(result)
    return result


def _with_failed_list(result: Result) -> Result:
    failed = result.get("failedResult")
    if not isinstance(failed, dict):
        return result
    return result | {"failedResult": [{"processQueryKey": key, "code": reason} for key, reason in failed.items()]}


def _selected(call: Call, action: f.SomeKeys) -> list[str]:
    return action.of(list(dict.fromkeys(call.request.process_query_keys)))


def _omit(call: Call, action: f.OmitKeys, result: Result) -> Result:
    omitted = set(_selected(call, action))
    return result | {
        "successResult": [key for key in result["successResult"] if key not in omitted],
        "failedResult": {key: reason for key, reason in result["failedResult"].items() if key not in omitted},
    }


def _both(call: Call, action: f.Both, result: Result) -> Result:
    selected = [key for key in _selected(call, action) if key in result["successResult"]]
    return result | {"failedResult": result["failedResult"] | dict.fromkeys(selected, action.reason)}


def _extra(call: Call, action: f.Extra, result: Result) -> Result:
    if action.result == "success":
        return result | {"successResult": [*result["successResult"], action.key]}
    return result | {"failedResult": result["failedResult"] | {action.key: SYSTEM_ERROR_REASON}}


def _null_lists(call: Call, action: f.NullLists, result: Result) -> Result:
    return result | {"successResult": None, "failedResult": None}


def _paging(call: Call, action: f.Paging, result: Result) -> Result:
    result = {name: value for name, value in result.items() if name != "nextToken"} | {"hasMore": True}
    if action.mode == "no_token":
        return result
    page = 0 if action.mode == "repeat" else FAR_PAGE + call.state.rng.randrange(FAR_PAGE)
    return result | {"nextToken": cursor(call.request.process_query_key, page)}


def _mutate(call: Call, action: f.Mutate, result: Result) -> Result:
    return dict(merged(result, action.merge))


def merged(data: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(data) if isinstance(data, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


#: Change of a result by action, with the field that the result must have.
_CHANGES: dict[type[f.Action], tuple[str, Callable[..., Result]]] = {
    f.OmitKeys: ("successResult", _omit),
    f.Both: ("successResult", _both),
    f.Extra: ("successResult", _extra),
    f.NullLists: ("successResult", _null_lists),
    f.Paging: ("readUserIds", _paging),
    f.Mutate: ("", _mutate),
}
