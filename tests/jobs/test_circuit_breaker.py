"""Circuit breaker: a recall in which every call fails must not use up a month's quota."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.client.error_codes import CODES, Scope
from airflow_provider_dingtalk.jobs.checkpoint import MemoryCheckpoint
from airflow_provider_dingtalk.jobs.circuit_breaker import MAX_AMBIGUOUS_FAILURES
from airflow_provider_dingtalk.jobs.recall import PROBES, WORKERS
from airflow_provider_dingtalk.jobs.recall_results import KeyResult, KeyState
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import RECALL_API, ROBOT_KINDS, LocalDingTalk, codes_of, keys_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", ["invalid.processQueryKey"])
async def test_a_recall_that_is_refused_to_the_last_key_is_taken_apart_once(dingtalk: LocalDingTalk, code: str) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 1000, dated=False)
    poison = {"type": "poison_keys", "keys": keys_of(receipts), "code": code}
    dingtalk.faults({"match": RECALL_API[Kind.OTO], "action": poison})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), code)
    assert dingtalk.recall_calls() <= 50 + 2 * 20 + 49, "the first taken apart, and one try for each other call"
    assert job.is_final


async def test_a_batch_without_a_culprit_passes_after_one_that_was_refused_to_the_last_key(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 60, dated=False)
    bad = keys_of(receipts[:20])
    poison = {"type": "poison_keys", "keys": bad, "code": "not.allowed.robotCode"}
    dingtalk.faults({"match": RECALL_API[Kind.OTO], "action": poison})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.FAILED)) == set(bad)
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts[20:]))


@pytest.mark.parametrize("at", range(20))
@pytest.mark.parametrize("code", ["invalid.processQueryKey", "not.allowed.robotCode"])
async def test_one_bad_key_costs_no_more_than_twice_the_logarithm(dingtalk: LocalDingTalk, at: int, code: str) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 20)
    poison = {"type": "poison_keys", "keys": [receipts[at].key], "code": code}
    dingtalk.faults({"match": RECALL_API[Kind.GROUP], "action": poison})
    report = (await dingtalk.recall(receipts)).report()
    assert report.keys(Outcome.FAILED) == [receipts[at].key]
    assert len(report.keys(Outcome.RECALLED)) == 19
    probes = PROBES if code == "not.allowed.robotCode" else 0
    assert report.api_calls["bisect"] <= 2 * math.log2(20) + 1 + probes


# ── a refusal that may be about the call ─────────────────────────────────────────────────────────────

#: Codes that may be about one message or about the sender of all.
EITHER = [code for code, rule in CODES.items() if rule.scope is Scope.KEY_OR_CALL]


def refuse(dingtalk: LocalDingTalk, kind: Kind, code: str) -> None:
    """Make a recall API refuse all calls with a code."""
    dingtalk.faults({"match": RECALL_API[kind], "action": {"type": "status", "status": 400, "code": code}})


@pytest.mark.parametrize("number", [1, 2, 3, 20, 21, 1000])
@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.OTO, Kind.PRIVATE_CHAT, Kind.DING])
@pytest.mark.parametrize("code", EITHER)
async def test_a_refusal_of_every_call_costs_three_calls_more_at_most(
    dingtalk: LocalDingTalk, kind: Kind, code: str, number: int
) -> None:
    receipts = dingtalk.create_messages(kind, number)
    refuse(dingtalk, kind, code)
    job = await dingtalk.recall(receipts)
    assert dingtalk.recall_calls() <= 1 + PROBES
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), code)
    assert job.is_final


async def test_work_notifications_that_an_earlier_try_recalled_do_not_keep_the_others(
    dingtalk: LocalDingTalk,
) -> None:
    """Without a task state store a retry starts over; DingTalk may refuse recalled messages."""
    dingtalk.behave(already_recalled="failed")
    receipts = dingtalk.create_messages(Kind.WORK_NOTIFICATION, 30)
    kept = receipts[7]
    await dingtalk.recall([receipt for receipt in receipts if receipt is not kept])
    report = (await dingtalk.recall(receipts, fresh=False)).report()
    assert report.keys(Outcome.RECALLED) == [kept.key]


async def test_each_refused_group_costs_three_calls_more_and_the_others_are_recalled(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = [one for group in GROUPS for one in dingtalk.create_messages(Kind.GROUP, 100, conversation=group)]
    foreign = keys_of(one for one in receipts if one.open_conversation_id != GROUPS[0])
    poison = {"type": "poison_keys", "keys": foreign, "code": "not.allowed.robotCode"}
    dingtalk.faults({"match": RECALL_API[Kind.GROUP], "action": poison})
    report = (await dingtalk.recall(receipts)).report()
    assert set(report.keys(Outcome.FAILED)) == set(foreign)
    assert dingtalk.recall_calls() <= 5 + (len(GROUPS) - 1) * (1 + PROBES)


BAD: dict[str, Callable[[list[str]], list[str]]] = {
    "the first": lambda keys: keys[:1],
    "the last": lambda keys: keys[-1:],
    "those that are tried alone, but for one": lambda keys: [keys[0], keys[-1]],
    "a list before": lambda keys: keys[:70],
    "a list behind": lambda keys: keys[50:],
    "every second": lambda keys: keys[1::2],
    "every third": lambda keys: keys[::3],
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.OTO])
async def test_mixtures_stay_exact(dingtalk: LocalDingTalk, kind: Kind, bad: str) -> None:
    receipts = dingtalk.create_messages(kind, 99)
    foreign = BAD[bad](keys_of(receipts))
    poison = {"type": "poison_keys", "keys": foreign, "code": "not.allowed.robotCode"}
    dingtalk.faults({"match": RECALL_API[kind], "action": poison})
    report = (await dingtalk.recall(receipts)).report()
    assert codes_of(report, Outcome.FAILED) == dict.fromkeys(
        (key for key in keys_of(receipts) if key in foreign), "not.allowed.robotCode"
    )
    assert len(report.keys(Outcome.RECALLED)) == 99 - len(foreign)


@pytest.mark.parametrize("error", [{"type": "drop"}, {"type": "status", "status": 500}])
async def test_a_probe_without_a_clear_answer_proves_nothing(dingtalk: LocalDingTalk, error: dict[str, Any]) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 60)
    poison = {"type": "poison_keys", "keys": [receipts[0].key], "code": "not.allowed.robotCode"}
    dingtalk.faults(
        {"match": RECALL_API[Kind.GROUP], "nth": [2], "action": error},
        {"match": RECALL_API[Kind.GROUP], "action": poison},
    )
    report = (await dingtalk.recall(receipts)).report()
    assert report.keys(Outcome.FAILED) == [receipts[0].key]
    assert len(report.keys(Outcome.RECALLED)) == 59


async def test_what_an_earlier_try_touched_is_asked_when_the_sender_is_refused(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 40)
    await dingtalk.recall(receipts[:10])
    checkpoint = MemoryCheckpoint()
    await checkpoint.write(dict.fromkeys(keys_of(receipts[:20]), KeyResult(KeyState.IN_DOUBT, final=False)))
    refuse(dingtalk, Kind.GROUP, "not.allowed.robotCode")
    report = (await dingtalk.recall(receipts, checkpoint=checkpoint, fresh=False)).report()
    assert set(report.keys(Outcome.RECALLED)) == set(keys_of(receipts[:10]))
    assert set(report.keys(Outcome.FAILED)) == set(keys_of(receipts[10:]))


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_a_server_that_only_stumbles_is_left_alone(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 10_000)
    dingtalk.faults({"match": RECALL_API[kind], "action": {"type": "status", "status": 500}})
    job = await dingtalk.recall(receipts)
    counts = job.report().counts()
    assert dingtalk.recall_calls() <= MAX_AMBIGUOUS_FAILURES + WORKERS
    assert dingtalk.status_calls() == 0
    assert counts["unknown"] <= 20 * dingtalk.recall_calls()
    assert counts["failed"] == 10_000 - counts["unknown"]
    assert not job.is_final
