"""Arithmetic of the rate limiter."""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_dingtalk.client.rate_limit.state import (
    FORGET,
    GAP,
    GROWTH,
    LEASE,
    LONGEST_HOLD,
    QUIET,
    TRIAL_POLL,
    TRIPS,
    LimiterState,
    Permit,
    Rate,
)

NOW = 5000.0
TWO = Rate(2)
TWENTY = Rate(20)


def full(rate: Rate, now: float = NOW) -> LimiterState:
    """A limiter state in which all allowed calls have begun."""
    permits = [Permit(now + LEASE + rate.window, number + 1) for number in range(rate.permits)]
    return LimiterState(permits=permits, answered=rate.permits, late_at=now)


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


def throttled_again(state: LimiterState, second: int, answered: int) -> int:
    """Return the permits that remain after a throttle of one of a number of calls."""
    state.answered = answered
    state.throttled(TWENTY, NOW + second, 1.0)
    return state.allowed(TWENTY, NOW + second)


def test_a_second_throttle_is_let_pass_and_further_ones_cost_15_percent_and_leave_one_call() -> None:
    state = LimiterState()
    shares = [throttled_again(state, second, 9) for second in range(13)]
    assert shares == [10, 10, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1]


def test_a_lone_call_that_is_throttled_costs_nothing_and_is_tried_at_another_part_of_the_second() -> None:
    state, pauses = LimiterState(), []
    for second in range(0, 26, 2):
        assert throttled_again(state, second, 1) == 10
        pauses.append(state.not_before - NOW - second)
    assert pauses == pytest.approx([0.27] * 5 + [1.27] * 8)
    assert [throttled_again(state, second, 9) for second in (26, 28)] == [10, 8]
    assert state.not_before == NOW + 28 + 1
    throttled_again(state, 30, 1)
    assert state.not_before == pytest.approx(NOW + 30 + 0.27)


def test_a_lone_call_waits_as_long_as_dingtalk_says() -> None:
    state = LimiterState(answered=1)
    state.throttled(TWENTY, NOW, 1.5)
    assert state.not_before == NOW + 1.5


def test_a_throttle_after_the_rate_has_grown_again_is_a_first_one() -> None:
    state = LimiterState()
    state.throttled(TWENTY, NOW, 1.0)
    state.throttled(TWENTY, NOW + QUIET + GROWTH, 1.0)
    assert state.allowed(TWENTY, NOW + QUIET + GROWTH) == 10


def test_after_a_pause_the_whole_rate_is_tried_again() -> None:
    state = full(TWENTY)
    state.throttled(TWENTY, NOW, 1.0)
    for number in range(1, 21):
        state.release(TWENTY, NOW, number)
    assert state.acquire(TWENTY, NOW + 1.5, 21) == 0
    assert state.allowed(TWENTY, NOW + 1.5) == 10
    state.release(TWENTY, NOW + 1.5, 21)
    assert state.acquire(TWENTY, NOW + 3.6, 22) == 0
    assert state.allowed(TWENTY, NOW + 3.6) == 20


def test_after_a_pause_a_lone_call_is_tried_again_soon() -> None:
    state = LimiterState(refused=9)
    assert state.acquire(TWENTY, NOW, 1) == 0
    state.release(TWENTY, NOW, 1)
    state.throttled(TWENTY, NOW, 1.0)
    assert (state.refused, state.not_before) == (1, pytest.approx(NOW + 0.27))


def test_calls_that_follow_each_other_one_by_one_are_no_pause() -> None:
    state, now = LimiterState(share=1, cut_at=NOW, not_before=NOW), NOW
    for number in range(1, 6):
        assert state.acquire(TWENTY, now, number) == 0
        state.release(TWENTY, now + 0.1, number)
        now += 1.2
    assert state.share == 1


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


def begin_all(state: LimiterState, at: float, begun: int = 0) -> tuple[int, float]:
    """Begin calls as soon as they may; return how many have begun, and the time of the last one."""
    while (wait := state.acquire(TWENTY, at, begun + 1)) in (0.0, pytest.approx(GAP / 20)):
        begun, at = begun + (not wait), at + wait
    return begun, at


def test_calls_do_not_begin_together() -> None:
    state = LimiterState(permits=[Permit(NOW + 1)], answered=500, trips=[0.4])
    assert begin_all(state, NOW) == (19, pytest.approx(NOW + 18 * GAP / 20, abs=1e-6))


@pytest.mark.parametrize("in_use", [3, 20])
def test_the_wait_after_a_begin_is_the_time_until_the_next_begin(in_use: int) -> None:
    state = LimiterState(permits=[Permit(NOW + number / 40) for number in range(in_use)], answered=500, trips=[0.4])
    assert state.acquire(TWENTY, NOW, 1) == 0.0
    wait = state.wait(TWENTY, NOW)
    assert wait == pytest.approx(0.025 if in_use == 20 else GAP / 20)
    assert state.acquire(TWENTY, NOW + wait - 0.001, 2) == pytest.approx(0.001)
    assert state.acquire(TWENTY, NOW + wait + 1e-9, 2) == 0.0


