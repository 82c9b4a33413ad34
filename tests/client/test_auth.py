"""Access tokens: requested once, renewed early, and once when they are dead."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client.auth import InternalApp, ThirdPartyApp
from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidInputError,
    ResponseError,
    ThrottlingError,
)
from airflow_provider_dingtalk.sandbox.default import (
    CLIENT_ID,
    CORP_ID,
    SUITE_KEY,
    SUITE_SECRET,
    SUITE_TICKET,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sandbox.tokens import revoke_all
from tests.client.calls import by_name, calls
from tests.clock import VirtualClock
from tests.support.fake_servers import (
    APP,
    CALLS,
    OLD_RECALL,
    OLD_SEND,
    QUERY,
    SEND,
    TOKEN_API,
    Answering,
    answers,
    good_answer,
    open_client,
)

pytestmark = pytest.mark.anyio


async def test_fifty_who_call_at_once_take_one_token_call(sandbox: SandboxServer) -> None:
    used: Counter[str] = Counter()
    async with open_client(sandbox.url) as client:
        await asyncio.gather(*(client.call(OLD_SEND, used) for _ in range(50)))
    assert (calls(sandbox, TOKEN_API), calls(sandbox, OLD_SEND)) == (1, 50)
    assert used == {"token": 1, OLD_SEND.name: 50}


@pytest.mark.parametrize("endpoint", [SEND, OLD_SEND], ids=by_name)
async def test_dead_token_is_renewed_once_and_the_call_goes_through(
    sandbox: SandboxServer, endpoint: Endpoint[Any]
) -> None:
    used: Counter[str] = Counter()
    async with open_client(sandbox.url) as client:
        await client.authenticate()
        revoke_all(sandbox.state)
        await client.call(endpoint, used)
    assert (calls(sandbox, TOKEN_API), calls(sandbox, endpoint)) == (2, 2)
    assert used == {"token": 1, endpoint.name: 2}
    assert len(sandbox.state.messages) == 1


DEAD = {
    "new host": httpx.Response(400, json={"code": "InvalidAuthentication", "message": "m"}),
    "40001": httpx.Response(200, json={"errcode": 40001}),
    "40014": httpx.Response(200, json={"errcode": 40014}),
    "42001": httpx.Response(200, json={"errcode": 42001}),
    "40014 wrapped": httpx.Response(200, json={"errcode": 88, "sub_code": "40014", "sub_msg": "m"}),
    "42001 wrapped": httpx.Response(200, json={"errcode": 88, "sub_code": "42001", "sub_msg": "m"}),
    "40001 in the text": httpx.Response(200, json={"errcode": 88, "errmsg": "ding talk error[subcode=40001,x]"}),
    "401": httpx.Response(401, json={"message": "unauthorised"}),
}


@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_every_form_of_a_dead_token_is_renewed_once(endpoint: Endpoint[Any], dead: httpx.Response) -> None:
    transport = Answering(answers(dead))
    async with open_client(transport=transport) as client:
        await client.call(endpoint)
    assert transport.tokens_of(endpoint) == ["token-1", "token-2"]
    assert transport.seen == {"token": 2, endpoint.name: 2}


@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_second_dead_token_ends_it(endpoint: Endpoint[Any], dead: httpx.Response) -> None:
    transport = Answering(lambda _: dead)
    async with open_client(transport=transport) as client:
        with pytest.raises(AuthenticationError, match="region") as caught:
            await client.call(endpoint)
    assert caught.value.permanent
    assert transport.tokens_of(endpoint) == ["token-1", "token-2"]
    assert transport.seen == {"token": 2, endpoint.name: 2}


@pytest.mark.parametrize("endpoint", [QUERY, OLD_RECALL], ids=by_name)
async def test_twenty_with_a_dead_token_renew_it_once(sandbox: SandboxServer, endpoint: Endpoint[Any]) -> None:
    async with open_client(sandbox.url) as client:
        await client.authenticate()
        revoke_all(sandbox.state)
        results = await asyncio.gather(*(client.call(endpoint) for _ in range(20)), return_exceptions=True)
    # Refused because the message does not exist, so the token was accepted.
    assert {getattr(error, "code", None) for error in results} == {
        "invalid.processQueryKey" if endpoint is QUERY else "400002"
    }
    assert calls(sandbox, TOKEN_API) == 2


async def test_renewal_that_gives_the_same_token_is_still_one_for_all() -> None:
    """DingTalk gives an internal app the same token as long as it lives, and prolongs it."""
    left = 20

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal left
        left -= 1
        return DEAD["new host"] if left >= 0 else good_answer(request)

    transport = Answering(answer, tokens=("always-the-same",))
    async with open_client(transport=transport) as client:
        await asyncio.gather(*(client.call(QUERY) for _ in range(20)))
    assert transport.seen == {"token": 2, QUERY.name: 40}


@pytest.mark.parametrize(
    ("expire_in", "age", "renewed"), [(7200, 6599, 0), (7200, 6601, 1), (100, 49, 0), (100, 51, 1)]
)
async def test_token_is_renewed_ten_minutes_early_or_at_half_of_a_short_life(
    clock: VirtualClock, expire_in: int, age: float, renewed: int
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "oauth2" in request.url.path:
            return httpx.Response(200, json={"accessToken": "t", "expireIn": expire_in})
        return good_answer(request)

    transport = Answering(answer, tokens=())
    async with open_client(transport=transport, clock=clock) as client:
        await client.call(QUERY)
        clock.advance(age)
        await client.call(QUERY)
    assert transport.seen["token"] == 1 + renewed


async def test_token_is_told_before_it_is_used() -> None:
    story: list[str] = []

    async def on_token(token: str) -> None:
        await asyncio.sleep(0)
        story.append(f"told {token}")

    def answer(request: httpx.Request) -> httpx.Response:
        story.append(f"used {request.headers['x-acs-dingtalk-access-token']}")
        return good_answer(request)

    async with open_client(transport=Answering(answer), on_token=on_token) as client:
        await client.call(QUERY)
    assert story == ["told token-1", "used token-1"]


async def test_wrong_secret_names_the_region_as_a_cause(sandbox: SandboxServer) -> None:
    app = InternalApp(client_id=CLIENT_ID, client_secret="wrong-secret")
    async with open_client(sandbox.url, app=app) as client:
        with pytest.raises(AuthenticationError, match="region 'cn'") as caught:
            await client.call(QUERY)
    assert (caught.value.code, caught.value.permanent) == ("invalidClientIdOrSecret", True)
    assert "region" in caught.value.next_step_zh
    assert (calls(sandbox, TOKEN_API), calls(sandbox, QUERY)) == (1, 0)


@pytest.mark.parametrize(
    "app", [InternalApp(client_id="k", client_secret=""), InternalApp(client_id="", client_secret="s")]
)
async def test_empty_credentials_send_nothing(app: InternalApp) -> None:
    transport = Answering(good_answer)
    async with open_client(transport=transport, app=app) as client:
        with pytest.raises(InvalidInputError, match=r"appKey|appSecret"):
            await client.call(QUERY)
    assert transport.requests == []


async def test_third_party_app_asks_for_the_newest_ticket_at_each_renewal(sandbox: SandboxServer) -> None:
    tickets = iter(["yesterday's", SUITE_TICKET, SUITE_TICKET])
    app = ThirdPartyApp(
        suite_key=SUITE_KEY, suite_secret=SUITE_SECRET, corp_id=CORP_ID, suite_ticket=lambda: next(tickets)
    )
    async with open_client(sandbox.url, app=app) as client:
        with pytest.raises(AuthenticationError, match="suite_ticket") as caught:
            await client.authenticate()
        assert caught.value.code == "invalidSuiteTicket"
        await client.authenticate()
        revoke_all(sandbox.state)
        with pytest.raises(ResponseError, match=r"invalid\.processQueryKey|invalidParameter"):
            await client.call(QUERY)
    assert list(tickets) == []
    assert (calls(sandbox, "oauth2/corpAccessToken"), calls(sandbox, TOKEN_API)) == (3, 0)


async def test_organisation_that_authorised_nothing_is_named(sandbox: SandboxServer) -> None:
    app = ThirdPartyApp(
        suite_key=SUITE_KEY, suite_secret=SUITE_SECRET, corp_id="elsewhere", suite_ticket=lambda: SUITE_TICKET
    )
    async with open_client(sandbox.url, app=app) as client:
        with pytest.raises(AuthenticationError, match="corp_id") as caught:
            await client.authenticate()
    assert caught.value.code == "invalidAuthInfo"


def test_calls_are_counted_by_app_and_organisation() -> None:
    third = ThirdPartyApp(suite_key="k", suite_secret="s", corp_id="c", suite_ticket=str)
    assert (APP.key, third.key) == (CLIENT_ID, "k/c")


@pytest.mark.parametrize(
    ("answer", "error", "requests"),
    [
        (httpx.Response(200, text=""), ConnectionFailedError, 3),
        (httpx.Response(502), ConnectionFailedError, 3),
        (httpx.Response(400, json={"code": "invalidClientIdOrSecret"}), AuthenticationError, 1),
        (httpx.Response(400, json={"code": "InvalidAuthentication"}), AuthenticationError, 2),
        (httpx.Response(403, json={"code": "Forbidden.AccessDenied.QpsX"}), ThrottlingError, 60),
    ],
)
@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_tries_of_the_token_are_not_multiplied_by_those_of_the_call(
    clock: VirtualClock, endpoint: Endpoint[Any], answer: httpx.Response, error: type, requests: int
) -> None:
    transport = Answering(lambda _: answer, tokens=())
    async with open_client(transport=transport, clock=clock) as client:
        with pytest.raises(error):
            await client.call(endpoint)
    assert transport.seen == {"token": requests}


async def test_dead_token_and_no_new_one_is_not_tried_over_and_over(clock: VirtualClock) -> None:
    tokens = iter([httpx.Response(200, json={"accessToken": "t", "expireIn": 7200})])

    def answer(request: httpx.Request) -> httpx.Response:
        return next(tokens, httpx.Response(502)) if "oauth2" in request.url.path else DEAD["new host"]

    transport = Answering(answer, tokens=())
    async with open_client(transport=transport, clock=clock) as client:
        with pytest.raises(ConnectionFailedError):
            await client.call(QUERY)
    assert transport.seen == {"token": 1 + 3, QUERY.name: 1}


async def test_dead_token_while_cancelled_renews_for_the_next() -> None:
    """A renewal that is given up must not leave the lock or a half-renewed token behind."""
    renewing = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if "oauth2" in request.url.path and not renewing.is_set():
            renewing.set()
            await asyncio.Event().wait()
        if "oauth2" in request.url.path:
            return httpx.Response(200, json={"accessToken": "t", "expireIn": 7200})
        return good_answer(request)

    async with open_client(transport=Answering(answer, tokens=())) as client:
        first = asyncio.ensure_future(client.call(QUERY))
        await renewing.wait()
        second = asyncio.ensure_future(client.call(QUERY))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await second).send_status == "SUCCESS"


async def failing_callback(token: str) -> None:
    raise RuntimeError(f"the supervisor is gone, {token}")


def failing_ticket() -> str:
    raise RuntimeError(f"the database is gone, {SUITE_TICKET}")


TICKETLESS = ThirdPartyApp(suite_key=SUITE_KEY, suite_secret=SUITE_SECRET, corp_id=CORP_ID, suite_ticket=failing_ticket)


@pytest.mark.parametrize("more", [{"on_token": failing_callback}, {"app": TICKETLESS}], ids=["callback", "ticket"])
@pytest.mark.parametrize("endpoint", [SEND, OLD_RECALL, QUERY], ids=by_name)
async def test_a_call_without_a_token_is_not_sent_whatever_the_error(
    endpoint: Endpoint[Any], more: dict[str, Any]
) -> None:
    transport = Answering(good_answer)
    async with open_client(transport=transport, **more) as client:
        with pytest.raises(ConnectionFailedError, match=r"no access token\. RuntimeError\.") as caught:
            await client.call(endpoint)
    assert (caught.value.code, caught.value.permanent) == ("not_sent", False)
    assert "gone" not in str(caught.value) and caught.value.__context__ is None
    assert set(transport.seen) <= {"token"}
