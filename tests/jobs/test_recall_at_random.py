"""Recalls of random messages under random faults: the report is always true."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import (
    ALL_KINDS,
    HOUR,
    RECALL_API,
    ROBOT_KINDS,
    STATUS_API,
    LocalDingTalk,
    codes_of,
)

#: Faults after which the effect is not known, before or after it.
BLIND: tuple[dict[str, Any], ...] = (
    {"type": "drop"},
    {"type": "status", "status": 500},
    {"type": "html", "status": 502},
    {"type": "html", "status": 200},
    {"type": "body", "text": "{}"},
    {"type": "body", "text": "no JSON"},
    {"type": "redirect", "url": "http://127.0.0.1:1/"},
)
#: Refusals without an effect, and answers that state the effect.
HONEST: tuple[dict[str, Any], ...] = (
    {"type": "throttle"},
    {"type": "dead_token"},
    {"type": "dead_token", "revoke": True},
    {"type": "ban"},
    {"type": "status", "status": 400, "code": "bot.stopped", "errcode": 400002},
    {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.ApiCountLimitForOrg", "errcode": 90020},
    {"type": "status", "status": 418, "code": "no.such.code", "errcode": 4711},
    {"type": "truncate", "bytes": 9},
    {"type": "fail_keys", "first": 2},
    {"type": "fail_keys", "first": 3, "reason": "robot.processQueryKey.expired"},
    {"type": "fail_keys", "first": 1, "reason": "who knows"},
    {"type": "poison_keys", "first": 1},
    {"type": "poison_keys", "first": 1, "code": "not.allowed.robotCode"},
    {"type": "omit_keys", "first": 2},
    {"type": "omit_keys", "first": 2, "recalled": False},
    {"type": "both", "first": 3},
    {"type": "extra"},
    {"type": "extra", "result": "failed"},
    {"type": "list_form"},
    {"type": "null_lists"},
    {"type": "partial", "first": 4},
)

DEAD_TOKEN = {"InvalidAuthentication", "40014"}

# ── Ten thousand ─────────────────────────────────────────────────────────────────────────────────────


def storm(api: str, share: float) -> list[dict[str, Any]]:
    """Return rules that hit a share of an API's calls with faults that do not stop the recall."""
    blind: list[dict[str, Any]] = [{"when": when, "action": action} for action in BLIND for when in ("before", "after")]
    passing = {"throttle", "dead_token", "truncate", "poison_keys", "omit_keys", "both", "null_lists", "partial"}
    honest: list[dict[str, Any]] = [{"action": action} for action in HONEST if action["type"] in passing]
    odd: list[dict[str, Any]] = [{"action": {"type": "fail_keys", "first": 2}}, {"action": {"type": "list_form"}}]
    rules: list[dict[str, Any]] = [
        rule for rule in blind + honest + odd if rule["action"] != {"type": "html", "status": 200}
    ]
    return [{"match": api, "probability": share / len(rules), **rule} for rule in rules]


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_messages_under_random_faults_settle_exactly(seed: int) -> None:
    local = LocalDingTalk(seed=seed)
    receipts = local.create_messages(Kind.OTO, 5_000, dated=False) + local.create_messages(Kind.PRIVATE_CHAT, 2_000)
    for group in GROUPS:
        receipts += local.create_messages(Kind.GROUP, 1_000, conversation=group)
    apis = [table[kind] for kind in ROBOT_KINDS for table in (RECALL_API, STATUS_API)]
    local.faults(*(rule for api in apis for rule in storm(api, 0.1)))
    report = asyncio.run(local.recall(receipts)).report()
    truth = {receipt.key for receipt in receipts if local.is_recalled(receipt)}
    assert set(report.keys(Outcome.RECALLED)) == truth
    assert report.counts()["recalled"] > 9_900, "faults that pass lose next to nothing"
    assert set(codes_of(report, Outcome.FAILED).values()) <= {
        "invalid.processQueryKey",  # poisoned when it was alone
        "not.allowed.robotCode",
    } | {"SYSTEM_ERROR", "not_reported", "notRevoke.all.messages"}
    hits = sum(rule.fired for rule in local.state.faults.rules)
    assert hits > 40
    assert 500 <= local.recall_calls() < 500 * 1.6
    assert report.api_calls["recall"] <= 500 + report.api_calls["throttled"] + refreshes(local)


def refreshes(local: LocalDingTalk) -> int:
    """Return the number of calls that were repeated with a new token."""
    return sum(entry.code in DEAD_TOKEN for entry in local.state.journal.entries)


