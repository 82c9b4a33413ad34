"""Receipts of accepted messages reach the checkpoint and the XComs, in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.exceptions import CheckpointError, IncompleteSendError
from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend, MemorySendCheckpoint, SendState
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.messages.send_request import Address
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import LocalDingTalk, keys_of
from tests.support.sends import SEND_API, send_requests

pytestmark = pytest.mark.anyio

OTO_SEND = SEND_API[Kind.OTO]
WORKERS = 10


class SlowCheckpoint(MemorySendCheckpoint):
    """Checkpoint whose writes take 50 ms, as those of Airflow's task state store do; it records them."""

    def __init__(self, dingtalk: LocalDingTalk) -> None:
        super().__init__()
        self._dingtalk = dingtalk
        self.writes: list[dict[int, SendState]] = []
        self.kept: list[str] = []

    async def keep(self, receipts: Sequence[Receipt]) -> None:
        self.kept += keys_of(receipts)

    @property
    def calls(self) -> int:
        return self._dingtalk.calls()[OTO_SEND]

    async def write(self, states: Mapping[int, SendState]) -> None:
        await self._dingtalk.clock.sleep(0.05)
        self.check()
        self.writes.append(dict(states))
        await super().write(states)
        assert len(self.in_doubt) <= WORKERS, "at most the calls in flight are unknown after a kill"

    def check(self) -> None:
        intended = {number for write in self.writes for number, one in write.items() if isinstance(one, Address)}
        assert self.calls <= len(intended), "a call went out before its intent was written"
        sent = [sum(isinstance(one, AcceptedSend) for one in write.values()) for write in self.writes]
        assert len(self.kept) >= sum(sent[:-1]), "receipts wait for those of the next write, and no longer"


async def sent_in_groups(dingtalk: LocalDingTalk, people: int = 200) -> tuple[Send, SlowCheckpoint]:
    users, checkpoint = dingtalk.state.ensure_people(people), SlowCheckpoint(dingtalk)
    job = Send(
        send_requests(Kind.OTO, user_ids=users, one_receipt_per_user=True),
        checkpoint=checkpoint,
        store_receipts=checkpoint.keep,
        clock=dingtalk.clock,
        workers=WORKERS,
    )
    await job.run(dingtalk.client())
    checkpoint.check()
    return job, checkpoint


async def test_intents_and_receipts_of_calls_side_by_side_share_a_write(dingtalk: LocalDingTalk) -> None:
    job, checkpoint = await sent_in_groups(dingtalk)
    assert len(job.receipts) == len(dingtalk.state.messages) == 200
    assert len(checkpoint.writes) <= 80
    assert (len(checkpoint.sent), checkpoint.in_doubt) == (200, [])
    assert sorted(checkpoint.kept) == sorted(keys_of(job.receipts)), "each receipt is kept once"


async def test_receipts_that_cannot_be_kept_are_kept_when_the_place_is_back(dingtalk: LocalDingTalk) -> None:
    fails = [f"away {number}" for number in range(40)]
    kept: list[str] = []

    async def keep(receipts: Sequence[Receipt]) -> None:
        if fails:
            raise OSError(fails.pop())
        kept.extend(keys_of(receipts))

    requests = send_requests(Kind.GROUP, open_conversation_id=GROUPS)
    job = Send(requests, store_receipts=keep, clock=dingtalk.clock)
    await job.run(dingtalk.client())
    assert sorted(kept) == sorted(keys_of(job.receipts))
    assert len(kept) == len(GROUPS)


async def test_a_stopped_job_whose_receipts_cannot_be_kept_ends_and_knows_them(dingtalk: LocalDingTalk) -> None:
    async def keep(receipts: Sequence[Receipt]) -> None:
        job.stop()
        raise OSError("no room")

    requests = send_requests(Kind.GROUP, open_conversation_id=GROUPS)
    job = Send(requests, store_receipts=keep, clock=dingtalk.clock)
    with pytest.raises(OSError, match="no room"):
        await job.run(dingtalk.client())
    assert sorted(keys_of(job.receipts)) == sorted(map(str, dingtalk.state.messages))
    assert job.unknown == []
    assert len(job.receipts) + job.not_attempted == len(GROUPS)


class Away(MemorySendCheckpoint):
    """Checkpoint that takes no receipts; the job is stopped at the third attempt."""

    job: Send
    attempts = 0

    async def write(self, states: Mapping[int, SendState]) -> None:
        if any(isinstance(state, AcceptedSend) for state in states.values()):
            self.attempts += 1
            if self.attempts == 3:
                self.job.stop()
            raise CheckpointError("away", code="checkpoint")
        await super().write(states)


async def test_a_checkpoint_that_takes_no_receipt_fails_the_stopped_job_for_good(
    dingtalk: LocalDingTalk, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = Away()
    requests = send_requests(Kind.GROUP, open_conversation_id=GROUPS)
    job = checkpoint.job = Send(requests, checkpoint=checkpoint, clock=dingtalk.clock)
    with pytest.raises(CheckpointError) as raised:
        await job.run(dingtalk.client())
    (key,) = map(str, dingtalk.state.messages)
    assert key in str(raised.value) and "nothing" not in str(raised.value)
    assert raised.value.permanent, "Airflow would delete the XComs when the next try starts"
    assert "Receipts that are not stored yet" in caplog.text and key in caplog.text
    assert [sent.receipt.key for sent in job.delivery.unwritten.values()] == [key]


class NoPermit(RateLimiter):
    """A rate limiter that fails before a request, in an untyped way."""

    @asynccontextmanager
    async def permit(self, api: str) -> AsyncIterator[None]:
        if "send" in api.lower():
            raise ValueError("embedded null byte")
        yield


async def test_an_untyped_error_before_the_request_means_not_sent(dingtalk: LocalDingTalk) -> None:
    checkpoint = MemorySendCheckpoint()
    job = Send(send_requests(Kind.GROUP), checkpoint=checkpoint, clock=dingtalk.clock)
    await job.run(dingtalk.client(limiter=NoPermit(0)))
    assert (job.unknown, len(job.failed), checkpoint.in_doubt) == ([], 1, [])
    with pytest.raises(IncompleteSendError, match="Not sent: ValueError") as failure:
        job.raise_if_incomplete()
    assert not failure.value.permanent
