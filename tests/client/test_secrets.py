"""Secrets stay out of every text, for all errors and all answers."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from rich.pretty import pretty_repr

from airflow_provider_dingtalk.client.auth import App, InternalApp, ThirdPartyApp, Tokens
from airflow_provider_dingtalk.client.endpoints import AccessToken, Endpoint, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    DingTalkError,
)
from tests.clock import VirtualClock
from tests.support.fake_servers import CALLS, OLD_RECALL, RECALL, Answering, api_of, open_client

pytestmark = pytest.mark.anyio
#: It has characters that URLs quote, so its quoted form differs.
TOKEN = "tok/en+5d41402a=&bc4b?%"
SECRET = "app/secret+2a76b971=&"
SUITE_SECRET = "suite/secret+9d911017="
TICKET = "ticket/7c592+="
ONCE = RetryPolicy(tries=1, throttled_tries=1)

INTERNAL = InternalApp(client_id="dingsandbox", client_secret=SECRET)
THIRD_PARTY = ThirdPartyApp(suite_key="suite1", suite_secret=SUITE_SECRET, corp_id="corp1", suite_ticket=lambda: TICKET)


def forms(secret: str) -> Iterator[str]:
    """A secret as it is, quoted for a URL in two ways, escaped for JSON, and in two of base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(secret.encode()).decode()
    yield base64.urlsafe_b64encode(secret.encode()).decode()


def texts_of(error: BaseException) -> str:
    """Everything of an error, and of the errors behind it, that can become text or leave the process."""
    parts: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts += [str(one), repr(one), repr(one.args), repr(vars(one)), *getattr(one, "__notes__", [])]
        parts += [pickle.dumps(one, protocol).decode("latin-1") for protocol in (0, 5)]
        parts += [pretty_repr(vars(one))]
        waiting += [one.__cause__, one.__context__]
    return "\n".join([*parts, *traceback.format_exception(error)])


def assert_clean(text: str, *secrets: str) -> None:
    for secret in secrets:
        for form in forms(secret):
            assert form not in text
            # Nor the half of it that was left when a text was cut.
            assert form[:10] not in text


async def failure(
    answer: Callable[[httpx.Request], httpx.Response], endpoint: Endpoint[Any], app: App
) -> DingTalkError:
    """The error that a call ends with. Calls for a token are answered, unless ``answer`` raises at them."""
    transport = Answering(answer, tokens=(TOKEN,))
    clock = VirtualClock()
    async with open_client(transport=transport, app=app, retry_policy=ONCE, clock=clock) as client:
        with pytest.raises(DingTalkError) as caught:
            await client.call(endpoint)
    assert transport.seen[endpoint.name] >= 1
    return caught.value


def _echo(request: httpx.Request) -> str:
    """Return what a careless server prints about a request: its URL, its token, its body."""
    token = request.headers.get("x-acs-dingtalk-access-token") or request.url.params.get("access_token", "")
    return f"bad call {request.url} with {token}, quoted {quote(token, safe='')}, {quote_plus(token)}"


def _raises(problem: type[httpx.RequestError]) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise problem(_echo(request), request=request)

    return answer


def _os_error(request: httpx.Request) -> httpx.Response:
    raise OSError(5, _echo(request))


def _cut_at(length: int) -> Callable[[httpx.Request], httpx.Response]:
    return lambda r: httpx.Response(400, json={"code": "x", "message": "m" * length + TOKEN})


FAILURES: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "no connection": _raises(httpx.ConnectError),
    "proxy": _raises(httpx.ProxyError),
    "timeout": _raises(httpx.ReadTimeout),
    "cut": _raises(httpx.RemoteProtocolError),
    "our own mistake": _raises(httpx.LocalProtocolError),
    "system": _os_error,
    "message": lambda r: httpx.Response(400, json={"code": "auth.error", "message": _echo(r)}),
    "code": lambda r: httpx.Response(400, json={"code": _echo(r), "message": "m"}),
    "request id": lambda r: httpx.Response(400, json={"code": "x", "requestid": _echo(r)}),
    "errmsg": lambda r: httpx.Response(200, json={"errcode": 400002, "errmsg": _echo(r)}),
    "sub_msg": lambda r: httpx.Response(200, json={"errcode": 88, "sub_code": "60011", "sub_msg": _echo(r)}),
    "sub_code": lambda r: httpx.Response(200, json={"errcode": 88, "sub_code": _echo(r)}),
    "errcode": lambda r: httpx.Response(200, json={"errcode": _echo(r), "request_id": _echo(r)}),
    "throttled": lambda r: httpx.Response(403, json={"code": "Forbidden.AccessDenied.QpsX", "message": _echo(r)}),
    "quota": lambda r: httpx.Response(200, json={"errcode": 90020, "errmsg": _echo(r)}),
    "dead token": lambda r: httpx.Response(400, json={"code": "InvalidAuthentication", "message": _echo(r)}),
    "server error": lambda r: httpx.Response(500, json={"code": "system.error", "message": _echo(r)}),
    "page": lambda r: httpx.Response(200, text=f"<html>{_echo(r)}</html>"),
    "page of a gateway": lambda r: httpx.Response(502, text=f"<html>{_echo(r)}</html>"),
    "text": lambda r: httpx.Response(200, text=_echo(r)),
    "ban": lambda r: httpx.Response(200, json={"status": 1111, "wait": 5, "uuid": _echo(r)}),
    "redirect": lambda r: httpx.Response(302, headers={"location": quote(_echo(r))}),
    "content type": lambda r: httpx.Response(200, text="x", headers={"content-type": quote(_echo(r))}),
    "wrong shape": lambda r: httpx.Response(
        200,
        json={"errcode": None, "successResult": {_echo(r): 1}, "failedResult": {_echo(r): 1}}
        | {"processQueryKey": {_echo(r): 1}, "sendStatus": {_echo(r): 1}},
    ),
    "packed": lambda r: httpx.Response(
        200, stream=httpx.ByteStream(_echo(r).encode()), headers={"content-encoding": "gzip"}
    ),
    "cut after 185 characters": _cut_at(185),
    "cut after 195 characters": _cut_at(195),
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
async def test_no_failure_shows_the_token_or_the_secret(
    endpoint: Endpoint[Any], answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    error = await failure(answer, endpoint, INTERNAL)
    assert endpoint.name in str(error)
    assert_clean(texts_of(error), TOKEN, SECRET)


async def test_refused_credentials_show_no_secret_that_the_server_echoes() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"code": "invalidClientIdOrSecret", "message": request.content.decode()})

    transport = Answering(answer, tokens=())
    async with open_client(transport=transport, app=INTERNAL) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.authenticate()
    assert SECRET in transport.requests[0].content.decode()
    assert_clean(texts_of(caught.value), SECRET)