# ── Any mixture ──────────────────────────────────────────────────────────────────────────────────────

KINDS = st.sampled_from(ALL_KINDS)
BATCHES = st.lists(
    st.tuples(
        KINDS,
        st.integers(1, 45),
        st.sampled_from([0.0, 23 * HOUR, 24 * HOUR + 300, GIVE_UP_AFTER + 1, 1000 * HOUR]),
        st.booleans(),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=4,
)
WHERE = st.sampled_from(["", "ecall", "robot/", "query", "readStatus", "topapi", *RECALL_API.values()])
WHICH: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"nth": st.lists(st.integers(1, 6), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"every": st.integers(1, 3)}),
    st.fixed_dictionaries({"probability": st.sampled_from([0.1, 0.5])}),
    st.fixed_dictionaries({"times": st.integers(1, 4)}),
    st.just({}),
)
FAULTS = st.one_of(
    st.fixed_dictionaries({"action": st.sampled_from(BLIND), "when": st.sampled_from(["before", "after"])}),
    st.fixed_dictionaries({"action": st.sampled_from(HONEST)}),
)
RULES = st.lists(st.builds(lambda where, which, fault: {"match": where, **which, **fault}, WHERE, WHICH, FAULTS),
                 max_size=4)  # fmt: skip
SWITCHES = st.fixed_dictionaries(
    {},
    optional={
        "already_recalled": st.sampled_from(["success", "failed", "not_revoke_all"]),
        "unfit_keys": st.sampled_from(["whole_batch", "per_key"]),
        "max_keys": st.sampled_from([1, 7, 20]),
        "recall_too_early_seconds": st.sampled_from([0.0, 2.0, 60.0]),
        "status_delay_seconds": st.sampled_from([0.0, 3.0]),
        "recall_window_hours": st.sampled_from([None, 1.0]),
        "calls_per_month": st.sampled_from([None, 3, 30]),
        "calls_per_second": st.sampled_from([0, 2, 20]),
        "throttle_window": st.sampled_from(["fixed", "sliding"]),
    },
)


def planted(local: LocalDingTalk, batches: list[tuple[Kind, int, float, bool, int]]) -> list[Receipt]:
    receipts: list[Receipt] = []
    for kind, count, age, dated, group in batches:
        many = count if kind in ROBOT_KINDS else min(count, 4)
        where = GROUPS[group] if kind is Kind.GROUP else None
        receipts += local.create_messages(kind, many, age=age, dated=dated, conversation=where)
    return receipts


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(batches=BATCHES, rules=RULES, switches=SWITCHES, seed=st.integers(0, 3))
@example(
    batches=[(Kind.WORK_NOTIFICATION, 3, 0.0, True, 0)],
    rules=[{"match": "topapi", "every": 2, "when": "after", "action": {"type": "drop"}}],
    switches={"already_recalled": "failed"},
    seed=0,
)
@example(
    batches=[(Kind.OTO, 45, 23 * HOUR, False, 0)],
    rules=[{"match": "ecall", "every": 2, "when": "after", "action": {"type": "html", "status": 200}}],
    switches={},
    seed=0,
)
def test_any_mixture_of_messages_and_faults_ends_in_a_right_account(
    batches: list[tuple[Kind, int, float, bool, int]],
    rules: list[dict[str, Any]],
    switches: dict[str, Any],
    seed: int,
) -> None:
    local = LocalDingTalk(seed=seed)
    receipts = planted(local, batches)
    local.behave(**switches)
    local.faults(*rules)
    # recall() checks the report and the number of calls.
    job = asyncio.run(local.recall(receipts))
    report = job.report()
    assert job.is_final <= (not report.keys(Outcome.UNKNOWN)), "what is unknown is not final"
    planned = sum(
        # A lower limit of the server is learned, and a call of twenty then goes as several.
        math.ceil(len(keys) / message_type(sender_key.kind).batch_size)
        * math.ceil(20 / switches.get("max_keys", 20))
        * 2
        if switches.get("max_keys", 20) < 20
        else math.ceil(len(keys) / message_type(sender_key.kind).batch_size)
        for sender_key in {receipt.sender_key for receipt in receipts}
        for keys in [{receipt.key for receipt in receipts if receipt.sender_key == sender_key}]
    )
    bound = planned + report.api_calls.get("throttled", 0) + refreshes(local)
    assert report.api_calls.get("recall", 0) <= bound
