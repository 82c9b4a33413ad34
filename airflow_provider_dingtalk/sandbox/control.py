"""Control API ``/_sandbox/`` for snapshots, clock, messages and faults, without a login."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_dingtalk.sandbox import control_requests as c
from airflow_provider_dingtalk.sandbox.chats import chats
from airflow_provider_dingtalk.sandbox.guard import read_body
from airflow_provider_dingtalk.sandbox.limits import MAX_RULES, LimitError, check
from airflow_provider_dingtalk.sandbox.state import ServerState
from airflow_provider_dingtalk.sandbox.tokens import revoke_all

#: Function of the state, the query parameters and the body; its result is the JSON of the response.
Action = Callable[[ServerState, Mapping[str, str], bytes], Any]


def control_routes(state: ServerState) -> list[Route]:
    """Create the routes of the control API for a sandbox state."""
    return [Route(path, _handler(state, action), methods=[method]) for (method, path), action in _ACTIONS.items()]


def _handler(state: ServerState, action: Action) -> Callable[[Request], Any]:
    async def handler(request: Request) -> Response:
        try:
            result, status = action(state, request.query_params, await read_body(request)), 200
        except LimitError as error:
            result, status = error.body(), error.status
        except RecursionError:
            result, status = {"error": "Invalid body: JSON is nested too deeply"}, 400
        except (msgspec.MsgspecError, ValueError, LookupError) as error:
            result, status = {"error": str(error)}, 400
        except ClientDisconnect:
            return Response(status_code=400)
        return _response(result, status)

    return handler


def _response(result: Any, status: int) -> Response:
    """Return JSON, and close the connection if the rest of the body was not read."""
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    headers |= {"connection": "close"} if status == 413 else {}
    return Response(msgspec.json.encode(result), status, headers, "application/json")


def _parsed(type_: Any, change: Callable[[ServerState, Any], Any]) -> Action:
    """Return an action that parses the body before it changes the state."""
    return lambda state, query, body: change(state, msgspec.json.decode(body, type=type_))


def _journal(state: ServerState, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the requests with a number above ``since``, in order of their responses; the last ``limit`` of them."""
    since, limit = int(query.get("since", "0")), int(query.get("limit", "20000"))
    newest = (entry for entry in reversed(list(state.journal.entries)) if entry.seq > since)
    return {"requests": list(islice(newest, max(0, limit)))[::-1]}


def _reset(state: ServerState, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    state.reset()
    return state.snapshot(brief=True)


def _put_faults(state: ServerState, given: Any) -> dict[str, Any]:
    rules = _rules(given)
    check("faults", len(rules), MAX_RULES, "rules")
    state.faults.replace(rules)
    return {"faults": state.faults.rules}


def _post_faults(state: ServerState, given: Any) -> dict[str, Any]:
    rules = _rules(given)
    check("faults", len(state.faults.rules) + len(rules), MAX_RULES, "rules")
    state.faults.add(*rules)
    return {"faults": state.faults.rules}


def _delete_faults(state: ServerState, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Remove all rules and return them with their counts."""
    rules = state.faults.rules
    state.faults.replace([])
    return {"faults": rules}


def _rules(given: Any) -> list[Any]:
    """List the rules of one rule, a list of rules, or ``{"faults": [...]}`` from ``GET``."""
    if isinstance(given, dict):
        given = given.get("faults", [given])
    return given if isinstance(given, list) else [given]


def _change_behaviour(state: ServerState, changes: dict[str, Any]) -> Any:
    state.behaviour = state.behaviour.changed(changes)
    return state.behaviour


_ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", "/truth"): lambda state, query, body: state.snapshot(brief=query.get("brief") in ("1", "true")),
    ("GET", "/chats"): lambda state, query, body: chats(state),
    ("GET", "/journal"): _journal,
    ("POST", "/reset"): _reset,
    ("GET", "/faults"): lambda state, query, body: {"faults": state.faults.rules},
    ("PUT", "/faults"): _parsed(Any, _put_faults),
    ("POST", "/faults"): _parsed(Any, _post_faults),
    ("DELETE", "/faults"): _delete_faults,
    ("GET", "/clock"): lambda state, query, body: c.clock(state),
    ("POST", "/clock"): _parsed(c.AdvanceClock, c.advance_clock),
    ("GET", "/behaviour"): lambda state, query, body: state.behaviour,
    ("PUT", "/behaviour"): _parsed(dict[str, Any], _change_behaviour),
    ("POST", "/tokens/revoke"): lambda state, query, body: {"revoked": revoke_all(state)},
    ("POST", "/read"): _parsed(c.MarkRead, c.mark_read),
    ("POST", "/recall"): _parsed(c.RecallMessage, c.recall_message),
    ("POST", "/plant"): _parsed(c.CreateMessages, c.create_messages),
    ("POST", "/conversations"): _parsed(dict[str, Any], c.set_conversation),
    ("POST", "/people"): _parsed(c.SetPeople, c.set_people),
    ("POST", "/robots"): _parsed(dict[str, Any], c.set_robot),
}
