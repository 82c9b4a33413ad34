"""Rows about sends: answers lost after the effect, and recipients that are left out."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from airflow_provider_dingtalk.exceptions import IncompleteSendError
from airflow_provider_dingtalk.jobs.checkpoint import MemorySendCheckpoint
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.sandbox.control_requests import SetPeople, set_people
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.faults.fixtures import CanarySandbox
from tests.faults.matrix import RowRun
from tests.faults.scheme import Injection, fault
from tests.support.local_dingtalk import check_account

SEND = "robot/oToMessages/batchSend"
LOST = (fault("drop", "after"), fault("drop", "after", reset=True), fault("truncate", bytes=9),
        fault("status", "after"))  # fmt: skip
#: Maximum number of messages, because sends run one after the other.
MOST_REQUESTS = 2000


def one_request_each(sandbox: CanarySandbox, count: int, text: str) -> list[SendRequest]:
    """Return send requests to ``count`` users, one call each."""
    set_people(sandbox.state, SetPeople(count=count))
    people = list(sandbox.state.people)[:count]
    return send_requests_for("oto", user_ids=people, robot_code=ROBOT_CODE, text=text, one_receipt_per_user=True)


def a_lost_answer_is_unknown_and_not_resent(run: RowRun) -> None:
    """Lose answers; expect a receipt or an entry for each message, none twice, and a clean rollback."""
    sandbox = run.sandbox()
    send_requests = one_request_each(sandbox, min(run.keys, MOST_REQUESTS), "hello")
    sandbox.state.faults.add(*Injection(faults=LOST, match=SEND).rules(run.rng))
    checkpoint = MemorySendCheckpoint()
    with running_sandbox(sandbox.state) as server:
        sandbox.url = server.url
        jobs = [asyncio.run(_sent(run, sandbox, send_requests, checkpoint)) for _ in range(3)]
    job = jobs[-1]
    hits = {number for rule in sandbox.state.faults.rules for number in rule.nth or () if number <= rule.seen}
    run.figures.fired, run.figures.hit_share = len(hits), round(len(hits) / len(send_requests), 3)
    run.figures.keys += len(send_requests)
    run.figures.unknown += len(job.unknown)
    _each_has_a_receipt_or_is_listed(run, sandbox, send_requests, job)
    assert sandbox.calls()[SEND] == len(send_requests), (
        f"{sandbox.calls()[SEND]} sends for {len(send_requests)} send requests"
    )
    _rolled_back(run, sandbox, job)
    run.done(sandbox)


async def _sent(
    run: RowRun, sandbox: CanarySandbox, send_requests: list[SendRequest], checkpoint: MemorySendCheckpoint
) -> Send:
    """Run one try of the task."""
    job = Send(send_requests, checkpoint=checkpoint, clock=sandbox.clock)
    client = sandbox.open()
    await job.run(client)
    await client.aclose()
    try:
        job.raise_if_incomplete()
    except IncompleteSendError as error:
        told = error
    else:
        raise AssertionError("lost answers were taken for sent")
    assert told.permanent, "what may be there must not be sent again by a blind retry"
    run.sinks.add_error(told)
    run.sinks.add("xcoms", [receipt.to_json() for receipt in job.receipts], [one.to_json() for one in job.unknown])
    return job


def _each_has_a_receipt_or_is_listed(
    run: RowRun, sandbox: CanarySandbox, send_requests: list[SendRequest], job: Send
) -> None:
    there = Counter(user for message in sandbox.state.messages.values() for user in message.receivers)
    run.figures.sent_twice += sum(number - 1 for number in there.values())
    assert max(there.values()) == 1, "a message is there twice"
    keys = {receipt.key for receipt in job.receipts}
    listed = {user for unsent in job.unknown for user in unsent.to}
    for message in sandbox.state.messages.values():
        assert message.key in keys or listed >= set(message.receivers), f"{message.receivers} is forgotten"
    accounted = len(keys) + len(job.unknown)
    assert accounted == len(send_requests), f"{len(send_requests) - accounted} send requests are in no class"
    run.figures.lost += len(send_requests) - accounted
    assert len(listed) <= run.figures.fired, "more unknown than lost answers"


def _rolled_back(run: RowRun, sandbox: CanarySandbox, job: Send) -> None:
    sandbox.faults()
    sandbox.url = ""
    recall = Recall(job.receipts, clock=sandbox.clock)
    report = asyncio.run(recall.run(sandbox.open()))
    check_account(sandbox, report, list(job.receipts))
    left = {
        user for message in sandbox.state.messages.values() if message.recalled_at is None for user in message.receivers
    }
    assert left <= {user for unsent in job.unknown for user in unsent.to}


def people_left_out_are_named(run: RowRun) -> None:
    """Send to invalid, flow-controlled and filtered users; expect each with its reason."""
    sandbox, count = run.sandbox(), min(run.keys, MOST_REQUESTS)
    set_people(sandbox.state, SetPeople(count=count))
    people = list(sandbox.state.people)[:count]
    run.rng.shuffle(people)
    tenth = max(1, count // 10)
    flow, filtered, unknown = people[:tenth], people[tenth : 2 * tenth], [f"nobody{n}" for n in range(tenth)]
    set_people(sandbox.state, SetPeople(flow_controlled=set(flow), filtered=set(filtered)))
    users = people + unknown
    run.rng.shuffle(users)
    job = Send(send_requests_for("oto", user_ids=users, robot_code=ROBOT_CODE, text="hello"), clock=sandbox.clock)
    asyncio.run(job.run(sandbox.open()))
    expected: dict[str, Any] = {
        **dict.fromkeys(flow, "flow_controlled"),
        **dict.fromkeys(filtered, "filtered"),
        **dict.fromkeys(unknown, "invalid"),
    }
    assert job.dropped == expected
    got = {user for message in sandbox.state.messages.values() for user in message.receivers}
    assert got == set(people) - set(flow) - set(filtered)
    assert sum(receipt.recipients or 0 for receipt in job.receipts) == len(got)
    run.figures.keys += len(users)
    run.figures.fired += len(expected)
    run.figures.hit_share = round(len(expected) / len(users), 3)
    run.sinks.add("xcoms", job.dropped, [receipt.to_json() for receipt in job.receipts])
    run.done(sandbox)
