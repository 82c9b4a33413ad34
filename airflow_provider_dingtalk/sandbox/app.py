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
    ding,
    mischief,
    query,
    recall,
    refusals,
    send,
    tokens,
    wire,
    work_notification,
)
from airflow_provider_dingtalk.sandbox.answers import OK, Answer, Cut, Gone, good, refused
from airflow_provider_dingtalk.sandbox.call import Call, Incoming, read_fields
from airflow_provider_dingtalk.sandbox.checks import checked
from airflow_provider_dingtalk.sandbox.console import console_routes
from airflow_provider_dingtalk.sandbox.control import control_routes
from airflow_provider_dingtalk.sandbox.faults import Trickle, Truncate, actions
from airflow_provider_dingtalk.sandbox.journal import Calls, Entry, hashed
from airflow_provider_dingtalk.sandbox.refusals import Refusal
from airflow_provider_dingtalk.sandbox.state import World

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


def create_app(world: World) -> Starlette:
    """Create the application for a sandbox state.

    It serves every API of ``endpoints.ENDPOINTS``, and ``/_sandbox/`` with its page.
    """
    control = Mount("/_sandbox", routes=[*console_routes(), *control_routes(world)])
    return Starlette(routes=[control, Route("/{path:path}", Platform(world))])


class Platform:
    """ASGI application of DingTalk's open platform."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.endpoints = {(api.http.method, api.http.path): api for api in e.ENDPOINTS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        incoming = await _read(scope, receive)
        endpoint = self.endpoints.get((incoming.method, incoming.path))
        if endpoint is None:
            await self._no_such_path(incoming, send)
            return
        call = Call(world=self.world, endpoint=endpoint)
        seq, calls = self.world.journal.arrive(call.api)
        call.rules = self.world.faults.striking(call.api, self.world.rng)
        try:
            answer = await self._answer(call, incoming, receive)
        except Cut as drop:
            self._note(call, seq, calls, None)
            await wire.cut(scope, receive, reset=drop.reset)
            return
        except Gone:
            self._note(call, seq, calls, None)
            return
        self._note(call, seq, calls, answer)
        await _respond(call, answer, scope, receive, send)

    async def _no_such_path(self, incoming: Incoming, send: Send) -> None:
        # Both hosts share the port, so only the path names the host.
        refusal = refusals.no_such_path(old_host=not incoming.path.startswith(("/v1.0", "/v2.0")))
        seq, calls = self.world.journal.arrive("?")
        calls.refused += 1
        now = self.world.time()
        entry = Entry(seq=seq, time=now, api=incoming.path[:200], status=refusal.status, code=refusal.code, keys=0)
        self.world.journal.write(entry)
        await _start(refused(refusal, self.world.request_id()), send)

    async def _answer(self, call: Call, incoming: Incoming, receive: Receive) -> Answer:
        """Return the answer to a call, with its faults applied."""
        unreadable = None
        try:
            read_fields(call, incoming)
        except Refusal as refusal:
            unreadable = refusal
        if call.rules and (injected := await mischief.strike(call, "before", receive)) is not None:
            return injected
        try:
            answer = good(self._carry_out(call, unreadable))
        except Refusal as refusal:
            answer = refused(refusal, self.world.request_id())
        if not call.rules:
            return answer
        return await mischief.strike(call, "after", receive) or mischief.spoil(call, answer)

    def _carry_out(self, call: Call, unreadable: Refusal | None) -> dict[str, Any]:
        """Pass a call through gateway and checks, and apply its effect."""
        behaviour, now = self.world.behaviour, self.world.time()
        if call.endpoint.http.auth is not e.Auth.NONE:
            call.app = tokens.app_of(call)
        client_id = call.app.client_id if call.app else "anonymous"
        metered = call.app is not None or behaviour.throttle_tokens
        if metered and not self.world.meter.lets_through(behaviour, client_id, call.api, now):
            raise refusals.throttled(old_host=call.old_host)
        if call.app is not None and not self.world.meter.month_allows(behaviour, now):
            raise refusals.month_used_up(old_host=call.old_host)
        if unreadable is not None:
            raise unreadable
        call.request = checked(call)
        return HANDLERS[call.endpoint](call)

    def _note(self, call: Call, seq: int, calls: Calls, answer: Answer | None) -> None:
        """Write a call to the journal, without ``answer`` for a cut connection."""
        if answer is None:
            calls.cut += 1
        else:
            calls.refused += answer.code != OK
            calls.throttled += answer.throttled
            calls.cut += any(True for _ in actions(call.rules, Truncate))
        entry = Entry(
            seq=seq,
            time=self.world.time(),
            api=call.api,
            status=answer.status if answer else 0,
            code=answer.code if answer else "cut",
            keys=call.key_count(),
            token=hashed(call.token),
            faults=tuple(rule.action.type for rule in call.rules),
        )
        self.world.journal.write(entry)


async def _read(scope: Scope, receive: Receive) -> Incoming:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    query = scope["query_string"].decode("latin-1")
    return Incoming(scope["method"], scope["path"], query, dict(scope["headers"]), b"".join(parts))


async def _start(answer: Answer, send: Send, body: bytes | None = None) -> None:
    """Send an answer's head and ``body``, by default the whole body."""
    headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body))), *answer.headers]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    whole = body is None
    await send({"type": "http.response.body", "body": answer.body if whole else body, "more_body": not whole})


async def _respond(call: Call, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer, slowly or partly if a fault applies."""
    for truncate in actions(call.rules, Truncate):
        await _start(answer, send, answer.body[: truncate.bytes])
        await wire.cut(scope, receive, flush=True)
        return
    for trickle in actions(call.rules, Trickle):
        await _start(answer, send, b"")
        size = max(1, int(trickle.bytes_per_second / TRICKLE_STEPS))
        for begin in range(0, len(answer.body), size):
            if await wire.client_gone(receive, size / trickle.bytes_per_second):
                return
            part = answer.body[begin : begin + size]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await _start(answer, send)
