"""Recalls: true outcomes of every message, with one call for twenty."""

from __future__ import annotations

import math

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, create_messages
from airflow_provider_dingtalk.sandbox.default import GROUPS, OTHER_ROBOT_CODE
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

#: Two halves at each of the five levels between a batch of 20 and one key.
MOST_BISECT_CALLS = 2 * math.ceil(math.log2(20))


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
    assert job.is_empty
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


# ── Answers that name keys ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_the_split_of_a_partial_answer_is_kept_with_reasons_and_next_steps(
    dingtalk: LocalDingTalk, kind: Kind
) -> None:
    receipts = dingtalk.create_messages(kind, 20)
    too_old, wrong = keys_of(receipts[3:5]), keys_of(receipts[7:8])
    dingtalk.faults(
        {"action": {"type": "fail_keys", "keys": too_old, "reason": "robot.processQueryKey.expired"}},
        {"action": {"type": "fail_keys", "keys": wrong, "reason": "invalid.processQueryKey"}},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.EXPIRED) == dict.fromkeys(too_old, "robot.processQueryKey.expired")
    assert codes_of(report, Outcome.FAILED) == dict.fromkeys(wrong, "invalid.processQueryKey")
    assert len(report.keys(Outcome.RECALLED)) == 17
    assert all(entry["next_step"] for entry in report.to_json()["failed"].values())
    assert dingtalk.recall_calls() == 1
    assert dingtalk.status_calls() == 0


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_an_unexplained_failure_is_retried_then_asked_about_and_then_failed_for_now(
    dingtalk: LocalDingTalk, kind: Kind
) -> None:
    receipts = dingtalk.create_messages(kind, 20)
    stuck = keys_of(receipts[:2])
    dingtalk.faults({"action": {"type": "fail_keys", "keys": stuck, "reason": "SYSTEM_ERROR"}})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(stuck, "SYSTEM_ERROR")
    assert not job.is_final
    assert job.report().api_calls["again"] == 2
    assert dingtalk.status_calls() == 2


async def test_a_failure_that_passes_ends_as_recalled(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(recall_too_early_seconds=2)
    job = await dingtalk.recall(dingtalk.create_messages(Kind.GROUP, 3))
    assert job.report().counts()["recalled"] == 3
    assert dingtalk.status_calls() == 0


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_a_reason_nobody_knows_is_not_believed_either_way(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 2)
    odd = receipts[0].key
    dingtalk.faults({"action": {"type": "fail_keys", "keys": [odd], "reason": "what\x00ever"}})
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {odd: "whatever"}
    assert dingtalk.status_calls() == 1


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("effect", [True, False])
async def test_a_key_in_neither_list_is_settled_by_the_message_itself(
    dingtalk: LocalDingTalk, kind: Kind, effect: bool
) -> None:
    receipts = dingtalk.create_messages(kind, 5)
    silent = keys_of(receipts[1:3])
    dingtalk.faults({"action": {"type": "omit_keys", "keys": silent, "recalled": effect}})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts)) - (set() if effect else set(silent))
    assert codes_of(report, Outcome.FAILED) == ({} if effect else dict.fromkeys(silent, "not_reported"))
    assert report.api_calls["again"] == 1
    assert dingtalk.status_calls() == 2


async def test_a_key_in_neither_list_that_cannot_be_asked_about_is_unknown(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 2)
    silent = receipts[0].key
    dingtalk.faults(
        {"action": {"type": "omit_keys", "keys": [silent]}},
        {"match": "query", "action": {"type": "status", "status": 500}},
    )
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.UNKNOWN) == {silent: "not_reported"}
    assert not job.is_final


async def test_a_status_that_is_not_there_leaves_the_doubt(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP)
    dingtalk.behave(status_delay_seconds=600)
    dingtalk.faults({"action": {"type": "null_lists"}})
    assert codes_of((await dingtalk.recall(receipts)).report(), Outcome.UNKNOWN) == {receipts[0].key: "not_reported"}


async def test_a_state_nobody_knows_leaves_the_doubt(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP)
    dingtalk.faults(
        {"match": "recall", "action": {"type": "null_lists"}},
        {"match": "query", "action": {"type": "mutate", "merge": {"sendStatus": "SOMETHING_NEW"}}},
    )
    assert (await dingtalk.recall(receipts)).report().keys(Outcome.UNKNOWN) == keys_of(receipts)


