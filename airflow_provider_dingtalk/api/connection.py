"""One connection: HTTP as h11 writes and reads it, over a socket of asyncio's.

In place of a library's: each of the layers between h11 and the socket (locks, cancel scopes, traces, two writes
for one request) is cheap, and together they took half as much as the rest of the call. There is one call at a time
here, its caller watches the clock, and what is in doubt is hung up.
"""

from __future__ import annotations

import asyncio
import functools
import select
import ssl
import time
from collections.abc import AsyncIterator

import h11
import httpx

from airflow_provider_dingtalk.api.hosts import is_address

#: Seconds for which a connection is kept that nobody uses.
KEPT = 5.0
#: Bytes that may wait to be read before the other side is asked to hold on.
_UNREAD = 128 * 1024
#: Bytes that the head of an answer may have.
_HEAD = 100 * 1024
#: Seconds after which a host's next address is tried beside the first: RFC 8305's.
_NEXT_ADDRESS = 0.25


@functools.cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The process's one TLS context: building it costs 16 ms and 0.7 MB. Certificates are always verified.

    :param ca_file: PEM file to trust instead of the system's certificates.
    """
    context = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context(trust_env=True)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Direct(httpx.AsyncBaseTransport):
    """A connection to one host, and another one when it is gone.

    :param base_url: Scheme and host.
    :param ca_file: As for :func:`tls_context`.
    """

    def __init__(self, base_url: str, ca_file: str | None = None) -> None:
        url = httpx.URL(base_url)
        # Not as people read it: made ASCII again, by older rules, it may be another one's.
        self._host = url.raw_host.decode("ascii")
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._context = tls_context(ca_file) if url.scheme == "https" else None
        self._line: _Line | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send. There must be no other call under way.

        :raises httpx.ConnectError: Nothing was sent: there is no connection.
        :raises httpx.ConnectTimeout: Nothing was sent: connecting took too long.
        :raises httpx.ReadError: The connection broke.
        :raises httpx.RemoteProtocolError: The answer is no HTTP, or ends too early.
        """
        if self._line is None or not self._line.can_be_used():
            await self.aclose()
            self._line = await self._connect(request.extensions.get("timeout", {}).get("connect"))
        line = self._line
        try:
            head = await line.ask(request)
        except BaseException:
            line.hang_up()
            raise
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=_Body(line))

    async def aclose(self) -> None:
        """Close it."""
        if self._line is not None:
            self._line.hang_up()
            self._line = None
            # The socket is closed in the loop's next turn, which may be its last.
            await asyncio.sleep(0)

    async def _connect(self, seconds: float | None) -> _Line:
        # An address has no next one. A race of one, cancelled, would leave its socket to the garbage collector.
        delay = None if is_address(self._host) else _NEXT_ADDRESS
        try:
            async with asyncio.timeout(seconds):
                _, socket = await asyncio.get_running_loop().create_connection(
                    _Socket, self._host, self._port, ssl=self._context, happy_eyeballs_delay=delay
                )
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection within {seconds:g} s") from None
        except (OSError, UnicodeError) as error:  # the latter: of a name that is none
            raise httpx.ConnectError(str(error)) from None
        return _Line(socket)


class _Socket(asyncio.Protocol):
    """Bytes as they arrive, until somebody takes them."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._unread = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._is_lost = False
        self._error: Exception | None = None

    # ── what asyncio tells ───────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- for mypy
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) > _UNREAD:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        # The transport closes itself now, and takes some turns of the loop for it.
        self._is_lost = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost, self._error = True, error
        self._wake()

    # ── what the line asks ───────────────────────────────────────────────────────────────────────────

    @property
    def is_silent(self) -> bool:
        """Whether it is there, and nothing arrived that nobody took."""
        if self._is_lost or self._unread or self._transport.is_closing():
            return False
        socket = self._transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:  # TLS: it is gone already, which is told a turn later
            return False
        # Nor anything that the loop has not heard of yet: the other side may have hung up a moment ago.
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def write(self, data: bytes) -> None:
        """Send. What does not go out at once waits in memory: a request has some kilobytes."""
        self._transport.write(data)

    async def read(self) -> bytes:
        """What arrived; empty at the end."""
        if not self._is_lost and not self._unread:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if self._error and not self._unread:
            raise httpx.ReadError(type(self._error).__name__) from None
        data = bytes(self._unread)
        self._unread.clear()
        self._transport.resume_reading()
        return data

    def hang_up(self) -> None:
        """Close, at once."""
        self._transport.abort()
        self._unread.clear()

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


class _Line:
    """Calls over a socket, one after the other."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
        self._kept_until = float("inf")

    def can_be_used(self) -> bool:
        """Whether a call may begin. Bytes that nobody asked for would be taken for its answer."""
        is_idle = self._http.our_state is h11.IDLE and time.monotonic() < self._kept_until
        return is_idle and self._socket.is_silent

    async def ask(self, request: httpx.Request) -> h11.Response:
        """Send a request and read the head of its answer."""
        body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
        self._socket.write(self._text_of(request, body))
        while not isinstance(event := await self._next(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise httpx.RemoteProtocolError("hung up without an answer")
        return event

    async def body(self) -> AsyncIterator[bytes]:
        """The rest of the answer."""
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    def over(self) -> None:
        """The call is over: the next one may begin if all was read and nothing is left, else hang up."""
        both = {self._http.our_state, self._http.their_state}
        if both == {h11.DONE} and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
            self._kept_until = time.monotonic() + KEPT
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Close, at once."""
        self._socket.hang_up()

    def _text_of(self, request: httpx.Request, body: bytes) -> bytes:
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            events = (head, h11.Data(data=body), h11.EndOfMessage()) if body else (head, h11.EndOfMessage())
            return b"".join(self._http.send(event) or b"" for event in events)
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from None

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._parsed()) is h11.NEED_DATA:
            self._http.receive_data(await self._socket.read())
        return event  # type: ignore[return-value]

    def _parsed(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        try:
            return self._http.next_event()
        except Exception as error:  # its own, and before 0.16 a ValueError for a length of 5,000 digits
            raise httpx.RemoteProtocolError(str(error)) from None


class _Body(httpx.AsyncByteStream):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._line.body()

    async def aclose(self) -> None:
        self._line.over()
