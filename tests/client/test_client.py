"""The client: against the sandbox over real sockets, and against transports and servers that misbehave."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client.auth import InternalApp, ThirdPartyApp
from airflow_provider_dingtalk.client.endpoints import Endpoint, QueryOtoMessage, SendOtoMessages
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.protocol import MAX_BODY_BYTES
from airflow_provider_dingtalk.client.rate_limit.limiter import IN_FLIGHT, RateLimiter
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.client.transport import MAX_CONNECTIONS
from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    BannedError,
    ConnectionFailedError,
    InvalidInputError,
    NoResponseError,
    OutcomeUnknownError,
    QuotaExhaustedError,
    ResponseError,
    ServerError,
    ThrottlingError,
    UnexpectedHtmlError,
    UnexpectedResponseError,
)
from airflow_provider_dingtalk.sandbox.default import (
    CLIENT_ID,
    CORP_ID,
    ROBOT_CODE,
    SUITE_KEY,
    SUITE_SECRET,
    SUITE_TICKET,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sandbox.tokens import revoke_all
from tests.clock import VirtualClock
from tests.support.fake_servers import (
    APP,
    CALLS,
    GOOD,
    OLD_RECALL,
    OLD_SEND,
    QUERY,
    READS,
    RECALL,
    SEND,
    TOKEN_API,
    WRITES,
    Answering,
    answers,
    api_of,
    good_answer,
    open_client,
    raw_server,
)

pytestmark = pytest.mark.anyio
#: Long enough to get a token on a busy machine, too short for a trickling answer.
SOON = RetryPolicy(request_deadline=1.0)


def by_name(endpoint: object) -> str | None:
    return endpoint.name if isinstance(endpoint, Endpoint) else None


def calls(sandbox: SandboxServer, endpoint: Endpoint[Any] | str) -> int:
    """Requests that reached the sandbox."""
    name = endpoint if isinstance(endpoint, str) else endpoint.name
    return int(sandbox.snapshot(brief=True)["calls"].get(name, {}).get("total", 0))


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────


async def test_whole_life_of_a_message_over_both_hosts(sandbox: SandboxServer) -> None:
    used: Counter[str] = Counter()
    async with open_client(sandbox.url) as client:
        sent = await client.call(
            SendOtoMessages(
                robot_code=ROBOT_CODE, user_ids=["user001"], msg_key="sampleText", msg_param='{"content":"x"}'
            ),
            used,
        )
        status = await client.call(
            QueryOtoMessage(robot_code=ROBOT_CODE, process_query_key=sent.process_query_key), used, "look"
        )
        task = await client.call(OLD_SEND, used)
    assert status.send_status == "SUCCESS"
    assert task.task_id in sandbox.state.messages
    assert used == {"token": 1, "robot/oToMessages/batchSend": 1, "look": 1, OLD_SEND.name: 1}


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


# ── Throttling, ban, quota: three things, three answers ──────────────────────────────────────────────

THROTTLED = {
    "403 Qps": httpx.Response(403, json={"code": "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"}),
    "403 Qpm": httpx.Response(403, json={"code": "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi"}),
    "403 new Qps": httpx.Response(403, json={"code": "Forbidden.AccessDenied.QpsLimitForAnythingNew"}),
    "429": httpx.Response(429, json={"code": "system.busy"}),
    "429 text": httpx.Response(429, text="slow down"),
    "400 send.too.fast": httpx.Response(400, json={"code": "send.too.fast"}),
    "90018": httpx.Response(200, json={"errcode": 90018}),
    "90018 wrapped": httpx.Response(200, json={"errcode": 88, "sub_code": "90018", "sub_msg": "m"}),
    "90019 wrapped": httpx.Response(200, json={"errcode": 88, "sub_code": "90019", "sub_msg": "m"}),
    "90002 in the text": httpx.Response(200, json={"errcode": 88, "errmsg": "ding talk error[subcode=90002,x]"}),
}


@pytest.mark.parametrize("throttled", THROTTLED.values(), ids=THROTTLED)
@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_throttled_call_waits_a_second_and_is_sent_again(
    clock: VirtualClock, endpoint: Endpoint[Any], throttled: httpx.Response
) -> None:
    used: Counter[str] = Counter()
    transport = Answering(answers(throttled, throttled))
    began = clock.monotonic()
    async with open_client(transport=transport, clock=clock) as client:
        await client.call(endpoint, used, "why")
    assert used == {"token": 1, "why": 3, "throttled": 2}
    assert transport.seen == {"token": 1, endpoint.name: 3}
    assert clock.monotonic() - began == pytest.approx(2.0)


async def test_sandbox_that_throttles_is_waited_for(sandbox: SandboxServer, clock: VirtualClock) -> None:
    used: Counter[str] = Counter()
    sandbox.faults({"match": "send", "nth": [1, 2, 3], "action": {"type": "throttle"}})
    async with open_client(sandbox.url, clock=clock) as client:
        await client.call(SEND, used)
        await client.call(OLD_SEND, used)
    assert used == {"token": 1, SEND.name: 4, OLD_SEND.name: 1, "throttled": 3}
    assert len(sandbox.state.messages) == 2


async def test_wait_that_dingtalk_asks_for_is_kept(clock: VirtualClock) -> None:
    throttled = httpx.Response(
        403, json={"code": "Forbidden.AccessDenied.QpsLimitForApi"}, headers={"Retry-After": "7"}
    )
    began = clock.monotonic()
    async with open_client(transport=Answering(answers(throttled)), clock=clock) as client:
        await client.call(QUERY)
    assert clock.monotonic() - began == pytest.approx(7.0)


async def test_throttling_holds_all_who_call_that_api(clock: VirtualClock) -> None:
    throttled = httpx.Response(429, headers={"Retry-After": "30"})
    transport = Answering(answers(throttled))
    limiter, once = RateLimiter(20, clock), RetryPolicy(throttled_tries=1)
    async with (
        open_client(transport=transport, clock=clock, limiter=limiter, retry_policy=once) as first,
        open_client(transport=transport, clock=clock, limiter=limiter) as second,
    ):
        with pytest.raises(ThrottlingError):
            await first.call(QUERY)
        began = clock.monotonic()
        await second.call(SEND)
        assert clock.monotonic() == began
        await second.call(QUERY)
        assert clock.monotonic() - began == pytest.approx(30)


@pytest.mark.parametrize(("retry_policy", "requests"), [(RetryPolicy(throttled_tries=3), 3), (None, 60)])
async def test_throttling_without_end_is_given_up(
    clock: VirtualClock, retry_policy: RetryPolicy | None, requests: int
) -> None:
    used: Counter[str] = Counter()
    transport = Answering(lambda _: THROTTLED["403 Qps"])
    async with open_client(transport=transport, clock=clock, retry_policy=retry_policy) as client:
        with pytest.raises(ThrottlingError, match="calls_per_second") as caught:
            await client.call(SEND, used)
    assert not caught.value.permanent
    assert used == {"token": 1, SEND.name: requests, "throttled": requests}


@pytest.mark.parametrize("form", ["json", "html"])
@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_banned_address_sends_nothing_more(
    sandbox: SandboxServer, clock: VirtualClock, endpoint: Endpoint[Any], form: str
) -> None:
    used: Counter[str] = Counter()
    sandbox.faults({"match": endpoint.name, "action": {"type": "ban", "form": form}})
    began = clock.monotonic()
    async with open_client(sandbox.url, clock=clock) as client:
        with pytest.raises((BannedError, UnexpectedHtmlError), match=r"for 5 minutes") as caught:
            await client.call(endpoint, used)
        with pytest.raises(BannedError, match="not sent"):
            await client.call(QUERY, used)
        assert (used[endpoint.name], calls(sandbox, endpoint), clock.monotonic()) == (1, 1, began)
        assert (caught.value.retry_after, caught.value.permanent) == (300, False)
        sandbox.faults()
        clock.advance(300)
        await client.authenticate()


@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_used_up_month_sends_nothing_more(sandbox: SandboxServer, endpoint: Endpoint[Any]) -> None:
    sandbox.state.behaviour = sandbox.state.behaviour.changed({"calls_per_month": 0})
    async with open_client(sandbox.url) as client:
        with pytest.raises(QuotaExhaustedError, match="month") as caught:
            await client.call(endpoint)
    assert calls(sandbox, endpoint) == 1
    assert caught.value.permanent and not isinstance(caught.value, ThrottlingError)


# ── No connection, no answer ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_refused_connection_is_tried_three_times_and_nothing_was_sent(
    clock: VirtualClock, endpoint: Endpoint[Any]
) -> None:
    transport = Answering(_refuse)
    used: Counter[str] = Counter()
    began = clock.monotonic()
    async with open_client(transport=transport, clock=clock) as client:
        with pytest.raises(ConnectionFailedError, match="network") as caught:
            await client.call(endpoint, used)
    assert +used == {"token": 1}, "what never reached DingTalk is not on the bill"
    assert transport.seen[endpoint.name] == 3
    assert clock.monotonic() - began == pytest.approx(0.5 + 1.0)
    assert not isinstance(caught.value, OutcomeUnknownError)


def _refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused", request=request)


async def test_closed_port_is_no_connection(clock: VirtualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    used: Counter[str] = Counter()
    began = clock.monotonic()
    async with open_client(url, clock=clock) as client:
        with pytest.raises(ConnectionFailedError):
            await client.call(RECALL, used)
    assert not +used
    assert clock.monotonic() - began == pytest.approx(0.5 + 1.0)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("endpoint", WRITES, ids=by_name)
async def test_lost_answer_of_a_write_is_not_asked_for_again(
    sandbox: SandboxServer, clock: VirtualClock, endpoint: Endpoint[Any], when: str, reset: bool
) -> None:
    used: Counter[str] = Counter()
    sandbox.faults({"match": endpoint.name, "when": when, "action": {"type": "drop", "reset": reset}})
    async with open_client(sandbox.url, clock=clock) as client:
        with pytest.raises(NoResponseError, match="status"):
            await client.call(endpoint, used)
    assert (used[endpoint.name], calls(sandbox, endpoint)) == (1, 1)


@pytest.mark.parametrize("endpoint", READS, ids=by_name)
async def test_lost_answer_of_a_question_is_asked_for_three_times(
    sandbox: SandboxServer, clock: VirtualClock, endpoint: Endpoint[Any]
) -> None:
    used: Counter[str] = Counter()
    sandbox.faults({"match": endpoint.name, "action": {"type": "drop"}})
    async with open_client(sandbox.url, clock=clock) as client:
        with pytest.raises(NoResponseError):
            await client.call(endpoint, used)
    assert (used[endpoint.name], calls(sandbox, endpoint)) == (3, 3)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("endpoint", WRITES, ids=by_name)
async def test_server_error_of_a_write_is_not_repeated(
    sandbox: SandboxServer, clock: VirtualClock, endpoint: Endpoint[Any], when: str
) -> None:
    sandbox.faults({"match": endpoint.name, "when": when, "action": {"type": "status", "errcode": 500}})
    async with open_client(sandbox.url, clock=clock) as client:
        with pytest.raises((ServerError, ResponseError)):
            await client.call(endpoint)
    assert calls(sandbox, endpoint) == 1


@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
@pytest.mark.parametrize("page", ["<html>Bad Gateway</html>", "", '{"message": "no code"}'])
async def test_server_error_without_a_code_repeats_questions_only(
    clock: VirtualClock, endpoint: Endpoint[Any], page: str
) -> None:
    transport = Answering(lambda _: httpx.Response(502, text=page))
    async with open_client(transport=transport, clock=clock) as client:
        with pytest.raises(ServerError):
            await client.call(endpoint)
    assert transport.seen[endpoint.name] == (3 if endpoint in READS else 1)


@pytest.mark.parametrize("endpoint", READS, ids=by_name)
async def test_question_is_answered_when_the_trouble_passes(clock: VirtualClock, endpoint: Endpoint[Any]) -> None:
    used: Counter[str] = Counter()
    transport = Answering(answers(httpx.Response(500, json={"code": "system.error"}), httpx.Response(200, text="")))
    async with open_client(transport=transport, clock=clock) as client:
        await client.call(endpoint, used)
    assert used == {"token": 1, endpoint.name: 3}


@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_refusal_of_the_request_is_never_repeated(endpoint: Endpoint[Any]) -> None:
    transport = Answering(lambda _: httpx.Response(400, json={"code": "invalidParameter.param.invalid"}))
    async with open_client(transport=transport) as client:
        with pytest.raises(ResponseError):
            await client.call(endpoint)
    assert transport.seen[endpoint.name] == 1


@pytest.mark.parametrize(
    "problem",
    [
        httpx.ReadTimeout("x"),
        httpx.WriteTimeout("x"),
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.LocalProtocolError("x"),
        httpx.StreamClosed(),
        ConnectionResetError("x"),
        TimeoutError("x"),
    ],
    ids=lambda problem: type(problem).__name__,
)
async def test_every_break_after_the_connection_is_a_lost_answer(problem: Exception) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise problem

    transport = Answering(answer)
    async with open_client(transport=transport) as client:
        with pytest.raises(NoResponseError, match=type(problem).__name__):
            await client.call(SEND)
    assert transport.seen[SEND.name] == 1


@pytest.mark.parametrize(
    "problem",
    [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x"), httpx.ProxyError("x")],
    ids=lambda problem: type(problem).__name__,
)
async def test_every_break_before_the_connection_sent_nothing(clock: VirtualClock, problem: Exception) -> None:
    failures = [problem, problem]

    def answer(request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return good_answer(request)

    transport = Answering(answer)
    async with open_client(transport=transport, clock=clock) as client:
        assert (await client.call(SEND)).process_query_key == "key1"
    assert transport.seen[SEND.name] == 3


# ── Answers that do not end, are too big, packed, or lead elsewhere ──────────────────────────────────


async def test_deadline_cuts_a_body_that_trickles() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A good answer in the end, for requests without a deadline.
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 102\r\n\r\n{")
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"}")

    async with raw_server(trickle) as (url, heads), open_client(url, retry_policy=SOON) as client:
        with pytest.raises(NoResponseError, match=r"limit 1 s"):
            await client.call(RECALL)
    assert len(heads) == 2


async def test_deadline_cuts_headers_that_trickle() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"content-length: 2\r\n\r\n{}")

    async with raw_server(trickle) as (url, heads), open_client(url, retry_policy=SOON) as client:
        with pytest.raises(NoResponseError):
            await client.call(RECALL)
    assert len(heads) == 2


async def test_deadline_ends_the_wait_for_a_server_that_says_nothing() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(say_nothing) as (url, heads), open_client(url, retry_policy=SOON) as client:
        with pytest.raises(NoResponseError):
            await client.call(SEND)
    assert len(heads) == 2


async def test_answer_cut_in_the_middle_is_lost(sandbox: SandboxServer) -> None:
    sandbox.faults({"match": SEND.name, "action": {"type": "truncate", "bytes": 10}})
    async with open_client(sandbox.url) as client:
        with pytest.raises(NoResponseError):
            await client.call(SEND)
    assert len(sandbox.state.messages) == 1


async def test_sandbox_that_trickles_is_cut_off(sandbox: SandboxServer) -> None:
    sandbox.faults({"match": SEND.name, "action": {"type": "trickle", "bytes_per_second": 20}})
    async with open_client(sandbox.url, retry_policy=SOON) as client:
        with pytest.raises(NoResponseError):
            await client.call(SEND)


class Endless(httpx.AsyncByteStream):
    """A body without an end that counts what is taken of it."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 65536
            yield b" " * 65536

    async def aclose(self) -> None:
        self.closed = True