async def test_a_message_that_its_own_status_does_not_know_is_failed(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP)
    dingtalk.faults(
        {"match": "recall", "action": {"type": "omit_keys", "recalled": False}},
        {"match": "query", "action": {"type": "status", "status": 400, "code": "invalid.processQueryKey"}},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {receipts[0].key: "invalid.processQueryKey"}


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_a_key_in_both_lists_is_settled_by_the_message_itself(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 3)
    dingtalk.faults({"action": {"type": "both", "first": 1}})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts))
    assert dingtalk.status_calls() == 1


async def test_a_key_in_both_lists_that_cannot_be_asked_about_is_unknown(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 2)
    dingtalk.faults(
        {"action": {"type": "both", "first": 1}},
        {"match": "readStatus", "action": {"type": "drop"}, "when": "after"},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.UNKNOWN) == {receipts[0].key: "contradiction"}


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("result", ["success", "failed"])
async def test_a_key_never_asked_for_is_nobodys_business(dingtalk: LocalDingTalk, kind: Kind, result: str) -> None:
    receipts = dingtalk.create_messages(kind, 3)
    dingtalk.faults({"action": {"type": "extra", "key": "stranger", "result": result}})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts))
    assert dingtalk.recall_calls() == 1


async def test_the_answer_of_another_ding_is_no_answer(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.DING)
    dingtalk.faults({"action": {"type": "mutate", "merge": {"openDingId": "another"}}})
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.UNKNOWN) == {receipts[0].key: "not_reported"}


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_failures_in_the_form_of_a_list_are_read_the_same(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 4)
    bad = receipts[2].key
    dingtalk.faults(
        {"action": {"type": "fail_keys", "keys": [bad], "reason": "invalid.processQueryKey"}},
        {"action": {"type": "list_form"}},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {bad: "invalid.processQueryKey"}
    assert report.counts()["recalled"] == 3
    assert dingtalk.recall_calls() == 1


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("merge", [{"successResult": None, "failedResult": None}, {"successResult": None}])
async def test_lists_that_are_missing_say_nothing_and_the_messages_are_asked(
    dingtalk: LocalDingTalk, kind: Kind, merge: dict[str, None]
) -> None:
    receipts = dingtalk.create_messages(kind, 4)
    dingtalk.faults({"match": RECALL_API[kind], "action": {"type": "mutate", "merge": merge}})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts))
    assert dingtalk.status_calls() == 4


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        "",
        "ok",
        '{"successResult": "all"}',
        '{"successResult": [1]}',
        '{"failedResult": 7}',
    ],
)
async def test_an_answer_that_is_none_never_means_recalled(dingtalk: LocalDingTalk, text: str) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 3)
    dingtalk.faults({"match": "recall", "action": {"type": "body", "text": text}})
    report = (await dingtalk.recall(receipts)).report()
    assert report.keys(Outcome.FAILED) == keys_of(receipts), "the messages themselves say that they are there"
    assert dingtalk.status_calls() == 3


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("times", [1, None])
async def test_not_all_revoked_is_a_failure_with_a_partial_effect(
    dingtalk: LocalDingTalk, kind: Kind, times: int | None
) -> None:
    receipts = dingtalk.create_messages(kind, 10)
    dingtalk.faults({"match": RECALL_API[kind], "times": times, "action": {"type": "partial", "first": 4}})
    report = (await dingtalk.recall(receipts)).report()
    gone = [receipt.key for receipt in receipts if dingtalk.is_recalled(receipt)]
    assert set(report.keys(Outcome.RECALLED)) == set(gone)
    assert len(gone) == (10 if times else 4)
    if not times:
        assert set(codes_of(report, Outcome.FAILED).values()) == {"notRevoke.all.messages"}


