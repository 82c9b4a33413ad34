"""Connection pool of aiohttp that tells a failed connection from a missing response.

It reuses a connection only if no unexpected bytes arrived on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiohttp
from msgspec import Struct

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

#: Lifetime of an idle connection, in seconds.
KEEP_ALIVE = 5.0
#: Headers that aiohttp adds by default.
_ADDED = ("accept", "accept-encoding", "content-type", "user-agent")


class Attempt(Struct):
    """State of one request, which may be sent once connected."""

    is_connected: bool = False


#: Attempt of the running task.
current_attempt: ContextVar[Attempt] = ContextVar("dingtalk_attempt")


class Pool(aiohttp.TCPConnector):
    """Pool of connections to one host."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known: WeakSet[ResponseHandler] = WeakSet()
        self._home = asyncio.get_running_loop()

    @property
    def is_orphaned(self) -> bool:
        """State of the pool's event loop: True if it was closed."""
        return self._home.is_closed()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a usable connection for a request."""
        while not self._is_usable(connection := await super().connect(req, traces, timeout)):
            connection.close()
        current_attempt.get().is_connected = True
        return connection

    def _is_usable(self, connection: Connection) -> bool:
        protocol = connection.protocol
        if protocol is None:
            return False
        if protocol in self._known:
            return not protocol.should_close and _is_silent(protocol)
        self._known.add(protocol)
        return True


def _is_silent(protocol: ResponseHandler) -> bool:
    """Return True if a connection is open and no bytes arrived, which would be taken for the next answer."""
    socket = protocol.transport.get_extra_info("socket") if protocol.transport else None
    if socket is None or socket.fileno() < 0:
        return False
    # The event loop may not have read them yet, so the operating system is asked.
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return not poll.poll(0)


def new_session(limit: int, context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Create a session without aiohttp's optional features on the running loop.

    :param limit: Maximum number of connections.
    :param context: TLS context for ``https``; None means aiohttp's default.
    """
    return aiohttp.ClientSession(
        connector=Pool(
            limit=limit,
            keepalive_timeout=KEEP_ALIVE,
            ssl=context or True,
            # aiohttp would use aiodns where it is installed; the system's resolver reads /etc/hosts.
            resolver=aiohttp.ThreadedResolver(),
        ),
        timeout=aiohttp.ClientTimeout(total=None),  # the client has its own timeout
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_ADDED,
        auto_decompress=False,
        trust_env=False,
        middlewares=(_send_once,),
    )


async def closed_at_last(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Close a session when this generator is closed, by its owner or by the event loop at its end."""
    try:
        yield
    finally:
        await session.close()
        # The event loop closes a socket in its next iteration, so that iteration must take place.
        await asyncio.sleep(0)


class BrokenError(Exception):
    """Error for a broken connection.

    :param error: Exception of aiohttp.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Raise an error that keeps aiohttp from repeating a GET whose connection broke."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenError(error) from None


def drop_after_loop(session: aiohttp.ClientSession) -> None:
    """Drop a session whose event loop was closed without ending its generators; otherwise aiohttp logs an error."""
    connector = session.connector
    if isinstance(connector, Pool) and connector.is_orphaned:
        session.detach()
        with contextlib.suppress(StopIteration):  # without an event loop there is nothing to wait for
            connector.close().send(None)