async def test_no_more_than_four_mebibytes_are_read() -> None:
    body = Endless()
    transport = Answering(lambda _: httpx.Response(200, stream=body))
    async with open_client(transport=transport) as client:
        with pytest.raises(UnexpectedResponseError, match="more than 4194304 bytes"):
            await client.call(RECALL)
    assert MAX_BODY_BYTES == 4 * 1024 * 1024
    assert body.given == MAX_BODY_BYTES + 65536
    assert body.closed


async def test_answer_of_four_mebibytes_is_read() -> None:
    good = b'{"successResult": ["key1"]}'
    body = good + b" " * (MAX_BODY_BYTES - len(good))
    async with open_client(transport=Answering(lambda _: httpx.Response(200, content=body))) as client:
        assert (await client.call(RECALL)).success_result == ["key1"]


async def test_endless_body_on_a_real_socket_is_cut_off() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()

    async with raw_server(pour) as (url, _), open_client(url) as client:
        with pytest.raises(UnexpectedResponseError, match="more than 4194304 bytes"):
            await client.call(SEND)


async def test_compressed_answer_is_refused_unread(sandbox: SandboxServer) -> None:
    sandbox.faults({"match": SEND.name, "action": {"type": "gzip_bomb", "megabytes": 50}})
    async with open_client(sandbox.url) as client:
        with pytest.raises(UnexpectedResponseError, match="compressed"):
            await client.call(SEND)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("endpoint", CALLS, ids=by_name)
