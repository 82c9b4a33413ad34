"""Recalls: true outcomes of every message, with one call for twenty."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.client.rate_limit.state import TRY_AGAIN
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import (
    ALL_KINDS,
    HOUR,
    RECALL_API,
    ROBOT_KINDS,
    TOKEN_API,
    LocalDingTalk,
    codes_of,
    keys_of,
    receipt_for,
)

pytestmark = pytest.mark.anyio


# ── All is well ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize(("count", "batches"), [(1, 1), (20, 1), (21, 2), (45, 3)])
async def test_every_message_is_recalled_by_twenties(
    dingtalk: LocalDingTalk, kind: Kind, count: int, batches: int
) -> None:
    receipts = dingtalk.create_messages(kind, count)
    job = await dingtalk.recall(receipts)
    assert job.report().keys(Outcome.RECALLED) == keys_of(receipts)
    assert dingtalk.recall_calls() == (batches if kind in ROBOT_KINDS else count)
    assert dingtalk.status_calls() == 0, "a certain answer is not checked again"
    assert job.is_final


async def test_45_people_3_groups_of_25_and_a_work_notification_cost_10_recall_calls_and_one_token(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 45) + dingtalk.create_messages(Kind.WORK_NOTIFICATION)
    for group in GROUPS:
        receipts += dingtalk.create_messages(Kind.GROUP, 25, conversation=group)
    job = await dingtalk.recall(receipts)
    assert job.report().counts()["recalled"] == 45 + 3 * 25 + 1
    assert dingtalk.calls() == {
        RECALL_API[Kind.OTO]: 3,
        RECALL_API[Kind.GROUP]: 6,
        RECALL_API[Kind.WORK_NOTIFICATION]: 1,
        TOKEN_API: 1,
    }
    assert job.report().to_json()["api_calls"] == {"recall": 10, "token": 1, "total": 11}


async def test_nothing_to_recall_costs_nothing(dingtalk: LocalDingTalk) -> None:
    job = await dingtalk.recall([])
    assert job.report() == Report()
    assert dingtalk.calls() == {}


async def test_a_message_named_often_is_recalled_once_and_its_duplicates_are_counted(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO) * 1000 + dingtalk.create_messages(Kind.OTO)
    job = await dingtalk.recall(receipts)
    assert job.report().counts() == {"recalled": 2, "failed": 0, "expired": 0, "unknown": 0, "total": 2}
    assert job.report().to_json()["counts"]["duplicates"] == 999
    assert [message.recalls for message in dingtalk.state.messages.values()] == [1, 1]


async def test_a_message_with_two_different_senders_is_refused_before_any_call(dingtalk: LocalDingTalk) -> None:
    here = dingtalk.create_messages(Kind.GROUP)[0]
    elsewhere = receipt_for(Kind.GROUP, here.key, conversation=GROUPS[1])
    with pytest.raises(InvalidInputError) as refusal:
        Recall([here, elsewhere])
    assert refusal.value.field == "receipts"


# ── Recalled already ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", ["success", "failed", "not_revoke_all"])
@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_second_recall_never_calls_a_recalled_message_failed_where_it_can_be_asked(
    dingtalk: LocalDingTalk, kind: Kind, answer: str
) -> None:
    dingtalk.behave(already_recalled=answer)
    receipts = dingtalk.create_messages(kind, 7)
    await dingtalk.recall(receipts[:4])
    report = (await dingtalk.recall(receipts, fresh=False)).report()
    if kind in ROBOT_KINDS or answer == "success":
        assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts))
    else:
        assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts[4:]))


@pytest.mark.parametrize("answer", ["success", "failed", "not_revoke_all"])
@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_refused_repetition_after_a_lost_answer_is_not_taken_for_a_failure(
    dingtalk: LocalDingTalk, kind: Kind, answer: str
) -> None:
    dingtalk.behave(already_recalled=answer)
    receipts = dingtalk.create_messages(kind, 3)
    lost = {"match": RECALL_API[kind], "times": 1, "when": "after", "action": {"type": "drop"}}
    dingtalk.faults(lost)
    report = (await dingtalk.recall(receipts)).report()
    assert report.counts()["failed"] == 0
    if kind in ROBOT_KINDS or answer == "success":
        assert report.counts()["recalled"] == 3
    else:
        assert report.counts()["unknown"] == 1


# ── Too old ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [Kind.OTO, Kind.WORK_NOTIFICATION])
async def test_a_message_too_old_beyond_doubt_is_expired_without_a_call(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 3, age=GIVE_UP_AFTER + 1)
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.EXPIRED) == dict.fromkeys(keys_of(receipts), "robot.processQueryKey.expired")
    assert all(entry["next_step"] for entry in job.report().to_json()["expired"].values())
    assert dingtalk.calls() == {}
    assert job.is_final


@pytest.mark.parametrize("age", [24 * HOUR - 1, 24 * HOUR + 1, 24 * HOUR + 599])
@pytest.mark.parametrize("dated", [True, False])
async def test_near_the_edge_and_without_a_date_dingtalk_decides(
    dingtalk: LocalDingTalk, age: float, dated: bool
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, age=age, dated=dated)
    report = (await dingtalk.recall(receipts)).report()
    expected = Outcome.RECALLED if age < 24 * HOUR else Outcome.EXPIRED
    assert report.keys(expected) == keys_of(receipts)
    assert dingtalk.recall_calls() == 1


async def test_a_receipt_that_is_wrong_about_its_age_by_minutes_does_not_lose_the_message(
    dingtalk: LocalDingTalk,
) -> None:
    # Sent 23 h 55 min ago by DingTalk's clock; the receipt's clock was 10 minutes slow.
    key = dingtalk.create_messages(Kind.OTO, age=23 * HOUR + 55 * 60)[0].key
    skewed = dingtalk.create_messages(Kind.OTO, age=24 * HOUR + 5 * 60)[0].sent_at
    report = (await dingtalk.recall([receipt_for(Kind.OTO, key, sent_at=skewed)])).report()
    assert report.keys(Outcome.RECALLED) == [key]


@pytest.mark.parametrize("unfit", ["whole_batch", "per_key"])
async def test_undated_old_messages_are_expired_and_fresh_ones_of_the_same_batch_recalled(
    dingtalk: LocalDingTalk, unfit: str
) -> None:
    dingtalk.behave(unfit_keys=unfit)
    old = dingtalk.create_messages(Kind.OTO, 2, age=48 * HOUR, dated=False)
    fresh = dingtalk.create_messages(Kind.OTO, 18, dated=False)
    report = (await dingtalk.recall([*fresh[:5], *old, *fresh[5:]])).report()
    assert codes_of(report, Outcome.EXPIRED) == dict.fromkeys(keys_of(old), "robot.processQueryKey.expired")
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(fresh))


@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.PRIVATE_CHAT, Kind.DING])
async def test_kinds_without_a_documented_limit_are_recalled_at_any_age(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 2, age=1000 * HOUR)
    assert (await dingtalk.recall(receipts)).report().counts()["recalled"] == 2


async def test_what_expires_first_is_recalled_first(dingtalk: LocalDingTalk) -> None:
    young = dingtalk.create_messages(Kind.OTO, 20, age=1 * HOUR)
    old = dingtalk.create_messages(Kind.OTO, 20, age=23 * HOUR)
    dingtalk.behave(calls_per_month=1)
    report = (await dingtalk.recall([*young, *old])).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(old))


async def test_a_message_that_grows_too_old_while_the_recall_waits_costs_no_call(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 40, age=GIVE_UP_AFTER - TRY_AGAIN / 2)
    dingtalk.faults({"match": "batchRecall", "nth": [1], "action": {"type": "throttle"}})
    report = (await dingtalk.recall(receipts)).report()
    assert report.counts()["expired"] == 40
    assert dingtalk.recall_calls() == 2, "the first batch was on its way; the second was not begun"
