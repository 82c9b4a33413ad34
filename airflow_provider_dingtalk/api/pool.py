"""aiohttp's connection pool, with two additions.

It records whether a connection was handed out for a request, which separates "not sent" from "no answer"; and
it reuses a connection only while the other side is silent.
"""

from __future__ import annotations

import select
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


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


class BrokenError(Exception):
    """A connection broke.

    :param error: What aiohttp raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request whose connection broke: it repeats each GET once.

    :raises BrokenError: In place of the errors after which aiohttp repeats.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenError(error) from None
