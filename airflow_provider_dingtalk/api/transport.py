"""The socket: TLS connections that are kept, for each process and event loop.

httpx is used without its client: no redirects, no cookies, no ``.netrc``, no log line with a URL in it, and half
of the work per call. Its pool looks at every connection for every call, which at 20 in flight costs four times as
much as the call itself: so each call takes a connection for itself here (a lane).
"""

from __future__ import annotations

import functools
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpcore
import httpx

#: Connections kept, and calls in flight, where nothing asks for fewer.
MAX_CONNECTIONS = 20
#: Seconds for which a connection is kept that nobody uses.
KEPT = 5.0
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)


@functools.cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The process's one TLS context: building it costs 16 ms and 0.7 MB. Certificates are always verified.

    :param ca_file: PEM file to trust instead of the system's certificates.
    """
    return ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context(trust_env=True)


def transport_for(base_url: str, ca_file: str | None = None) -> httpx.AsyncBaseTransport:
    """Connections to one host, through the proxy of the environment if there is one.

    :param base_url: Scheme and host; no proxy for loopback.
    """
    # Plain http is for loopback only; its context trusts nobody.
    context = tls_context(ca_file) if base_url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if proxy := _proxy_for(base_url):
        return Lanes(lambda: httpx.AsyncHTTPTransport(verify=context, limits=_ONE, proxy=proxy, trust_env=False))
    return Lanes(lambda: Direct(base_url, context))


class Lanes(httpx.AsyncBaseTransport):
    """Connections side by side, each for one call at a time.

    There are as many as calls were ever in flight at once: whoever calls sets the bound. The one used last is
    taken first, so that in quiet times the others may be closed.

    :param make: Makes a transport of one connection.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._make = make
        self._all: list[httpx.AsyncBaseTransport] = []
        self._free: list[httpx.AsyncBaseTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free lane; it is free again when the answer is closed."""
        lane = self._free.pop() if self._free else self._open()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free.append(lane)
            raise
        response.stream = _Answer(response, lambda: self._free.append(lane))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for lane in self._all:
            await lane.aclose()

    def _open(self) -> httpx.AsyncBaseTransport:
        self._all.append(self._make())
        return self._all[-1]


class Direct(httpx.AsyncBaseTransport):
    """One connection to one host, without a pool around it; another one when it is gone.

    :param base_url: Scheme and host.
    """

    def __init__(self, base_url: str, context: ssl.SSLContext) -> None:
        self._origin = httpcore.URL(base_url).origin
        self._context = context
        self._connection = self._make()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send. There must be no other call under way."""
        if self._connection.is_closed() or self._connection.has_expired():
            await self._connection.aclose()
            self._connection = self._make()
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent = httpcore.Request(
            request.method,
            target,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _errors_of_httpx():
            answer = await self._connection.handle_async_request(sent)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Bytes(answer))

    async def aclose(self) -> None:
        """Close it."""
        await self._connection.aclose()

    def _make(self) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(self._origin, self._context, keepalive_expiry=KEPT)


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Errors by their names: httpx calls them what httpcore does."""
    try:
        yield
    except httpcore.ConnectionNotAvailable:
        raise httpx.ConnectError("the connection is in use") from None
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from None


class _Answer(httpx.AsyncByteStream):
    """The bytes of an answer, and who is to be told when it is closed."""

    def __init__(self, response: httpx.Response, closed: Callable[[], None]) -> None:
        self._stream = response.stream
        self._closed = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()  # type: ignore[union-attr]

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()  # type: ignore[union-attr]
        finally:
            self._closed()


def _proxy_for(base_url: str) -> str | None:
    url = urlsplit(base_url)
    if url.scheme != "https" or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    return urllib.request.getproxies().get("https")
