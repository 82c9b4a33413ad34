"""Waits: their calls, delays, repeated polls and ends."""

from __future__ import annotations

import gc
import random
import re
import tracemalloc
from typing import Any

import msgspec
import pytest

from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    ConditionUnreachableError,
    DingTalkError,
    InvalidKeyError,
    InvalidRequestError,
    MessageRecalledError,
    PermissionDeniedError,
    QuotaExhaustedError,
    StatusUnavailableError,
)
from airflow_provider_dingtalk.jobs.poll_schedule import poll_schedule_of
from airflow_provider_dingtalk.messages.conditions import Condition
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind
from tests.support.local_dingtalk import HOUR, ROBOT_KINDS, LocalDingTalk, keys_of, receipt_for
from tests.support.waits import DAY, see_through, status_calls, wait_for

pytestmark = pytest.mark.anyio


# ── cost and lateness ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [*ROBOT_KINDS, Kind.WORK_NOTIFICATION])
async def test_a_day_of_waiting_for_one_reader_takes_forty_calls_at_most(dingtalk: LocalDingTalk, kind: Kind) -> None:
    wait = wait_for(dingtalk, dingtalk.create_messages(kind))
    began = dingtalk.clock.now()
    polls = await see_through(dingtalk, wait)
    assert not wait.is_met
    assert dingtalk.clock.now() == pytest.approx(began + DAY), "the last poll is at the end"
    assert 30 <= polls <= 40
    # The send status of a work notification is polled once.
    assert status_calls(dingtalk) == polls + (kind is Kind.WORK_NOTIFICATION) <= 40
    assert wait.calls == sum(dingtalk.calls().values()), "the count has all calls, those for tokens too"
    assert wait.used["token"] <= 12, "one for each poll that comes after the two hours of a token"


