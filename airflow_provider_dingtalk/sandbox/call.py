"""Parsed request with its API, fields, app, and the faults that apply."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from airflow_provider_dingtalk.client.endpoints import Endpoint, Host, Idempotency, name_of
from airflow_provider_dingtalk.sandbox.api_errors import PARAM_INVALID, ApiError, LegacyApiError
from airflow_provider_dingtalk.sandbox.faults import FailKeys, OmitKeys, Partial, PoisonKeys, Rule, actions
from airflow_provider_dingtalk.sandbox.state import App, ServerState

TOKEN_HEADER = b"x-acs-dingtalk-access-token"
#: Fields that name one message.
ONE_KEY = frozenset({"processQueryKey", "openDingId", "task_id", "msg_task_id"})

#: Errors of a text that is not JSON, not UTF-8, or nested too deeply.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Incoming:
    """HTTP request as received."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Call:
    """Request to one API.

    :param app: App that the token belongs to; None if no token is needed.
    :param request: Fields as the endpoint's struct, once they are checked.
    :param rules: Rules of the faults that apply to this call.
    """

    state: ServerState
    endpoint: type[Endpoint[Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    app: App | None = None
    request: Any = None
    rules: list[Rule] = field(default_factory=list)

    @property
    def old_host(self) -> bool:
        """Host flag: True for an API of the old host."""
        return self.endpoint.http.host is Host.OAPI

    @property
    def api(self) -> str:
        """Path of the API without its version."""
        return name_of(self.endpoint)

    @property
    def client(self) -> App:
        """App that makes the call, known once its token is checked."""
        if self.app is None:
            raise RuntimeError("the token was not checked")
        return self.app

    def key_count(self) -> int:
        """Count the message keys that the request names."""
        keys = self.fields.get("processQueryKeys")
        if isinstance(keys, list):
            return len(keys)
        return int(not ONE_KEY.isdisjoint(self.fields))

    # ── Faults of a recall ──

    def refuse_poisoned_keys(self, keys: list[str]) -> None:
        """Refuse the batch if a fault applies to one of its keys."""
        for action in actions(self.rules, PoisonKeys):
            if action.of(keys):
                raise ApiError(action.code, "injected fault")

    def failed_keys(self, keys: list[str]) -> dict[str, str]:
        """Return the keys that a fault fails, with their reasons."""
        return {key: action.reason for action in actions(self.rules, FailKeys) for key in action.of(keys)}

    def omitted_keys(self, keys: list[str]) -> set[str]:
        """Return the keys that a fault neither recalls nor reports."""
        return {key for action in actions(self.rules, OmitKeys) if not action.recalled for key in action.of(keys)}

    def recalled_first(self) -> int | None:
        """Return the number of keys recalled before a fault fails the call."""
        return min((action.first for action in actions(self.rules, Partial)), default=None)


def read_fields(call: Call, incoming: Incoming) -> None:
    """Set the fields and token of a call from the received request.

    :raises ApiError: If the host does not accept the body.
    """
    query = dict(parse_qsl(incoming.query, keep_blank_values=True))
    if not call.old_host:
        call.token = incoming.headers.get(TOKEN_HEADER, b"").decode("latin-1") or None
        call.fields = query if incoming.method == "GET" else _json_object(call, incoming.body)
        return
    # The gateway checks the token first, so an unreadable body must not hide it.
    call.token = query.pop("access_token", "") or None
    body = _old_body(incoming)
    in_body = body.pop("access_token", None)
    call.token = call.token or (str(in_body) if in_body else None)
    call.fields = {**body, **query}


def _json_object(call: Call, body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except _UNREADABLE as error:
        # The pages of the sends name a different code for it.
        sends_template = call.endpoint.http.effect is Idempotency.SEND and "Messages" in call.api
        code = "invalidParameter.msgBody.invalid" if sends_template else PARAM_INVALID
        raise ApiError(code, "the body is not a JSON object") from error


def _old_body(incoming: Incoming) -> dict[str, Any]:
    """Parse a form or JSON; the old host accepts both (observed by others)."""
    is_form = b"form-urlencoded" in incoming.headers.get(b"content-type", b"")
    if not is_form and incoming.body.lstrip().startswith(b"{"):
        try:
            return msgspec.json.decode(incoming.body, type=dict[str, Any])
        except _UNREADABLE as error:
            raise LegacyApiError(40035, "the body is not a JSON object") from error
    fields: dict[str, Any] = dict(parse_qsl(incoming.body.decode("utf-8", "replace"), keep_blank_values=True))
    if isinstance(fields.get("msg"), str):
        # Text that is not valid JSON stays text, so the check of the fields refuses it.
        with suppress(*_UNREADABLE):
            fields["msg"] = msgspec.json.decode(fields["msg"])
    return fields
