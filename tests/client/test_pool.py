"""The pool: connections that close at the same time, TLS, addresses, and cancelled connects."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.client.sockets import IS_OLD_UVLOOP, OK, UNCLOSED_SOCKET_FILTER, Call, server
from tests.faults.connect_proxy import reset
from tests.faults.tls_rows import Authority, authorities

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


# ── keep-alive: the server closes at the same time ──


class Closing:
    """Server that answers one request per connection and closes it after ``turns`` loop iterations.

    With ``takes_next`` it accepts one more request, executes it, and closes without an answer.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.takes_next = False
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._take(reader)
            writer.write(OK)
            await writer.drain()
            if self.takes_next:
                await self._take(reader)
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if self.turns % 2:
                reset(writer)
            else:
                writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or b"0"
        self.bodies.append(await reader.readexactly(int(length)))


async def test_a_connection_that_is_closed_just_then_confuses_nothing() -> None:
    """1,000 times: what is answered arrived once, what was not sent never, what has no answer once at most."""
    closing, outcomes = Closing(), []
    async with await asyncio.start_server(closing.serve, "127.0.0.1", 0) as listening:
        call = Call(listening.sockets[0].getsockname()[1])
        for number in range(1000):
            closing.turns, closing.takes_next = number % 12, number % 5 == 0
            body = b"%d" % number
            try:
                await call("POST", "/send", body)
                outcomes.append("answered")
                assert closing.bodies.count(body) == 1
            except httpx.ConnectError:
                outcomes.append("not sent")
                assert closing.bodies.count(body) == 0
            except (httpx.ReadError, httpx.RemoteProtocolError):
                outcomes.append("no answer")
                assert closing.bodies.count(body) <= 1
        await call.transport.aclose()
    assert outcomes.count("answered") > 500
    assert outcomes.count("no answer") > 100, "the server took a request and closed"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_request_is_repeated_by_itself(method: str) -> None:
    """A connection that was kept and is closed with the request: aiohttp would send a GET again."""
    async with server(OK, b"", OK, lasting=True) as (call, heard):
        await call(method)
        assert len(heard.ports) == 1
        heard.hangs_up_at = 2
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await call(method)
        assert len(heard.ports) == 2
        assert await call(method) == b"ok"


# ── addresses ──


async def test_a_name_with_several_addresses_is_reached_at_the_one_that_listens() -> None:
    async with server(OK) as (call, heard):
        call.base = call.base.replace("127.0.0.1", "localhost")
        assert await call() == b"ok"
        assert b"host: localhost:" in heard.text.lower()


async def test_an_address_of_ipv6_is_reached() -> None:
    closing = Closing()
    async with await asyncio.start_server(closing.serve, "::1", 0) as listening:
        call = Call(listening.sockets[0].getsockname()[1])
        call.base = call.base.replace("127.0.0.1", "[::1]")
        assert await call() == b"ok"
        await call.transport.aclose()


# ── TLS: a close by the server takes several loop iterations ──


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with authorities() as (trusted, _):
        yield trusted


@asynccontextmanager
async def tls_server(authority: Authority) -> AsyncIterator[tuple[Call, list[asyncio.StreamWriter]]]:
    """Connect to a TLS server, and yield the server's ends of the connections too."""
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
        await call.transport.aclose()
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
        # A request sent before the close arrived has an unknown effect. No other error may be raised.
        with suppress(httpx.ReadError, httpx.RemoteProtocolError):
            assert await call() == b"ok"
        assert await call() == b"ok"


@pytest.mark.filterwarnings(UNCLOSED_SOCKET_FILTER)
@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_cancelled_connect_leaves_no_socket_behind(
    turns: int, anyio_backend: tuple[str, dict[str, bool]]
) -> None:
    async with server(OK) as (call, _):
        assert await call() == b"ok"  # what a first call opens for good
    gc.collect()  # what others left behind
    before = _sockets()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with server(OK) as (call, _):
            calling = asyncio.ensure_future(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            del calling
        for _ in range(20):  # the server closes its side too
            await asyncio.sleep(0)
        gc.collect()
    if not (IS_OLD_UVLOOP and anyio_backend[1]["use_uvloop"]):
        assert not [warning for warning in seen if "unclosed" in str(warning.message)]
    assert _sockets() <= before


def _sockets() -> set[str]:
    return {found for file in Path("/proc/self/fd").iterdir() if "socket:" in (found := _target(file))}


def _target(file: Path) -> str:
    # A descriptor may be closed by another thread.
    with suppress(OSError):
        return str(file.readlink())
    return ""
