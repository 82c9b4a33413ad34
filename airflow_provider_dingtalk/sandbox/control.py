"""Control API ``/_sandbox/`` for snapshots, clock, messages and faults, without a login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_dingtalk.sandbox import views
from airflow_provider_dingtalk.sandbox.control_requests import (
    CreateMessages,
    MarkRead,
    SetConversation,
    SetPeople,
    SetRobot,
    create_messages,
    mark_read,
    set_conversation,
    set_people,
    set_robot,
)
from airflow_provider_dingtalk.sandbox.state import ServerState
from airflow_provider_dingtalk.sandbox.tokens import revoke_all


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Control request that moves the clock.

    :param advance: Seconds to move it by; negative moves it back.
    """

    advance: float


Action = Callable[[ServerState, Request, bytes], Any]


def control_routes(state: ServerState) -> list[Route]:
    """Create the routes of the control API for a sandbox state."""
    routes: list[tuple[str, str, Action]] = [
        ("GET", "/truth", lambda w, r, b: views.state_snapshot(w, brief=r.query_params.get("brief") in ("1", "true"))),
        ("GET", "/journal", lambda w, r, b: views.journal(w, int(r.query_params.get("since", "0")))),
        ("POST", "/reset", _reset),
        ("GET", "/faults", lambda w, r, b: {"faults": w.faults.rules}),
        ("PUT", "/faults", _put_faults),
        ("POST", "/faults", _post_faults),
        ("DELETE", "/faults", _delete_faults),
        ("GET", "/clock", lambda w, r, b: _clock(w)),
        ("POST", "/clock", _advance),
        ("GET", "/behaviour", lambda w, r, b: w.behaviour),
        ("PUT", "/behaviour", _behave),
        ("POST", "/tokens/revoke", lambda w, r, b: {"revoked": revoke_all(w)}),
        ("POST", "/read", lambda w, r, b: mark_read(w, msgspec.json.decode(b, type=MarkRead))),
        ("POST", "/plant", lambda w, r, b: create_messages(w, msgspec.json.decode(b, type=CreateMessages))),
        ("POST", "/conversations", lambda w, r, b: set_conversation(w, _decode(b, SetConversation))),
        ("POST", "/people", lambda w, r, b: set_people(w, _decode(b, SetPeople))),
        ("POST", "/robots", lambda w, r, b: set_robot(w, _decode(b, SetRobot))),
    ]
    return [Route(path, _handler(state, action), methods=[method]) for method, path, action in routes]


def _handler(state: ServerState, action: Action) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            done, status = action(state, request, await request.body()), 200
        except (msgspec.MsgspecError, ValueError, LookupError) as error:
            done, status = {"error": str(error)}, 400
        return Response(msgspec.json.encode(done), status, media_type="application/json")

    return handler


def _decode(body: bytes, type_: type[Any]) -> Any:
    return msgspec.json.decode(body, type=type_)


def _reset(state: ServerState, request: Request, body: bytes) -> dict[str, Any]:
    state.reset()
    return views.state_snapshot(state, brief=True)


def _put_faults(state: ServerState, request: Request, body: bytes) -> dict[str, Any]:
    state.faults.replace(_rules(body))
    return {"faults": state.faults.rules}


def _post_faults(state: ServerState, request: Request, body: bytes) -> dict[str, Any]:
    state.faults.add(*_rules(body))
    return {"faults": state.faults.rules}


def _delete_faults(state: ServerState, request: Request, body: bytes) -> dict[str, Any]:
    """Remove all rules and return them with their counts."""
    rules = state.faults.rules
    state.faults.replace([])
    return {"faults": rules}


def _rules(body: bytes) -> list[Any]:
    """Parse one rule, a list of rules, or ``{"faults": [...]}`` from ``GET``."""
    given = msgspec.json.decode(body)
    if isinstance(given, dict):
        given = given.get("faults", [given])
    return given if isinstance(given, list) else [given]


def _clock(state: ServerState) -> dict[str, float]:
    return {"time": state.time(), "offset": state.clock_offset}


def _advance(state: ServerState, request: Request, body: bytes) -> dict[str, float]:
    state.clock_offset += msgspec.json.decode(body, type=Advance).advance
    return _clock(state)


def _behave(state: ServerState, request: Request, body: bytes) -> Any:
    state.behaviour = state.behaviour.changed(msgspec.json.decode(body, type=dict[str, Any]))
    return state.behaviour
