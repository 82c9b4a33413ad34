"""Recall answers that name keys: recalled, failed, in doubt."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from tests.support.local_dingtalk import RECALL_API, ROBOT_KINDS, LocalDingTalk, codes_of, keys_of

pytestmark = pytest.mark.anyio


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


async def test_a_doubt_understands_the_spelling_of_dingtalks_sample(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO)
    dingtalk.faults(
        {"match": "Recall", "action": {"type": "omit_keys", "recalled": False}},
        {"match": "readStatus", "action": {"type": "mutate", "merge": {"sendStatus": "SUCESS"}}},
    )
    assert (await dingtalk.recall(receipts)).report().keys(Outcome.FAILED) == keys_of(receipts)


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
