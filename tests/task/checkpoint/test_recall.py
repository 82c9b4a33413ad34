"""Checkpoint of a recall: stored by message, in any order, and validated when read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.recall_results import RECALLED, KeyResult, KeyState
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, parse_keys
from airflow_provider_dingtalk.task.checkpoint.recall import (
    MESSAGES_PER_ROW,
    EarlierRecalls,
    RecallTaskCheckpoint,
    recalled_before,
)
from airflow_provider_dingtalk.task.checkpoint.store import fingerprint
from tests.strategies import ANY_JSON, ANY_STORED, FUZZ, near
from tests.support.airflow_seams import TaskStateStore
from tests.support.local_dingtalk import LocalDingTalk, check_account, keys_of

FAILED = KeyResult(KeyState.FAILED, Reason("invalid.processQueryKey", "no such key", "check it"))
IN_DOUBT = KeyResult(KeyState.IN_DOUBT, final=False)


class Killed(Exception):
    """End of a killed try; all that it did not write is lost."""


class KillingStore(TaskStateStore):
    """Store that kills the try at one of its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1

    def set(self, key: str, value: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed
        super().set(key, value)


def one_try(
    local: LocalDingTalk,
    store: TaskStateStore,
    receipts: Sequence[Receipt],
    *,
    epoch: int = 0,
    before: EarlierRecalls | None = None,
) -> Report:
    """Run one try of a task and return its report, also if it was killed."""
    checkpoint = RecallTaskCheckpoint(store, receipts, epoch, before)
    job = Recall(receipts, checkpoint=checkpoint, clock=local.clock)
    with contextlib.suppress(CheckpointError):
        asyncio.run(job.run(local.client()))
    return job.report()


def load(store: TaskStateStore, receipts: Sequence[Receipt], epoch: int = 0) -> Mapping[str, KeyResult]:
    return asyncio.run(RecallTaskCheckpoint(store, receipts, epoch).load())


def write(
    store: TaskStateStore, receipts: Sequence[Receipt], key_results: Mapping[str, KeyResult], epoch: int = 0
) -> None:
    """Write the checkpoint of an earlier try."""

    async def written() -> None:
        checkpoint = RecallTaskCheckpoint(store, receipts, epoch)
        await checkpoint.load()
        await checkpoint.write(key_results)

    asyncio.run(written())


# ── order, duplicates, container ─────────────────────────────────────────────────────────────────────


def test_state_is_found_by_message_when_keys_come_in_another_order() -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 40)
    asyncio.run(Recall(receipts[:20], clock=local.clock).run(local.client()))
    write(store, receipts, dict.fromkeys(keys_of(receipts[:20]), RECALLED))
    assert load(store, receipts[::-1] + receipts[:5]) == dict.fromkeys(keys_of(receipts[:20]), RECALLED)
    report = one_try(local, store, receipts[::-1])
    check_account(local, report, receipts)
    assert report.counts()["recalled"] == 40
    assert local.recall_calls() == 2, "what was recalled is not recalled again"


CONTAINERS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "JSON": json.dumps,
}


@settings(FUZZ, max_examples=60)
@given(
    shapes=st.lists(st.sampled_from(list(CONTAINERS)), min_size=2, max_size=5),
    seed=st.integers(0, 2**16),
    kills=st.lists(st.integers(1, 6), max_size=4),
)
def test_any_order_container_and_duplicates_at_each_try_end_in_a_right_account(
    shapes: list[str], seed: int, kills: list[int]
) -> None:
    local, store, rng = LocalDingTalk(), KillingStore(), random.Random(seed)
    local.behave(unfit_keys="per_key", already_recalled="failed")
    by_key = {receipt.key: receipt for receipt in local.create_messages(Kind.GROUP, 70)}
    gone = rng.sample(list(by_key), 10)
    local.faults({"match": "ecall", "action": {"type": "poison_keys", "keys": gone}})
    for number, shape in enumerate(shapes):
        named = list(by_key) + rng.sample(list(by_key), 7)
        rng.shuffle(named)
        store.left = kills[number] if number < len(kills) and number < len(shapes) - 1 else -1
        given = [by_key[key] for key in parse_keys(CONTAINERS[shape](named), "process_query_keys")]
        report = one_try(local, store, given)
        check_account(local, report, given)
    assert set(report.keys(Outcome.RECALLED)) == set(by_key) - set(gone)


# ── other lists of messages ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kill", [-1, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.WORK_NOTIFICATION, Kind.DING])
def test_a_list_with_more_and_fewer_messages_at_the_next_try_ends_in_a_right_account(kind: Kind, kill: int) -> None:
    local, store = LocalDingTalk(), KillingStore()
    local.behave(already_recalled="failed", already_recalled_reason="invalid.processQueryKey", unfit_keys="per_key")
    receipts = local.create_messages(kind, 5)
    store.left = kill
    with contextlib.suppress(Killed):
        one_try(local, store, receipts[1:])
    store.left = -1
    report = one_try(local, store, receipts[:4])
    check_account(local, report, receipts[:4])
    if kill < 0:
        assert report.counts()["recalled"] == 4
        assert load(store, [*receipts[::-1], receipts[0]]) == dict.fromkeys(keys_of(receipts), RECALLED)


