"""ASGI application with DingTalk's two hosts and the control API, which share one port.

A call first passes DingTalk's gateway (token, calls per second, calls per month). It then passes the checks of its
page and takes effect. Faults apply before all these steps, or after them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from airflow_provider_dingtalk.client.endpoints import Auth
from airflow_provider_dingtalk.sandbox import api_errors, connections, fault_injection, tokens
from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.call import Call, read_fields
from airflow_provider_dingtalk.sandbox.checks import checked
from airflow_provider_dingtalk.sandbox.console import console_routes
from airflow_provider_dingtalk.sandbox.control import control_routes
from airflow_provider_dingtalk.sandbox.faults import Trickle, Truncate, actions
from airflow_provider_dingtalk.sandbox.guard import Guard, read_body
from airflow_provider_dingtalk.sandbox.handlers import HANDLERS
from airflow_provider_dingtalk.sandbox.journal import Entry, Journal, hashed
from airflow_provider_dingtalk.sandbox.limits import LimitError
from airflow_provider_dingtalk.sandbox.responses import (
    ApiResponse,
    ClientDisconnected,
    DropConnection,
    error_response,
    json_response,
)
from airflow_provider_dingtalk.sandbox.state import ServerState

#: Number of parts a second in which a trickling body is sent.
TRICKLE_STEPS = 10
ENDPOINTS = {(endpoint.http.method, endpoint.http.path): endpoint for endpoint in HANDLERS}


def create_app(state: ServerState, allowed_hosts: Collection[str] = ()) -> Starlette:
    """Create the application for a sandbox state.

    It serves every API of ``endpoints.ENDPOINTS``, and ``/_sandbox/`` with its page.

    :param allowed_hosts: Host names for ``/_sandbox/`` besides loopback ones; default none. See :class:`.guard.Guard`.
    """
    routes = [*console_routes(), *control_routes(state)]
    control = Mount("/_sandbox", routes=routes, middleware=[Middleware(Guard, allowed_hosts=allowed_hosts)])
    return Starlette(routes=[control, Route("/{path:path}", Platform(state))])


class Platform:
    """ASGI application of DingTalk's open platform."""

    def __init__(self, state: ServerState) -> None:
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        try:
            body = await read_body(request)
        except ClientDisconnect:
            return  # the request did not arrive whole
        except LimitError as error:
            # No page of DingTalk names a limit of its gateway, so the form is our choice.
            too_long = ApiError(api_errors.PARAM_INVALID, str(error), error.status)
            await _start(error_response(too_long, self.state.request_id(), {"connection": "close"}), send)
            return
        endpoint = ENDPOINTS.get((request.method, scope["path"]))
        if endpoint is None:
            await _start(self._no_such_path(scope["path"]), send)
            return
        call = Call(state=self.state, endpoint=endpoint)
        # A reset during the call replaces the journal, and the call belongs to the old one.
        journal = self.state.journal
        entry = journal.arrive(call.api, self.state.time())
        call.rules = self.state.faults.rules_for(call.api, body, self.state.rng)
        try:
            response = await self._respond(call, request, body)
        except (ClientDisconnected, DropConnection) as end:
            _write(journal, entry, call, None)
            if isinstance(end, DropConnection):
                await connections.drop(scope, receive, reset=end.reset)
            return
        _write(journal, entry, call, response)
        await _deliver(call, response, scope, receive, send)

    def _no_such_path(self, path: str) -> ApiResponse:
        entry = self.state.journal.arrive("?", self.state.time())
        response = error_response(api_errors.no_such_path(path), self.state.request_id())
        self.state.journal.write(entry, response)
        entry.api = path[:200]
        return response

    async def _respond(self, call: Call, request: Request, body: bytes) -> ApiResponse:
        """Return the response to a call, with its faults applied."""
        unreadable = None
        try:
            read_fields(call, request, body)
        except ApiError as error:
            unreadable = error
        if injected := await fault_injection.apply(call, "before", request.receive):
            return injected
        try:
            response = json_response(fault_injection.change_result(call, self._carry_out(call, unreadable)))
        except ApiError as error:
            response = error_response(error, self.state.request_id())
        return await fault_injection.apply(call, "after", request.receive) or response

    def _carry_out(self, call: Call, unreadable: ApiError | None) -> dict[str, Any]:
        """Pass a call through gateway and checks, and apply its effect."""
        self._pass_gateway(call)
        if unreadable is not None:
            raise unreadable
        handler = HANDLERS[call.endpoint]
        call.request = checked(call, handler)
        return handler.run(call)

    def _pass_gateway(self, call: Call) -> None:
        state, behaviour, now = self.state, self.state.behaviour, self.state.time()
        if call.endpoint.http.auth is not Auth.NONE:
            call.app = tokens.app_of(call)
        client_id = call.app.client_id if call.app else "anonymous"
        metered = call.app is not None or behaviour.throttle_tokens
        if metered and not state.meter.allows_call(behaviour, client_id, call.api, now):
            raise api_errors.THROTTLED.on(old_host=call.old_host)
        if call.app is not None and not state.meter.allows_month(behaviour, now):
            raise api_errors.MONTH_USED_UP.on(old_host=call.old_host)
        call.cost = int(call.app is not None)


def _write(journal: Journal, entry: Entry, call: Call, response: ApiResponse | None) -> None:
    entry.keys, entry.cost = call.key_count(), call.cost
    entry.token = hashed(call.token)
    entry.faults = tuple(rule.action.type for rule in call.rules)
    journal.write(entry, response, truncated=bool(actions(call.rules, Truncate)))


async def _start(response: ApiResponse, send: Send, body: bytes | None = None) -> None:
    """Send a response's head and ``body``, by default the whole body."""
    headers = [("content-type", response.content_type), ("content-length", str(len(response.body))), *response.headers]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    part = response.body if body is None else body
    await send({"type": "http.response.body", "body": part, "more_body": body is not None})


async def _deliver(call: Call, response: ApiResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response, truncated or slowly if a fault says so."""
    for truncate in actions(call.rules, Truncate):
        await _start(response, send, response.body[: truncate.bytes])
        await connections.drop(scope, receive, flush=True)
        return
    for trickle in actions(call.rules, Trickle):
        await _trickle(response, trickle.bytes_per_second, receive, send)
        return
    await _start(response, send)


async def _trickle(response: ApiResponse, bytes_per_second: float, receive: Receive, send: Send) -> None:
    await _start(response, send, b"")
    size = max(1, int(bytes_per_second / TRICKLE_STEPS))
    for begin in range(0, len(response.body), size):
        if await connections.client_disconnected(receive, size / bytes_per_second):
            return
        part = response.body[begin : begin + size]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
