"""Cutting a connection for real: the one place that reaches below ASGI.

ASGI has no word for "close the socket now". So the protocol class that the server is told to use writes
down each connection's transport under its two addresses, and an application finds its own by ``scope``.
In-process, as under ``httpx.ASGITransport``, there is no socket: there a cut raises ``ConnectionResetError``.
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
#: Addresses at which connections came in: an application at one of them has, or had, a socket.
_served: set[Address] = set()

#: Close at once and send RST in place of FIN: linger on, for zero seconds.
_RESET = struct.pack("ii", 1, 0)


# httptools or h11, whichever is installed: uvicorn decides that when it is imported, which mypy cannot follow.
class WiredProtocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]
    """Uvicorn's HTTP protocol that remembers its transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Write the connection down."""
        self.addresses = _address(transport, "peername"), _address(transport, "sockname")
        _transports[self.addresses] = transport
        _served.add(self.addresses[1])
        # asyncio does this only for sockets made with the protocol's number; without it each answer takes 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        _transports.pop(self.addresses, None)
        super().connection_lost(exc)


async def client_gone(receive: Receive, within: float) -> bool:
    """Wait so many seconds, or until the client closes the connection; whether it did.

    Only after the whole request was received.
    """
    try:
        async with asyncio.timeout(within):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def cut(scope: Scope, receive: Receive, *, reset: bool = False, flush: bool = False) -> None:
    """Close the connection of a request and wait until it is closed.

    :param reset: By a TCP reset.
    :param flush: What was sent so far still goes out.
    :raises ConnectionResetError: There is no connection: the application runs in-process.
    """
    client, server = scope.get("client"), scope.get("server")
    transport = _transports.get((tuple(client), tuple(server))) if client and server else None
    if transport is None:
        if server and tuple(server) in _served:
            return  # the client went first
        raise ConnectionResetError("the sandbox cut the connection")
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if flush:
        transport.close()
    else:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _address(transport: asyncio.BaseTransport, name: str) -> Address:
    address: Any = transport.get_extra_info(name) or ("", 0)
    return str(address[0]), int(address[1])
