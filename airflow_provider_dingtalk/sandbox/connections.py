"""Cuts of connections, below ASGI.

ASGI cannot close a socket. So the server's protocol class stores each connection's transport under its two
addresses, and the application finds the transport of a request by ``scope``. In-process, as under
``httpx.ASGITransport``, there is no socket, so a cut raises ``ConnectionResetError``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Receive, Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

Address = tuple[str, int]

_transports: dict[tuple[Address, Address], asyncio.Transport] = {}
#: Server addresses of all connections so far; a request to one of them has or had a socket.
_served: set[Address] = set()

#: Option SO_LINGER with 0 seconds, so that closing sends RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)


# Uvicorn selects httptools or h11 when it is imported, so mypy cannot know the base class.
class TrackedProtocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]
    """Uvicorn HTTP protocol that stores its transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Store the transport of a new connection."""
        self.addresses = _address(transport, "peername"), _address(transport, "sockname")
        _transports[self.addresses] = transport
        _served.add(self.addresses[1])
        # asyncio sets this only for sockets made with the protocol's number. Without it each response takes 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the transport of a closed connection."""
        _transports.pop(self.addresses, None)
        super().connection_lost(exc)


async def client_disconnected(receive: Receive, within: float) -> bool:
    """Wait until the client closes the connection, or a timeout passes.

    Call it only after the whole request was received.

    :param within: Timeout in seconds.
    :returns: True if the client closed the connection.
    """
    try:
        async with asyncio.timeout(within):
            await _wait_for_disconnect(receive)
    except TimeoutError:
        return False
    return True


async def drop(scope: Scope, receive: Receive, *, reset: bool = False, flush: bool = False) -> None:
    """Close the connection of a request and wait until it is closed.

    :param reset: Close it by a TCP reset; default False.
    :param flush: Deliver the bytes sent so far; default False.
    :raises ConnectionResetError: If there is no connection, because the application runs in-process.
    """
    client, server = scope.get("client"), scope.get("server")
    transport = _transports.get((tuple(client), tuple(server))) if client and server else None
    if transport is None:
        if server and tuple(server) in _served:
            return  # the client closed it before
        raise ConnectionResetError("the sandbox cut the connection")
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if flush:
        transport.close()
    else:
        transport.abort()
    await _wait_for_disconnect(receive)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _address(transport: asyncio.BaseTransport, name: str) -> Address:
    address: Any = transport.get_extra_info(name) or ("", 0)
    return str(address[0]), int(address[1])
