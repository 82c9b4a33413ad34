"""Meters of the special rows: request times, memory, and a listener that must receive nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

MEBIBYTE = 1024 * 1024
#: Bytes that a row may add to the process's peak memory.
MOST_GROWTH = 64 * MEBIBYTE


class Stopwatch(httpx.AsyncBaseTransport):
    """Transport that measures each request up to the end of its body, and counts its tries."""

    def __init__(self, way: httpx.AsyncBaseTransport) -> None:
        self._way = way
        self.seconds: list[float] = []
        self.tries: Counter[tuple[str, bytes]] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tries[str(request.url.path), request.url.query + request.content] += 1
        began = time.monotonic()
        try:
            response = await self._way.handle_async_request(request)
        except BaseException:
            self.seconds.append(time.monotonic() - began)
            raise
        response.stream = _Timed(response.stream, self.seconds, began)
        return response

    async def aclose(self) -> None:
        await self._way.aclose()


class _Timed(httpx.AsyncByteStream):
    def __init__(self, stream: Any, seconds: list[float], began: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._began = began

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        self._seconds.append(time.monotonic() - self._began)
        await self._stream.aclose()


class Growth:
    """Peak memory of a block in bytes."""

    peak = 0


@contextmanager
def measured_memory() -> Iterator[Growth]:
    """Measure the growth of this process's peak memory in the block."""
    growth = Growth()
    # Writing 5 resets the peak (VmHWM) on Linux.
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    yield growth
    growth.peak = max(0, _memory("VmHWM") - before)


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} in /proc/self/status")


class Listener:
    """Record of a listener on loopback."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.connections = 0
        self.heard = b""


@contextmanager
def listening(answer: bytes = b"") -> Iterator[Listener]:
    """Run a listener that records what it receives, sends ``answer`` and closes."""
    server = socket.create_server(("127.0.0.1", 0))
    listener = Listener(server.getsockname()[1])

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                listener.connections += 1
                try:
                    listener.heard += connection.recv(65536)
                    connection.sendall(answer)
                except OSError:
                    pass

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        # close() does not end a blocking accept(), shutdown() does.
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def closed_port() -> int:
    """Return a loopback port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables during the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def connection_json(url: str, secret: str, **extra: Any) -> str:
    """Return an Airflow connection to a sandbox, with a canary as its secret."""
    from airflow_provider_dingtalk.sandbox.testing import connection_to

    base = connection_to(url)
    return json.dumps({**base, "password": secret, "extra": {**base["extra"], "calls_per_second": 0, **extra}})
