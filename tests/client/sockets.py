"""Servers on real sockets that give prepared answers, and calls to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import httpx
from packaging.version import Version

from airflow_provider_dingtalk.client.transport import transport_for

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

MIB = 1024 * 1024
#: uvloop below 0.23 leaves the socket of a cancelled connect to the garbage collector, which closes it with a warning,
#: and may close the descriptor under the next connect.
IS_OLD_UVLOOP = Version(version("uvloop")) < Version("0.23")
UNCLOSED_SOCKET_FILTER = f"{'ignore' if IS_OLD_UVLOOP else 'error'}::pytest.PytestUnraisableExceptionWarning"


class Heard:
    """Requests that a server received.

    :param ports: Source ports of the requests.
    """

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.text = b""
        self.request = asyncio.Event()
        self.hung_up = asyncio.Event()
        self.sent = 0
        self.hangs_up_at = 0


class Call:
    """Calls over a connection to a server on this machine."""

    def __init__(self, port: int, ca_file: str | None = None) -> None:
        self.base = f"http{'s' if ca_file else ''}://127.0.0.1:{port}"
        self.transport = transport_for(self.base, ca_file)

    async def open(self, method: str = "GET", path: str = "/", body: bytes | None = None) -> httpx.Response:
        request = httpx.Request(method, self.base + path, content=body)
        return await self.transport.handle_async_request(request)

    async def __call__(self, method: str = "GET", path: str = "/", body: bytes | None = None) -> bytes:
        response = await self.open(method, path, body)
        try:
            return b"".join([part async for part in response.stream])  # type: ignore[union-attr]
        finally:
            await response.aclose()


@asynccontextmanager
async def server(*answers: bytes, lasting: bool = True) -> AsyncIterator[tuple[Call, Heard]]:
    """Connect to a server that gives these answers, one per request.

    :param lasting: Keep connections open; default True. False closes each after an answer without announcing it.
    """
    left, heard = list(answers), Heard()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heard.text += head
                heard.ports.append(writer.get_extra_info("peername")[1])
                heard.request.set()
                if heard.hangs_up_at == len(heard.ports):
                    left.pop(0)
                    break
                answer = left.pop(0)
                for part in (answer[at : at + MIB] for at in range(0, len(answer), MIB)):
                    writer.write(part)
                    await writer.drain()
                    heard.sent += len(part)
                if not lasting:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            heard.hung_up.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        call = Call(listening.sockets[0].getsockname()[1])
        yield call, heard
        await call.transport.aclose()
