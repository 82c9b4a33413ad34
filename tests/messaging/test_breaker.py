"""What failed calls teach: a recall in which everything goes wrong must not cost a month of calls."""

from __future__ import annotations

import math

import pytest

from airflow_provider_dingtalk.messaging.breaker import MAX_STUMBLES
from airflow_provider_dingtalk.messaging.recall import WORKERS
from airflow_provider_dingtalk.messaging.receipts import Kind
from airflow_provider_dingtalk.messaging.report import Outcome
from tests.messaging.local_dingtalk import RECALL_API, ROBOT_KINDS, LocalDingTalk, codes_of, keys_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", ["not.allowed.robotCode", "invalid.processQueryKey"])
async def test_a_recall_that_is_refused_to_the_last_key_is_taken_apart_once(
    dingtalk: LocalDingTalk, code: str
) -> None:
    receipts = dingtalk.plant(Kind.OTO, 1000, dated=False)
    poison = {"type": "poison_keys", "keys": keys_of(receipts), "code": code}
    dingtalk.faults({"match": RECALL_API[Kind.OTO], "action": poison})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), code)
    assert dingtalk.recall_calls() <= 50 + 2 * 20 + 49, "the first taken apart, and one try for each other call"
    assert job.is_final


async def test_a_batch_without_a_culprit_passes_after_one_that_was_refused_to_the_last_key(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.plant(Kind.OTO, 60, dated=False)
    bad = keys_of(receipts[:20])
    poison = {"type": "poison_keys", "keys": bad, "code": "not.allowed.robotCode"}
    dingtalk.faults({"match": RECALL_API[Kind.OTO], "action": poison})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.FAILED)) == set(bad)
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts[20:]))


@pytest.mark.parametrize("at", range(20))
async def test_one_bad_key_costs_no_more_than_twice_the_logarithm(dingtalk: LocalDingTalk, at: int) -> None:
    receipts = dingtalk.plant(Kind.GROUP, 20)
    dingtalk.faults(
        {"match": RECALL_API[Kind.GROUP], "action": {"type": "poison_keys", "keys": [receipts[at].key]}}
    )
    report = (await dingtalk.recall(receipts)).report()
    assert report.keys(Outcome.FAILED) == [receipts[at].key]
    assert report.api_calls["bisect"] <= 2 * math.log2(20) + 1


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_a_server_that_only_stumbles_is_left_alone(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.plant(kind, 10_000)
    dingtalk.faults({"match": RECALL_API[kind], "action": {"type": "status", "status": 500}})
    job = await dingtalk.recall(receipts)
    counts = job.report().counts()
    assert dingtalk.recall_calls() <= MAX_STUMBLES + WORKERS
    assert dingtalk.status_calls() == 0
    assert counts["unknown"] <= 20 * dingtalk.recall_calls()
    assert counts["failed"] == 10_000 - counts["unknown"]
    assert not job.is_final
