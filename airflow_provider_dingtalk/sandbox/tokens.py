"""Access tokens, issued for credentials and checked at every other call.

They expire after ``token_seconds``, by default two hours.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.refusals import Refusal, dead_token, missing_token
from airflow_provider_dingtalk.sandbox.state import App, Grant, World


def access_token(call: Call) -> dict[str, Any]:
    """Return the token of an internal app.

    Until it expires, a call returns the same token and extends its life (documented).
    """
    request, world = call.request, call.world
    app = world.apps.get(request.app_key)
    if app is None or app.kind != "internal" or app.client_secret != request.app_secret:
        raise Refusal("invalidClientIdOrSecret", "无效的clientId或者clientSecret")
    current = world.current_tokens.get((app.client_id, ""))
    grant = world.tokens.get(current or "")
    if current is not None and grant is not None and grant.expires_at > world.time():
        grant.expires_at = world.time() + world.behaviour.token_seconds
        return {"accessToken": current, "expireIn": world.behaviour.token_seconds}
    return _grant(world, app, "")


def corp_access_token(call: Call) -> dict[str, Any]:
    """Return a token of a third-party app for one organisation.

    Each call returns a new token (documented). A wrong secret is refused like a wrong key (our choice, because the
    page has no other code).
    """
    request, world = call.request, call.world
    app = world.apps.get(request.suite_key)
    if app is None or app.kind != "third_party" or app.client_secret != request.suite_secret:
        raise Refusal("invalidSuiteKey", "suitekey不合法")
    if app.suite_ticket not in (None, request.suite_ticket):
        raise Refusal("invalidSuiteTicket", "suiteTicket无效")
    if request.auth_corp_id not in app.corp_ids:
        raise Refusal("invalidAuthInfo", "授权关系不存在")
    if world.behaviour.corp_token_renewal == "revokes_old":
        world.tokens.pop(world.current_tokens.get((app.client_id, request.auth_corp_id), ""), None)
    return _grant(world, app, request.auth_corp_id)


def _grant(world: World, app: App, corp_id: str) -> dict[str, Any]:
    token, seconds = world.random_hex(), world.behaviour.token_seconds
    world.tokens[token] = Grant(app.client_id, world.time() + seconds)
    world.current_tokens[(app.client_id, corp_id)] = token
    return {"accessToken": token, "expireIn": seconds}


def app_of(call: Call) -> App:
    """Return the app of a call's token.

    A token is valid for both hosts (observed by others).

    :raises Refusal: If there is no token, or it is unknown, revoked or expired.
    """
    world = call.world
    if call.token is None:
        raise missing_token(old_host=call.old_host)
    grant = world.tokens.get(call.token)
    if grant is None or grant.expires_at <= world.time() or grant.client_id not in world.apps:
        behaviour = world.behaviour
        raise dead_token(old_host=call.old_host, code=behaviour.dead_token_code, status=behaviour.dead_token_status)
    return world.apps[grant.client_id]


def revoke_all(world: World) -> int:
    """Revoke all tokens and return their number."""
    count = len(world.tokens)
    world.tokens.clear()
    world.current_tokens.clear()
    return count
