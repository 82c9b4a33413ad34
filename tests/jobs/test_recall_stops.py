"""Recalls that are stopped, cancelled, killed or cannot write, and the next try that resumes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import httpx
import pytest

from airflow_provider_dingtalk.jobs.checkpoint import MemoryCheckpoint
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.recall_results import RECALLED, KeyResult, KeyState
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import (
    ROBOT_KINDS,
    LocalDingTalk,
    check_account,
    codes_of,
    keys_of,
)

pytestmark = pytest.mark.anyio

IN_DOUBT = KeyResult(KeyState.IN_DOUBT, final=False)


class WatchedLedger(MemoryCheckpoint):
    """Checkpoint that yields as one on disk does, records writes, and can act at one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[dict[str, KeyResult]] = []
        self.under_way = 0

    async def at(self, write: int) -> None:
        """Called with the number of each write, from 1, before it counts."""

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        assert not self.under_way, "one write at a time"
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            await self.at(len(self.writes) + 1)
            self.writes.append(dict(key_results))
            await super().write(key_results)
        finally:
            self.under_way -= 1


class BrokenLedger(WatchedLedger):
    """Checkpoint whose writes fail from a number on."""

    def __init__(self, breaks_at: int) -> None:
        super().__init__()
        self._breaks_at = breaks_at

    async def at(self, write: int) -> None:
        if write >= self._breaks_at:
            await asyncio.sleep(0)
            raise OSError("the disk is full")


class LoadOnce(MemoryCheckpoint):
    """Checkpoint of an earlier, killed task."""

    def __init__(self, key_results: Mapping[str, KeyResult]) -> None:
        super().__init__()
        self.key_results.update(key_results)


async def until_called(local: LocalDingTalk, calls: int) -> None:
    """Let other tasks run until ``calls`` recalls have arrived."""
    for _ in range(100_000):
        if local.recall_calls() >= calls:
            return
        await asyncio.sleep(0)
    raise AssertionError("the calls never came")


# ── Stop ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_stopped_before_it_begins_it_sends_nothing(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 30)
    job = Recall(receipts, clock=dingtalk.clock)
    job.stop()
    report = await job.run(dingtalk.client())
    check_account(dingtalk, report, receipts)
    assert codes_of(report, Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "not_attempted")
    assert dingtalk.calls() == {}
    assert not job.is_final


async def test_stopped_in_mid_run_it_finishes_what_is_under_way_and_begins_nothing_more(
    dingtalk: LocalDingTalk,
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 1000)

    class StopAt(WatchedLedger):
        async def at(self, write: int) -> None:
            if write == 4:
                # From another thread, as a signal's handler would.
                thread = threading.Thread(target=job.stop)
                thread.start()
                thread.join()

    job = Recall(receipts, checkpoint=StopAt(), clock=dingtalk.clock)
    report = await job.run(dingtalk.client())
    check_account(dingtalk, report, receipts)
    assert report.counts()["recalled"] == 20 * dingtalk.recall_calls()
    assert 0 < report.counts()["recalled"] < 1000
    assert set(codes_of(report, Outcome.FAILED).values()) == {"not_attempted"}
    assert not job.is_final


async def test_stopped_while_its_intents_are_written_it_calls_for_none_of_them(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 100)

    class StopAtOnce(WatchedLedger):
        async def at(self, write: int) -> None:
            job.stop()

    checkpoint = StopAtOnce()
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock)
    report = await job.run(dingtalk.client())
    check_account(dingtalk, report, receipts)
    assert dingtalk.recall_calls() == 0
    assert codes_of(report, Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "not_attempted")
    assert KeyState.IN_DOUBT in {key_result.state for key_result in checkpoint.writes[0].values()}
    assert {key_result.state for key_result in checkpoint.key_results.values()} == {KeyState.PENDING}, (
        "the next try begins anew"
    )


async def test_workers_that_begin_together_write_together_where_writes_take_long(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)

    class Slow(WatchedLedger):
        async def at(self, write: int) -> None:
            dingtalk.clock.advance(0.02)

    checkpoint = Slow()
    client = dingtalk.client()
    await Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock).run(client)
    intents = [sum(said.state is KeyState.IN_DOUBT for said in write.values()) for write in checkpoint.writes]
    assert intents[:2] == [20, 20 * client.in_flight], "one call ahead, then one of each worker"
    assert sum(intents) == 400


