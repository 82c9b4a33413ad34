"""Checks of a call's fields, with each page's codes for invalid fields."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from airflow_provider_dingtalk.client.endpoints import (
    MAX_KEYS_PER_RECALL,
    MAX_RESULTS_PER_PAGE,
    Endpoint,
    Idempotency,
)
from airflow_provider_dingtalk.sandbox.api_errors import ApiError, bad_parameter
from airflow_provider_dingtalk.sandbox.call import Call, Handler


def checked(call: Call, handler: Handler) -> Endpoint[Any]:
    """Convert the fields of a call to the struct of its endpoint.

    Unknown fields are refused as bad parameters (our choice; DingTalk may accept them).

    :raises ApiError: If a field is missing, too long, unknown, or of the wrong type.
    """
    _refuse_missing(call, handler)
    _refuse_excess(call, handler)
    given = {name: value for name, value in call.fields.items() if value not in (None, "")}
    # The switch may allow more keys than the struct's documented limit, so all keys are set later.
    keys: Any = given.get("processQueryKeys")
    has_excess = _longer(keys, MAX_KEYS_PER_RECALL)
    if has_excess:
        given["processQueryKeys"] = keys[:MAX_KEYS_PER_RECALL]
    try:
        # The old host receives text only, so numbers may be text there.
        request: Endpoint[Any] = msgspec.convert(given, call.endpoint, strict=not call.old_host)
        if has_excess:
            return msgspec.structs.replace(request, process_query_keys=msgspec.convert(keys, list[str]))
    except msgspec.ValidationError as error:
        raise bad_parameter(str(error), old_host=call.old_host) from error
    return request


@cache
def _fields(endpoint: type[Endpoint[Any]]) -> tuple[tuple[str, bool], ...]:
    """List the name of each field in JSON and its required flag."""
    return tuple((field.encode_name, field.required) for field in msgspec.structs.fields(endpoint))


def _refuse_missing(call: Call, handler: Handler) -> None:
    is_query = call.endpoint.http.idempotency is Idempotency.READ
    scope_required = is_query and call.state.behaviour.query_scope == "required"
    for name, required in _fields(call.endpoint):
        value = call.fields.get(name)
        if _is_given(value) or not (required or (scope_required and name in handler.missing)):
            continue
        code = (handler.empty.get(name) if value == "" else None) or handler.missing.get(name)
        detail = f"{name} is missing"
        raise ApiError(code, detail) if code else bad_parameter(detail, old_host=call.old_host)


def _is_given(value: Any) -> bool:
    return bool(value) and all(value) if isinstance(value, list) else value not in (None, "")


def _refuse_excess(call: Call, handler: Handler) -> None:
    keys = (call.state.behaviour.max_keys, "invalidParameter.processQueryKeys.overMax")
    for name, (limit, code) in {"processQueryKeys": keys, **handler.too_many}.items():
        if _longer(call.fields.get(name), limit):
            raise ApiError(code, f"too many {name}")
    page = call.fields.get("maxResults")
    if type(page) is int and not 1 <= page <= MAX_RESULTS_PER_PAGE:
        raise ApiError("invalidParameter.pageSize.invalid", "maxResults is beyond 200")


def _longer(value: object, limit: int) -> bool:
    return isinstance(value, list) and len(value) > limit
