"""One connection, on a real socket: what is sent, what is read, and when it is given up."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from airflow_provider_dingtalk.api.connection import Direct
from tests.faults.tls_rows import Authority, authorities

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
MIB = 1024 * 1024


class Heard:
    """What a server heard.

    :param ports: Those that requests came from.
    """

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.text = b""
        self.request = asyncio.Event()
        self.hung_up = asyncio.Event()
        self.sent = 0


class Call:
    """Calls over a connection to a server on this machine."""

    def __init__(self, port: int, ca_file: str | None = None) -> None:
        self.base = f"http{'s' if ca_file else ''}://127.0.0.1:{port}"
        self.connection = Direct(self.base, ca_file)

    async def open(self, method: str = "GET", path: str = "/", body: bytes | None = None) -> httpx.Response:
        request = httpx.Request(method, self.base + path, content=body)
        return await self.connection.handle_async_request(request)

    async def __call__(self, method: str = "GET", path: str = "/", body: bytes | None = None) -> bytes:
        response = await self.open(method, path, body)
        try:
            return b"".join([part async for part in response.stream])  # type: ignore[union-attr]
        finally:
            await response.aclose()


@asynccontextmanager
async def server(*answers: bytes, lasting: bool = True) -> AsyncIterator[tuple[Call, Heard]]:
    """A connection to somebody who gives these answers, one a request.

    :param lasting: Whether connections stay; else each is closed after an answer that did not say so.
    """
    left, heard = list(answers), Heard()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heard.text += head
                heard.ports.append(writer.get_extra_info("peername")[1])
                heard.request.set()
                answer = left.pop(0)
                for part in (answer[at : at + MIB] for at in range(0, len(answer), MIB)):
                    writer.write(part)
                    await writer.drain()
                    heard.sent += len(part)
                if not lasting:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            heard.hung_up.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        call = Call(listening.sockets[0].getsockname()[1])
        yield call, heard
        await call.connection.aclose()


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
    ],
    ids=lambda answer: answer[:70].decode(),
)
async def test_a_broken_answer_has_its_error_and_the_next_call_works(answer: bytes) -> None:
    async with server(answer, OK, lasting=False) as (call, _):
        with pytest.raises(httpx.RemoteProtocolError):
            await call()
        assert await call() == b"ok"


async def test_a_connection_that_breaks_has_its_error_and_the_next_call_works() -> None:
    met = 0

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        await reader.readuntil(b"\r\n\r\n")
        if met > 1:
            writer.write(OK)
            await writer.drain()
        else:
            writer.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a RST, no FIN
        writer.close()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as listening:
        call = Call(listening.sockets[0].getsockname()[1])
        with pytest.raises(httpx.ReadError):
            await call()
        assert await call() == b"ok"
        await call.connection.aclose()


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


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.0 200 OK\r\n\r\nok", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"]
)
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
            line = call.connection._line
            assert line
            line._socket.data_received(false)
        assert await call() == b"ok"
        assert len(set(heard.ports)) == 2


async def test_nobody_who_listens_means_that_nothing_was_sent() -> None:
    async with server() as (call, _):
        pass
    with pytest.raises(httpx.ConnectError):
        await call()


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
    async with server(OK, OK) as (call, heard):
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


# ── TLS: what the other side closes is lost in several turns of the loop ──


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with authorities() as (trusted, _):
        yield trusted


@asynccontextmanager
async def tls_server(authority: Authority) -> AsyncIterator[tuple[Call, list[asyncio.StreamWriter]]]:
    """A connection over TLS to somebody who answers, and the server's ends of it."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)

    files = authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["ssl_certfile"], files["ssl_keyfile"])
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        call = Call(listening.sockets[0].getsockname()[1], authority.file)
        yield call, writers
        await call.connection.aclose()
        for writer in writers:
            writer.transport.abort()


async def test_calls_go_over_one_connection_by_tls_too(authority: Authority) -> None:
    async with tls_server(authority) as (call, writers):
        assert [await call() for _ in range(3)] == [b"ok"] * 3
        assert len(writers) == 1


@pytest.mark.parametrize("turns", range(16))
@pytest.mark.parametrize("end", ["close", "abort"])
async def test_a_call_while_the_other_side_closes_has_its_answer_or_an_error_of_the_connection(
    authority: Authority, end: str, turns: int
) -> None:
    async with tls_server(authority) as (call, writers):
        assert await call() == b"ok"
        getattr(writers[0].transport, end)()
        for _ in range(turns):
            await asyncio.sleep(0)
        # Sent before the other side's word arrived, nobody knows what became of it. Never anything else.
        with suppress(httpx.ReadError, httpx.RemoteProtocolError):
            assert await call() == b"ok"
        assert await call() == b"ok"


async def test_a_connection_whose_other_side_said_goodbye_is_not_used_again(authority: Authority) -> None:
    async with tls_server(authority) as (call, writers):
        assert await call() == b"ok"
        line = call.connection._line
        assert line and line.can_be_used()
        line._socket.eof_received()
        assert not line.can_be_used()
        assert await call() == b"ok"
        assert len(writers) == 2


async def test_a_connection_whose_socket_is_gone_is_not_used_again(authority: Authority) -> None:
    async with tls_server(authority) as (call, writers):
        assert await call() == b"ok"
        line = call.connection._line
        assert line
        # As asyncio does it, which tells the protocol a turn later.
        line._socket._transport._ssl_protocol.connection_lost(None)  # type: ignore[attr-defined]
        assert not line.can_be_used()
        assert await call() == b"ok"
        assert len(writers) == 2


# ── whom it connects to ──


@pytest.mark.parametrize(
    ("base", "host"),
    [
        ("https://xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("http://[::1]:8848", "::1"),
        ("http://127.0.0.1:8848", "127.0.0.1"),
    ],
)
def test_a_host_is_the_very_one_that_was_named(base: str, host: str) -> None:
    assert Direct(base)._host == host


async def test_a_name_that_is_none_is_not_connected_to() -> None:
    request = httpx.Request("GET", "https://example.com")
    with pytest.raises(httpx.ConnectError):
        await Direct("https://a..b").handle_async_request(request)


@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_cancelled_connect_leaves_no_socket_behind(turns: int) -> None:
    gc.collect()  # what others left behind
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with server(OK) as (call, _):
            calling = asyncio.ensure_future(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        gc.collect()
    assert not [warning for warning in seen if "unclosed" in str(warning.message)]