def test_a_message_that_another_sender_did_not_recall_is_tried_again() -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 3)
    write(store, receipts[:2], {receipts[0].key: FAILED, receipts[1].key: IN_DOUBT})
    assert load(store, receipts) == {receipts[1].key: IN_DOUBT}
    assert one_try(local, store, receipts).counts()["recalled"] == 3


@FUZZ
@given(
    value=near({"recall": "dingtalk-recall-2-x", "messages": 10, "start": 0, "keys": ["a", "b"]}), name=st.booleans()
)
def test_any_json_for_the_messages_of_another_list_is_read_or_leaves_each_message_in_doubt(
    value: Any, name: bool
) -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 10)
    write(store, receipts[:5], {receipts[0].key: RECALLED})
    if isinstance(value, dict) and name:
        value = {**value, "recall": next(key for key in store._values if "begun" not in key).removesuffix("-0")}
    store.set("dingtalk-recall-2-begun-1", value)
    found = load(store, receipts)
    assert found[receipts[0].key] == RECALLED
    assert set(found) in ({receipts[0].key}, set(keys_of(receipts)))


# ── clears ───────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_clear_no_failure_of_the_old_life_comes_back() -> None:
    """Refuse 2,000 messages, clear the task, ban it after some calls, and resume the deferred task."""
    local, store = LocalDingTalk(), TaskStateStore()
    local.behave(calls_per_second=0)
    receipts = local.create_messages(Kind.GROUP, 2000)
    write(store, receipts, dict.fromkeys(keys_of(receipts), FAILED))
    assert len(load(store, receipts)) == 2000
    local.faults({"match": "ecall", "nth": list(range(4, 200)), "action": {"type": "html", "status": 403}})
    first = one_try(local, store, receipts, epoch=1)
    assert 0 < first.counts()["recalled"] < 2000
    local.faults()
    local.clock.advance(600)
    second = one_try(local, store, receipts, epoch=1)
    assert second.counts()["recalled"] == 2000


@pytest.mark.parametrize("written", [0, 1])
def test_a_clear_and_a_kill_keep_what_is_gone_and_nothing_else(written: int) -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 5)
    one, other, refused, old, fresh = receipts
    states = {one.key: RECALLED, other.key: IN_DOUBT, refused.key: FAILED, old.key: KeyResult(KeyState.EXPIRED)}
    write(store, receipts, states)
    if written:
        write(store, receipts, {fresh.key: IN_DOUBT}, epoch=1)
    found = load(store, receipts, epoch=1)
    assert {key: said.state for key, said in found.items()} == {
        one.key: KeyState.RECALLED,
        other.key: KeyState.IN_DOUBT,
        **({fresh.key: KeyState.IN_DOUBT} if written else {}),
    }


# ── rows of version 1 ────────────────────────────────────────────────────────────────────────────────


def version_1(store: TaskStateStore, receipts: Sequence[Receipt], row: str, epoch: int = 0) -> None:
    """Write state of version 1, by positions in the order of the keys."""
    sender = receipts[0].sender_key
    request = [["group", sender.robot_code, None, sender.open_conversation_id, sorted(keys_of(receipts))]]
    name = f"dingtalk-recall-1-{fingerprint(request)}"
    store.set(name, {"epoch": epoch})
    store.set(f"{name}-0", {"row": row, "why": {}})


@pytest.mark.parametrize("row", ["R" * 40, "R" * 20 + "P" * 20, "F" * 20 + "I" * 20])
@pytest.mark.parametrize("epoch", [0, 3])
def test_of_a_row_of_version_1_nothing_is_taken_for_certain(
    row: str, epoch: int, caplog: pytest.LogCaptureFixture
) -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    local.behave(already_recalled="failed", unfit_keys="per_key")
    receipts = local.create_messages(Kind.GROUP, 40)
    asyncio.run(Recall(receipts[:20], clock=local.clock).run(local.client()))
    version_1(store, receipts, row)
    with caplog.at_level(logging.WARNING):
        report = one_try(local, store, receipts[::-1], epoch=epoch)
    check_account(local, report, receipts)
    assert report.counts()["recalled"] == 40
    assert caplog.text.count("An earlier version of this package began this recall") == 1
    caplog.clear()
    one_try(local, store, receipts, epoch=epoch)
    assert "earlier version" not in caplog.text, "it is taken over once"


def test_a_row_of_version_1_stays_in_doubt_when_the_try_that_took_it_over_is_killed() -> None:
    local, store = LocalDingTalk(), KillingStore()
    receipts = local.create_messages(Kind.GROUP, 40)
    version_1(store, receipts, "R" * 40)
    write(store, receipts, {receipts[0].key: IN_DOUBT})
    assert {said.state for said in load(store, receipts).values()} == {KeyState.IN_DOUBT}
    assert set(load(store, receipts)) == set(keys_of(receipts))


