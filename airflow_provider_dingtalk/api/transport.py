"""Connections to a host, kept for each process and event loop: each call takes one for itself (a lane).

httpx is used without its client: no redirects, no cookies, no ``.netrc``, no log line with a URL in it. Its pool
looks at every connection for every call, which at 20 in flight costs four times as much as the call itself.
"""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import httpx

from airflow_provider_dingtalk.api.connection import Direct, tls_context

#: Connections kept, and calls in flight, where nothing asks for fewer: 333 calls a second, which 10,000 waits with
#: a look each 30 s make, at up to 96 ms each.
MAX_CONNECTIONS = 32
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)


def transport_for(base_url: str, ca_file: str | None = None) -> httpx.AsyncBaseTransport:
    """Connections to one host, through the proxy of the environment if there is one.

    :param base_url: Scheme and host; no proxy for loopback.
    :raises OSError: ``ca_file`` cannot be read, or holds no certificates.
    """
    if base_url.startswith("https:"):
        context = tls_context(ca_file)  # for all lanes; a file that is none is told now, and not by the first call
        if proxy := _proxy_to(base_url):
            return Lanes(
                lambda: httpx.AsyncHTTPTransport(verify=context, limits=_ONE, proxy=proxy, trust_env=False)
            )
    return Lanes(lambda: Direct(base_url, ca_file))


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


def _proxy_to(base_url: str) -> str | None:
    if urllib.request.proxy_bypass(urlsplit(base_url).hostname or ""):
        return None
    return urllib.request.getproxies().get("https")
