"""Recalls that are stopped, cancelled, killed or cannot write, and the next try that resumes."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.jobs.checkpoint import MemoryCheckpoint
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.recall_results import KeyState
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.app import create_app
from tests.support.checkpoints import WatchedCheckpoint
from tests.support.local_dingtalk import ROBOT_KINDS, LocalDingTalk, check_account, codes_of, keys_of

pytestmark = pytest.mark.anyio


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

    class StopAt(WatchedCheckpoint):
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

    class StopAtOnce(WatchedCheckpoint):
        async def at(self, write: int) -> None:
            job.stop()

    checkpoint = StopAtOnce()
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock)
    report = await job.run(dingtalk.client())
    check_account(dingtalk, report, receipts)
    assert dingtalk.recall_calls() == 0
    assert codes_of(report, Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "not_attempted")
    assert KeyState.IN_DOUBT in {key_result.state for key_result in checkpoint.writes[0].values()}
    assert {key_result.state for key_result in checkpoint.results.values()} == {KeyState.PENDING}, (
        "the next try begins anew"
    )


async def test_workers_that_begin_together_write_together_where_writes_take_long(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)

    class Slow(WatchedCheckpoint):
        async def at(self, write: int) -> None:
            dingtalk.clock.advance(0.02)

    checkpoint = Slow()
    client = dingtalk.client()
    await Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock).run(client)
    intents = [sum(said.state is KeyState.IN_DOUBT for said in write.values()) for write in checkpoint.writes]
    assert intents[:2] == [20, 20 * client.in_flight], "one call ahead, then one of each worker"
    assert sum(intents) == 400


async def test_after_a_failed_write_calls_in_flight_end_and_are_written(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)
    are_in_flight, has_failed = asyncio.Event(), asyncio.Event()

    class FailOnce(WatchedCheckpoint):
        async def at(self, write: int) -> None:
            if are_in_flight.is_set() and not has_failed.is_set():
                has_failed.set()
                raise CheckpointError("away", code="checkpoint")

    class HoldAllButTwo(httpx.ASGITransport):
        recalls = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "ecall" in request.url.path:
                self.recalls += 1
                if self.recalls == 2:
                    await are_in_flight.wait()
                elif self.recalls > 2:
                    are_in_flight.set()
                    await has_failed.wait()
            return await super().handle_async_request(request)

    checkpoint = FailOnce()
    client = dingtalk.client(transport=HoldAllButTwo(app=create_app(dingtalk.state)))
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock)
    with pytest.raises(CheckpointError):
        await job.run(client)
    check_account(dingtalk, job.report(), receipts)
    done = set(job.report().keys(Outcome.RECALLED))
    assert 2 * 20 < len(done) < 400
    stored = {key for key, key_result in checkpoint.results.items() if key_result.state is KeyState.RECALLED}
    assert stored == done
    assert KeyState.IN_DOUBT not in {key_result.state for key_result in checkpoint.results.values()}
    again = await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert again.report().counts()["recalled"] == 400
    assert dingtalk.recall_calls() == 20, "no message is recalled twice"


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
    assert {key for key, key_result in checkpoint.results.items() if key_result.state is KeyState.IN_DOUBT} >= set(
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
    dingtalk.clock.advance(1.0)  # the next try has a limiter of its own
    job = await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert job.report().counts()["recalled"] == 400
    assert dingtalk.recall_calls() <= 20 + 10, "only what was under way, or not yet written down, is recalled again"


async def test_cancelled_while_an_intent_is_written_the_message_was_not_attempted(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.DING, 1)
    writing = asyncio.Event()

    class Hanging(WatchedCheckpoint):
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
