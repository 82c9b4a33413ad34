"""Receipts that are kept before the next call goes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.exceptions import IncompleteSendError
from airflow_provider_dingtalk.jobs.checkpoint import MemorySendCheckpoint
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import LocalDingTalk, keys_of
from tests.support.sends import SEND_API, send_requests, sent

pytestmark = pytest.mark.anyio


# ── Keeping receipts ─────────────────────────────────────────────────────────────────────────────────


async def test_each_receipt_is_kept_before_the_next_call_goes_out(dingtalk: LocalDingTalk) -> None:
    kept: list[tuple[int, list[str]]] = []

    async def keep(receipts: Sequence[Receipt]) -> None:
        await asyncio.sleep(0)
        kept.append((dingtalk.calls()[SEND_API[Kind.GROUP]], keys_of(receipts)))

    job = await sent(dingtalk, send_requests(Kind.GROUP, open_conversation_id=GROUPS), store_receipts=keep)
    all_keys = keys_of(job.receipts)
    assert kept == [(1, all_keys[:1]), (2, all_keys[:2]), (3, all_keys)]


async def test_a_receipt_that_cannot_be_kept_ends_the_job_and_is_still_known(dingtalk: LocalDingTalk) -> None:
    async def keep(receipts: Sequence[Receipt]) -> None:
        raise OSError("no room")

    job = Send(send_requests(Kind.GROUP, open_conversation_id=GROUPS), store_receipts=keep, clock=dingtalk.clock)
    with pytest.raises(OSError, match="no room"):
        await job.run(dingtalk.client())
    assert len(job.receipts) == 1
    assert job.unknown == []
    assert job.not_attempted == 2
    assert dingtalk.calls()[SEND_API[Kind.GROUP]] == 1


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
