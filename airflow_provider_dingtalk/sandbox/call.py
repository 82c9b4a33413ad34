"""Parsed request to one API, and the handler that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from airflow_provider_dingtalk.client.endpoints import Endpoint, Host, Idempotency, name_of
from airflow_provider_dingtalk.sandbox.api_errors import PARAM_INVALID, ApiError, LegacyApiError
from airflow_provider_dingtalk.sandbox.faults import Rule
from airflow_provider_dingtalk.sandbox.state import App, Key, Message, ServerState

TOKEN_HEADER = b"x-acs-dingtalk-access-token"
#: Fields that name one message.
ONE_KEY = frozenset({"processQueryKey", "openDingId", "task_id", "msg_task_id"})

#: Errors of a text that is not JSON, not UTF-8, or nested too deeply.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class RawRequest:
    """HTTP request as received."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Call:
    """Request to one API."""

    state: ServerState
    endpoint: type[Endpoint[Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    app: App | None = None  # App that the token belongs to; None if no token is needed
    request: Any = None  # Fields as the endpoint's struct, once they are checked
    rules: list[Rule] = field(default_factory=list)  # Rules of the faults that apply to this call

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
        return len(keys) if isinstance(keys, list) else int(not ONE_KEY.isdisjoint(self.fields))

    def deliver(self, kind: str, key: Key, **fields: Any) -> Key:
        """Add a message that the calling app sends now, and return its key."""
        message = Message(kind=kind, key=key, client_id=self.client.client_id, sent_at=self.state.time(), **fields)
        return self.state.deliver(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """Implementation of one API.

    :param run: Function that applies the call's effect and returns the JSON of the response.
    :param missing: Code for an absent or empty field, by field; default a bad parameter.
    :param empty: Code for an empty field where the page distinguishes it from an absent one, by field.
    :param too_many: Maximum length of a list and the code for a longer one, by field.
    """

    run: Callable[[Call], dict[str, Any]]
    missing: Mapping[str, str] = field(default_factory=dict)
    empty: Mapping[str, str] = field(default_factory=dict)
    too_many: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageType:
    """Type of message with the handlers of its APIs.

    :param kind: Name of the type in the control API.
    :param new_key: Function that makes the key of a new message.
    :param default_conversation: Id of the conversation in the default organisation; None for messages to people.
    :param sent_by_agent: The sender is the agent of an app, not a robot; default False.
    """

    kind: str
    handlers: Mapping[type[Endpoint[Any]], Handler]
    new_key: Callable[[ServerState], Key] = ServerState.random_key
    default_conversation: str | None = None
    sent_by_agent: bool = False


def read_fields(call: Call, raw: RawRequest) -> None:
    """Set the fields and token of a call from the received request.

    :raises ApiError: If the host does not accept the body.
    """
    query: dict[str, Any] = dict(parse_qsl(raw.query, keep_blank_values=True))
    if not call.old_host:
        call.token = raw.headers.get(TOKEN_HEADER, b"").decode("latin-1") or None
        call.fields = query if raw.method == "GET" else _json_object(raw.body or b"{}", _body_error(call))
        return
    # The gateway checks the token first, so an unreadable body must not hide it.
    call.token = query.pop("access_token", "") or None
    body = _old_body(raw)
    in_body = body.pop("access_token", None)
    call.token = call.token or (str(in_body) if in_body else None)
    call.fields = {**body, **query}


def _json_object(body: bytes, error: ApiError) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except _UNREADABLE as cause:
        raise error from cause


def _body_error(call: Call) -> ApiError:
    # The pages of the sends name a different code for it.
    sends_template = call.endpoint.http.idempotency is Idempotency.SEND and "Messages" in call.api
    code = "invalidParameter.msgBody.invalid" if sends_template else PARAM_INVALID
    return ApiError(code, "the body is not a JSON object")


def _old_body(raw: RawRequest) -> dict[str, Any]:
    """Parse a form or JSON; the old host accepts both (observed by others)."""
    is_form = b"form-urlencoded" in raw.headers.get(b"content-type", b"")
    if not is_form and raw.body.lstrip().startswith(b"{"):
        return _json_object(raw.body, LegacyApiError(40035, "the body is not a JSON object"))
    fields: dict[str, Any] = dict(parse_qsl(raw.body.decode("utf-8", "replace"), keep_blank_values=True))
    if isinstance(fields.get("msg"), str):
        # Text that is not valid JSON stays text, so the check of the fields refuses it.
        with suppress(*_UNREADABLE):
            fields["msg"] = msgspec.json.decode(fields["msg"])
    return fields
