"""Arithmetic of the rate limiter, and its reaction to another client of the app."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.state import (
    GROWTH,
    LEASE,
    LONGEST_HOLD,
    QUIET,
    TRIPS,
    LimiterState,
    Permit,
    Rate,
)
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.meter import Meter
from tests.support.fake_servers import TimeLine

NOW = 5000.0
TWO = Rate(2)
TWENTY = Rate(20)


def full(rate: Rate, now: float = NOW) -> LimiterState:
    """A limiter state in which all allowed calls have begun."""
    state = LimiterState()
    assert [state.acquire(rate, now, number + 1) for number in range(rate.permits)] == [0.0] * rate.permits
    return state


@pytest.mark.parametrize(
    ("calls_per_second", "permits", "window"), [(20, 20, 1), (1, 1, 1), (1.9, 1, 1), (0.5, 1, 2), (0.1, 1, 10)]
)
def test_rate(calls_per_second: float, permits: int, window: float) -> None:
    assert Rate.of(calls_per_second) == Rate(permits, window)


def test_a_slot_is_free_one_window_after_its_call_ended() -> None:
    state = full(TWO)
    state.release(TWO, NOW + 0.25, 1)
    assert state.acquire(TWO, NOW + 0.5, 3) == 0.75
    assert state.acquire(TWO, NOW + 1.25, 3) == 0.0


def test_who_waits_for_a_call_under_way_asks_again_when_it_can_be_free_at_the_soonest() -> None:
    assert full(TWO).acquire(TWO, NOW + 7, 3) == 1.0


def test_a_call_that_never_ends_is_forgotten_when_its_lease_ends() -> None:
    state = full(TWO)
    assert state.acquire(TWO, NOW + LEASE + 0.5, 3) == 0.5
    assert state.acquire(TWO, NOW + LEASE + 1, 3) == 0.0


def test_a_call_that_ends_after_its_lease_counts_all_the_same() -> None:
    state = full(TWO)
    late = NOW + LEASE + 2
    assert state.acquire(TWO, late, 3) == 0.0
    state.release(TWO, late, 1)
    assert state.acquire(TWO, late, 4) == 1.0


def test_who_believes_in_a_lower_rate_begins_no_more_than_that() -> None:
    state = full(TWO)
    for number in (1, 2):
        state.release(TWO, NOW + number / 4, number)
    assert state.acquire(TWENTY, NOW + 0.5, 3) == 0.0
    state.release(TWENTY, NOW + 0.5, 3)
    assert state.acquire(TWO, NOW + 1.25, 4) == 0.25
    assert state.acquire(TWO, NOW + 1.5, 4) == 0.0


def test_a_hold_has_an_end() -> None:
    state = LimiterState()
    state.throttled(TWO, NOW, 1e9)
    assert state.acquire(TWO, NOW, 1) == LONGEST_HOLD


def test_half_of_the_rate_remains_after_the_first_throttle() -> None:
    state = LimiterState()
    state.throttled(TWENTY, NOW, 1.0)
    assert state.allowed(TWENTY, NOW) == 10


def test_further_throttles_cost_15_percent_and_leave_one_call_at_least() -> None:
    state, shares = LimiterState(), []
    for second in range(12):
        state.throttled(TWENTY, NOW + second, 1.0)
        shares.append(state.allowed(TWENTY, NOW + second))
    assert shares == [10, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1]


def test_a_throttle_after_the_rate_has_grown_again_is_a_first_one() -> None:
    state = LimiterState()
    state.throttled(TWENTY, NOW, 1.0)
    state.throttled(TWENTY, NOW + QUIET + GROWTH, 1.0)
    assert state.allowed(TWENTY, NOW + QUIET + GROWTH) == 10


def test_throttles_within_a_window_are_one() -> None:
    state = LimiterState()
    for tenth in range(10):
        state.throttled(TWENTY, NOW + tenth / 10, 1.0)
    assert state.allowed(TWENTY, NOW + 1) == 10
    assert state.not_before == NOW + 0.9 + 1.0


def test_after_a_quiet_time_the_rate_grows_until_all_is_as_before() -> None:
    state = LimiterState()
    state.throttled(TWENTY, NOW, 1.0)
    assert state.allowed(TWENTY, NOW + QUIET) == 10
    grown = [state.allowed(TWENTY, NOW + QUIET + part * GROWTH) for part in (0.1, 0.25, 0.4, 0.5, 1, 1e6)]
    assert grown == [12, 15, 18, 20, 20, 20]


def test_all_calls_may_begin_at_once_after_a_pause() -> None:
    assert full(TWENTY).acquire(TWENTY, NOW, 99) == 1.0


def freed(trips: list[float], state: LimiterState | None = None) -> float:
    """Return the seconds until a permit is free after calls of these durations."""
    state = state or LimiterState()
    for number, trip in enumerate(trips):
        state.permits.append(Permit(NOW - trip + LEASE + 1, number + 1))
        state.release(TWENTY, NOW, number + 1)
    return state.permits[-1].until - NOW


@pytest.mark.parametrize(
    ("trips", "seconds"),
    [
        ([0.1] * (TRIPS - 1), 1.0),  # too few to know
        ([0.1] * TRIPS, 0.95),
        ([0.1] * TRIPS + [0.11], 0.97),
        ([0.1] * (TRIPS - 1) + [0.15], 1.0),
        ([0.3] + [0.1] * TRIPS, 0.95),  # the odd one is long ago
        ([0.01, 0.02] * TRIPS, 1.0),
        ([3.0] * TRIPS, 0.5),
        ([0.0] * TRIPS, 1.0),
    ],
)
def test_what_surely_passes_on_the_wire_need_not_be_waited_for(trips: list[float], seconds: float) -> None:
    assert freed(trips) == pytest.approx(seconds)


def test_while_the_rate_is_reduced_nothing_is_sure() -> None:
    state = LimiterState()
    state.throttled(TWENTY, NOW, 1.0)
    assert freed([0.1] * TRIPS, state) == pytest.approx(1.0)
    state.cut_at = NOW - QUIET - GROWTH
    assert freed([0.1] * TRIPS, state) == pytest.approx(0.95)


def test_who_waits_for_a_call_under_way_asks_again_as_soon_as_it_may_be_free() -> None:
    state = LimiterState(trips=[0.1] * TRIPS, permits=[Permit(NOW + LEASE, 1), Permit(NOW + LEASE, 2)])
    assert state.acquire(TWO, NOW, 3) == pytest.approx(0.95)


def test_a_book_survives_its_file() -> None:
    state = full(TWO)
    state.throttled(TWO, NOW, 1.0)
    assert msgspec.json.decode(msgspec.json.encode(state), type=LimiterState) == state


@pytest.mark.parametrize(
    "state",
    [
        LimiterState(permits=[Permit(NOW + LEASE + 1.001, 3)]),
        LimiterState(not_before=NOW + LONGEST_HOLD + 1),
        LimiterState(cut_at=NOW + 1),
        LimiterState(share=-1),
        LimiterState(trips=[-1.0]),
        LimiterState(trips=[1e9]),
    ],
)
def test_a_book_of_another_boot_does_not_fit(state: LimiterState) -> None:
    assert not state.fits(TWO, NOW)
    assert full(TWO).fits(TWO, NOW)


# ── another client of the app
# ───────────────────────────────────────────────────────────────────────────────────────


class Contest:
    """Our client with many calls, and another client that uses half of the rate without our limiter."""

    def __init__(self, rate: int, window: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.line = TimeLine(1000 + self.rng.random())
        self.meter = Meter()
        self.behaviour = Behaviour().changed({"calls_per_second": rate, "throttle_window": window})
        self.limiter = RateLimiter(rate, self.line)
        self.rate, self.throttled = rate, 0

    def _arrives(self) -> bool:
        return self.meter.allows_call(self.behaviour, "app", "api", self.line.now())

    async def _call(self) -> None:
        while True:
            async with self.limiter.permit("api"):
                await self.line.sleep(self.rng.uniform(0.01, 0.03))
                went_through = self._arrives()
                await self.line.sleep(self.rng.uniform(0.01, 0.03))
            if went_through:
                return
            self.throttled += 1
            self.limiter.throttled("api", 1.0)
            await self.line.sleep(1.0)

    async def _other_client(self) -> None:
        while True:
            await self.line.sleep(2 / self.rate)
            self._arrives()

    async def run(self, calls: int) -> float:
        """Seconds until all calls went through."""
        left = iter(range(calls))

        async def worker() -> None:
            for _ in left:
                await self._call()

        other_client = asyncio.ensure_future(self._other_client())
        began = self.line.now()
        await asyncio.gather(*(worker() for _ in range(10)))
        other_client.cancel()
        return self.line.now() - began


@pytest.mark.anyio
@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("rate", [20, 40, 60])
@pytest.mark.parametrize("seed", range(3))
async def test_it_gives_way_to_another_client_that_takes_half(rate: int, window: str, seed: int) -> None:
    contest = Contest(rate, window, seed)
    seconds = await contest.line.run(contest.run(500))
    assert contest.throttled <= 0.03 * 500
    assert seconds <= 1.2 * 500 / (rate / 2)
