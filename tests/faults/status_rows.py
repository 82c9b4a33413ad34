"""Rows about status, readers and waiting, and about answers of the legacy host."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from airflow_provider_dingtalk.exceptions import DingTalkError, StatusUnavailableError, UnexpectedResponseError
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import WaitOptions
from airflow_provider_dingtalk.messages.conditions import Condition, Judgement, MessageStatus, evaluate, target_of
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER, MAX_PAGES, StatusQuery
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from airflow_provider_dingtalk.task.wait_spec import WaitSpec
from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger
from tests.clock import VirtualClock
from tests.faults.fixtures import CanarySandbox
from tests.faults.matrix import RowRun
from tests.faults.surroundings import connection_json, environment
from tests.support.local_dingtalk import RECALL_API, check_account

PAGED = (Kind.GROUP, Kind.PRIVATE_CHAT)


async def status_of(sandbox: CanarySandbox, receipt: Receipt) -> MessageStatus:
    """Return a message's status and its readers."""
    client = sandbox.open()
    try:
        status_query = StatusQuery(readers=True, now=sandbox.clock.now(), used=Counter())
        return await message_type(receipt.kind).read_status(client, target_of(receipt), status_query)
    finally:
        await client.aclose()


def failure_of(run: RowRun, work: Any) -> DingTalkError:
    """Run some work and return its typed error."""
    try:
        asyncio.run(work)
    except DingTalkError as error:
        run.sinks.add_error(error)
        return error
    raise AssertionError("no error came")


def readers_without_end_are_an_error(run: RowRun) -> None:
    """Return repeated cursors, "more" without a cursor, and endless pages; expect an error."""
    for kind in PAGED:
        for mode, most in (("repeat", 3), ("no_token", 1), ("endless", MAX_PAGES)):
            sandbox = run.sandbox()
            (receipt,) = sandbox.create_messages(kind)
            sandbox.read_by(receipt, count=500)
            sandbox.faults({"match": "query", "action": {"type": "paging", "mode": mode}})
            error = failure_of(run, status_of(sandbox, receipt))
            assert isinstance(error, UnexpectedResponseError) and error.code == "endless_pages", repr(error)
            assert sandbox.status_calls() <= most, f"{mode}: {sandbox.status_calls()} pages"
            run.figures.fired += sandbox.status_calls()
            run.done(sandbox)
    _a_cursor_after_the_end(run)


def _a_cursor_after_the_end(run: RowRun) -> None:
    """Return ``hasMore`` false with a cursor; expect no further page."""
    sandbox = run.sandbox()
    (receipt,) = sandbox.create_messages(Kind.GROUP)
    sandbox.read_by(receipt, count=30)
    sandbox.faults({"match": "query", "action": {"type": "mutate", "merge": {"nextToken": "more"}}})
    message_status = asyncio.run(status_of(sandbox, receipt))
    assert len(message_status.readers or ()) == 30
    assert sandbox.status_calls() == 1
    run.done(sandbox)


def a_dead_cursor_and_no_status_yet(run: RowRun) -> None:
    """Expire a cursor and omit a status; expect one restart, and "not yet" only for young messages."""
    invalid = {"type": "status", "status": 400, "code": "invalidParameter.cursor.invalid"}
    for kind in PAGED:
        sandbox = run.sandbox()
        (receipt,) = sandbox.create_messages(kind)
        sandbox.read_by(receipt, count=700)
        sandbox.faults({"match": "query", "nth": [3], "action": invalid})
        message_status = asyncio.run(status_of(sandbox, receipt))
        assert len(message_status.readers or ()) == 700
        assert sandbox.status_calls() == 3 + 4
        sandbox.faults({"match": "query", "action": invalid})
        assert failure_of(run, status_of(sandbox, receipt)).code == "invalidParameter.cursor.invalid"
        assert sandbox.status_calls() == 7 + 2
        run.done(sandbox)
    for kind in (*PAGED, Kind.OTO):
        sandbox = run.sandbox(status_delay_seconds=10**9)
        (young,) = sandbox.create_messages(kind)
        (undated,) = sandbox.create_messages(kind, dated=False)
        (old,) = sandbox.create_messages(kind, age=GIVE_UP_AFTER + 1)
        for receipt in (young, undated):
            assert asyncio.run(status_of(sandbox, receipt)).send_status is None
        assert isinstance(failure_of(run, status_of(sandbox, old)), StatusUnavailableError)
        run.figures.fired += 3
        run.done(sandbox)


def an_unknown_status_is_not_yet(run: RowRun) -> None:
    """Return unknown, missing and mistyped statuses; expect none to count as delivered."""
    for word in ("DELIVERED_MAYBE", "", "success", None):
        sandbox = run.sandbox()
        receipts = [sandbox.create_messages(kind)[0] for kind in (Kind.GROUP, Kind.OTO, Kind.PRIVATE_CHAT)]
        sandbox.faults(
            *(
                {"match": match, "action": {"type": "mutate", "merge": {"sendStatus": word}}}
                for match in ("query", "readStatus")
            )
        )
        for receipt in receipts:
            message_status = asyncio.run(status_of(sandbox, receipt))
            assert evaluate(message_status, Condition()) is Judgement.NOT_YET, word
        seen = asyncio.run(_looked(sandbox, receipts))
        assert not seen.is_met
        run.sinks.add("xcoms", seen.result())
        run.figures.fired += 2 * len(receipts)
        run.done(sandbox)
    sandbox = run.sandbox()
    (receipt,) = sandbox.create_messages(Kind.GROUP)
    sandbox.faults({"match": "query", "action": {"type": "mutate", "merge": {"sendStatus": ["SUCCESS"]}}})
    assert isinstance(failure_of(run, status_of(sandbox, receipt)), UnexpectedResponseError)


