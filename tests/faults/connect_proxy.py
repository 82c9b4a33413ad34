"""CONNECT proxy on loopback that misbehaves on request, in a test or in its own process.

``python -m tests.faults.connect_proxy --target PORT --folder DIR --seed N`` is the proxy of the kill harness. It
terminates TLS for ``HOST`` and forwards plain HTTP, so the sandbox needs no certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

#: Host name that clients of the harness's proxy call; it is not in DNS.
HOST = "dingtalk.test"
#: Number of bad connections of every ten in the kill harness.
BAD_OF_TEN = 4
SECONDS_OF_SILENCE = 60.0
_OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Mode(StrEnum):
    """Treatment of one connection by the proxy."""

    HONEST = "honest"
    #: Before the tunnel.
    SILENT = "silent"
    HANGS_UP = "hangs up"
    RESETS = "resets"
    NONSENSE = "nonsense"
    REFUSES = "refuses"
    WANTS_LOGIN = "wants login"
    #: After its 200, in place of the TLS handshake.
    TLS_SILENT = "tls silent"
    TLS_CLOSED = "tls closed"
    TLS_RESET = "tls reset"
    TLS_GARBAGE = "tls garbage"
    #: After the handshake, with the first bytes of the request.
    CUT = "cut"


BEFORE_THE_REQUEST = tuple(mode for mode in Mode if mode not in (Mode.HONEST, Mode.CUT))
_ANSWERS = {
    Mode.NONSENSE: b"\x16\x03\x01 not HTTP\r\n\r\n",
    Mode.REFUSES: b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
    Mode.WANTS_LOGIN: b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
    Mode.TLS_CLOSED: _OK,
    Mode.TLS_RESET: _OK,
    Mode.TLS_GARBAGE: _OK + b"\x15\x03\x03\x00\x02\x02\x50 garbage",
    Mode.TLS_SILENT: _OK,
}


class ConnectProxy:
    """Proxy that takes one mode for each connection, and works correctly after the last.

    :param target: Loopback port that all connections are forwarded to, for any requested host.
    :param modes: Modes of the first connections; default none.
    :param context: TLS context of the tunnel; None forwards the bytes unchanged.
    """

    def __init__(self, target: int, modes: Iterable[Mode] = (), context: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._modes = iter(modes)
        self._context = context
        self._writers: set[asyncio.StreamWriter] = set()
        self.heads: list[bytes] = []
        self.arrived = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """URL of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def be_honest(self) -> None:
        """Work correctly from now on."""
        self._modes = iter(())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ConnectProxy]:
        """Listen on a free port during the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.arrived.set()
            await self._treat(next(self._modes, Mode.HONEST), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _treat(self, mode: Mode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if mode in (Mode.HONEST, Mode.CUT):
            await self._tunnel(reader, writer, is_cut=mode is Mode.CUT)
            return
        writer.write(_ANSWERS.get(mode, b""))
        await writer.drain()
        if mode in (Mode.TLS_RESET, Mode.TLS_GARBAGE, Mode.TLS_CLOSED):
            await reader.read(1)  # the handshake has begun
        if mode in (Mode.SILENT, Mode.TLS_SILENT):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), SECONDS_OF_SILENCE)
        elif mode in (Mode.RESETS, Mode.TLS_RESET):
            reset(writer)
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_cut: bool) -> None:
        writer.write(_OK)
        await writer.drain()
        if self._context:
            await writer.start_tls(self._context)
        if is_cut:
            await reader.read(1)
            reset(writer)
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            there = asyncio.ensure_future(_pass_on(reader, far_writer))
            back = asyncio.ensure_future(_pass_on(far_reader, writer))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            far_writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def at_random(seed: int) -> Iterator[Mode]:
    """Yield good and bad modes at random, without those that take seconds."""
    rng = random.Random(seed)
    bad = [mode for mode in (*BEFORE_THE_REQUEST, Mode.CUT) if mode not in (Mode.SILENT, Mode.TLS_SILENT)]
    for _ in itertools.count():
        yield rng.choice(bad) if rng.randrange(10) < BAD_OF_TEN else Mode.HONEST


async def _run(target: int, folder: Path, seed: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    async with ConnectProxy(target, at_random(seed), context).running() as proxy:
        print(f"listening on {proxy.url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Run the proxy of the kill harness until the process ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(_run(options.target, options.folder, options.seed))


if __name__ == "__main__":
    main()
