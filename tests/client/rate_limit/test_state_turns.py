"""Turns of processes that share a rate limit."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.state import GRACE, LEASE, LimiterState, Permit, Rate
from tests.client.rate_limit.rate_limit_worker import limiter
from tests.support.fake_servers import TimeLine

pytestmark = pytest.mark.anyio
NOW = 5000.0
TWO = Rate(2)
A, B, C = 11, 12, 13


def one_free_at(*times: float) -> LimiterState:
    """Return a limiter state whose permits come back at these times."""
    return LimiterState(permits=[Permit(time) for time in times], answered=9, late_at=NOW)


def test_who_asked_first_begins_first() -> None:
    state = one_free_at(NOW + 1, NOW + 3)
    assert state.acquire(TWO, NOW, A) == 1
    assert state.acquire(TWO, NOW, B) == 3
    assert state.acquire(TWO, NOW + 1, C) == 2
    assert state.acquire(TWO, NOW + 1, B) == 2
    assert state.acquire(TWO, NOW + 1, A) == 0


def test_the_next_call_of_a_process_comes_after_those_of_the_others() -> None:
    state = one_free_at(NOW + 1, NOW + 3)
    assert [state.acquire(TWO, NOW, number) for number in (A, B)] == [1, 3]
    assert state.acquire(TWO, NOW + 1, A) == 0
    assert state.wait(TWO, NOW + 1) == 2
    assert state.acquire(TWO, NOW + 3, C) > 0
    assert state.acquire(TWO, NOW + 3, B) == 0


def test_free_permits_are_for_all_who_ask() -> None:
    twenty, state = Rate(20), one_free_at(NOW + 1, NOW + 1, *[NOW + 5] * 18)
    assert [state.acquire(twenty, NOW, number) for number in (A, B)] == [1, 1]
    assert state.acquire(twenty, NOW + 1, B) == 0
    assert state.acquire(twenty, NOW + 1.05, A) == 0


def test_others_pass_one_that_is_late() -> None:
    state = one_free_at(NOW + 1, NOW + 3)
    assert [state.acquire(TWO, NOW, number) for number in (A, B)] == [1, 3]
    assert state.acquire(TWO, NOW + 1 + GRACE / 2, B) > 0
    assert state.acquire(TWO, NOW + 1 + GRACE, B) == 0


def test_one_that_is_late_keeps_its_turn_for_a_window() -> None:
    state = one_free_at(NOW + 1, NOW + 1.5)
    assert [state.acquire(TWO, NOW, number) for number in (A, B)] == [1, 1.5]
    assert state.acquire(TWO, NOW + 1.2, B) == 0
    state.release(TWO, NOW + 1.2, B)
    assert state.acquire(TWO, NOW + 1.2, C) > 0
    assert state.acquire(TWO, NOW + 1.3, A) > 0
    assert state.acquire(TWO, NOW + 1.5, C) > 0
    assert state.acquire(TWO, NOW + 1.5, A) == 0


def test_one_that_does_not_come_loses_its_turn() -> None:
    state = one_free_at(NOW + 1, NOW + 1)
    assert [state.acquire(TWO, NOW, number) for number in (A, B)] == [1, 1]
    assert state.acquire(TWO, NOW + 2 + GRACE, C) == 0
    assert not state.turns


def test_one_that_was_cancelled_holds_up_nobody() -> None:
    state = one_free_at(NOW + 1, NOW + 3)
    assert [state.acquire(TWO, NOW, number) for number in (A, B)] == [1, 3]
    state.forget(A)
    assert state.acquire(TWO, NOW + 1, B) == 0


def test_more_processes_than_permits() -> None:
    rate, order = Rate(1), []
    state, now, waiting = LimiterState(), NOW, dict.fromkeys(range(1, 8), NOW)
    while waiting:
        now = min(waiting.values())
        number = min(waiting, key=lambda each: (waiting[each], -each))
        if wait := state.acquire(rate, now, number):
            waiting[number] = now + wait
        else:
            order.append(number)
            del waiting[number]
            state.release(rate, now, number)
    assert order == [7, 6, 5, 4, 3, 2, 1]
    assert now <= NOW + 6 + 1
    assert not state.turns


def test_a_turn_fits_its_clock_only() -> None:
    state = one_free_at(NOW + 1, NOW + 3)
    state.acquire(TWO, NOW, A)
    state.move(100)
    assert state.turns[0].until == NOW + 101 + GRACE
    assert state.fits(TWO, NOW + 100)
    state.turns[0].until = NOW + 10 * LEASE
    assert not state.fits(TWO, NOW)


@pytest.mark.parametrize("seed", range(6))
async def test_processes_get_equal_shares(tmp_path: Path, seed: int) -> None:
    """Four recalls of 100 calls each begin together, and none takes much longer than another."""
    rng, line = random.Random(seed), TimeLine(NOW)

    async def recall(limited: RateLimiter) -> float:
        left = iter(range(100))

        async def worker() -> None:
            for _ in left:
                async with limited.permit("api"):
                    await line.sleep(rng.uniform(0.02, 0.06))

        await asyncio.gather(*(worker() for _ in range(10)))
        return line.now() - NOW

    async def recalls() -> list[float]:
        return await asyncio.gather(*(recall(limiter(tmp_path / "pace", 20, line)) for _ in range(4)))

    seconds = await line.run(recalls())
    assert max(seconds) <= 21
    # The first one gets the first 20 permits, because the others have not asked yet.
    assert max(seconds) <= 1.15 * min(seconds)
