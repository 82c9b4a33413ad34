"""One request as the sandbox understands it: its API, its fields, its app, and the faults that strike it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from airflow_provider_dingtalk.api.endpoints import Effect, Endpoint, Host, name_of
from airflow_provider_dingtalk.sandbox.faults import FailKeys, OmitKeys, Partial, PoisonKeys, Rule, actions
from airflow_provider_dingtalk.sandbox.refusals import PARAM_INVALID, OldRefusal, Refusal
from airflow_provider_dingtalk.sandbox.state import App, World

TOKEN_HEADER = b"x-acs-dingtalk-access-token"
#: Fields that name one message.
ONE_KEY = frozenset({"processQueryKey", "openDingId", "task_id", "msg_task_id"})

#: What comes of text that is no JSON, no UTF-8, or nested a thousand deep.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came over the wire."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Call:
    """A request to one API.

    :param app: The app that the token belongs to; absent where no token is needed.
    :param request: The fields as the endpoint's struct, once they are checked.
    :param rules: Faults that strike this call.
    """

    world: World
    endpoint: type[Endpoint[Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    app: App | None = None
    request: Any = None
    rules: list[Rule] = field(default_factory=list)

    @property
    def old_host(self) -> bool:
        """Whether this is an API of the old host."""
        return self.endpoint.http.host is Host.OAPI

    @property
    def api(self) -> str:
        """The path without version."""
        return name_of(self.endpoint)

    @property
    def client(self) -> App:
        """The app that calls; there is one behind every token."""
        if self.app is None:
            raise RuntimeError("the token was not checked")
        return self.app

    def key_count(self) -> int:
        """How many message keys the request names."""
        keys = self.fields.get("processQueryKeys")
        if isinstance(keys, list):
            return len(keys)
        return int(not ONE_KEY.isdisjoint(self.fields))

    # ── What faults want of a recall ──

    def refuse_poisoned(self, keys: list[str]) -> None:
        """Refuse the batch when a fault has poisoned one of its keys."""
        for action in actions(self.rules, PoisonKeys):
            if action.of(keys):
                raise Refusal(action.code, "injected fault")

    def spared(self, keys: list[str]) -> dict[str, str]:
        """Keys that a fault keeps from being recalled, with the reasons to give."""
        return {key: action.reason for action in actions(self.rules, FailKeys) for key in action.of(keys)}

    def forgotten(self, keys: list[str]) -> set[str]:
        """Keys that a fault keeps from being recalled and from being mentioned."""
        return {key for action in actions(self.rules, OmitKeys) if not action.recalled for key in action.of(keys)}

    def only_first(self) -> int | None:
        """How many keys a fault allows to be recalled before the call fails."""
        return min((action.first for action in actions(self.rules, Partial)), default=None)


def read_fields(call: Call, incoming: Incoming) -> None:
    """Set the fields and the token of a call from what came over the wire.

    :raises Refusal: The body is not what the host takes.
    """
    query = dict(parse_qsl(incoming.query, keep_blank_values=True))
    if not call.old_host:
        call.token = incoming.headers.get(TOKEN_HEADER, b"").decode("latin-1") or None
        call.fields = query if incoming.method == "GET" else _json_object(call, incoming.body)
        return
    # The gateway looks for the token before anybody reads the rest.
    call.token = query.pop("access_token", "") or None
    body = _old_body(incoming)
    in_body = body.pop("access_token", None)
    call.token = call.token or (str(in_body) if in_body else None)
    call.fields = {**body, **query}


def _json_object(call: Call, body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except _UNREADABLE as error:
        # The pages of the sends have a code of their own for it.
        sends_template = call.endpoint.http.effect is Effect.SEND and "Messages" in call.api
        code = "invalidParameter.msgBody.invalid" if sends_template else PARAM_INVALID
        raise Refusal(code, "the body is no JSON object") from error


def _old_body(incoming: Incoming) -> dict[str, Any]:
    """The fields of a form or of JSON: the old host takes either (observed by others)."""
    is_form = b"form-urlencoded" in incoming.headers.get(b"content-type", b"")
    if not is_form and incoming.body.lstrip().startswith(b"{"):
        try:
            return msgspec.json.decode(incoming.body, type=dict[str, Any])
        except _UNREADABLE as error:
            raise OldRefusal(40035, "the body is no JSON object") from error
    fields: dict[str, Any] = dict(parse_qsl(incoming.body.decode("utf-8", "replace"), keep_blank_values=True))
    if isinstance(fields.get("msg"), str):
        # Text that is no JSON stays text, and is refused with the other fields.
        with suppress(*_UNREADABLE):
            fields["msg"] = msgspec.json.decode(fields["msg"])
    return fields