async def test_refused_suite_shows_no_secret_and_no_ticket_that_the_server_echoes() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        message = f"{body['suiteTicket']} {quote(body['suiteTicket'])} {body['suiteSecret']}"
        return httpx.Response(400, json={"code": "invalidSuiteTicket", "message": message})

    async with open_client(transport=Answering(answer, tokens=()), app=THIRD_PARTY) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.authenticate()
    assert_clean(texts_of(caught.value), SUITE_SECRET, TICKET)


@pytest.mark.parametrize(
    "token", ["tokén-5d41402abc", "token-5d41402abc\r\nx: y", "token 5d41402abc", "令牌5d41402abc"]
)
@pytest.mark.parametrize("endpoint", [RECALL, OLD_RECALL], ids=lambda endpoint: endpoint.name)
async def test_token_that_fits_into_no_header_is_no_token(endpoint: Endpoint[Any], token: str) -> None:
    transport = Answering(lambda _: httpx.Response(200, json={}), tokens=(token,))
    async with open_client(transport=transport, clock=VirtualClock()) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.call(endpoint)
    assert transport.seen[endpoint.name] == 0
    assert "5d41402abc" not in texts_of(caught.value)


async def test_what_holds_a_secret_does_not_show_it() -> None:
    async def request(used: object) -> AccessToken:
        return AccessToken(access_token=TOKEN, expire_in=7200)

    tokens = Tokens(request, VirtualClock())
    async with open_client(transport=Answering(lambda r: httpx.Response(200)), app=INTERNAL) as client:
        holders = [
            INTERNAL,
            THIRD_PARTY,
            client,
            tokens,
            AccessToken(access_token=TOKEN, expire_in=7200),
            GetAccessToken(app_key="key1", app_secret=SECRET),
            GetCorpAccessToken(suite_key="key1", suite_secret=SUITE_SECRET, auth_corp_id="corp1", suite_ticket=TICKET),
        ]
        for holder in holders:
            # rich, which prints Airflow's tracebacks, has its own way in: __rich_repr__.
            for text in (
                repr(holder),
                str(holder),
                f"{holder}",
                pretty_repr(holder),
                pretty_repr([{"a": holder}]),
            ):
                assert_clean(text, TOKEN, SECRET, SUITE_SECRET, TICKET)
    assert "dingsandbox" in repr(INTERNAL) and "suite1" in repr(THIRD_PARTY) and "corp1" in pretty_repr(THIRD_PARTY)


async def test_secrets_of_an_app_and_of_its_calls_are_known() -> None:
    assert INTERNAL.secrets() == (SECRET,)
    assert THIRD_PARTY.secrets() == (SUITE_SECRET,)
    assert (await INTERNAL.token_request()).secrets() == (SECRET,)
    assert (await THIRD_PARTY.token_request()).secrets() == (SUITE_SECRET, TICKET)
    assert RECALL.secrets() == ()


async def test_token_goes_to_the_server_and_the_checks_above_look_for_the_right_text() -> None:
    """Without this, a token that never went out would pass every test here."""
    transport = Answering(lambda r: httpx.Response(200, json={"errcode": 400002, "errmsg": "x"}), tokens=(TOKEN,))
    async with open_client(transport=transport, app=INTERNAL) as client:
        with pytest.raises(DingTalkError):
            await client.call(OLD_RECALL)
    request = next(request for request in transport.requests if api_of(request) == OLD_RECALL.name)
    assert request.url.params["access_token"] == TOKEN
    assert quote(TOKEN, safe="") in str(request.url)
    with pytest.raises(AssertionError):
        assert_clean(str(request.url), TOKEN)
