"""The rate limiter while Redis is away: the host's file, one warning, and another try later."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.json import decode

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.redis_store import AWAY, RedisServer, RedisStore
from airflow_provider_dingtalk.client.rate_limit.state import GAP, LimiterState, Rate
from airflow_provider_dingtalk.client.rate_limit.store import SharedFolder, StateStore
from dev.services import Redis
from tests.client.rate_limit.rate_limit_worker import calls, only_file
from tests.client.rate_limit.redis_servers import (
    PASSWORD,
    Serve,
    broken_redis,
    closing,
    garbling,
    repeating,
    silent,
    url_of,
)
from tests.clock import VirtualClock
from tests.support.fake_servers import QUERY

pytestmark = pytest.mark.anyio
API = QUERY.name
RATE = Rate(2)
#: Timeout in seconds.
LONG = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dingtalk" / "pace"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that is not started."""
    redis = Redis(tmp_path)
    yield redis
    redis.remove()


def in_file(folder: Path) -> LimiterState:
    return decode(only_file(folder).read_bytes(), type=LimiterState)


async def test_the_host_keeps_its_pace_alone(
    folder: Path, redis: Redis, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    url = url_of(redis)
    limiter, began = RateLimiter(2, clock, folder=folder, redis=url, app="the app"), clock.monotonic()
    await calls(limiter, 4)
    assert clock.monotonic() - began == pytest.approx(1 + GAP / 2)
    limiter.throttled(API, 5)
    await limiter.aclose()
    assert in_file(folder).not_before >= clock.monotonic() + 5
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "by this host alone" in warning and url.address in warning and "rate_limit_url" in warning


async def test_redis_is_tried_again_later(
    folder: Path, redis: Redis, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    limiter = RateLimiter(2, clock, folder=folder, redis=url_of(redis), app="the app")
    for _ in range(3):
        await calls(limiter, 1)
        await limiter.aclose()
        clock.advance(AWAY + 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    redis.start()
    await calls(limiter, 1)
    await limiter.aclose()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("serve", [silent, garbling, closing, repeating])
async def test_a_server_that_does_not_work_stops_no_call(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture, serve: Serve
) -> None:
    caplog.set_level(logging.DEBUG)
    async with broken_redis(serve) as url:
        server = RedisServer(url, "the app", clock, timeout=0.1 if serve is silent else LONG)
        store = RedisStore(API, RATE, clock, server, StateStore(API, RATE, clock, SharedFolder(folder, "the app")))
        now = clock.monotonic()
        assert await store.change(lambda state: state.acquire(RATE, now, 1)) == 0
        store.record(lambda state: state.release(RATE, now, 1))
        assert await store.change(lambda state: [permit.number for permit in state.permits]) == [0]
        await server.aclose()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1 and "by this host alone" in warnings[0]
    assert PASSWORD not in caplog.text and len(in_file(folder).permits) == 1


async def test_what_redis_did_not_take_goes_to_the_file(folder: Path, clock: Clock) -> None:
    async with broken_redis(silent) as url:
        server = RedisServer(url, "the app", clock, timeout=0.1)
        store = RedisStore(API, RATE, clock, server, StateStore(API, RATE, clock, SharedFolder(folder, "the app")))
        now = clock.monotonic()
        for number in (1, 2, 3):
            store.record(lambda state, number=number: state.release(RATE, now, number))
        await server.aclose()
    assert len(in_file(folder).permits) == 3


def test_without_the_extra_it_is_said(folder: Path) -> None:
    code = f"""
import asyncio, sys
sys.modules["redis"] = None
from pathlib import Path
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.redis_store import parse_redis_url
async def main():
    limiter = RateLimiter(2, folder=Path({str(folder)!r}), redis=parse_redis_url("redis://127.0.0.1"))
    async with limiter.permit("api"):
        print("called")
    await limiter.aclose()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True)
    assert done.stdout == "called\n"
    assert "the extra redis is not installed" in done.stderr and done.stderr.count("\n") == 1
    assert only_file(folder)
