"""The client: against the sandbox over real sockets, and against transports and servers that misbehave."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client.endpoints import Endpoint, QueryOtoMessage, SendOtoMessages
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.protocol import MAX_BODY_BYTES
from airflow_provider_dingtalk.client.rate_limit.limiter import IN_FLIGHT, RateLimiter
from airflow_provider_dingtalk.client.rate_limit.state import LATE
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.client.transport import MAX_CONNECTIONS
from airflow_provider_dingtalk.exceptions import (
    NoResponseError,
    ResponseError,
    UnexpectedResponseError,
)
from airflow_provider_dingtalk.sandbox.default import (
    ROBOT_CODE,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.client.calls import by_name
from tests.clock import VirtualClock
from tests.support.fake_servers import (
    APP,
    CALLS,
    GOOD,
    OLD_RECALL,
    OLD_SEND,
    QUERY,
    RECALL,
    SEND,
    Answering,
    api_of,
    good_answer,
    open_client,
    raw_server,
)

pytestmark = pytest.mark.anyio
#: Long enough to get a token on a busy machine, too short for a trickling answer.
SOON = RetryPolicy(request_deadline=1.0)


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
    reading = asyncio.Event()

    class Stuck(Endless):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            reading.set()
            await asyncio.Event().wait()
            yield b""

    body = Stuck()
    async with open_client(transport=Answering(lambda _: httpx.Response(200, stream=body))) as client:
        call = asyncio.ensure_future(client.call(RECALL))
        await reading.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert body.closed


async def test_calls_to_one_api_keep_the_pace_of_their_limiter() -> None:
    # A call begins one turn after its permit is there, and the next one must not move the clock before.
    clock = VirtualClock(turns=3)
    began = clock.monotonic()
    async with open_client(transport=Answering(good_answer), clock=clock, limiter=RateLimiter(20, clock)) as client:
        await asyncio.gather(*(client.call(QUERY) for _ in range(100)))
    # A permit comes back late once a second.
    assert 4 <= clock.monotonic() - began <= 4 + LATE / 20 + 0.1


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
