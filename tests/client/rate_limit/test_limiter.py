"""The rate limiter against servers that count calls in all possible ways."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from itertools import pairwise

import pytest

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.state import GAP, LATE, SURE
from tests.clock import VirtualClock
from tests.support.fake_servers import TimeLine

pytestmark = pytest.mark.anyio
API = "robot/groupMessages/recall"


class Server:
    """Server that counts each call at a time between its start and its end, unknown to the caller."""

    def __init__(self, clock: Clock, rng: random.Random, slowest: float) -> None:
        self.clock, self.rng, self.slowest = clock, rng, slowest
        self.arrivals: list[float] = []
        self.spans: list[tuple[float, float]] = []

    async def call(self, limiter: RateLimiter, api: str = API) -> None:
        async with limiter.permit(api):
            began = self.clock.monotonic()
            way, back = (self.rng.uniform(0, self.slowest / 2) for _ in range(2))
            await self.clock.sleep(way)
            self.arrivals.append(self.clock.monotonic())
            await self.clock.sleep(back)
            self.spans.append((began, self.clock.monotonic()))

    def most_in_a_sliding_window(self) -> int:
        times = sorted(self.arrivals)
        return max(bisect_left(times, at + 1.0) - i for i, at in enumerate(times))

    def most_in_a_fixed_window(self, phase: float) -> int:
        windows = [int(at - phase) for at in self.arrivals]
        return max(windows.count(window) for window in set(windows))


@pytest.mark.parametrize("slowest", [0.01, 0.3, 1.5])
@pytest.mark.parametrize("rate", [1, 2, 20])
@pytest.mark.parametrize("seed", range(3))
async def test_no_server_counts_too_many_whatever_its_window(rate: int, slowest: float, seed: int) -> None:
    line = TimeLine()
    server = Server(line, random.Random(seed), slowest)
    limiter = RateLimiter(rate, line)

    async def all_calls() -> None:
        await asyncio.gather(*(server.call(limiter) for _ in range(rate * 6)))

    await line.run(all_calls())
    assert len(server.arrivals) == rate * 6
    assert server.most_in_a_sliding_window() <= rate
    assert max(server.most_in_a_fixed_window(phase / 7) for phase in range(7)) <= rate


@pytest.mark.parametrize("seed", range(3))
async def test_a_call_begins_a_second_after_the_call_before_it_on_its_permit_ended(seed: int) -> None:
    line = TimeLine()
    server = Server(line, random.Random(seed), 0.5)
    limiter = RateLimiter(3, line)

    async def all_calls() -> None:
        await asyncio.gather(*(server.call(limiter) for _ in range(30)))

    await line.run(all_calls())
    begins, ends = sorted(began for began, _ in server.spans), sorted(ended for _, ended in server.spans)
    assert all(begin >= end + 1.0 - 1e-9 for begin, end in zip(begins[3:], ends, strict=False))


async def test_the_limit_costs_no_more_than_the_answers_take() -> None:
    line = TimeLine()
    limiter = RateLimiter(20, line)
    began = line.monotonic()

    async def one() -> None:
        async with limiter.permit(API):
            await line.sleep(0.05)

    async def all_calls() -> None:
        await asyncio.gather(*(one() for _ in range(200)))

    await line.run(all_calls())
    # Ten waves of 20. A permit comes back 1.05 s after it was taken, and sooner by half of these 50 ms once it is
    # known that all calls take as long. The first wave takes 5 answers, and each permit comes back late once at most.
    seconds = line.monotonic() - began
    assert 9 + 0.05 < seconds <= 1.05 + 8 * (1.05 - SURE * 0.05) + 5 * 0.05 + LATE / 20 + 1e-6


@pytest.mark.parametrize("way", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [20, 60])
@pytest.mark.parametrize("trip", [0.05, 0.4])
async def test_where_all_trips_are_alike_a_second_passes_where_it_is_counted(
    rate: int, way: float, trip: float
) -> None:
    """Check that no server counts too many calls, at whatever time it counts, and little time is lost."""
    line, rng = TimeLine(), random.Random(1)
    limiter, arrivals = RateLimiter(rate, line), []

    async def call() -> None:
        async with limiter.permit(API):
            await line.sleep(way * trip * rng.uniform(1.0, 1.04))
            arrivals.append(line.monotonic())
            await line.sleep((1 - way) * trip * rng.uniform(1.0, 1.04))

    async def all_calls() -> None:
        await asyncio.gather(*(call() for _ in range(rate * 10)))

    await line.run(all_calls())
    assert all(later - sooner > 1.0 for sooner, later in zip(arrivals, arrivals[rate:], strict=False))
    # One window is waited out in full, the others but for less than half of a trip. The calls of the first window wait
    # for eight answers at most, and each permit comes back late once at most.
    assert arrivals[-1] - arrivals[0] <= 9 + trip + 9 * 0.6 * trip + 8 * trip + LATE / rate


async def test_waiters_are_served_in_their_order() -> None:
    clock, order = VirtualClock(), []
    limiter = RateLimiter(2, clock)

    async def one(number: int) -> None:
        async with limiter.permit(API):
            order.append(number)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))


@pytest.mark.parametrize(("rate", "seconds"), [(1, 1.0), (0.5, 2.0), (0.1, 10.0), (1.9, 1.0)])
async def test_a_slow_rate_is_one_call_at_a_time(rate: float, seconds: float, clock: VirtualClock) -> None:
    limiter, begins = RateLimiter(rate, clock), []
    for _ in range(4):
        async with limiter.permit(API):
            begins.append(clock.monotonic())
    assert [later - sooner for sooner, later in pairwise(begins)] == [pytest.approx(seconds)] * 3


@pytest.mark.parametrize("rate", [0, -1])
async def test_no_limit_means_no_waiting(rate: float, clock: VirtualClock) -> None:
    limiter, began = RateLimiter(rate, clock), clock.monotonic()
    limiter.throttled(API, 100)
    for _ in range(1000):
        async with limiter.permit(API):
            pass
    assert clock.monotonic() == began


async def test_each_api_has_its_own_limit(clock: VirtualClock) -> None:
    limiter, began = RateLimiter(1, clock), clock.monotonic()
    for number in range(50):
        async with limiter.permit(f"api{number}"):
            pass
    assert clock.monotonic() == began


async def test_a_throttle_blocks_all_calls_to_that_api_only(clock: VirtualClock) -> None:
    limiter, began = RateLimiter(20, clock), clock.monotonic()
    limiter.throttled(API, 5)
    async with limiter.permit("another"):
        assert clock.monotonic() == began
    async with limiter.permit(API):
        assert clock.monotonic() == began + 5


async def test_a_shorter_block_does_not_end_a_longer_one(clock: VirtualClock) -> None:
    limiter, began = RateLimiter(20, clock), clock.monotonic()
    limiter.throttled(API, 5)
    limiter.throttled(API, 1)
    async with limiter.permit(API):
        assert clock.monotonic() == began + 5


async def test_a_throttle_reaches_calls_that_wait_already() -> None:
    line = TimeLine()
    limiter = RateLimiter(1, line)
    began = line.monotonic()

    async def waiter() -> float:
        async with limiter.permit(API):
            return line.monotonic() - began

    async def story() -> list[float]:
        async with limiter.permit(API):
            pass
        waiting = asyncio.ensure_future(waiter())
        await line.sleep(0.5)
        limiter.throttled(API, 10)
        return [await waiting]

    assert await line.run(story()) == [pytest.approx(10.5)]


async def test_cancelled_waiter_gives_its_permit_back() -> None:
    line = TimeLine()
    server = Server(line, random.Random(1), 0.0)
    limiter = RateLimiter(2, line)
    began = line.monotonic()

    async def story() -> None:
        await asyncio.gather(*(server.call(limiter) for _ in range(2)))
        waiters = [asyncio.ensure_future(server.call(limiter)) for _ in range(10)]
        await line.sleep(0.5)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        await asyncio.gather(*(server.call(limiter) for _ in range(4)))

    await line.run(story())
    # Both permits are there again, and not before their second is over.
    assert [at - began for at in server.arrivals] == [
        pytest.approx(x, abs=0.03) for x in (0, GAP / 2, 1, 1 + GAP / 2, 2, 2 + GAP / 2)
    ]


async def test_cancelled_and_failed_calls_count_as_calls(clock: VirtualClock) -> None:
    limiter, began = RateLimiter(1, clock), clock.monotonic()
    with pytest.raises(asyncio.CancelledError):
        async with limiter.permit(API):
            raise asyncio.CancelledError
    async with limiter.permit(API):
        assert clock.monotonic() == began + 1
        with pytest.raises(ZeroDivisionError):
            async with limiter.permit("another"):
                raise ZeroDivisionError
    async with limiter.permit("another"):
        assert clock.monotonic() == began + 2