async def _looked(sandbox: CanarySandbox, receipts: list[Receipt]) -> Wait:
    targets = [target_of(receipt) for receipt in receipts]
    wait = Wait(
        targets, Condition(), WaitOptions(poll_schedule=PollSchedule(), began=sandbox.clock.now()), clock=sandbox.clock
    )
    await wait.poll(sandbox.open())
    return wait


def a_wait_ends_at_its_moment(run: RowRun) -> None:
    """Wait for a message that is never delivered; expect the timeout in spite of restarts."""
    sandbox = run.sandbox(processing_seconds=10**9)
    (receipt,) = sandbox.create_messages(Kind.GROUP, dated=False)
    wait_spec = WaitSpec((target_of(receipt),), Condition()).to_json()
    end = sandbox.clock.now() + 3600
    arguments = {"dingtalk_conn_id": "dingtalk_faults", "wait_spec": wait_spec, "poke_interval": 60.0, "end": end}
    run.sinks.add("trigger arguments", arguments)
    with running_sandbox(sandbox.state) as server:
        conn = connection_json(server.url, sandbox.secret)
        with environment(AIRFLOW_CONN_DINGTALK_FAULTS=conn):
            events = [asyncio.run(_event_after(sandbox.clock, arguments, restarts)) for restarts in (0, 3)]
    for event, ended in events:
        assert event == {"status": "timeout"}, event
        assert end <= ended <= end + 60, f"it ended {ended - end:.0f} s after its moment"
        run.sinks.add("trigger events", event)
    assert sandbox.recall_calls() == 0, "a trigger only looks"
    run.done(sandbox)


async def _event_after(clock: VirtualClock, arguments: dict[str, Any], restarts: int) -> tuple[Any, float]:
    """Return a trigger's event after its triggerer was restarted several times."""
    own = VirtualClock(arguments["end"] - 3600)
    for _ in range(restarts):
        trigger = DingTalkMessageTrigger(**arguments)
        trigger.clock = own
        waiting = asyncio.ensure_future(anext(aiter(trigger.run())))
        until = own.now() + 900
        while own.now() < until and not waiting.done():  # noqa: ASYNC110 -- time that passes only in sleeps
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    trigger = DingTalkMessageTrigger(**arguments)
    trigger.clock = own
    event = await anext(aiter(trigger.run()))
    return event.payload, own.now()


# ── the legacy host ──────────────────────────────────────────────────────────────────────────────────

#: Answers of the legacy host to a recall, and the allowed outcomes, with and without the effect.
OLD_ANSWERS: tuple[tuple[str, str, set[Outcome]], ...] = (
    ("0 as text", '{"errcode":"0","errmsg":"ok"}', {Outcome.UNKNOWN}),
    ("400002", '{"errcode":400002,"errmsg":"invalid agentId or taskId"}', {Outcome.FAILED}),
    ("400002 as text", '{"errcode":"400002","errmsg":"x"}', {Outcome.FAILED}),
    ("500", '{"errcode":500,"errmsg":"x"}', {Outcome.UNKNOWN}),
    ("missing", '{"errmsg":"ok"}', {Outcome.UNKNOWN}),
    ("null", '{"errcode":null,"errmsg":"ok"}', {Outcome.UNKNOWN}),
    ("false", '{"errcode":false}', {Outcome.UNKNOWN}),
    ("0.0", '{"errcode":0.0}', {Outcome.UNKNOWN, Outcome.RECALLED}),
    ("a list", '{"errcode":[0]}', {Outcome.UNKNOWN}),
    ("no such code", '{"errcode":4711}', {Outcome.FAILED, Outcome.UNKNOWN}),
)


def the_old_host_is_read_with_care(run: RowRun) -> None:
    """Map each answer; without a numeric ``errcode`` the outcome must be unknown."""
    keys = max(6, run.keys // 100 // len(OLD_ANSWERS))
    for name, text, allowed in OLD_ANSWERS:
        for when in ("before", "after"):
            if when == "after" and Outcome.FAILED in allowed:
                continue  # no client can detect a refusal after the effect
            sandbox = run.sandbox()
            receipts = sandbox.create_messages(Kind.WORK_NOTIFICATION, keys)
            action = {"type": "body", "text": text}
            sandbox.faults({"match": RECALL_API[Kind.WORK_NOTIFICATION], "when": when, "action": action})
            report = asyncio.run(Recall(receipts, clock=sandbox.clock).run(sandbox.open()))
            check_account(sandbox, report, receipts)
            found = {result.outcome for result in report.results.values()}
            assert found <= allowed | {Outcome.UNKNOWN}, f"{name}, {when}: {found}"
            run.figures.keys += keys
            run.figures.fired += sandbox.recall_calls()
            run.figures.unknown += len(report.keys(Outcome.UNKNOWN))
            run.sinks.add("reports", report.to_json())
            run.done(sandbox)
    run.figures.hit_share = 1.0
    run.note("every call is hit; each message is a request of its own: smaller for that")
