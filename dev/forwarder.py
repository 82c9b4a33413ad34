"""TCP forwarder in front of a server, which can cut off the clients of one host."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from enum import StrEnum

from dev.processes import free_port

LOOPBACK = "127.0.0.1"
#: Timeout of a change of the mode in seconds.
TIMEOUT = 10.0
#: Maximum number of bytes of one read.
CHUNK = 65_536
#: End of the first line of an HTTP request.
REQUEST = b" HTTP/1.1\r\n"


class Mode(StrEnum):
    """Treatment of open and new connections."""

    FORWARD = "forward"
    REFUSE = "refuse"  # Open connections are aborted, new ones are refused
    HOLD = "hold"  # Black hole: nothing passes and no connection ends; what was written arrives later


class Forwarder:
    """TCP forwarder from a loopback port of its own to a server, in a thread.

    :param target: Loopback port of the server.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        #: Number of HTTP requests that its clients sent.
        self.requests = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._listener: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"forwarder-{self.port}", daemon=True)
        self._thread.start()
        self.set_mode(Mode.FORWARD)

    def set_mode(self, mode: Mode) -> None:
        """Change what happens to connections, and return when the change is in effect."""
        asyncio.run_coroutine_threadsafe(self._set_mode(mode), self._loop).result(TIMEOUT)

    def close(self) -> None:
        """Abort all connections and stop listening."""
        self.set_mode(Mode.REFUSE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()

    async def _set_mode(self, mode: Mode) -> None:
        if mode is Mode.HOLD:
            self._passes.clear()
        else:
            self._passes.set()
        if mode is Mode.REFUSE:
            await self._refuse()
        elif self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port))
            self._listener.setblocking(False)
            # Not asyncio.Server: one that closes leaks a connection that it has just accepted.
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _refuse(self) -> None:
        if self._listener:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        while self._connections:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            client, _ = listener.accept()
            # asyncio sets it for its own sockets only. Without it a part of an answer waits 40 ms for an ACK.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._loop.create_task(self._serve(client))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        writers = {writer}
        self._writers |= writers
        await self._passes.wait()
        with suppress(OSError):
            from_server, to_server = await asyncio.open_connection(LOOPBACK, self._target)
            writers.add(to_server)
            self._writers |= writers
            await asyncio.gather(self._copy(reader, to_server, counts=True), self._copy(from_server, writer))
        for each in writers:
            each.close()
        self._writers -= writers

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                # httpx writes the head of a request at once.
                self.requests += counts and data.count(REQUEST)
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
