"""Checkpoint of a rescheduled wait."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given

from airflow_provider_dingtalk.jobs.wait_state import LastStatus, WaitState
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.task.checkpoint.wait import MESSAGES_PER_ROW, WaitTaskCheckpoint
from tests.strategies import ANY_STORED, FUZZ, near
from tests.support.airflow_seams import TaskStateStore
from tests.support.local_dingtalk import LocalDingTalk, keys_of
from tests.support.wait_states import READ, STATE, _goes_on

SEEN = LastStatus("SUCCESS", 1)


def checkpoint(store: TaskStateStore, receipts: list[Receipt], condition: Condition = READ, epoch: int = 0) -> Any:
    return WaitTaskCheckpoint(store, [target_of(receipt) for receipt in receipts], condition, epoch)


def test_a_stored_wait_is_found_whatever_the_order_and_not_for_another_condition() -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 2 * MESSAGES_PER_ROW + 3)
    state = WaitState(polled_at=5.0, used={"status": 9}, met_by_key=dict.fromkeys(keys_of(receipts[1::2]), SEEN))
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
