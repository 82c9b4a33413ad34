"""The state machine over the recall core, with 120 examples."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from airflow_provider_dingtalk.messages.receipt import Kind
from tests.faults.crash_points import ForgetfulStore
from tests.faults.machine import DAY, Recalls

TestRecalls = Recalls.TestCase
TestRecalls.settings = settings(
    max_examples=120,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

#: Maximum iterations of the event loop in a recall of three calls.
TURNS = 120


class RecallsWithoutIntents(Recalls):
    """The same state machine with a checkpoint that loses intents."""

    wrap = staticmethod(ForgetfulStore)


def die_then_resume_too_late(machine: type[Recalls], turns: int) -> None:
    """Kill a try after ``turns`` loop iterations, close the recall window, and run the next try."""
    state = machine()
    state.begin({Kind.GROUP: 60}, {"unfit_keys": "per_key", "recall_window_hours": 24}, seed=0)
    state.a_crash(turns)
    state.time_passes(DAY)
    state.a_whole_try()


def die_at_any_turn(machine: type[Recalls]) -> None:
    for turns in range(1, TURNS):
        die_then_resume_too_late(machine, turns)


def test_whenever_a_try_dies_the_next_one_knows_what_it_may_have_recalled():
    die_at_any_turn(Recalls)


def test_a_checkpoint_without_intents_is_caught():
    with pytest.raises(AssertionError, match="and is recalled"):
        die_at_any_turn(RecallsWithoutIntents)
