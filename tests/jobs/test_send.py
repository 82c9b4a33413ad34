"""Sends give a receipt for all that DingTalk accepted, and never send twice what it may have."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import IncompleteSendError
from airflow_provider_dingtalk.jobs.checkpoint import MemorySendCheckpoint, SendState
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.receipt import Kind, iso
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import ALL_KINDS, LocalDingTalk
from tests.support.sends import SEND_API, USERS, send_requests, sent

pytestmark = pytest.mark.anyio


# ── Receipts ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_the_receipt_of_each_kind_is_all_that_its_recall_needs(dingtalk: LocalDingTalk, kind: Kind) -> None:
    job = await sent(dingtalk, send_requests(kind))
    job.raise_if_incomplete()
    (message,) = dingtalk.state.messages.values()
    (receipt,) = job.receipts
    assert receipt.kind is kind
    assert receipt.key == str(message.key)
    assert receipt.sent_at == iso(dingtalk.clock.now())
    assert parse_receipts(json.dumps([receipt.to_json()])) == [receipt]
    recall = await dingtalk.recall(job.receipts)
    assert recall.report().keys(Outcome.RECALLED) == [receipt.key]


@pytest.mark.parametrize(("kind", "recipients"), [
    (Kind.GROUP, None),
    (Kind.PRIVATE_CHAT, None),
    (Kind.OTO, 2),
    (Kind.WORK_NOTIFICATION, 2),
    (Kind.DING, 2),
])  # fmt: skip
async def test_recipients_are_counted_where_they_are_known(
    dingtalk: LocalDingTalk, kind: Kind, recipients: int | None
) -> None:
    assert (await sent(dingtalk, send_requests(kind))).receipts[0].recipients == recipients


async def test_several_groups_get_a_call_and_a_receipt_each(dingtalk: LocalDingTalk) -> None:
    job = await sent(dingtalk, send_requests(Kind.GROUP, open_conversation_id=[*GROUPS, GROUPS[0]]))
    assert [receipt.open_conversation_id for receipt in job.receipts] == list(GROUPS)


@pytest.mark.parametrize(("one_each", "calls", "recipients"), [(False, 3, [20, 20, 5]), (True, 45, [1] * 45)])
async def test_45_people_are_sent_to_by_twenties_or_one_by_one(
    dingtalk: LocalDingTalk, one_each: bool, calls: int, recipients: list[int]
) -> None:
    job = await sent(dingtalk, send_requests(Kind.OTO, user_ids=USERS, one_receipt_per_user=one_each))
    assert dingtalk.calls()[SEND_API[Kind.OTO]] == calls
    assert [receipt.recipients for receipt in job.receipts] == recipients
    reached = [user for message in dingtalk.state.messages.values() for user in message.receivers]
    assert reached == USERS
    assert job.used == {"send": calls, "token": 1}


@pytest.mark.parametrize(("remind_type", "people", "calls"), [
    ("app", 200, 1),
    ("app", 201, 2),
    ("sms", 45, 3),
    ("phone", 45, 3),
    ("phone", 20, 1),
])  # fmt: skip
async def test_dings_are_split_at_the_limit_of_their_way(
    dingtalk: LocalDingTalk, remind_type: str, people: int, calls: int
) -> None:
    users = dingtalk.state.ensure_people(people)
    job = await sent(dingtalk, send_requests(Kind.DING, user_ids=users, remind_type=remind_type))
    assert len(job.receipts) == dingtalk.calls()[SEND_API[Kind.DING]] == calls
    assert sum(receipt.recipients or 0 for receipt in job.receipts) == people


async def test_work_notifications_are_split_by_100_people_and_20_departments(dingtalk: LocalDingTalk) -> None:
    users, depts = dingtalk.state.ensure_people(150), list(range(1, 46))
    job = await sent(dingtalk, send_requests(Kind.WORK_NOTIFICATION, user_ids=users, dept_ids=depts))
    assert dingtalk.calls()[SEND_API[Kind.WORK_NOTIFICATION]] == 2 + 3
    assert [receipt.recipients for receipt in job.receipts] == [100, 50, None, None, None]


@pytest.mark.parametrize("dept_ids", [[1], ["1"], "1", "[1]", '["1"]', (1,)])
async def test_departments_come_in_any_form_of_a_number(dingtalk: LocalDingTalk, dept_ids: Any) -> None:
    await sent(dingtalk, send_requests(Kind.WORK_NOTIFICATION, user_ids=None, dept_ids=dept_ids))
    (message,) = dingtalk.state.messages.values()
    assert len(message.receivers) == len(dingtalk.state.people)


async def test_a_work_notification_to_everybody_is_one_call(dingtalk: LocalDingTalk) -> None:
    job = await sent(dingtalk, send_requests(Kind.WORK_NOTIFICATION, user_ids=None, to_all_user=True))
    (message,) = dingtalk.state.messages.values()
    assert len(message.receivers) == len(dingtalk.state.people)
    assert job.receipts[0].recipients is None


# ── Users that DingTalk leaves out ───────────────────────────────────────────────────────────────────


async def test_people_left_out_are_named_with_the_reason_and_not_counted(dingtalk: LocalDingTalk) -> None:
    dingtalk.state.flow_controlled = {"user001"}
    dingtalk.state.filtered = {"user002"}
    job = await sent(dingtalk, send_requests(Kind.OTO, user_ids=[*USERS[:5], "stranger"]))
    assert job.dropped == {"user001": "flow_controlled", "user002": "filtered", "stranger": "invalid"}
    assert job.receipts[0].recipients == 3
    job.raise_if_incomplete()


async def test_people_left_out_of_a_ding_are_named_with_the_reason(dingtalk: LocalDingTalk) -> None:
    job = await sent(dingtalk, send_requests(Kind.DING, user_ids=["user001", "stranger"]))
    assert job.dropped == {"stranger": "staffId.notExisted"}
    assert job.receipts[0].recipients == 1


async def test_people_left_out_of_several_calls_are_all_named(dingtalk: LocalDingTalk) -> None:
    strangers = [f"stranger{number}" for number in range(25)]
    job = await sent(dingtalk, send_requests(Kind.OTO, user_ids=[*strangers, *USERS[:5]]))
    assert set(job.dropped) == set(strangers)
    assert [receipt.recipients for receipt in job.receipts] == [0, 5]


# ── Trouble ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", [
    {"when": "after", "action": {"type": "drop"}},
    {"when": "before", "action": {"type": "drop"}},
    {"action": {"type": "truncate", "bytes": 5}},
    {"when": "after", "action": {"type": "status", "status": 500}},
    {"when": "after", "action": {"type": "html", "status": 502}},
    {"when": "after", "action": {"type": "body", "text": "{}"}},
    {"action": {"type": "mutate", "merge": {"processQueryKey": None, "openDingId": None, "task_id": None}}},
    {"action": {"type": "mutate", "merge": {"processQueryKey": "", "openDingId": "", "task_id": ""}}},
])  # fmt: skip
@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.OTO, Kind.WORK_NOTIFICATION, Kind.DING])
async def test_a_send_without_a_clear_answer_is_unknown_not_repeated_and_the_next_go_on(
    dingtalk: LocalDingTalk, kind: Kind, fault: dict[str, Any]
) -> None:
    some = [send_request for _ in range(3) for send_request in send_requests(kind)]
    dingtalk.behave(repeat_filter=False)
    dingtalk.faults({"match": SEND_API[kind], "nth": [2], **fault})
    job = await sent(dingtalk, some)
    assert dingtalk.calls()[SEND_API[kind]] == 3
    assert len(job.receipts) == 2
    (unknown,) = job.unknown
    assert unknown.to == some[1].to
    assert unknown.reason.code
    assert "Look into the chat" in unknown.to_json()["next_step"]
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    assert failure.value.receipts == job.receipts
    assert failure.value.permanent, "a retry could send twice"


async def test_a_call_in_doubt_does_not_keep_the_others_from_the_next_try(dingtalk: LocalDingTalk) -> None:
    some, checkpoint = send_requests(Kind.GROUP, open_conversation_id=GROUPS), MemorySendCheckpoint()
    dingtalk.faults(
        {"match": "send", "nth": [1], "when": "after", "action": {"type": "drop"}},
        {"match": "send", "nth": [2], "action": {"type": "ban"}},
    )
    first = await sent(dingtalk, some, checkpoint=checkpoint, workers=1)
    assert (len(first.unknown), len(first.failed), first.not_attempted) == (1, 1, 1)
    with pytest.raises(IncompleteSendError) as failure:
        first.raise_if_incomplete()
    assert not failure.value.permanent, "two groups are still to be told"
    dingtalk.faults()
    dingtalk.clock.advance(3600)
    second = await sent(dingtalk, some, checkpoint=checkpoint)
    assert [receipt.open_conversation_id for receipt in second.receipts] == list(GROUPS[1:])
    assert [one.to for one in second.unknown] == [(GROUPS[0],)]
    with pytest.raises(IncompleteSendError) as failure:
        second.raise_if_incomplete()
    assert failure.value.permanent, "nothing is left but the doubt"


@pytest.mark.parametrize(("changes", "code"), [
    ({"robot_code": "nobody"}, "invalidParameter.robotCode.notExsit"),
    ({"msg_key": "sampleText", "msg_param": {"content": "x"}, "text": None, "robot_code": "dingother"},
     "invalidParameter.robotCode.auth"),
])  # fmt: skip
async def test_a_refusal_stops_the_job_and_the_rest_is_not_begun(
    dingtalk: LocalDingTalk, changes: dict[str, Any], code: str
) -> None:
    some = send_requests(Kind.GROUP) + send_requests(Kind.GROUP, **changes) + send_requests(Kind.GROUP) * 3
    job = await sent(dingtalk, some, workers=1)
    assert dingtalk.calls()[SEND_API[Kind.GROUP]] == 2
    assert (len(job.receipts), len(job.failed), job.not_attempted) == (1, 1, 3)
    assert job.failed[0].reason.code == code
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    assert failure.value.code == code
    assert failure.value.receipts == job.receipts
    assert failure.value.permanent


async def test_the_error_is_what_ended_the_job_and_not_a_doubt_before_it(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "nth": [1], "when": "after", "action": {"type": "drop"}})
    some = send_requests(Kind.GROUP) + send_requests(Kind.GROUP, robot_code="nobody")
    job = await sent(dingtalk, some, workers=1)
    assert (len(job.unknown), len(job.failed)) == (1, 1)
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    assert failure.value.code == "invalidParameter.robotCode.notExsit"
    assert "robot" in failure.value.next_step
    assert failure.value.permanent


async def test_a_passing_refusal_of_the_first_call_may_be_tried_again(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "action": {"type": "ban"}})
    job = await sent(dingtalk, send_requests(Kind.GROUP) * 2)
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    assert not failure.value.permanent
    assert failure.value.receipts == []


async def test_a_passing_refusal_after_something_was_sent_is_permanent(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "nth": [2], "action": {"type": "ban"}})
    job = await sent(dingtalk, send_requests(Kind.GROUP) * 3, workers=1)
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    assert failure.value.permanent
    assert len(failure.value.receipts) == 1


async def test_the_failure_of_a_send_survives_the_way_between_processes(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "nth": [2], "action": {"type": "drop"}})
    job = await sent(dingtalk, send_requests(Kind.GROUP) * 2)
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    copy = pickle.loads(pickle.dumps(failure.value))
    assert isinstance(copy, IncompleteSendError)
    assert (copy.receipts, copy.permanent, copy.code, str(copy)) == (
        job.receipts,
        failure.value.permanent,
        "no_answer",
        str(failure.value),
    )


async def test_a_page_in_place_of_an_answer_leaves_the_send_unknown_and_stops(dingtalk: LocalDingTalk) -> None:
    # It may be the firewall's, which refuses, or a proxy's, which lost the answer.
    dingtalk.faults({"match": "send", "nth": [2], "when": "after", "action": {"type": "html", "status": 200}})
    job = await sent(dingtalk, send_requests(Kind.GROUP) * 4, workers=1)
    assert len(dingtalk.state.messages) == 2
    assert (len(job.receipts), len(job.unknown), len(job.failed), job.not_attempted) == (1, 1, 0, 2)


async def test_throttled_sends_are_sent_once_in_the_end(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "times": 3, "action": {"type": "throttle"}})
    job = await sent(dingtalk, send_requests(Kind.GROUP))
    job.raise_if_incomplete()
    assert len(dingtalk.state.messages) == 1
    assert job.used == {"send": 4, "throttled": 3, "token": 1}


async def test_a_dead_token_is_renewed_and_nothing_is_sent_twice(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "nth": [2], "action": {"type": "dead_token", "revoke": True}})
    job = await sent(dingtalk, send_requests(Kind.GROUP, open_conversation_id=GROUPS))
    job.raise_if_incomplete()
    assert len(dingtalk.state.messages) == 3


async def test_a_refusal_of_all_costs_one_call(dingtalk: LocalDingTalk) -> None:
    job = await sent(dingtalk, send_requests(Kind.OTO, user_ids=USERS, robot_code="nobody", one_receipt_per_user=True))
    assert dingtalk.calls()[SEND_API[Kind.OTO]] == 1
    assert (len(job.failed), job.not_attempted) == (1, len(USERS) - 1)


async def test_a_refusal_ends_no_call_beside_it_and_begins_none(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": SEND_API[Kind.OTO], "nth": [3], "action": {"type": "ban"}})
    some, checkpoint = send_requests(Kind.OTO, user_ids=USERS, one_receipt_per_user=True), MemorySendCheckpoint()
    job = await sent(dingtalk, some, checkpoint=checkpoint, workers=5)
    assert len(job.receipts) == len(dingtalk.state.messages) == len(checkpoint.sent)
    assert 1 <= len(job.receipts) <= 5
    assert job.unknown == checkpoint.in_doubt == []


async def test_stopped_in_mid_run_no_further_call_goes_out(dingtalk: LocalDingTalk) -> None:
    class Stopping(MemorySendCheckpoint):
        async def write(self, states: Mapping[int, SendState]) -> None:
            await super().write(states)
            if self.sent:
                job.stop()

    checkpoint = Stopping()
    requests = send_requests(Kind.GROUP, open_conversation_id=GROUPS)
    job = Send(requests, checkpoint=checkpoint, clock=dingtalk.clock)
    await job.run(dingtalk.client())
    assert (len(job.receipts), job.not_attempted, checkpoint.in_doubt) == (1, 2, [])
    with pytest.raises(IncompleteSendError) as failure:
        job.raise_if_incomplete()
    assert failure.value.code == "not_attempted"


async def test_cancelled_under_way_the_send_is_unknown(dingtalk: LocalDingTalk) -> None:
    dingtalk.faults({"match": "send", "nth": [2], "when": "after", "action": {"type": "delay", "seconds": 86_400}})
    job = Send(send_requests(Kind.GROUP, open_conversation_id=GROUPS), clock=dingtalk.clock, workers=1)
    task = asyncio.create_task(job.run(dingtalk.client()))
    for _ in range(100_000):
        if len(dingtalk.state.messages) == 2:
            break
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(job.receipts) == 1
    assert [unknown.to for unknown in job.unknown] == [(GROUPS[1],)]
    assert job.not_attempted == 1
