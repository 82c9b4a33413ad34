"""Checkpoint of a wait: stored by message, in any order, and validated when read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import LastStatus, WaitOptions, WaitState, state_of
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.task.checkpoint.wait import MESSAGES_PER_ROW, WaitTaskCheckpoint
from airflow_provider_dingtalk.task.wait_spec import WaitProgress, WaitSpec, wait_of
from tests.strategies import ANY_STORED, FUZZ, near
from tests.support.airflow_seams import TaskStateStore
from tests.support.local_dingtalk import LocalDingTalk, keys_of

READ = Condition(min_readers=1)
SEEN = LastStatus("SUCCESS", 1)
STATE = {
    "looked": 1.0,
    "used": {"status": 1, "token": 1},
    "met_by_key": {"k0": ["SUCCESS", 1, False, None]},
    "lost_keys": ["k1"],
    "sent_keys": ["k2"],
}


def wait_for(local: LocalDingTalk, receipts: list[Receipt], state: WaitState | None = None, **options: Any) -> Wait:
    now = local.clock.now()
    wait_options = WaitOptions(poll_schedule=PollSchedule(), began=now, end=now + 3600)
    return Wait(
        [target_of(receipt) for receipt in receipts],
        options.pop("condition", READ),
        wait_options,
        clock=local.clock,
        state=state,
    )


def checkpoint(store: TaskStateStore, receipts: list[Receipt], condition: Condition = READ, epoch: int = 0) -> Any:
    return WaitTaskCheckpoint(store, [target_of(receipt) for receipt in receipts], condition, epoch)


def test_messages_that_come_in_another_order_keep_their_state() -> None:
    local = LocalDingTalk()
    receipts = local.create_messages(Kind.GROUP, 6) + local.create_messages(Kind.WORK_NOTIFICATION, 2)
    for receipt in receipts[:3]:
        local.read_by(receipt, "user001")
    wait = wait_for(local, receipts)
    asyncio.run(wait.look(local.client()))
    state = state_of(msgspec.json.decode(msgspec.json.encode(wait.state())))
    again = wait_for(local, receipts[::-1], state)
    assert again.state() == wait.state()
    met = {entry["key"] for entry in again.result()}
    assert met == set(keys_of(receipts[:3]))


def test_a_stored_wait_is_found_whatever_the_order_and_not_for_another_condition() -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 2 * MESSAGES_PER_ROW + 3)
    state = WaitState(looked=5.0, used={"status": 9}, met_by_key=dict.fromkeys(keys_of(receipts[1::2]), SEEN))
    people = Condition(min_readers=1, read_by=("a", "b"), send_statuses=frozenset({"SUCCESS", "PROCESSING"}))
    checkpoint(store, receipts, people).save(state)
    assert checkpoint(store, receipts[::-1], msgspec.structs.replace(people, read_by=("b", "a"))).load() == state
    assert checkpoint(store, receipts, READ).load() is None
    assert checkpoint(store, receipts[1:], people).load() is None
    assert checkpoint(store, receipts, people, epoch=1).load() is None, "a clear begins anew"


def test_only_changed_rows_are_written_in_any_order() -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 2 * MESSAGES_PER_ROW)
    first = WaitState(met_by_key=dict.fromkeys(keys_of(receipts), SEEN))
    checkpoint(store, receipts).save(first)
    written = dict(store._values)
    again = checkpoint(store, receipts[::-1])
    again.save(again.load())
    assert store._values == written


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


# ── what cannot be read ──────────────────────────────────────────────────────────────────────────────


@FUZZ
@given(head=near({"epoch": 0, "rows": [0, 1], "state": STATE}).filter(lambda v: v is not None), row=ANY_STORED)
def test_any_json_in_the_store_is_read_or_the_wait_begins_anew(head: Any, row: Any) -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 3)
    checkpoint(store, receipts).save(WaitState(met_by_key={receipts[0].key: SEEN}))
    name = min(store._values, key=len)
    store.set(name, head)
    store.set(f"{name}-0", row)
    _goes_on(local, receipts, checkpoint(store, receipts).load())


@FUZZ
@given(state=near(STATE), interval=st.sampled_from([None, 0.1, 60.0]))
def test_any_json_as_a_triggers_state_is_read_or_discarded(state: Any, interval: float | None) -> None:
    local = LocalDingTalk()
    receipts = local.create_messages(Kind.GROUP, 3)
    wait_progress = WaitProgress.from_json({"poll_schedule": {}, "began": 0.0, "max_api_calls": 9, "state": state})
    _goes_on(local, receipts, wait_progress.state)


def _goes_on(local: LocalDingTalk, receipts: list[Receipt], state: WaitState | None) -> None:
    """Poll, or fail with one of our errors; the next poll must lie within the wait."""
    wait = wait_for(local, receipts, state)
    try:
        asyncio.run(wait.look(local.client()))
    except DingTalkError:
        return
    assert wait.next_due is None or wait.next_due <= local.clock.now() + 3600
    assert isinstance(wait.line(), str) and isinstance(wait.estimate(), str) and wait.calls >= 0
    msgspec.json.encode(wait.state())