async def test_redirect_is_not_followed_and_the_second_host_sees_nothing(
    sandbox: SandboxServer, clock: VirtualClock, endpoint: Endpoint[Any], status: int
) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with raw_server(never) as (elsewhere, heads), open_client(sandbox.url, clock=clock) as client:
        redirect = {"type": "redirect", "url": f"{elsewhere}/x", "status": status}
        sandbox.faults({"match": endpoint.name, "action": redirect})
        with pytest.raises((UnexpectedResponseError, ResponseError)):
            await client.call(endpoint)
        assert heads == []


async def test_cookies_of_an_answer_are_not_sent_back() -> None:
    transport = Answering(lambda r: httpx.Response(200, json=GOOD[api_of(r)], headers={"set-cookie": "a=b; Path=/"}))
    async with open_client(transport=transport) as client:
        await client.call(QUERY)
        await client.call(QUERY)
    assert all("cookie" not in request.headers for request in transport.requests)


# ── Many at once, and the end ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("rate", "in_flight"), [(0, MAX_CONNECTIONS), (1000, IN_FLIGHT)])
async def test_no_more_are_on_their_way_than_should_be(rate: float, in_flight: int, clock: VirtualClock) -> None:
    now, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(20):
            await asyncio.sleep(0)
        now -= 1
        return good_answer(request)

    async with open_client(transport=Answering(answer), limiter=RateLimiter(rate, clock)) as client:
        await client.authenticate()
        await asyncio.gather(*(client.call(QUERY) for _ in range(100)))
        assert client.in_flight == in_flight
    assert most == in_flight


