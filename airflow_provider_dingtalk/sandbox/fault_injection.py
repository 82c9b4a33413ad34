"""Application of faults: delays, cut connections, other answers, and changed answers."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import msgspec
from starlette.types import Receive

from airflow_provider_dingtalk.sandbox import faults as f
from airflow_provider_dingtalk.sandbox import wire
from airflow_provider_dingtalk.sandbox.api_errors import ApiError, LegacyApiError, dead_token
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.query import cursor
from airflow_provider_dingtalk.sandbox.responses import (
    ApiResponse,
    ClientDisconnected,
    DropConnection,
    error_response,
    json_response,
)
from airflow_provider_dingtalk.sandbox.tokens import revoke_all

HTML_TYPE = "text/html;charset=utf-8"
#: Offset beyond the readers of any message, so that a made-up cursor leads to an empty page.
FAR_PAGE = 10**9


async def apply(call: Call, when: Literal["before", "after"], receive: Receive) -> ApiResponse | None:
    """Apply the faults of one side of the effect.

    :returns: Answer of the first fault that has one, else None.
    :raises DropConnection: If a fault cuts the connection.
    :raises ClientDisconnected: If the client disconnected during a delay.
    """
    for rule in call.rules:
        if rule.when != when:
            continue
        if isinstance(rule.action, f.Delay):
            if await wire.client_disconnected(receive, rule.action.seconds) and not rule.action.although_gone:
                raise ClientDisconnected
        elif isinstance(rule.action, f.Drop):
            raise DropConnection(reset=rule.action.reset)
        elif isinstance(rule.action, f.GzipBomb):
            body = await asyncio.to_thread(_bomb, rule.action.megabytes)
            return ApiResponse(200, body, rule.action.type, headers=(("content-encoding", "gzip"),))
        elif (response := _instead(call, rule.action)) is not None:
            return response
    return None


def _instead(call: Call, action: f.AnyAction) -> ApiResponse | None:
    """Return the answer that replaces the real one; None if the fault has none."""
    match action:
        case f.Status():
            return error_response(_error(call, action), call.state.request_id(), action.headers)
        case f.Html():
            return ApiResponse(action.status, action.html.encode(), action.type, HTML_TYPE)
        case f.Body():
            return ApiResponse(action.status, action.text.encode(), action.type, action.content_type)
        case f.Throttle():
            text = "too many calls"
            old = LegacyApiError(action.errcode, text, wrapped=True)
            return error_response(old if call.old_host else ApiError(action.code, text, 403), call.state.request_id())
        case f.DeadToken():
            if action.revoke:
                revoke_all(call.state)
            return error_response(dead_token(old_host=call.old_host), call.state.request_id())
        case f.Ban():
            return _ban(call, action)
        case f.Redirect():
            return ApiResponse(action.status, b"", action.type, HTML_TYPE, (("location", action.url),))
    return None


def _error(call: Call, action: f.Status) -> ApiError:
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


@cache
def _bomb(megabytes: int) -> bytes:
    """Compress spaces to a thousandth, followed by an empty JSON object."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 1_000_000
    return b"".join([*(packer.compress(block) for _ in range(megabytes)), packer.compress(b"{}"), packer.flush()])


# ── Changes of a good answer ─────────────────────────────────────────────────────────────────────────


def change_response(call: Call, response: ApiResponse) -> ApiResponse:
    """Apply the faults that change the body of a good answer."""
    changes = [rule.action for rule in call.rules if type(rule.action) in _CHANGES]
    if not changes or not isinstance(response.data, dict):
        return response
    data = response.data
    for action in changes:
        data = _CHANGES[type(action)](call, action, data)
    return json_response(data)


def _batch(call: Call) -> list[str]:
    return list(dict.fromkeys(getattr(call.request, "process_query_keys", ())))


def _omit(call: Call, action: f.OmitKeys, data: dict[str, Any]) -> dict[str, Any]:
    selected = set(action.of(_batch(call)))
    return data | {
        "successResult": [key for key in data["successResult"] if key not in selected],
        "failedResult": {key: reason for key, reason in data["failedResult"].items() if key not in selected},
    }


def _both(call: Call, action: f.Both, data: dict[str, Any]) -> dict[str, Any]:
    selected = [key for key in action.of(_batch(call)) if key in data["successResult"]]
    return data | {"failedResult": data["failedResult"] | dict.fromkeys(selected, action.reason)}


def _extra(call: Call, action: f.Extra, data: dict[str, Any]) -> dict[str, Any]:
    if action.result == "success":
        return data | {"successResult": [*data["successResult"], action.key]}
    return data | {"failedResult": data["failedResult"] | {action.key: "SYSTEM_ERROR"}}


def _list_form(call: Call, action: f.ListForm, data: dict[str, Any]) -> dict[str, Any]:
    entries = [{"processQueryKey": key, "code": reason} for key, reason in data["failedResult"].items()]
    return data | {"failedResult": entries}


def _null_lists(call: Call, action: f.NullLists, data: dict[str, Any]) -> dict[str, Any]:
    return data | {"successResult": None, "failedResult": None}


def _paging(call: Call, action: f.Paging, data: dict[str, Any]) -> dict[str, Any]:
    data = data | {"hasMore": True}
    data.pop("nextToken", None)
    if action.mode == "no_token":
        return data
    page = 0 if action.mode == "repeat" else FAR_PAGE + call.state.rng.randrange(FAR_PAGE)
    return data | {"nextToken": cursor(call.request.process_query_key, page)}


def _mutate(call: Call, action: f.Mutate, data: dict[str, Any]) -> dict[str, Any]:
    return {**merged(data, action.merge)}


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


def _only_with(name: str, change: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Restrict a change to answers that have the field."""
    return lambda call, action, data: change(call, action, data) if name in data else data


_CHANGES: dict[type[f.Action], Callable[..., dict[str, Any]]] = {
    f.OmitKeys: _only_with("successResult", _omit),
    f.Both: _only_with("successResult", _both),
    f.Extra: _only_with("successResult", _extra),
    f.ListForm: _only_with("successResult", _list_form),
    f.NullLists: _only_with("successResult", _null_lists),
    f.Paging: _only_with("readUserIds", _paging),
    f.Mutate: _mutate,
}