async def test_stopped_it_asks_about_no_doubts(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 20)
    dingtalk.faults({"match": "recall", "when": "after", "action": {"type": "drop"}})

    class StopAtTheCall(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "recall" in request.url.path:
                job.stop()
            return await super().handle_async_request(request)

    job = Recall(receipts, clock=dingtalk.clock)
    report = await job.run(dingtalk.client(transport=StopAtTheCall(app=create_app(dingtalk.state))))
    check_account(dingtalk, report, receipts)
    assert report.counts()["unknown"] == 20
    assert dingtalk.recall_calls() == 1
    assert dingtalk.status_calls() == 0


# ── Cancellation ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_cancelled_in_mid_run_the_account_is_complete(dingtalk: LocalDingTalk, kind: Kind, when: str) -> None:
    receipts = dingtalk.create_messages(kind, 400)
    # The first is answered; then all that run side by side wait for an answer that takes a day.
    dingtalk.faults(
        {
            "match": "ecall",
            "nth": list(range(2, 100)),
            "when": when,
            "action": {"type": "delay", "seconds": 86_400},
        }
    )
    checkpoint = MemoryCheckpoint()
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock)
    task = asyncio.create_task(job.run(dingtalk.client()))
    await until_called(dingtalk, 11)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = job.report()
    check_account(dingtalk, report, receipts)
    assert report.counts() == {"recalled": 20, "failed": 180, "expired": 0, "unknown": 200, "total": 400}
    assert set(codes_of(report, Outcome.UNKNOWN).values()) == {"no_answer"}
    assert set(codes_of(report, Outcome.FAILED).values()) == {"not_attempted"}
    assert {key for key, key_result in checkpoint.key_results.items() if key_result.state is KeyState.IN_DOUBT} >= set(
        report.keys(Outcome.UNKNOWN)
    )
    assert not job.is_final


async def test_a_recall_after_a_cancelled_one_goes_on_where_it_stopped(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)
    dingtalk.faults(
        {"match": "ecall", "nth": [2], "when": "after", "action": {"type": "delay", "seconds": 86_400}},
    )
    checkpoint = MemoryCheckpoint()
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock, workers=10)
    first = asyncio.create_task(job.run(dingtalk.client()))
    # All have left, and all but the one that hangs are answered or will be.
    await until_called(dingtalk, 20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    job = await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert job.report().counts()["recalled"] == 400
    assert dingtalk.recall_calls() <= 20 + 10, "only what was under way, or not yet written down, is recalled again"


async def test_cancelled_while_an_intent_is_written_the_message_was_not_attempted(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.DING, 1)
    writing = asyncio.Event()

    class Hanging(WatchedLedger):
        async def at(self, write: int) -> None:
            writing.set()
            await asyncio.Event().wait()

    job = Recall(receipts, checkpoint=Hanging(), clock=dingtalk.clock)
    task = asyncio.create_task(job.run(dingtalk.client()))
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert codes_of(job.report(), Outcome.FAILED) == {receipts[0].key: "not_attempted"}
    assert dingtalk.calls() == {}


# ── Checkpoint ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_intent_is_written_before_the_call_goes_out(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)

    class Before(WatchedLedger):
        async def at(self, write: int) -> None:
            intended = sum(
                key_result.state is KeyState.IN_DOUBT for write in self.writes for key_result in write.values()
            )
            assert 20 * dingtalk.recall_calls() <= intended

    checkpoint = Before()
    await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert {key: key_result.state for key, key_result in checkpoint.key_results.items()} == dict.fromkeys(
        keys_of(receipts), KeyState.RECALLED
    )


async def test_the_outcomes_of_a_whole_recall_are_in_the_ledger(dingtalk: LocalDingTalk) -> None:
    recalled, old = dingtalk.create_messages(Kind.OTO, 3), dingtalk.create_messages(Kind.OTO, 2, age=GIVE_UP_AFTER + 60)
    bad = dingtalk.create_messages(Kind.OTO, 1)[0]
    dingtalk.faults({"action": {"type": "fail_keys", "keys": [bad.key], "reason": "invalid.processQueryKey"}})
    checkpoint = MemoryCheckpoint()
    await dingtalk.recall([*recalled, *old, bad], checkpoint=checkpoint)
    states = {key: key_result.state for key, key_result in checkpoint.key_results.items()}
    assert states == {
        **dict.fromkeys(keys_of(recalled), KeyState.RECALLED),
        **dict.fromkeys(keys_of(old), KeyState.EXPIRED),
        bad.key: KeyState.FAILED,
    }


@pytest.mark.parametrize("breaks_at", [1, 2, 3, 5])
async def test_what_cannot_be_written_down_is_not_sent(dingtalk: LocalDingTalk, breaks_at: int) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 1000)
    checkpoint = BrokenLedger(breaks_at)
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock)
    with pytest.raises(OSError, match="disk is full"):
        await job.run(dingtalk.client())
    report = job.report()
    check_account(dingtalk, report, receipts)
    touched = {receipt.key for receipt in receipts if dingtalk.is_recalled(receipt)}
    assert touched <= set(checkpoint.key_results), "a message was recalled whose intent is nowhere"
    assert set(report.keys(Outcome.FAILED)) >= set(keys_of(receipts)) - set(checkpoint.key_results)
    assert len(checkpoint.writes) == breaks_at - 1


