"""Parsed request to one API, and the handler that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from airflow_provider_dingtalk.client.endpoints import Endpoint, Host, Idempotency, name_of
from airflow_provider_dingtalk.sandbox.api_errors import PARAM_INVALID, ApiError, LegacyApiError
from airflow_provider_dingtalk.sandbox.faults import Rule
from airflow_provider_dingtalk.sandbox.state import App, Key, Message, ServerState

TOKEN_HEADER = "x-acs-dingtalk-access-token"
#: Fields that name one message.
ONE_KEY = frozenset({"processQueryKey", "openDingId", "task_id", "msg_task_id"})

#: Errors of a text that is not JSON, not UTF-8, or nested too deeply.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(slots=True, kw_only=True)
class Call:
    """Request to one API."""

    state: ServerState
    endpoint: type[Endpoint[Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    app: App | None = None  # App that the token belongs to; None if no token is needed
    request: Any = None  # Fields as the endpoint's struct, once they are checked
    cost: int = 0  # Calls that the monthly quota counts for it
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


def read_fields(call: Call, request: Request, body: bytes) -> None:
    """Set the fields and token of a call from the received request.

    :raises ApiError: If the host does not accept the body.
    """
    query: dict[str, Any] = dict(request.query_params)
    if not call.old_host:
        call.token = request.headers.get(TOKEN_HEADER) or None
        call.fields = query if request.method == "GET" else _json_object(body or b"{}", _body_error(call))
        return
    # The gateway checks the token first, so an unreadable body must not hide it.
    call.token = query.pop("access_token", "") or None
    fields = _old_body(request, body)
    in_body = fields.pop("access_token", None)
    call.token = call.token or (str(in_body) if in_body else None)
    call.fields = fields | query


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


def _old_body(request: Request, body: bytes) -> dict[str, Any]:
    """Parse a form or JSON; the old host accepts both (observed by others)."""
    is_form = "form-urlencoded" in request.headers.get("content-type", "")
    if not is_form and body.lstrip().startswith(b"{"):
        return _json_object(body, LegacyApiError(40035, "the body is not a JSON object"))
    fields: dict[str, Any] = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if isinstance(fields.get("msg"), str):
        # Text that is not valid JSON stays text, so the check of the fields refuses it.
        with suppress(*_UNREADABLE):
            fields["msg"] = msgspec.json.decode(fields["msg"])
    return fields
