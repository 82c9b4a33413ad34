"""Control API ``/_sandbox/`` for snapshots, clock, messages and faults, without a login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_dingtalk.sandbox import views
from airflow_provider_dingtalk.sandbox.orders import (
    ConversationOrder,
    PeopleOrder,
    Plant,
    Read,
    RobotOrder,
    make_conversation,
    make_people,
    plant,
    read,
    set_robot,
)
from airflow_provider_dingtalk.sandbox.state import World
from airflow_provider_dingtalk.sandbox.tokens import revoke_all


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Control request that moves the clock.

    :param advance: Seconds to move it by; negative moves it back.
    """

    advance: float


Work = Callable[[World, Request, bytes], Any]


def control_routes(world: World) -> list[Route]:
    """Create the routes of the control API for a sandbox state."""
    doors: list[tuple[str, str, Work]] = [
        ("GET", "/truth", lambda w, r, b: views.truth(w, brief=r.query_params.get("brief") in ("1", "true"))),
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
        ("POST", "/read", lambda w, r, b: read(w, msgspec.json.decode(b, type=Read))),
        ("POST", "/plant", lambda w, r, b: plant(w, msgspec.json.decode(b, type=Plant))),
        ("POST", "/conversations", lambda w, r, b: make_conversation(w, _decode(b, ConversationOrder))),
        ("POST", "/people", lambda w, r, b: make_people(w, _decode(b, PeopleOrder))),
        ("POST", "/robots", lambda w, r, b: set_robot(w, _decode(b, RobotOrder))),
    ]
    return [Route(path, _door(world, work), methods=[method]) for method, path, work in doors]


def _door(world: World, work: Work) -> Callable[[Request], Any]:
    async def door(request: Request) -> Response:
        try:
            done, status = work(world, request, await request.body()), 200
        except (msgspec.MsgspecError, ValueError, LookupError) as error:
            done, status = {"error": str(error)}, 400
        return Response(msgspec.json.encode(done), status, media_type="application/json")

    return door


def _decode(body: bytes, order: type[Any]) -> Any:
    return msgspec.json.decode(body, type=order)


def _reset(world: World, request: Request, body: bytes) -> dict[str, Any]:
    world.reset()
    return views.truth(world, brief=True)


def _put_faults(world: World, request: Request, body: bytes) -> dict[str, Any]:
    world.faults.replace(_rules(body))
    return {"faults": world.faults.rules}


def _post_faults(world: World, request: Request, body: bytes) -> dict[str, Any]:
    world.faults.add(*_rules(body))
    return {"faults": world.faults.rules}


def _delete_faults(world: World, request: Request, body: bytes) -> dict[str, Any]:
    """Remove all rules and return them with their counts."""
    rules = world.faults.rules
    world.faults.replace([])
    return {"faults": rules}


def _rules(body: bytes) -> list[Any]:
    """Parse one rule, a list of rules, or ``{"faults": [...]}`` from ``GET``."""
    given = msgspec.json.decode(body)
    if isinstance(given, dict):
        given = given.get("faults", [given])
    return given if isinstance(given, list) else [given]


def _clock(world: World) -> dict[str, float]:
    return {"time": world.time(), "offset": world.clock_offset}


def _advance(world: World, request: Request, body: bytes) -> dict[str, float]:
    world.clock_offset += msgspec.json.decode(body, type=Advance).advance
    return _clock(world)


def _behave(world: World, request: Request, body: bytes) -> Any:
    world.behaviour = world.behaviour.changed(msgspec.json.decode(body, type=dict[str, Any]))
    return world.behaviour
