"""HTTP transport on aiohttp with httpx's interface.

aiohttp provides pooling, proxies, IPv6, several addresses of one name, and uvloop. Its other features are off:
redirects, cookies, ``.netrc``, decompression, the environment's settings, and its own retries.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator

import aiohttp
import httpx
from yarl import URL

from airflow_provider_dingtalk.client.certificates import tls_context
from airflow_provider_dingtalk.client.pool import (
    Attempt,
    BrokenError,
    closed_at_last,
    current_attempt,
    drop_after_loop,
    new_session,
)
from airflow_provider_dingtalk.client.proxy import Proxy, environment_proxy
from airflow_provider_dingtalk.client.unreachable import connect_error

#: Maximum number of connections, and of calls in flight without a rate limit. 10,000 waits with a poll every 30 s
#: make 333 calls a second, and 32 connections carry them at up to 96 ms each.
MAX_CONNECTIONS = 32


def transport_for(base_url: str, ca_file: str | None = None, proxy: Proxy | None = None) -> AiohttpTransport:
    """Create the transport for one host.

    :param base_url: Scheme and host.
    :param ca_file: PEM file to trust instead of the usual certificates.
    :param proxy: Proxy for ``https``; default the environment's. Plain ``http`` uses none.
    :raises ConfigurationError: If the certificates cannot be read, or the environment's proxy is invalid.
    """
    if not base_url.startswith("https:"):
        return AiohttpTransport()
    return AiohttpTransport(tls_context(ca_file), proxy or environment_proxy(base_url))


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Transport with one aiohttp session, created by the first request.

    :param context: TLS context for ``https``; default aiohttp's.
    :param proxy: Proxy for all requests; default None.
    """

    def __init__(self, context: ssl.SSLContext | None = None, proxy: Proxy | None = None) -> None:
        self._context = context
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._closing: AsyncGenerator[None, None] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the headers of its answer.

        :raises httpx.ConnectError: If the connection failed. Nothing was sent.
        :raises httpx.RemoteProtocolError: If the answer is not HTTP, or ends too early.
        :raises httpx.ReadError: If the connection broke after the start of the request.
        """
        attempt = Attempt()
        current_attempt.set(attempt)
        try:
            answer = await self._send(request)
        except Exception as error:
            cause = error.error if isinstance(error, BrokenError) else error
            problem = _lost(cause) if attempt.is_connected else connect_error(cause, self._proxy)
        else:
            if answer.status >= 200:
                return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer))
            answer.close()
            problem = httpx.RemoteProtocolError("switched protocols")
        # Inside the handler, the error's context would hold the request, so it is raised here.
        raise problem

    async def aclose(self) -> None:
        """Close all connections."""
        closing, self._session, self._closing = self._closing, None, None
        if closing is not None:
            await closing.aclose()

    def __del__(self) -> None:
        if self._session is not None:
            drop_after_loop(self._session)

    async def _send(self, request: httpx.Request) -> aiohttp.ClientResponse:
        session = self._session
        if session is None or session.closed:
            session = await self._open()
        return await session.request(
            request.method,
            _url(request.url),
            data=await request.aread() or None,
            headers=[(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw],
            timeout=aiohttp.ClientTimeout(connect=request.extensions.get("timeout", {}).get("connect")),
            allow_redirects=False,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers() if self._proxy else None,
        )

    async def _open(self) -> aiohttp.ClientSession:
        self._session = session = new_session(MAX_CONNECTIONS, self._context)
        self._closing = closed_at_last(session)
        await anext(self._closing)
        return session


def _url(url: httpx.URL) -> URL:
    """Return the URL exactly as httpx sends it.

    Decoding and encoding it again could change the host.
    """
    return URL(f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}", encoded=True)


def _lost(error: Exception) -> httpx.TransportError:
    """Return the error for a broken connection, without its request."""
    kind = httpx.ReadError if isinstance(error, OSError) else httpx.RemoteProtocolError
    return kind(type(error).__name__)


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._answer.content.readany()
        except Exception as error:
            problem = _lost(error)
        else:
            if chunk:
                return chunk
            raise StopAsyncIteration
        raise problem

    async def aclose(self) -> None:
        # After a completely read answer the connection is in the pool again, so this closes only other
        # connections.
        self._answer.close()