@pytest.mark.parametrize("cut_at", [0.0, NOW - 2])
def test_after_a_pause_or_a_throttle_each_answer_lets_one_more_call_begin(cut_at: float) -> None:
    state, begun, at = LimiterState(cut_at=cut_at, answered=500, trips=[0.4]), 0, NOW
    for answers, expected in ((0, 1), (1, 3), (2, 7), (4, 15), (8, 20)):
        for number in range(begun - answers, begun):
            state.release(TWENTY, at, number + 1)
            state.trips = [0.4]
        begun, at = begin_all(state, at + 1e-9, begun)
        assert begun == expected


@pytest.mark.parametrize(("trip", "calls"), [(0.0, 3), (0.05, 4), (0.1, 7), (0.4, 20)])
def test_no_more_calls_are_in_flight_than_the_rate_needs_three_times(trip: float, calls: int) -> None:
    state = LimiterState(permits=[Permit(NOW + 1)], answered=500, trips=[trip])
    assert begin_all(state, NOW)[0] == min(calls, 19)


def test_who_waits_for_an_answer_waits_half_a_second_at_most() -> None:
    state = LimiterState()
    assert [state.acquire(TWENTY, NOW + at, 1 + at) for at in (0, 0.4, 0.5)] == [0.0, TRIAL_POLL, 0.0]


def test_one_permit_of_each_second_comes_back_late_while_the_rate_is_not_reduced() -> None:
    state = full(TWENTY, NOW - 1)
    for number in range(1, TRIPS):
        state.release(TWENTY, NOW, number)
    freed = sorted(permit.until - NOW for permit in state.permits if not permit.number)
    assert freed == pytest.approx([1.0] * (TRIPS - 2) + [1.3])
    slow = full(TWO, NOW - 1)
    slow.release(TWO, NOW, 1)
    assert slow.permits[-1].until == NOW + 1


def test_a_call_that_did_not_begin_gives_its_permit_back() -> None:
    state = full(TWO)
    state.forget(1)
    assert [permit.number for permit in state.permits] == [2]


def test_times_can_be_moved_to_another_clock() -> None:
    state = full(TWO)
    state.throttled(TWO, NOW, 1.0)
    state.move(1000.0)
    assert not state.fits(TWO, NOW) and state.fits(TWO, NOW + 1000)
    assert state.acquire(TWO, NOW + 1000, 3) == 1.0


def freed(trips: list[float], state: LimiterState | None = None) -> float:
    """Return the seconds until a permit is free after calls of these durations."""
    state = state or LimiterState(late_at=NOW)
    for number, trip in enumerate(trips):
        state.permits.append(Permit(NOW - trip + LEASE + 1, number + 1))
        state.release(TWENTY, NOW, number + 1)
    return state.permits[-1].until - NOW


@pytest.mark.parametrize(
    ("trips", "seconds"),
    [
        ([0.1] * (TRIPS - 1), 1.0),  # too few to know
        ([0.1] * TRIPS, 0.91),
        ([0.1] * (TRIPS - 1) + [0.15], 1.1 - 1.9 * 0.1 * FORGET),  # one odd trip says nothing
        ([0.1, 0.11] * TRIPS, 1.11 - 1.9 * 0.1 * FORGET),
        ([0.3] * TRIPS + [0.1] * TRIPS, 0.91),  # the odd ones are long ago
        ([0.05] + [0.1] * TRIPS, 1.0),  # on a machine at its limit all leave late
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
    state.cut_at, state.late_at = NOW - QUIET - GROWTH, NOW
    assert freed([0.1] * TRIPS, state) == pytest.approx(0.91)


def test_who_waits_for_a_call_under_way_asks_again_as_soon_as_it_may_be_free() -> None:
    state = LimiterState(trips=[0.1] * TRIPS, shortest=0.1, permits=[Permit(NOW + LEASE, 1), Permit(NOW + LEASE, 2)])
    assert state.acquire(TWO, NOW, 3) == pytest.approx(0.91)


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
        LimiterState(late_at=NOW + 1),
        LimiterState(answered=-1),
        LimiterState(share=-1),
        LimiterState(trips=[-1.0]),
        LimiterState(trips=[1e9]),
        LimiterState(shortest=-1.0),
    ],
)
def test_a_book_of_another_boot_does_not_fit(state: LimiterState) -> None:
    assert not state.fits(TWO, NOW)
    assert full(TWO).fits(TWO, NOW)
