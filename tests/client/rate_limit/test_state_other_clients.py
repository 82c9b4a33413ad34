"""Reaction of the rate limiter to one client that never gives way, and to another host with the same limiter."""

from __future__ import annotations

import asyncio
import random
from statistics import mean
from typing import NamedTuple

import pytest

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.meter import Meter
from tests.support.fake_servers import TimeLine

pytestmark = pytest.mark.anyio


class App:
    """An app whose calls DingTalk counts, all of one API."""

    def __init__(self, rate: int, window: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.line = TimeLine(1000 + self.rng.random())
        self.rate, self.throttled = rate, 0
        self._meter = Meter()
        self._behaviour = Behaviour().changed({"calls_per_second": rate, "throttle_window": window})

    def counts(self) -> bool:
        """Count a call; return False if it is throttled."""
        return self._meter.allows_call(self._behaviour, "app", "api", self.line.now())

    async def recall(self, limiter: RateLimiter, calls: int) -> float:
        """Make calls as a recall does, the first one alone, and return the seconds that they took."""
        began, left = self.line.now(), iter(range(calls - 1))
        await self._call(limiter)

        async def worker() -> None:
            for _ in left:
                await self._call(limiter)

        await asyncio.gather(*(worker() for _ in range(10)))
        return self.line.now() - began

    async def _call(self, limiter: RateLimiter) -> None:
        while True:
            async with limiter.permit("api"):
                await self.line.sleep(self.rng.uniform(0.01, 0.03))
                went_through = self.counts()
                await self.line.sleep(self.rng.uniform(0.01, 0.03))
            if went_through:
                return
            self.throttled += 1
            limiter.throttled("api", 1.0)

    async def other_client(self) -> None:
        """Take half of the rate, at a fixed interval, and never give way."""
        while True:
            await self.line.sleep(2 / self.rate)
            self.counts()


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("rate", [20, 40, 60])
@pytest.mark.parametrize("seed", range(3))
async def test_it_gives_way_to_another_client_that_takes_half(rate: int, window: str, seed: int) -> None:
    app = App(rate, window, seed)

    async def contest() -> float:
        other_client = asyncio.ensure_future(app.other_client())
        seconds = await app.recall(RateLimiter(rate, app.line), 500)
        other_client.cancel()
        return seconds

    seconds = await app.line.run(contest())
    assert app.throttled <= 0.03 * 500
    assert seconds <= 1.2 * 500 / (rate / 2)


class Outcome(NamedTuple):
    """Outcome of four recalls on two hosts.

    :param wall: Seconds over calls / rate.
    :param throttled: Calls throttled, of all calls.
    :param unfairness: Seconds of the slower host over those of the faster one.
    """

    wall: float
    throttled: float
    unfairness: float


async def two_hosts(window: str, seed: int, *, is_second: bool, late: float = 0.0) -> Outcome:
    """Four recalls of 100 calls each, two on each host; the recalls of a host begin within a second.

    :param is_second: They did the same before, and paused for two seconds.
    :param late: Seconds by which the second host begins later.
    """
    app = App(20, window, seed)
    limiters = [RateLimiter(20, app.line) for _ in range(2)]

    async def recall(number: int) -> tuple[float, float]:
        await app.line.sleep(app.rng.random() + late * (number % 2))
        seconds = await app.recall(limiters[number % 2], 100)
        return seconds, app.line.now()

    async def recalls() -> list[tuple[float, float]]:
        return await asyncio.gather(*(recall(number) for number in range(4)))

    if is_second:
        await app.line.run(recalls())
        await app.line.run(app.line.sleep(2))
    app.throttled, began = 0, app.line.now()
    ended = await app.line.run(recalls())
    hosts = [mean(seconds for seconds, _ in ended[host::2]) for host in range(2)]
    wall = max(at for _, at in ended) - began
    return Outcome(wall / 20, app.throttled / 400, max(hosts) / min(hosts))


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("is_second", [False, True])
async def test_two_hosts_share_the_rate(window: str, is_second: bool) -> None:
    outcomes = [await two_hosts(window, seed, is_second=is_second) for seed in range(12)]
    assert mean(outcome.wall for outcome in outcomes) <= 1.2
    assert mean(outcome.throttled for outcome in outcomes) <= 0.03
    assert mean(outcome.unfairness for outcome in outcomes) <= 1.4


@pytest.mark.parametrize("window", ["fixed", "sliding"])
async def test_a_host_that_begins_later_gets_its_share_soon(window: str) -> None:
    outcomes = [await two_hosts(window, seed, is_second=False, late=1.5) for seed in range(12)]
    assert mean(outcome.wall for outcome in outcomes) <= 1.2
    assert mean(outcome.throttled for outcome in outcomes) <= 0.03
    assert mean(outcome.unfairness for outcome in outcomes) <= 1.35
