"""Recalls with failing calls: lost answers, errors, refusals and outages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from tests.support.local_dingtalk import (
    ALL_KINDS,
    RECALL_API,
    ROBOT_KINDS,
    LocalDingTalk,
    check_account,
    codes_of,
    keys_of,
)

pytestmark = pytest.mark.anyio


#: Faults that lose an answer, before or after the effect.
LOSSES: dict[str, dict[str, Any]] = {
    "cut before the effect": {"when": "before", "action": {"type": "drop"}},
    "cut after the effect": {"when": "after", "action": {"type": "drop"}},
    "reset before the effect": {"when": "before", "action": {"type": "drop", "reset": True}},
    "reset after the effect": {"when": "after", "action": {"type": "drop", "reset": True}},
    "cut after the first byte": {"action": {"type": "truncate", "bytes": 1}},
    "cut before the last byte": {"action": {"type": "truncate", "bytes": 20}},
    "a server error before the effect": {"when": "before", "action": {"type": "status", "status": 500}},
    "a server error after the effect": {"when": "after", "action": {"type": "status", "status": 500}},
    "a proxy's page before the effect": {"when": "before", "action": {"type": "html", "status": 502}},
    "a proxy's page after the effect": {"when": "after", "action": {"type": "html", "status": 502}},
    "a redirect": {"action": {"type": "redirect", "url": "http://127.0.0.1:1/"}},
    "garbage": {"action": {"type": "body", "text": "}{"}},
    "half an answer": {"when": "after", "action": {"type": "body", "text": '{"successResult": ["'}},
    "deeper than any answer": {"action": {"type": "body", "text": "[" * 100_000}},
}


# ── Lost answers ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_lost_answer_is_followed_by_a_second_recall_that_settles_it(
    dingtalk: LocalDingTalk, kind: Kind, loss: str
) -> None:
    receipts = dingtalk.create_messages(kind, 25 if kind in ROBOT_KINDS else 2)
    dingtalk.faults({"match": RECALL_API[kind], "times": 1, **LOSSES[loss]})
    job = await dingtalk.recall(receipts)
    assert set(job.report().keys(Outcome.RECALLED)) == set(keys_of(receipts))
    assert job.report().api_calls["again"] == 1
    assert dingtalk.status_calls() == 0
    assert job.is_final


@pytest.mark.parametrize("loss", [name for name in LOSSES if "cut" in name or "reset" in name])
async def test_a_connection_that_really_breaks_loses_nothing(real_dingtalk: LocalDingTalk, loss: str) -> None:
    receipts = real_dingtalk.create_messages(Kind.OTO, 25) + real_dingtalk.create_messages(Kind.WORK_NOTIFICATION)
    rules = [{"match": RECALL_API[kind], "times": 1, **LOSSES[loss]} for kind in (Kind.OTO, Kind.WORK_NOTIFICATION)]
    real_dingtalk.faults(*rules)
    client = real_dingtalk.client()
    try:
        job = await real_dingtalk.recall(receipts, client=client)
    finally:
        await client.aclose()
    assert set(job.report().keys(Outcome.RECALLED)) == set(keys_of(receipts))
    assert job.report().api_calls["again"] == 2


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_answers_that_are_always_lost_are_settled_by_the_status(
    dingtalk: LocalDingTalk, kind: Kind, when: str
) -> None:
    receipts = dingtalk.create_messages(kind, 20)
    dingtalk.faults({"match": RECALL_API[kind], "when": when, "action": {"type": "drop"}})
    job = await dingtalk.recall(receipts)
    assert dingtalk.recall_calls() == 3
    assert dingtalk.status_calls() == 20
    if when == "after":
        assert job.report().counts()["recalled"] == 20
    else:
        assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "no_answer")
        assert not job.is_final


@pytest.mark.parametrize("kind", [Kind.WORK_NOTIFICATION, Kind.DING])
async def test_what_cannot_be_asked_about_stays_unknown(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 2)
    dingtalk.faults({"match": RECALL_API[kind], "when": "after", "action": {"type": "drop"}})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.UNKNOWN) == dict.fromkeys(keys_of(receipts), "no_answer")
    assert dingtalk.recall_calls() == 6
    assert not job.is_final


async def test_a_refusal_after_a_lost_answer_may_mean_that_it_worked(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.DING)
    dingtalk.behave(already_recalled="failed")
    dingtalk.faults({"match": "ding/recall", "times": 1, "when": "after", "action": {"type": "drop"}})
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.UNKNOWN) == {receipts[0].key: "recall.ding.exception"}


async def test_a_bad_key_is_found_although_the_first_answer_was_lost(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 20)
    bad = receipts[13].key
    dingtalk.faults(
        {"match": "recall", "nth": [1], "when": "after", "action": {"type": "drop"}},
        {"match": "recall", "action": {"type": "poison_keys", "keys": [bad]}},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {bad: "invalid.processQueryKey"}
    assert report.counts()["recalled"] == 19


async def test_an_answer_lost_in_the_search_for_a_bad_key_is_settled_too(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 20)
    bad = receipts[13].key
    dingtalk.faults(
        {"match": "recall", "action": {"type": "poison_keys", "keys": [bad]}},
        {"match": "recall", "nth": [2, 5], "when": "after", "action": {"type": "status", "status": 500}},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == {bad: "invalid.processQueryKey"}
    assert report.counts()["recalled"] == 19


# ── Too many calls ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_throttling_is_no_failure_of_a_message_and_is_counted(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 3)
    dingtalk.faults({"match": RECALL_API[kind], "times": 4, "action": {"type": "throttle"}})
    report = (await dingtalk.recall(receipts)).report()
    assert report.counts()["recalled"] == 3
    assert report.api_calls["throttled"] == 4
    assert "again" not in report.api_calls


async def test_a_limit_lower_than_ours_slows_the_recall_and_loses_nothing(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(calls_per_second=3)
    report = (await dingtalk.recall(dingtalk.create_messages(Kind.OTO, 400))).report()
    assert report.counts()["recalled"] == 400
    assert report.api_calls["throttled"] == dingtalk.state.journal.calls[RECALL_API[Kind.OTO]].throttled > 0


async def test_throttling_without_end_stops_and_leaves_the_rest_for_later(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 60)
    dingtalk.faults({"match": "batchRecall", "action": {"type": "throttle"}})
    job = await dingtalk.recall(receipts)
    assert set(codes_of(job.report(), Outcome.FAILED).values()) == {"Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"}
    assert job.report().counts()["failed"] == 60
    assert not job.is_final
    assert 60 <= job.report().api_calls["recall"] < 70, "one batch, for a minute"


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_ban_stops_everything_at_once_and_the_rest_can_be_tried_later(
    dingtalk: LocalDingTalk, kind: Kind
) -> None:
    receipts = dingtalk.create_messages(kind, 100 if kind in ROBOT_KINDS else 5)
    dingtalk.faults({"match": RECALL_API[kind], "nth": [1], "action": {"type": "ban"}})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "1111")
    assert dingtalk.recall_calls() == 1
    assert not job.is_final


async def test_a_ban_in_mid_run_keeps_what_is_recalled(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)
    dingtalk.faults({"match": RECALL_API[Kind.OTO], "nth": [8], "action": {"type": "ban"}})
    report = (await dingtalk.recall(receipts)).report()
    assert report.counts()["recalled"] == 20 * (dingtalk.recall_calls() - 1)
    assert set(codes_of(report, Outcome.FAILED).values()) == {"1111"}
    assert 8 <= dingtalk.recall_calls() < 20


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_page_in_place_of_an_answer_stops_everything_and_says_nothing_of_its_batch(
    dingtalk: LocalDingTalk, kind: Kind, when: str
) -> None:
    # It may be the firewall's, which refuses, or a proxy's, which lost the answer.
    batch = 20 if kind in ROBOT_KINDS else 1
    receipts = dingtalk.create_messages(kind, 3 * batch)
    dingtalk.faults({"match": RECALL_API[kind], "nth": [1], "when": when, "action": {"type": "ban", "form": "html"}})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.UNKNOWN) == dict.fromkeys(keys_of(receipts[:batch]), "html_page")
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts[batch:]), "html_page")
    assert dingtalk.recall_calls() == 1
    assert not job.is_final


async def test_doubts_are_not_asked_about_while_banned(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 3)
    dingtalk.faults(
        {"match": "recall", "nth": [1], "when": "after", "action": {"type": "drop"}},
        {"match": "recall", "nth": [2], "action": {"type": "ban"}},
    )
    job = await dingtalk.recall(receipts)
    assert set(codes_of(job.report(), Outcome.UNKNOWN).values()) == {"1111"}
    assert dingtalk.status_calls() == 0
    assert not job.is_final


@pytest.mark.parametrize(("kind", "code"), [
    (Kind.OTO, "Forbidden.AccessDenied.ApiCountLimitForOrg"),
    (Kind.WORK_NOTIFICATION, "90020"),
])  # fmt: skip
async def test_a_months_quota_that_is_used_up_fails_the_rest_for_good(
    dingtalk: LocalDingTalk, kind: Kind, code: str
) -> None:
    dingtalk.behave(calls_per_month=2)
    receipts = dingtalk.create_messages(kind, 400 if kind in ROBOT_KINDS else 20)
    job = await dingtalk.recall(receipts)
    report = job.report()
    assert report.counts()["recalled"] == (40 if kind in ROBOT_KINDS else 2)
    assert set(codes_of(report, Outcome.FAILED).values()) == {code}
    assert job.is_final
    assert dingtalk.recall_calls() <= 2 + 10, "only what was under way already bounced"


async def test_a_server_that_only_stumbles_ends_with_an_account_and_a_bill_within_reason(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 40) + dingtalk.create_messages(Kind.WORK_NOTIFICATION, 2)
    dingtalk.faults(
        {"match": "robot/", "action": {"type": "status", "status": 500}},
        {"match": "topapi/", "action": {"type": "status", "status": 500}},
    )
    job = await dingtalk.recall(receipts)
    assert job.report().counts()["unknown"] == 42
    assert dingtalk.recall_calls() == 3 * (2 + 2)
    assert dingtalk.status_calls() <= 3 * 40


async def test_the_account_is_right_whatever_the_clock_says(dingtalk: LocalDingTalk) -> None:
    class Restless:
        """Clock that jumps ahead one hour at each reading."""

        def now(self) -> float:
            dingtalk.clock.advance(3600)
            return dingtalk.clock.now()

        monotonic = dingtalk.clock.monotonic
        sleep = dingtalk.clock.sleep

    clock: Clock = Restless()
    receipts = dingtalk.create_messages(Kind.OTO, 600)
    job = Recall(receipts, clock=clock)
    report = await job.run(dingtalk.client())
    check_account(dingtalk, report, receipts)
    assert report.counts()["recalled"] > 0
    assert report.counts()["expired"] > 0
