"""Plan of a recall, and batches that DingTalk refuses for one key or for a whole conversation."""

from __future__ import annotations

import math

import pytest

from airflow_provider_dingtalk.jobs.batching import Batch, batches, by_urgency, halves, is_too_old, unique
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, iso
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, create_messages
from airflow_provider_dingtalk.sandbox.default import GROUPS, OTHER_ROBOT_CODE
from tests.support.local_dingtalk import HOUR, RECALL_API, ROBOT_KINDS, LocalDingTalk, codes_of, keys_of, receipt_for

pytestmark = pytest.mark.anyio


#: Two halves at each of the five levels between a batch of 20 and one key.
MOST_BISECT_CALLS = 2 * math.ceil(math.log2(20))


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


# ── pure functions ───────────────────────────────────────────────────────────────────────────────────

NOW = 1_780_000_000.0


def message(key: str, kind: Kind = Kind.OTO, *, age: float | None = HOUR, **fields: str) -> Receipt:
    names = {"task_id": key, "agent_id": "1"} if kind is Kind.WORK_NOTIFICATION else {"process_query_key": key}
    if kind is not Kind.WORK_NOTIFICATION:
        names["robot_code"] = "robot"
    return Receipt(kind=kind, sent_at=None if age is None else iso(NOW - age), **names | fields)


def test_messages_that_expire_first_go_first_and_those_of_unknown_age_before_them() -> None:
    ages = {"young": 60.0, "old": 23 * HOUR, "unknown": None}
    group = message("group", Kind.GROUP, age=30 * HOUR, open_conversation_id="cid")
    receipts = [group, *(message(key, age=age) for key, age in ages.items())]
    assert keys_of(by_urgency(receipts)) == ["unknown", "old", "young", "group"]


def test_a_batch_has_one_sender_and_twenty_messages_at_most() -> None:
    receipts = [message(f"k{n}", robot_code=f"robot{n % 2}") for n in range(50)]
    planned = batches(receipts)
    assert sorted(len(batch.keys) for batch in planned) == [5, 5, 20, 20]
    assert {(int(key[1:]) % 2, batch.sender_key.robot_code) for batch in planned for key in batch.keys} == {
        (0, "robot0"),
        (1, "robot1"),
    }
    assert len(batches([message(str(n), Kind.WORK_NOTIFICATION) for n in range(3)])) == 3


@pytest.mark.parametrize("number", [2, 3, 20])
def test_halves_have_all_messages_in_order_and_none_is_empty(number: int) -> None:
    batch = Batch(message("k").sender_key, tuple(map(str, range(number))))
    first, second = halves(batch)
    assert first.keys + second.keys == batch.keys and first.keys and second.keys
    assert first.sender_key == second.sender_key == batch.sender_key


def test_of_two_receipts_the_one_that_names_its_connection_stays() -> None:
    named, bare = message("k", conn_id="other"), message("k")
    assert unique([bare, named]) == unique([named, bare]) == {"k": named}


def test_only_a_message_with_a_window_and_a_known_age_is_too_old() -> None:
    assert is_too_old(message("k", age=25 * HOUR), NOW)
    assert not is_too_old(message("k", age=24 * HOUR), NOW), "clocks may differ by ten minutes"
    assert not is_too_old(message("k", age=None), NOW)
    assert not is_too_old(message("k", Kind.GROUP, age=900 * HOUR, open_conversation_id="cid"), NOW)
