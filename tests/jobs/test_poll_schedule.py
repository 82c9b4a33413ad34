"""Poll schedule: number of polls of a wait, and its maximum delay."""

from __future__ import annotations

from itertools import pairwise

import pytest

from airflow_provider_dingtalk.jobs.poll_schedule import MAX_GAP, PollSchedule, poll_schedule_of

DAY = 86_400.0
KEYS = [f"key{number}" for number in range(500)]


def polls(poll_schedule: PollSchedule, key: str, end: float = DAY) -> list[float]:
    """Return the ages at which a message is polled: at once, as scheduled, and at the end."""
    ages = [0.0]
    while ages[-1] < end:
        ages.append(min(poll_schedule.next_poll(key, ages[-1]), end))
    return ages


def test_a_day_takes_forty_polls_at_most_whatever_the_jitter() -> None:
    assert max(len(polls(PollSchedule(), key)) for key in KEYS) <= 40


def test_nothing_is_seen_later_than_a_fifth_of_its_age_and_a_minute() -> None:
    for key in KEYS:
        ages = polls(PollSchedule(), key, 7 * DAY)
        # The delay is longest just after a poll.
        assert all(later - age <= 0.2 * age + 60 for age, later in pairwise(ages))
        assert max(later - age for age, later in pairwise(ages)) <= MAX_GAP


def test_a_delivery_is_seen_within_seconds() -> None:
    assert all(18 <= polls(PollSchedule(), key)[1] <= 20 for key in KEYS)


def test_gaps_grow_and_messages_of_one_send_do_not_stay_in_step() -> None:
    ages = polls(PollSchedule(jitter=0), "k", 20_000)
    gaps = [later - age for age, later in pairwise(ages[:-1])]
    assert gaps == sorted(gaps)
    assert len({PollSchedule().next_poll(key, 3600) for key in KEYS}) > 490


@pytest.mark.parametrize(
    "poll_schedule", [PollSchedule(), poll_schedule_of(30.0), poll_schedule_of(30.0, grows=True), poll_schedule_of(0.0)]
)
def test_the_moments_are_the_same_wherever_one_begins_to_ask(poll_schedule: PollSchedule) -> None:
    ages = polls(poll_schedule, "k", 3.0 if poll_schedule.base == 0 else 3600.0)[:-1]
    for age, later in pairwise(ages):
        for asked in (age, (age + later) / 2, later - 1e-4):
            assert poll_schedule.next_poll("k", asked) == pytest.approx(later)
    assert poll_schedule.next_poll("k", -100.0) <= poll_schedule.next_poll("k", 0.0)


@pytest.mark.parametrize(("seconds", "count"), [(30.0, 2881), (60.0, 1441), (DAY, 2), (2 * DAY, 2)])
def test_a_poke_interval_is_a_fixed_interval_without_jitter(seconds: float, count: int) -> None:
    ages = polls(poll_schedule_of(seconds), "k")
    assert len(ages) == count
    assert all(later - age == min(seconds, DAY) for age, later in pairwise(ages))


def test_with_backoff_a_poke_interval_is_the_first_gap() -> None:
    poll_schedule = poll_schedule_of(10.0, grows=True, longest=600.0)
    ages = polls(poll_schedule, "k")
    assert 9 <= ages[1] <= 10
    assert max(later - age for age, later in pairwise(ages)) <= 600


def test_a_fixed_interval_longer_than_the_longest_gap_is_kept() -> None:
    assert poll_schedule_of(10_000.0).gap(0) == 10_000.0


@pytest.mark.parametrize("poll_schedule", [PollSchedule(), poll_schedule_of(30.0), poll_schedule_of(5.0, grows=True)])
def test_the_estimate_is_near_the_truth(poll_schedule: PollSchedule) -> None:
    for age in (0.0, 1000.0, 40_000.0):
        truth = [moment for moment in polls(poll_schedule, "k") if moment > age]
        assert abs(poll_schedule.count_polls(age, DAY) - len(truth)) <= 2
    assert poll_schedule.count_polls(DAY, 0.0) == 1