async def test_intents_left_by_a_killed_task_are_recalled_again(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 40)
    left = dict.fromkeys(keys_of(receipts[:20]), IN_DOUBT)
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce(left))
    assert job.report().counts()["recalled"] == 40
    assert dingtalk.recall_calls() == 2


@pytest.mark.parametrize("answer", ["success", "failed", "not_revoke_all"])
async def test_intents_that_had_been_carried_out_are_not_taken_for_failures(
    dingtalk: LocalDingTalk, answer: str
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 5)
    await dingtalk.recall(receipts)
    dingtalk.behave(already_recalled=answer)
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce(dict.fromkeys(keys_of(receipts), IN_DOUBT)), fresh=False)
    assert job.report().counts()["recalled"] == 5


async def test_an_intent_that_cannot_be_asked_about_and_is_refused_now_is_unknown(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.WORK_NOTIFICATION)
    await dingtalk.recall(receipts)
    dingtalk.behave(already_recalled="failed")
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce({receipts[0].key: IN_DOUBT}), fresh=False)
    assert codes_of(job.report(), Outcome.UNKNOWN) == {receipts[0].key: "400002"}


async def test_an_intent_too_old_to_recall_again_is_asked_about(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 1, age=GIVE_UP_AFTER + 60)
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce({receipts[0].key: IN_DOUBT}))
    assert job.report().keys(Outcome.UNKNOWN) == keys_of(receipts)
    assert dingtalk.recall_calls() == 0
    assert dingtalk.status_calls() == 1


async def test_what_is_settled_for_good_is_not_asked_again(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 4)
    await dingtalk.recall(receipts[:1])
    reason = Reason("invalid.processQueryKey", "wrong", "check it")
    checkpoint = LoadOnce(
        {
            receipts[0].key: RECALLED,
            receipts[1].key: KeyResult(KeyState.FAILED, reason),
            receipts[2].key: KeyResult(KeyState.EXPIRED, reason),
            "of another recall": IN_DOUBT,
        }
    )
    before = dingtalk.recall_calls()
    job = await dingtalk.recall(receipts, checkpoint=checkpoint, fresh=False)
    assert dingtalk.recall_calls() == before + 1
    assert set(job.report().keys(Outcome.RECALLED)) == {receipts[0].key, receipts[3].key}
    assert codes_of(job.report(), Outcome.FAILED) == {receipts[1].key: "invalid.processQueryKey"}
    assert job.report().keys(Outcome.EXPIRED) == [receipts[2].key]
    assert not dingtalk.is_recalled(receipts[1])


async def test_what_failed_for_now_is_tried_again(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 60)
    checkpoint = MemoryCheckpoint()
    dingtalk.faults({"match": "recall", "nth": [1], "action": {"type": "ban"}})
    await dingtalk.recall(receipts, checkpoint=checkpoint)
    dingtalk.faults()
    job = await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert job.report().counts()["recalled"] == 60


async def test_a_second_run_over_a_finished_ledger_costs_nothing(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 30, conversation=GROUPS[2])
    checkpoint = MemoryCheckpoint()
    await dingtalk.recall(receipts, checkpoint=checkpoint)
    before = dingtalk.calls()
    job = await dingtalk.recall(receipts, checkpoint=checkpoint, fresh=False)
    assert job.report().counts()["recalled"] == 30
    assert dingtalk.calls() == before