async def test_cancelled_call_ends_at_once_and_leaves_no_trace(clock: VirtualClock) -> None:
    arrived = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if not arrived.is_set():
            arrived.set()
            await asyncio.Event().wait()
        return good_answer(request)

    limiter = RateLimiter(1, clock)
    async with open_client(transport=Answering(answer), clock=clock, limiter=limiter) as client:
        call = asyncio.ensure_future(client.call(RECALL))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        began = clock.monotonic()
        assert (await client.call(RECALL)).success_result == ["key1"]
        assert clock.monotonic() - began == pytest.approx(1)


async def test_body_is_closed_when_the_caller_goes_away() -> None:
    body = Endless()
    message_status = asyncio.Event()

    class Stuck(Endless):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            message_status.set()
            await asyncio.Event().wait()
            yield b""

    body = Stuck()
    async with open_client(transport=Answering(lambda _: httpx.Response(200, stream=body))) as client:
        call = asyncio.ensure_future(client.call(RECALL))
        await message_status.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert body.closed


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


async def test_calls_to_one_api_keep_the_pace_of_their_limiter(clock: VirtualClock) -> None:
    began = clock.monotonic()
    async with open_client(transport=Answering(good_answer), clock=clock, limiter=RateLimiter(20, clock)) as client:
        await asyncio.gather(*(client.call(QUERY) for _ in range(100)))
    # The calls at the end of the first window begin one by one, because another client may use the app.
    assert 4.0 <= clock.monotonic() - began < 4.0 * 1.05


# ── Logs ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("", "httpx", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


async def test_no_log_of_any_library_holds_a_token_or_secret(
    sandbox: SandboxServer, loud: pytest.LogCaptureFixture, clock: VirtualClock
) -> None:
    tokens: list[str] = []

    async def on_token(token: str) -> None:
        tokens.append(token)

    async with open_client(hosts_at(sandbox.url), on_token=on_token, clock=clock) as client:
        for endpoint in CALLS:
            try:
                await client.call(endpoint)
            except ResponseError as error:
                logging.getLogger("user").info("failed: %r %s", error, error, exc_info=error)
        sandbox.faults({"match": "corpconversation", "action": {"type": "drop"}})
        with pytest.raises(NoResponseError) as caught:
            await client.call(OLD_RECALL)
        logging.getLogger("user").info("failed", exc_info=caught.value)
    assert len(tokens) == 1
    assert "failed: " in loud.text
    # No library between the client and the socket logs a request.
    assert {record.name for record in loud.records} <= {"asyncio", "user"}
    for secret in (*tokens, APP.client_secret):
        assert secret not in loud.text
