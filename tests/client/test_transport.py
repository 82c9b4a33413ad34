"""The transport on real sockets: bytes sent and read, and connections given up."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version

import httpx
import pytest
from packaging.version import Version

from airflow_provider_dingtalk.client.transport import _url, transport_for
from tests.client.sockets import MIB, OK, Call, server
from tests.faults.connect_proxy import reset

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


async def test_calls_go_over_one_connection() -> None:
    async with server(OK, OK, OK) as (call, heard):
        assert [await call() for _ in range(3)] == [b"ok"] * 3
        assert len(heard.ports) == 3
        assert len(set(heard.ports)) == 1


async def test_a_request_is_what_it_says() -> None:
    async with server(OK, OK) as (call, heard):
        await call("GET", "/v1.0/robot?key=a%2Bb%20c&name=%E9%92%89")
        await call("POST", "/recall", b'{"keys":["a"]}')
        first, second = heard.text.split(b"\r\n\r\n", 1)
        assert first.startswith(b"GET /v1.0/robot?key=a%2Bb%20c&name=%E9%92%89 HTTP/1.1\r\n")
        assert second.startswith(b"POST /recall HTTP/1.1\r\n") and b"content-length: 14" in second.lower()
        assert f"host: {call.base.removeprefix('http://')}".encode() in first.lower()


async def test_one_that_was_closed_meanwhile_is_made_anew_and_nothing_is_lost() -> None:
    async with server(OK, OK, lasting=False) as (call, heard):
        assert await call() == b"ok"
        await heard.hung_up.wait()
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno number\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * MIB + b"\r\n\r\nok",
        b"HTTP/1.1 200 " + b"y" * MIB + b"\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 -200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\nok",
    ],
    ids=lambda answer: answer[:70].decode(),
)
async def test_a_broken_answer_has_its_error_and_the_next_call_works(answer: bytes) -> None:
    async with server(answer, OK, lasting=False) as (call, _):
        with pytest.raises(httpx.RemoteProtocolError):
            await call()
        assert await call() == b"ok"


async def test_too_many_headers_are_refused_where_aiohttp_counts_them() -> None:
    answer, is_refused = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\nok", False
    async with server(answer, OK, lasting=False) as (call, _):
        try:
            assert await call() == b"ok"
        except httpx.RemoteProtocolError:
            is_refused = True
        assert is_refused is (Version(version("aiohttp")) >= Version("3.13.4"))
        assert await call() == b"ok"


async def test_a_connection_that_breaks_has_its_error_and_the_next_call_works() -> None:
    met = 0

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        await reader.readuntil(b"\r\n\r\n")
        if met > 1:
            writer.write(OK)
            await writer.drain()
        else:
            reset(writer)
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as listening:
        call = Call(listening.sockets[0].getsockname()[1])
        with pytest.raises(httpx.ReadError):
            await call()
        assert await call() == b"ok"
        await call.transport.aclose()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n3\r\n!!!\r\n0\r\n\r\n", b"ok!!!"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_an_answer_of_another_form_is_read_and_the_connection_stays(answer: bytes, body: bytes) -> None:
    async with server(answer, OK) as (call, heard):
        assert await call() == body
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 1


@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\nok", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"])
async def test_an_answer_that_ends_with_its_connection_is_read_and_the_next_call_has_another(
    answer: bytes,
) -> None:
    async with server(answer, OK, lasting=False) as (call, heard):
        assert await call() == b"ok"
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 2


@pytest.mark.parametrize("at_once", [True, False])
async def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_call(at_once: bool) -> None:
    false = OK.replace(b"ok", b"no")
    async with server(OK + false if at_once else OK, OK) as (call, heard):
        assert await call() == b"ok"
        if not at_once:
            # A write of the event loop may come after the next request.
            os.write(heard.writers[0].get_extra_info("socket").fileno(), false)
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 2


async def test_nobody_who_listens_means_that_nothing_was_sent() -> None:
    async with server() as (call, _):
        pass
    with pytest.raises(httpx.ConnectError):
        await call()
    await call.transport.aclose()  # the call opened a session again


async def test_a_cancelled_call_leaves_a_connection_that_works() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n", OK) as (call, heard):
        calling = asyncio.ensure_future(call())
        await heard.request.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await heard.hung_up.wait()
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 2


async def test_an_answer_that_is_not_read_to_its_end_ends_its_connection() -> None:
    async with server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", OK) as (call, heard):
        await (await call.open()).aclose()
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 2


async def test_an_answer_that_nobody_reads_does_not_fill_the_memory() -> None:
    length = 64 * MIB
    async with server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + bytes(length)) as (call, heard):
        response = await call.open()
        before = -1
        while before != heard.sent:  # until the server has to wait
            before = heard.sent
            for _ in range(100):
                await asyncio.sleep(0)
        assert heard.sent < length / 2
        assert sum([len(part) async for part in response.stream]) == length  # type: ignore[union-attr]
        await response.aclose()


async def test_nothing_is_sent_that_nobody_asked_for() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nset-cookie: a=b; Path=/\r\ncontent-length: 2\r\n\r\nok"
    async with server(cookie, OK) as (call, heard):
        await call("POST", "/recall", b"{}")
        await call()
        names = [line.partition(b":")[0].lower() for line in heard.text.split(b"\r\n") if b":" in line]
        assert sorted(names) == [b"content-length", b"host", b"host"]


async def test_a_packed_answer_and_a_redirect_are_handed_on_as_they_are() -> None:
    packed = b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok"
    async with server(packed) as (call, heard):
        response = await call.open()
        assert (response.status_code, response.headers["location"]) == (302, "/x")
        assert b"".join([part async for part in response.stream]) == b"ok"  # type: ignore[union-attr]
        await response.aclose()
        assert len(heard.ports) == 1


# ── addresses that it connects to ──


@pytest.mark.parametrize("host", ["xn--strae-oqa.example", "[::1]", "127.0.0.1"])
def test_a_host_is_the_very_one_that_was_named(host: str) -> None:
    url = _url(httpx.URL(f"https://{host}:8848/recall?access_token=a%2Bb%20c"))
    assert str(url) == f"https://{host}:8848/recall?access_token=a%2Bb%20c"
    assert url.raw_host == host.strip("[]")


async def test_a_name_that_is_none_is_not_connected_to() -> None:
    request = httpx.Request("GET", "https://a..b")
    async with transport_for("https://a..b") as transport:
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(request)
