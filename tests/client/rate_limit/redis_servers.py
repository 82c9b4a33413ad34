"""Servers that do not behave as Redis does, and the URL of one that does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from airflow_provider_dingtalk.client.rate_limit.redis_store import RedisUrl, parse_redis_url
from dev.services import Redis

PASSWORD = "s3cret-Sentinel"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def url_of(redis: Redis) -> RedisUrl:
    found = parse_redis_url(f"{redis.url}/0")
    assert found is not None
    return found


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and never answer."""
    await reader.read()


async def garbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer in another protocol."""
    while await reader.read(100):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the first request."""
    await reader.read(100)


async def repeating(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse each request with an error that repeats it, as Redis does with unknown commands."""
    while request := await reader.read(1000):
        writer.write(b"-ERR unknown command, with args beginning with: " + request.replace(b"\r\n", b" ") + b"\r\n")


@asynccontextmanager
async def broken_redis(serve: Serve) -> AsyncIterator[RedisUrl]:
    """A server that does not behave as Redis; its URL has a password."""
    open_writers: list[asyncio.StreamWriter] = []

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.append(writer)
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield RedisUrl(address=f"redis://127.0.0.1:{port}", url=f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    finally:
        server.close()
        for writer in open_writers:
            writer.close()
