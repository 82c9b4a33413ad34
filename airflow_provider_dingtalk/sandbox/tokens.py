"""Access tokens, issued for credentials and checked at every other call.

They expire after ``token_seconds``, by default two hours.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from airflow_provider_dingtalk.client.endpoints import Endpoint, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.sandbox.api_errors import DEAD_TOKEN, MISSING_TOKEN, ApiError
from airflow_provider_dingtalk.sandbox.call import Call, Handler
from airflow_provider_dingtalk.sandbox.state import App, Grant, ServerState


def access_token(call: Call) -> dict[str, Any]:
    """Return the token of an internal app.

    Until it expires, a call returns the same token and extends its life (documented).
    """
    request, state = call.request, call.state
    app = state.apps.get(request.app_key)
    if app is None or app.kind != "internal" or app.client_secret != request.app_secret:
        raise ApiError("invalidClientIdOrSecret", "无效的clientId或者clientSecret")
    current = state.current_tokens.get((app.client_id, ""), "")
    grant = state.tokens.get(current)
    if grant is None or grant.expires_at <= state.time():
        return _grant(state, app, "")
    grant.expires_at = state.time() + state.behaviour.token_seconds
    return {"accessToken": current, "expireIn": state.behaviour.token_seconds}


def corp_access_token(call: Call) -> dict[str, Any]:
    """Return a token of a third-party app for one organisation.

    Each call returns a new token (documented). A wrong secret is refused like a wrong key (our choice, because the
    page has no other code).
    """
    request, state = call.request, call.state
    app = state.apps.get(request.suite_key)
    if app is None or app.kind != "third_party" or app.client_secret != request.suite_secret:
        raise ApiError("invalidSuiteKey", "suitekey不合法")
    if app.suite_ticket not in (None, request.suite_ticket):
        raise ApiError("invalidSuiteTicket", "suiteTicket无效")
    if request.auth_corp_id not in app.corp_ids:
        raise ApiError("invalidAuthInfo", "授权关系不存在")
    if state.behaviour.corp_token_renewal == "revokes_old":
        state.tokens.pop(state.current_tokens.get((app.client_id, request.auth_corp_id), ""), None)
    return _grant(state, app, request.auth_corp_id)


def _grant(state: ServerState, app: App, corp_id: str) -> dict[str, Any]:
    token, seconds = state.new_token(), state.behaviour.token_seconds
    state.tokens[token] = Grant(app.client_id, state.time() + seconds)
    state.current_tokens[(app.client_id, corp_id)] = token
    return {"accessToken": token, "expireIn": seconds}


def app_of(call: Call) -> App:
    """Return the app of a call's token.

    A token is valid for both hosts (observed by others).

    :raises ApiError: If there is no token, or it is unknown, revoked or expired.
    """
    state = call.state
    if call.token is None:
        raise MISSING_TOKEN.on(old_host=call.old_host)
    grant = state.tokens.get(call.token)
    if grant is None or grant.expires_at <= state.time() or grant.client_id not in state.apps:
        code, status = state.behaviour.dead_token_code, state.behaviour.dead_token_status
        raise replace(DEAD_TOKEN, code=code, status=status).on(old_host=call.old_host)
    return state.apps[grant.client_id]


def revoke_all(state: ServerState) -> int:
    """Revoke all tokens and return their number."""
    count = len(state.tokens)
    state.tokens.clear()
    state.current_tokens.clear()
    return count


_BAD_CREDENTIALS = dict.fromkeys(("appKey", "appSecret"), "invalidClientIdOrSecret")
_BAD_SUITE = dict.fromkeys(("suiteKey", "suiteSecret"), "invalidSuiteKey")

HANDLERS: dict[type[Endpoint[Any]], Handler] = {
    GetAccessToken: Handler(run=access_token, missing=_BAD_CREDENTIALS),
    GetCorpAccessToken: Handler(
        run=corp_access_token,
        missing={**_BAD_SUITE, "suiteTicket": "invalidSuiteTicket", "authCorpId": "invalidAuthInfo"},
    ),
}
