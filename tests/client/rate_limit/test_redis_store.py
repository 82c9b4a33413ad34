"""The rate limiter in Redis, shared by all hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from anyio import CancelScope
from msgspec.json import decode, encode
from redis.asyncio import Redis

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.redis_store import (
    PREFIX,
    RedisServer,
    RedisStore,
    RedisUrl,
    parse_redis_url,
)
from airflow_provider_dingtalk.client.rate_limit.state import LEASE, LimiterState, Rate
from airflow_provider_dingtalk.client.rate_limit.store import StateStore
from dev import services
from tests.client.rate_limit.rate_limit_worker import calls
from tests.client.rate_limit.redis_servers import url_of
from tests.clock import VirtualClock
from tests.support.fake_servers import QUERY

pytestmark = pytest.mark.anyio
API = QUERY.name
#: A window that does not end during a test.
RATE = Rate(2, 1000.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisUrl]:
    redis = services.Redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    yield url_of(redis)
    redis.remove()


@pytest.fixture
async def client(server: RedisUrl) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url, protocol=2) as client:
        await client.flushall()
        yield client


@asynccontextmanager
async def host(url: RedisUrl, boot: float = 0.0, rate: Rate = RATE) -> AsyncIterator[RedisStore]:
    """The store of a host, whose clock reads some seconds since its boot."""
    clock = VirtualClock(boot)
    server = RedisServer(url, "the app", clock)
    try:
        yield RedisStore(API, rate, clock, server, StateStore(API, rate, clock, None))
    finally:
        await server.aclose()


async def state_of(client: Redis) -> LimiterState:
    (key,) = await client.keys()
    return decode(await client.get(key), type=LimiterState)


def allow_the_next(state: LimiterState) -> None:
    """Let a call begin right after the one before."""
    state.not_before = 0.0


async def test_hosts_share_permits_whatever_their_clocks_read(client: Redis, server: RedisUrl) -> None:
    async with host(server, 50.0) as one, host(server, 9e6) as other:
        assert await one.change(lambda state: state.acquire(RATE, 50.0, 1)) == 0
        one.record(lambda state: state.release(RATE, 50.0, 1))
        await one.change(allow_the_next)
        assert await one.change(lambda state: state.acquire(RATE, 50.0, 2)) == 0
        assert await other.change(lambda state: len(state.permits)) == 2
        wait = await other.change(lambda state: state.acquire(RATE, 9e6, 3))
        assert wait is not None and 0 < wait <= RATE.window


async def test_a_throttle_of_one_host_blocks_the_others(client: Redis, server: RedisUrl) -> None:
    async with host(server, 50.0) as one, host(server, 9e6) as other:
        await one.change(lambda state: state.throttled(RATE, 50.0, 300))
        wait = await other.change(lambda state: state.acquire(RATE, 9e6, 3))
        assert wait is not None and 0 < wait <= 300
        assert await other.change(lambda state: state.share) == 1


async def test_no_change_of_many_at_once_is_lost(client: Redis, server: RedisUrl) -> None:
    def one_more(state: LimiterState) -> None:
        state.answered += 1

    async def many(number: int) -> None:
        async with host(server, number) as store:
            for _ in range(20):
                store.record(one_more)
                await store.change(one_more)

    await asyncio.gather(*(many(number) for number in range(5)))
    assert (await state_of(client)).answered == 200


async def test_a_key_tells_nothing_of_the_app_and_has_an_end(client: Redis, server: RedisUrl) -> None:
    async with host(server) as store:
        await store.change(lambda state: state.acquire(RATE, 0.0, 1))
    (key,) = await client.keys()
    assert key.decode().startswith(PREFIX) and len(key) == len(PREFIX) + 32
    assert 0 < await client.ttl(key) <= 3600


async def test_permits_of_a_dead_host_come_back(client: Redis, server: RedisUrl) -> None:
    async with host(server) as store:
        assert await store.change(lambda state: state.acquire(RATE, 0.0, 1)) == 0
        assert await store.change(lambda state: state.acquire(RATE, 0.0, 2)) != 0
        ((key,), state) = await client.keys(), await state_of(client)
        state.permits[0].until -= LEASE + RATE.window
        state.not_before = 0.0
        await client.set(key, encode(state))
        assert await store.change(lambda state: state.acquire(RATE, 0.0, 2)) == 0
    assert len((await state_of(client)).permits) == 1


@pytest.mark.parametrize("text", [b"{", b'{"format":2}', b'{"not_before":1e300}', encode(LimiterState(cut_at=1e12))])
async def test_a_state_that_cannot_be_read_is_begun_anew(
    client: Redis, server: RedisUrl, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with host(server) as store:
        await store.change(lambda state: state.acquire(RATE, 0.0, 1))
        (key,) = await client.keys()
        await client.set(key, text)
        wait = await store.change(lambda state: state.acquire(RATE, 0.0, 1))
        # The calls of the last window are not known.
        assert wait is not None and 0 < wait <= RATE.window
    assert [record.getMessage()[:24] for record in caplog.records] == ["Replacing an unreadable "]


async def test_a_limiter_writes_begin_and_end(client: Redis, server: RedisUrl) -> None:
    limiter = RateLimiter(20, redis=server, app="the app")
    async with limiter.permit(API):
        assert [permit.number != 0 for permit in (await state_of(client)).permits] == [True]
    limiter.throttled(API, 60)
    await limiter.aclose()
    state = await state_of(client)
    assert [permit.number for permit in state.permits] == [0]
    assert state.share == 10


async def test_all_apis_and_apps_have_a_state_of_their_own(client: Redis, server: RedisUrl) -> None:
    for app in ("one", "two"):
        limiter = RateLimiter(20, redis=server, app=app)
        await calls(limiter, 1)
        async with limiter.permit("another"):
            pass
        await limiter.aclose()
    assert len(await client.keys()) == 4


async def test_a_cancelled_call_gives_its_permit_back(client: Redis, server: RedisUrl) -> None:
    limiter = RateLimiter(20, redis=server, app="the app")
    await calls(limiter, 1)

    async def one() -> None:
        async with limiter.permit(API):
            await asyncio.Event().wait()

    # At whatever point it is cancelled: before the permit is written, meanwhile, or during the call.
    for rounds in range(12):
        task = asyncio.create_task(one())
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    with CancelScope() as scope:
        scope.cancel()
        await one()
    await limiter.aclose()
    assert all(permit.number == 0 for permit in (await state_of(client)).permits)


def test_the_end_of_an_event_loop_leaves_no_permit_taken(server: RedisUrl) -> None:
    async def one_call() -> None:
        await calls(RateLimiter(20, redis=server, app="an app"), 1)

    async def taken() -> list[int]:
        async with Redis.from_url(server.url, protocol=2) as client:
            return [permit.number for permit in (await state_of(client)).permits]

    async def emptied() -> None:
        async with Redis.from_url(server.url, protocol=2) as client:
            await client.flushall()

    asyncio.run(emptied())
    for _ in range(3):
        asyncio.run(one_call())
    assert set(asyncio.run(taken())) == {0}


# ── its URL ──


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://redis.example.com", "redis://redis.example.com:6379"),
        ("rediss://:s3cret@10.0.0.1:7000/3", "rediss://10.0.0.1:7000"),
        ("redis://me:s3cret@host/0?ssl_ca_certs=/ca.pem", "redis://host:6379"),
    ],
)
def test_a_url_shows_its_address_only(text: str, address: str) -> None:
    url = parse_redis_url(text)
    assert url is not None and (url.url, url.address) == (text, address)
    assert "s3cret" not in repr(url)


@pytest.mark.parametrize("text", ["", "redis://", "http://host", "host:6379", "redis://host:port", "redis://[::1"])
def test_a_text_that_is_not_the_url_of_a_redis(text: str) -> None:
    assert parse_redis_url(text) is None
