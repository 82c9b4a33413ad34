"""Retries: of calls that were not carried out or only read, within limits."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.client.error_codes import error_for
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.state import GAP, TRY_AGAIN
from airflow_provider_dingtalk.client.retry import LONG_WAIT, RetryPolicy, RetryState, seconds_until_retry, should_retry
from airflow_provider_dingtalk.exceptions import (
    BannedError,
    ConnectionFailedError,
    DingTalkError,
    InvalidInputError,
    NoResponseError,
    OutcomeUnknownError,
    QuotaExhaustedError,
    ResponseError,
    ServerError,
    ThrottlingError,
    UnexpectedHtmlError,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.client.calls import by_name, calls
from tests.clock import VirtualClock
from tests.support.fake_servers import (
    CALLS,
    OLD_SEND,
    QUERY,
    READS,
    RECALL,
    SEND,
    WRITES,
    Answering,
    answers,
    good_answer,
    open_client,
)

pytestmark = pytest.mark.anyio

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
        assert clock.monotonic() - began < 2 * GAP / 20
        await second.call(QUERY)
        assert clock.monotonic() - began == 30


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


async def test_rate_limit_alone_delays_the_next_try_of_an_only_call(clock: VirtualClock) -> None:
    transport, began = Answering(answers(*[THROTTLED["403 Qps"]] * 3)), clock.monotonic()
    async with open_client(transport=transport, clock=clock, limiter=RateLimiter(20, clock)) as client:
        await client.call(SEND)
    assert clock.monotonic() - began == pytest.approx(3 * TRY_AGAIN)


async def test_throttling_of_an_only_call_is_endured_for_a_minute(clock: VirtualClock) -> None:
    transport, began = Answering(lambda _: THROTTLED["403 Qps"]), clock.monotonic()
    async with open_client(transport=transport, clock=clock, limiter=RateLimiter(20, clock)) as client:
        with pytest.raises(ThrottlingError):
            await client.call(SEND)
    assert 60 <= clock.monotonic() - began < 90
    assert transport.seen[SEND.name] < 70


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


# ── The decision alone ───────────────────────────────────────────────────────────────────────────────

DEAD_TOKEN = error_for("InvalidAuthentication", "", status_code=400)
THROTTLE = error_for("system.busy", "", status_code=429, retry_after=7.0)
SERVER = error_for("system.error", "", status_code=500)
POLICY = RetryPolicy(tries=3, throttled_tries=4)


@pytest.mark.parametrize(
    ("error", "is_read", "retries"),
    [
        (DEAD_TOKEN, False, 1),
        (THROTTLE, False, 3),
        (error_for("system.busy", "", retry_after=LONG_WAIT), False, 3),
        (error_for("system.busy", "", retry_after=LONG_WAIT + 1), True, 0),
        (error_for("1111", "", retry_after=1.0), True, 0),
        (ConnectionFailedError("x"), False, 2),
        (NoResponseError("x"), True, 2),
        (NoResponseError("x"), False, 0),
        (UnexpectedHtmlError("x"), True, 0),
        (SERVER, True, 2),
        (SERVER, False, 0),
        (error_for("robot.processQueryKey.expired", ""), True, 0),
        (InvalidInputError("keys", "is empty"), True, 0),
    ],
)
def test_an_error_is_retried_so_often_and_no_more(error: DingTalkError, is_read: bool, retries: int) -> None:
    state, seen = RetryState(), 0
    state.count(error, seen)
    while should_retry(error, state, POLICY, is_read=is_read):
        seen += 1
        state.count(error, seen)
    assert seen == retries


def test_kinds_of_errors_are_counted_apart() -> None:
    state = RetryState()
    for error in (DEAD_TOKEN, THROTTLE, SERVER, SERVER):
        state.count(error, now=5.0)
    assert state == RetryState(dead_tokens=1, throttles=1, failures=2, throttled_at=5.0)
    for is_limited, waits in ((False, [0.0, 7.0, 1.0]), (True, [0.0, 0.0, 1.0])):
        errors = (DEAD_TOKEN, THROTTLE, SERVER)
        assert [seconds_until_retry(error, state, is_limited=is_limited) for error in errors] == waits


def test_throttles_within_a_second_count_as_one() -> None:
    state = RetryState()
    for now in (0.0, 0.3, 0.8, 1.0, 1.8, 2.0):
        state.count(THROTTLE, now)
    assert state.throttles == 3