# ── Batches that are refused for one key ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("position", [0, 9, 10, 19])
async def test_one_bad_key_is_found_by_halves_and_only_it_fails(
    dingtalk: LocalDingTalk, kind: Kind, position: int
) -> None:
    receipts = dingtalk.create_messages(kind, 20)
    poison = receipts[position].key
    dingtalk.faults({"action": {"type": "poison_keys", "keys": [poison]}})
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {poison: "invalid.processQueryKey"}
    assert report.counts()["recalled"] == 19
    assert report.api_calls["recall"] == 1
    assert report.api_calls["bisect"] <= MOST_BISECT_CALLS
    assert [message.recalls for message in dingtalk.state.messages.values()].count(1) == 19


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_a_bad_key_does_not_touch_the_other_batches(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 60)
    receipts[25] = receipt_for(kind, "no-such-key", sent_at=receipts[25].sent_at)
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {"no-such-key": "invalid.processQueryKey"}
    assert report.counts()["recalled"] == 59
    assert report.api_calls["recall"] == 3
    assert report.api_calls["bisect"] <= MOST_BISECT_CALLS


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("unfit", ["whole_batch", "per_key"])
async def test_the_key_of_another_robot_fails_alone(dingtalk: LocalDingTalk, kind: Kind, unfit: str) -> None:
    dingtalk.behave(unfit_keys=unfit)
    receipts = dingtalk.create_messages(kind, 5)
    foreign = create_messages(dingtalk.state, CreateMessages(kind=kind.value, robot_code=OTHER_ROBOT_CODE))["keys"][0]
    report = (await dingtalk.recall([*receipts, receipt_for(kind, foreign)])).report()
    assert codes_of(report, Outcome.FAILED) == {foreign: "not.allowed.robotCode"}
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts))


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_a_lower_limit_of_the_server_is_met_by_halves(dingtalk: LocalDingTalk, kind: Kind) -> None:
    dingtalk.behave(max_keys=10)
    report = (await dingtalk.recall(dingtalk.create_messages(kind, 40))).report()
    assert report.counts()["recalled"] == 40
    # Twenty are refused, halves pass, and the limit is kept in mind: the next twenty go as two calls.
    assert report.api_calls["recall"] == 1 + 2
    assert report.api_calls["bisect"] == 2


@pytest.mark.parametrize("kind", [Kind.WORK_NOTIFICATION, Kind.DING])
async def test_a_message_that_is_refused_does_not_drag_others_of_its_sender_along(
    dingtalk: LocalDingTalk, kind: Kind
) -> None:
    receipts = dingtalk.create_messages(kind, 3)
    stranger = receipt_for(kind, 1, sent_at=receipts[0].sent_at)
    report = (await dingtalk.recall([stranger, *receipts])).report()
    # DingTalk names no cause for a DING, so it is tried twice and its outcome is unknown then.
    outcome, calls = (Outcome.FAILED, 4) if kind is Kind.WORK_NOTIFICATION else (Outcome.UNKNOWN, 5)
    assert report.keys(outcome) == [stranger.key]
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts))
    assert dingtalk.recall_calls() == calls


async def test_a_work_notification_just_too_old_does_not_drag_younger_ones_along(dingtalk: LocalDingTalk) -> None:
    old = dingtalk.create_messages(Kind.WORK_NOTIFICATION, age=24 * HOUR + 300)
    young = dingtalk.create_messages(Kind.WORK_NOTIFICATION, 2)
    report = (await dingtalk.recall([*old, *young])).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(young))
    assert codes_of(report, Outcome.FAILED) == {old[0].key: "400002"}


# ── Refusals of a whole conversation ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", ["bot.stopped", "invalid.openConversationId", "template.stopped"])
async def test_a_refusal_of_the_group_costs_one_call_and_the_other_groups_go_on(
    dingtalk: LocalDingTalk, code: str
) -> None:
    stopped = dingtalk.create_messages(Kind.GROUP, 100, conversation=GROUPS[0])
    well = dingtalk.create_messages(Kind.GROUP, 25, conversation=GROUPS[1])
    first = {
        "match": RECALL_API[Kind.GROUP],
        "nth": [1],
        "action": {"type": "status", "status": 400, "code": code},
    }
    dingtalk.faults(first)
    job = await dingtalk.recall([*stopped, *well])
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(stopped), code)
    assert set(job.report().keys(Outcome.RECALLED)) == set(keys_of(well))
    assert dingtalk.recall_calls() == 1 + 2


async def test_a_stopped_robot_is_refused_once_for_its_group(dingtalk: LocalDingTalk) -> None:
    dingtalk.state.conversations[GROUPS[0]].stopped = True
    stopped = dingtalk.create_messages(Kind.GROUP, 100, conversation=GROUPS[0])
    well = dingtalk.create_messages(Kind.GROUP, 20, conversation=GROUPS[1]) + dingtalk.create_messages(Kind.OTO, 20)
    job = await dingtalk.recall([*stopped, *well])
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(stopped), "bot.stopped")
    assert dingtalk.recall_calls() == 3
    assert job.is_final


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
    receipts = dingtalk.create_messages(Kind.OTO, 40, age=GIVE_UP_AFTER - 0.5)
    dingtalk.faults({"match": "batchRecall", "nth": [1], "action": {"type": "throttle"}})
    report = (await dingtalk.recall(receipts)).report()
    assert report.counts()["expired"] == 40
    assert dingtalk.recall_calls() == 2, "the first batch was on its way; the second was not begun"
