"""Checkpoint of a wait: stored by message, in any order, and validated when read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dingtalk.jobs.wait_state import state_of
from airflow_provider_dingtalk.messages.conditions import target_of
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.task.wait_spec import WaitProgress, WaitSpec, wait_of
from tests.strategies import FUZZ, near
from tests.support.local_dingtalk import LocalDingTalk, keys_of
from tests.support.wait_states import READ, STATE, _goes_on, wait_for


def test_messages_that_come_in_another_order_keep_their_state() -> None:
    local = LocalDingTalk()
    receipts = local.create_messages(Kind.GROUP, 6) + local.create_messages(Kind.WORK_NOTIFICATION, 2)
    for receipt in receipts[:3]:
        local.read_by(receipt, "user001")
    wait = wait_for(local, receipts)
    asyncio.run(wait.poll(local.client()))
    state = state_of(msgspec.json.decode(msgspec.json.encode(wait.state())))
    again = wait_for(local, receipts[::-1], state)
    # It begins later, and no poll was before its beginning.
    assert again.state() == msgspec.structs.replace(wait.state(), polled_at=local.clock.now())
    met = {entry["key"] for entry in again.result()}
    assert met == set(keys_of(receipts[:3]))


@pytest.mark.parametrize("places", [{"met": {"0": ["SUCCESS", 1]}}, {"lost": [0, 1]}, {"sent": [0]}])
def test_places_of_the_version_before_are_not_taken_for_keys(places: dict[str, Any]) -> None:
    local = LocalDingTalk()
    receipts = local.create_messages(Kind.GROUP, 3)
    wait_spec = WaitSpec(tuple(target_of(receipt) for receipt in receipts), READ)
    old = {
        "poll_schedule": {},
        "began": 0.0,
        "max_api_calls": 5,
        "state": {"looked": 1.0, "used": {"status": 4}, **places},
    }
    wait = wait_of(wait_spec, WaitProgress.from_json(old), end=None, clock=local.clock)
    assert wait.result() == []
    assert (wait.calls, wait.state().lost_keys, wait.state().sent_keys) == (4, [], [])
    assert wait.next_due is not None


@FUZZ
@given(state=near(STATE), interval=st.sampled_from([None, 0.1, 60.0]))
def test_any_json_as_a_triggers_state_is_read_or_discarded(state: Any, interval: float | None) -> None:
    local = LocalDingTalk()
    receipts = local.create_messages(Kind.GROUP, 3)
    wait_progress = WaitProgress.from_json({"poll_schedule": {}, "began": 0.0, "max_api_calls": 9, "state": state})
    _goes_on(local, receipts, wait_progress.state)
