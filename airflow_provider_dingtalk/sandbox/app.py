"""ASGI application with DingTalk's two hosts and the control API.

All of them share one port.

A call first passes DingTalk's gateway (token, calls per second, calls per month). It then passes the checks of its
page and takes effect. Faults apply before all these steps, or after them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.sandbox import (
    api_errors,
    ding,
    fault_injection,
    query,
    recall,
    send,
    tokens,
    wire,
    work_notification,
)
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call, Incoming, read_fields
from airflow_provider_dingtalk.sandbox.checks import checked
from airflow_provider_dingtalk.sandbox.console import console_routes
from airflow_provider_dingtalk.sandbox.control import control_routes
from airflow_provider_dingtalk.sandbox.faults import Trickle, Truncate, actions
from airflow_provider_dingtalk.sandbox.journal import Calls, Entry, hashed
from airflow_provider_dingtalk.sandbox.responses import (
    OK,
    ApiResponse,
    ClientDisconnected,
    DropConnection,
    error_response,
    json_response,
)
from airflow_provider_dingtalk.sandbox.state import ServerState

Handler = Callable[[Call], dict[str, Any]]

HANDLERS: dict[type[e.Endpoint[Any]], Handler] = {
    e.RecallGroupMessages: recall.recall_group,
    e.RecallOtoMessages: recall.recall_oto,
    e.RecallPrivateChatMessages: recall.recall_private_chat,
    e.RecallWorkNotification: work_notification.recall_work_notification,
    e.RecallDing: ding.recall_ding,
    e.QueryGroupMessage: query.query_group,
    e.QueryPrivateChatMessage: query.query_private_chat,
    e.QueryOtoMessage: query.query_oto,
    e.GetWorkNotificationProgress: work_notification.progress,
    e.GetWorkNotificationResult: work_notification.result,
    e.SendGroupMessage: send.send_group,
    e.SendOtoMessages: send.send_oto,
    e.SendPrivateChatMessage: send.send_private_chat,
    e.SendWorkNotification: work_notification.send_work_notification,
    e.SendDing: ding.send_ding,
    e.GetAccessToken: tokens.access_token,
    e.GetCorpAccessToken: tokens.corp_access_token,
}

#: Number of parts a second in which a trickling body is sent.
TRICKLE_STEPS = 10


def create_app(state: ServerState) -> Starlette:
    """Create the application for a sandbox state.

    It serves every API of ``endpoints.ENDPOINTS``, and ``/_sandbox/`` with its page.
    """
    control = Mount("/_sandbox", routes=[*console_routes(), *control_routes(state)])
    return Starlette(routes=[control, Route("/{path:path}", Platform(state))])


class Platform:
    """ASGI application of DingTalk's open platform."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.endpoints = {(api.http.method, api.http.path): api for api in e.ENDPOINTS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        incoming = await _read(scope, receive)
        endpoint = self.endpoints.get((incoming.method, incoming.path))
        if endpoint is None:
            await self._no_such_path(incoming, send)
            return
        call = Call(state=self.state, endpoint=endpoint)
        seq, calls = self.state.journal.arrive(call.api)
        call.rules = self.state.faults.rules_for(call.api, self.state.rng)
        try:
            response = await self._answer(call, incoming, receive)
        except DropConnection as drop:
            self._note(call, seq, calls, None)
            await wire.cut(scope, receive, reset=drop.reset)
            return
        except ClientDisconnected:
            self._note(call, seq, calls, None)
            return
        self._note(call, seq, calls, response)
        await _respond(call, response, scope, receive, send)

    async def _no_such_path(self, incoming: Incoming, send: Send) -> None:
        # Both hosts share the port, so only the path names the host.
        error = api_errors.no_such_path(old_host=not incoming.path.startswith(("/v1.0", "/v2.0")))
        seq, calls = self.state.journal.arrive("?")
        calls.refused += 1
        now = self.state.time()
        entry = Entry(seq=seq, time=now, api=incoming.path[:200], status=error.status, code=error.code, keys=0)
        self.state.journal.write(entry)
        await _start(error_response(error, self.state.request_id()), send)

    async def _answer(self, call: Call, incoming: Incoming, receive: Receive) -> ApiResponse:
        """Return the answer to a call, with its faults applied."""
        unreadable = None
        try:
            read_fields(call, incoming)
        except ApiError as error:
            unreadable = error
        if call.rules and (injected := await fault_injection.apply(call, "before", receive)) is not None:
            return injected
        try:
            response = json_response(self._carry_out(call, unreadable))
        except ApiError as error:
            response = error_response(error, self.state.request_id())
        if not call.rules:
            return response
        return await fault_injection.apply(call, "after", receive) or fault_injection.change_response(call, response)

    def _carry_out(self, call: Call, unreadable: ApiError | None) -> dict[str, Any]:
        """Pass a call through gateway and checks, and apply its effect."""
        behaviour, now = self.state.behaviour, self.state.time()
        if call.endpoint.http.auth is not e.Auth.NONE:
            call.app = tokens.app_of(call)
        client_id = call.app.client_id if call.app else "anonymous"
        metered = call.app is not None or behaviour.throttle_tokens
        if metered and not self.state.meter.allows_call(behaviour, client_id, call.api, now):
            raise api_errors.throttled(old_host=call.old_host)
        if call.app is not None and not self.state.meter.allows_month(behaviour, now):
            raise api_errors.month_used_up(old_host=call.old_host)
        if unreadable is not None:
            raise unreadable
        call.request = checked(call)
        return HANDLERS[call.endpoint](call)

    def _note(self, call: Call, seq: int, calls: Calls, response: ApiResponse | None) -> None:
        """Write a call to the journal, without ``response`` for a cut connection."""
        if response is None:
            calls.cut += 1
        else:
            calls.refused += response.code != OK
            calls.throttled += response.throttled
            calls.cut += any(True for _ in actions(call.rules, Truncate))
        entry = Entry(
            seq=seq,
            time=self.state.time(),
            api=call.api,
            status=response.status if response else 0,
            code=response.code if response else "cut",
            keys=call.key_count(),
            token=hashed(call.token),
            faults=tuple(rule.action.type for rule in call.rules),
        )
        self.state.journal.write(entry)


async def _read(scope: Scope, receive: Receive) -> Incoming:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    query = scope["query_string"].decode("latin-1")
    return Incoming(scope["method"], scope["path"], query, dict(scope["headers"]), b"".join(parts))


async def _start(response: ApiResponse, send: Send, body: bytes | None = None) -> None:
    """Send an answer's head and ``body``, by default the whole body."""
    headers = [("content-type", response.content_type), ("content-length", str(len(response.body))), *response.headers]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    whole = body is None
    await send({"type": "http.response.body", "body": response.body if whole else body, "more_body": not whole})


async def _respond(call: Call, response: ApiResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer, slowly or partly if a fault applies."""
    for truncate in actions(call.rules, Truncate):
        await _start(response, send, response.body[: truncate.bytes])
        await wire.cut(scope, receive, flush=True)
        return
    for trickle in actions(call.rules, Trickle):
        await _start(response, send, b"")
        size = max(1, int(trickle.bytes_per_second / TRICKLE_STEPS))
        for begin in range(0, len(response.body), size):
            if await wire.client_disconnected(receive, size / trickle.bytes_per_second):
                return
            part = response.body[begin : begin + size]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await _start(response, send)