async def test_a_fixed_interval_of_thirty_seconds_takes_2880_calls(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(calls_per_second=0)
    wait = wait_for(dingtalk, dingtalk.create_messages(Kind.GROUP), poll_schedule=poll_schedule_of(30.0))
    await see_through(dingtalk, wait)
    assert status_calls(dingtalk) == 2881, "one at the begin, and 2,880"


@pytest.mark.parametrize("seed", range(60))
async def test_a_reader_is_never_seen_later_than_a_fifth_of_the_age_and_a_minute(
    dingtalk: LocalDingTalk, seed: int
) -> None:
    chance = random.Random(seed)
    waited_before = chance.choice([0.0, chance.uniform(0, HOUR)])
    receipt = dingtalk.create_messages(Kind.GROUP, age=waited_before)[0]
    sent = dingtalk.clock.now() - waited_before
    read_at = dingtalk.clock.now() + chance.uniform(0, chance.choice([60, HOUR, DAY - HOUR]))

    def read_when_it_is_time(_poll: int) -> None:
        if dingtalk.clock.now() >= read_at:
            dingtalk.read_by(receipt, "user001")

    wait = wait_for(dingtalk, [receipt])
    await see_through(dingtalk, wait, before_poll=read_when_it_is_time)
    assert wait.is_met
    assert dingtalk.clock.now() - read_at <= 0.2 * (read_at - sent) + 60
    assert status_calls(dingtalk) <= 40


async def test_thousands_of_messages_take_one_call_each_and_the_decided_are_never_asked_again(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 2000)
    unread = list(receipts)

    def half_of_the_rest_is_read(poll: int) -> None:
        for _ in range(len(unread) // 2 + 1 if poll else 0):
            dingtalk.read_by(unread.pop(), "user001")

    wait = wait_for(dingtalk, receipts, poll_schedule=poll_schedule_of(600.0))
    polls = await see_through(dingtalk, wait, before_poll=half_of_the_rest_is_read)
    expected, left = 0, len(receipts)
    for poll in range(polls):
        expected += left
        left -= (left // 2 + 1) if poll else 0
    assert wait.is_met
    assert status_calls(dingtalk) == expected
    assert [entry["key"] for entry in wait.result()] == keys_of(receipts)
    assert {entry["readers"] for entry in wait.result()} == {1}


async def test_what_a_wait_keeps_of_a_message_fits_into_a_kilobyte(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(calls_per_second=0)
    receipts = dingtalk.create_messages(Kind.GROUP, 1000)
    client = dingtalk.client()
    tracemalloc.start()
    try:
        wait = wait_for(dingtalk, receipts)
        await wait.poll(client)
        gc.collect()
        ours = tracemalloc.take_snapshot().filter_traces([
            tracemalloc.Filter(True, "*/jobs/wait.py"),
            tracemalloc.Filter(True, "*/messages/conditions.py"),
            tracemalloc.Filter(True, "*/messages/receipt.py"),
        ])  # fmt: skip
    finally:
        tracemalloc.stop()
    assert len(wait.result()) == 1000
    assert sum(each.size for each in ours.statistics("filename")) / len(receipts) <= 1024


# ── paging ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("condition", "with_readers", "pages", "entry"), [
    (Condition(min_readers=1), False, 1, {"readers": 200, "has_more_readers": True}),
    (Condition(min_readers=201), False, 2, {"readers": 400, "has_more_readers": True}),
    (Condition(min_readers=1001), False, 6, {"readers": 1001}),
    (Condition(read_by=("user001",)), False, 1, {"readers": 200, "has_more_readers": True}),
    (Condition(min_read_share=0.5, audience=1001), False, 3, {"readers": 600, "has_more_readers": True}),
    (Condition(min_readers=1), True, 6, {"readers": 1001}),
])  # fmt: skip
async def test_pages_are_turned_no_further_than_the_condition_needs(
    dingtalk: LocalDingTalk, condition: Condition, with_readers: bool, pages: int, entry: dict[str, Any]
) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.read_by(receipt, count=1001)
    wait = wait_for(dingtalk, [receipt], condition, with_readers=with_readers)
    await see_through(dingtalk, wait)
    (found,) = wait.result()
    assert len(found.pop("read_user_ids", ())) == (1001 if with_readers else 0)
    assert found == {"key": receipt.key, "send_status": "SUCCESS", **entry}
    assert status_calls(dingtalk) == pages


async def test_readers_of_a_message_in_an_unwanted_state_are_not_paged(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.read_by(receipt, count=1001)
    condition = Condition(send_statuses=frozenset({"RECALLED"}), min_readers=1001)
    wait = wait_for(dingtalk, [receipt], condition, lasts=0)
    await see_through(dingtalk, wait)
    assert status_calls(dingtalk) == 1


# ── all, any, never ──────────────────────────────────────────────────────────────────────────────────


async def test_any_one_message_is_enough_and_ends_the_asking(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 100)
    dingtalk.read_by(receipts[0], "user001")
    wait = wait_for(dingtalk, receipts, Condition(min_readers=1, match="any"))
    await see_through(dingtalk, wait)
    assert wait.is_met
    assert status_calls(dingtalk) <= 10, "those that were under way"
    assert wait.result()[0] == {"key": receipts[0].key, "send_status": "SUCCESS", "readers": 1}


@pytest.mark.parametrize("match", ["all", "any"])
async def test_a_recalled_message_ends_a_wait_for_all_and_not_one_for_any(dingtalk: LocalDingTalk, match: Any) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 3)
    await dingtalk.recall(receipts[:2])
    before = status_calls(dingtalk)
    wait = wait_for(dingtalk, receipts, Condition(min_readers=1, match=match), lasts=HOUR)
    if match == "all":
        with pytest.raises(MessageRecalledError) as ended:
            await see_through(dingtalk, wait)
        assert ended.value.permanent
        return
    polls = await see_through(dingtalk, wait)
    assert status_calls(dingtalk) - before == polls + 2, "the recalled are asked once"
    await dingtalk.recall(receipts[2:], fresh=False)
    with pytest.raises(MessageRecalledError):
        await see_through(dingtalk, wait_for(dingtalk, receipts, Condition(min_readers=1, match="any")))


@pytest.mark.parametrize("match", ["all", "any"])
async def test_a_key_that_dingtalk_does_not_know_ends_a_wait_for_all_only(dingtalk: LocalDingTalk, match: Any) -> None:
    receipts = [receipt_for(Kind.GROUP, "unknown"), *dingtalk.create_messages(Kind.GROUP)]
    wait = wait_for(dingtalk, receipts, Condition(match=match))
    if match == "all":
        with pytest.raises(InvalidKeyError):
            await see_through(dingtalk, wait)
        return
    await see_through(dingtalk, wait)
    assert wait.is_met


async def test_no_status_means_not_yet_for_the_young_and_the_end_for_the_old(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(status_delay_seconds=100, status_window_hours=24)
    wait = wait_for(dingtalk, dingtalk.create_messages(Kind.GROUP), Condition())
    await see_through(dingtalk, wait)
    assert wait.is_met
    old = wait_for(dingtalk, dingtalk.create_messages(Kind.GROUP, age=GIVE_UP_AFTER + 1), Condition())
    with pytest.raises(StatusUnavailableError) as ended:
        await see_through(dingtalk, old)
    assert ended.value.permanent, "no retry makes it younger"


@pytest.mark.parametrize("broken_first", [True, False])
@pytest.mark.parametrize(("code", "error"), [
    ("bot.stopped", InvalidRequestError),
    ("template.stopped", InvalidRequestError),
    ("unauthorized", PermissionDeniedError),
    ("auth.error", PermissionDeniedError),
    ("invalid.openConversationId", InvalidRequestError),
    ("invalid.processQueryKey", InvalidKeyError),
])  # fmt: skip
async def test_one_broken_message_ends_a_wait_for_all_only_and_is_named(
    dingtalk: LocalDingTalk, broken_first: bool, code: str, error: type[DingTalkError]
) -> None:
    broken, fine = dingtalk.create_messages(Kind.GROUP, 2)
    receipts = [broken, fine] if broken_first else [fine, broken]
    refusal = {"type": "status", "status": 400, "code": code}
    rule = {"match": "query", "nth": [1 if broken_first else 2], "action": refusal}
    dingtalk.faults(rule)
    with pytest.raises(error, match=re.escape(broken.key)) as ended:
        await see_through(dingtalk, wait_for(dingtalk, receipts, Condition()))
    assert ended.value.permanent
    assert code in str(ended.value)
    dingtalk.faults(rule)
    wait = wait_for(dingtalk, receipts, Condition(match="any"))
    await see_through(dingtalk, wait)
    assert [entry["key"] for entry in wait.result()] == [fine.key]


async def test_a_wait_for_any_ends_when_all_are_broken(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 3)
    dingtalk.state.conversations[receipts[0].open_conversation_id or ""].stopped = True
    with pytest.raises(InvalidRequestError, match=r"bot\.stopped"):
        await see_through(dingtalk, wait_for(dingtalk, receipts, Condition(match="any")))


@pytest.mark.parametrize(("code", "error"), [
    ("invalidClientIdOrSecret", AuthenticationError),
    ("Forbidden.AccessDenied.ApiCountLimitForOrg", QuotaExhaustedError),
    ("Forbidden.AccessDenied.AccessTokenPermissionDenied", PermissionDeniedError),
])  # fmt: skip
async def test_what_concerns_all_messages_ends_a_wait_for_any_without_a_call_for_each(
    dingtalk: LocalDingTalk, code: str, error: type[DingTalkError]
) -> None:
    refusal = {"type": "status", "status": 403, "code": code}
    dingtalk.faults({"match": "query", "action": refusal})
    wait = wait_for(dingtalk, dingtalk.create_messages(Kind.GROUP, 200), Condition(match="any"))
    with pytest.raises(error):
        await see_through(dingtalk, wait)
    assert status_calls(dingtalk) <= 20, "those that were under way"


# ── what can never be ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("condition", "problem"), [
    (Condition(min_readers=3), "went to 2 people, and 3 must have read it"),
    (Condition(read_by=("user001", "stranger")), "did not go to stranger of read_by"),
])  # fmt: skip
@pytest.mark.parametrize("kind", [Kind.OTO, Kind.WORK_NOTIFICATION])
async def test_what_can_never_be_ends_as_soon_as_dingtalk_tells_who_got_it(
    dingtalk: LocalDingTalk, kind: Kind, condition: Condition, problem: str
) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    message = dingtalk.message(receipt)
    assert message is not None
    message.receivers = ("user001", "user002")
    wait = wait_for(dingtalk, [receipt], condition)
    with pytest.raises(ConditionUnreachableError, match=problem) as ended:
        await see_through(dingtalk, wait)
    assert ended.value.permanent
    assert status_calls(dingtalk) <= 2


@pytest.mark.parametrize("kind", [Kind.OTO, Kind.WORK_NOTIFICATION])
async def test_a_list_that_is_shorter_than_the_receipt_says_proves_nothing(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipt = msgspec.structs.replace(dingtalk.create_messages(kind)[0], recipients=3)
    wait = wait_for(dingtalk, [receipt], Condition(min_readers=2), lasts=60)
    await see_through(dingtalk, wait)
    assert not wait.is_met


async def test_what_its_own_receipt_rules_out_is_not_asked_beside_others(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 3)
    receipts = [msgspec.structs.replace(receipts[0], recipients=0), *receipts[1:]]
    wait = wait_for(dingtalk, receipts, Condition(match="any"))
    await see_through(dingtalk, wait)
    assert wait.is_met
    assert receipts[0].key not in [entry["key"] for entry in wait.result()]


@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.PRIVATE_CHAT])
async def test_a_message_of_unknown_age_is_too_old_a_day_after_the_wait_began(
    dingtalk: LocalDingTalk, kind: Kind
) -> None:
    receipt = dingtalk.create_messages(kind, age=2 * DAY, dated=False)[0]
    dingtalk.behave(status_window_hours=24)
    wait = wait_for(dingtalk, [receipt], Condition(), lasts=7 * DAY)
    began = dingtalk.clock.now()
    with pytest.raises(StatusUnavailableError):
        await see_through(dingtalk, wait)
    assert GIVE_UP_AFTER <= dingtalk.clock.now() - began <= GIVE_UP_AFTER + 2 * HOUR