# ── what cannot be read ──────────────────────────────────────────────────────────────────────────────


ROW = {
    "epoch": 0,
    "row": "R" * 5 + "F" * 5,
    "reason_of": " " * 5 + "!" * 5,
    "reasons": [{"code": "c", "message": "m", "next_step": ""}],
}
#: A row of an earlier version, which told the reasons by index.
EARLIER_ROW = {name: value for name, value in ROW.items() if name != "reason_of"} | {
    "why": {str(at): 0 for at in range(5, 10)}
}


@pytest.mark.parametrize("row", [ROW, EARLIER_ROW])
def test_reasons_are_read_in_both_forms(row: Any) -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = sorted(local.create_messages(Kind.GROUP, 10), key=lambda receipt: receipt.key)
    write(store, receipts, {receipts[0].key: IN_DOUBT})
    name = next(name for name in store._values if "begun" not in name)
    store.set(name, row)
    failed = KeyResult(KeyState.FAILED, Reason("c", "m", ""))
    expected = dict.fromkeys(keys_of(receipts[:5]), RECALLED) | dict.fromkeys(keys_of(receipts[5:]), failed)
    assert load(store, receipts) == expected
    write(store, receipts, {receipts[0].key: RECALLED})
    assert load(store, receipts) == expected


def test_a_call_of_a_large_recall_writes_one_row_that_stays_small() -> None:
    store = TaskStateStore()
    receipts = [
        Receipt(kind=Kind.OTO, robot_code="r", process_query_key=f"{at:044d}") for at in range(MESSAGES_PER_ROW)
    ]
    failures = [KeyResult(KeyState.FAILED, Reason(f"code{at}", "no such key", "check it")) for at in range(100)]
    write(store, receipts, dict.fromkeys(keys_of(receipts[::1000]), IN_DOUBT))
    results = {key: failures[at % 100] for at, key in enumerate(keys_of(receipts))}
    write(store, receipts, results)
    assert sum("begun" not in name for name in store._values) == 1
    assert max(map(len, store._values.values())) < 64_000
    assert load(store, receipts) == results


@FUZZ
@given(value=(near(ROW) | near(EARLIER_ROW)).filter(lambda value: value is not None))
def test_any_json_in_a_row_is_read_or_leaves_each_message_in_doubt(value: Any) -> None:
    local, store = LocalDingTalk(), TaskStateStore()
    receipts = local.create_messages(Kind.GROUP, 10)
    write(store, receipts, {receipts[0].key: IN_DOUBT})
    name = next(name for name in store._values if "begun" not in name)
    store.set(name, value)
    found = load(store, receipts)
    assert set(found) <= set(keys_of(receipts))
    is_ours = isinstance(value, dict) and {"epoch", "row"} <= value.keys()
    assert is_ours or found == dict.fromkeys(keys_of(receipts), IN_DOUBT)
    one_try(local, store, receipts)


@FUZZ
@given(
    row=ANY_STORED,
    old=near({"0": 1, "7": 2**62}),
    old_row=ANY_JSON,
    number=st.integers(0, 2),
)
def test_any_json_for_keys_recalled_before_is_read_or_leaves_each_message_in_doubt(
    row: Any, old: Any, old_row: Any, number: int
) -> None:
    store = TaskStateStore()
    for at in range(3):
        store.set(f"dingtalk-recalled-2-{at}", [f"k{at}", f"l{at}"])
    store.set(f"dingtalk-recalled-2-{number}", row)
    store.set("dingtalk-recalled-1", old)
    store.set("dingtalk-recalled-1-7-0", old_row)
    before = recalled_before(store)
    assert before.is_whole <= (isinstance(row, list) and (old is None or isinstance(old, dict)))
    assert before.recalled >= {f"k{at}" for at in range(number)}


def test_if_keys_recalled_before_cannot_be_read_every_message_is_in_doubt() -> None:
    local = LocalDingTalk()
    local.behave(already_recalled="failed", unfit_keys="per_key")
    receipts = local.create_messages(Kind.GROUP, 20)
    asyncio.run(Recall(receipts[:10], clock=local.clock).run(local.client()))
    report = one_try(local, TaskStateStore(), receipts, before=EarlierRecalls(is_whole=False))
    check_account(local, report, receipts)
    assert report.counts()["recalled"] == 20


def test_keys_that_version_1_calls_recalled_are_in_doubt() -> None:
    store = TaskStateStore()
    store.set("dingtalk-recalled-1", {"0": 2})
    store.set("dingtalk-recalled-1-0-0", ["a"])
    store.set("dingtalk-recalled-1-0-1", ["b"])
    store.set("dingtalk-recalled-2-0", ["a"])
    assert recalled_before(store) == EarlierRecalls(frozenset("a"), frozenset("b"))
