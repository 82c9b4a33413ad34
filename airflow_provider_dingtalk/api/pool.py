"""aiohttp's connection pool, with two additions.

It records whether a connection was handed out for a request, which separates "not sent" from "no answer"; and
it reuses a connection only while the other side is silent.
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

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


#: Seconds for which an idle connection is kept.
KEEP_ALIVE = 5.0
#: Headers that aiohttp would add.
_ADDED = ("accept", "accept-encoding", "content-type", "user-agent")


class Attempt:
    """One request; from the moment it has a connection, it may have been sent."""

    __slots__ = ("is_connected",)

    def __init__(self) -> None:
        self.is_connected = False


#: The attempt that the running task makes.
current_attempt: ContextVar[Attempt] = ContextVar("dingtalk_attempt")


class Pool(aiohttp.TCPConnector):
    """Connections to one host."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known: WeakSet[ResponseHandler] = WeakSet()
        self._home = asyncio.get_running_loop()

    @property
    def is_orphaned(self) -> bool:
        """Whether its event loop was closed."""
        return self._home.is_closed()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Hand out a connection for a request."""
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
    """Tell whether nothing arrived: no end, and no bytes that would be taken for the next answer."""
    socket = protocol.transport.get_extra_info("socket") if protocol.transport else None
    if socket is None or socket.fileno() < 0:
        return False
    # The operating system is asked, because the event loop may not have read it yet.
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return not poll.poll(0)


def new_session(limit: int, context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Make a session on the running event loop, with all switched off that nobody asked for.

    :param limit: Connections at once.
    :param context: TLS context for ``https``.
    """
    return aiohttp.ClientSession(
        connector=Pool(
            limit=limit,
            keepalive_timeout=KEEP_ALIVE,
            ssl=context or True,
            # The system's, which knows /etc/hosts, also where aiodns is installed.
            resolver=aiohttp.ThreadedResolver(),
        ),
        timeout=aiohttp.ClientTimeout(total=None),  # the client has a deadline of its own
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_ADDED,
        auto_decompress=False,
        trust_env=False,
        middlewares=(_send_once,),
    )


async def closed_at_last(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Close a session when this generator is closed: by its owner, or by the event loop at its end."""
    try:
        yield
    finally:
        await session.close()
        # A socket is closed in the loop's next turn, which may be its last.
        await asyncio.sleep(0)


class BrokenError(Exception):
    """A connection broke.

    :param error: What aiohttp raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request whose connection broke: it repeats each GET once.

    :raises BrokenError: In place of the errors after which aiohttp repeats.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenError(error) from None


def drop_after_loop(session: aiohttp.ClientSession) -> None:
    """Drop a session whose event loop was closed without ending its generators.

    Otherwise aiohttp logs an error for it. The sockets are closed when their transports are collected.
    """
    connector = session.connector
    if isinstance(connector, Pool) and connector.is_orphaned:
        session.detach()
        with contextlib.suppress(StopIteration):  # nothing is waited for: there is no loop
            connector.close().send(None)
