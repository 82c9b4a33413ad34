"""Recalls without a token or a connection."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.support.local_dingtalk import (
    ALL_KINDS,
    RECALL_API,
    ROBOT_KINDS,
    TOKEN_API,
    LocalDingTalk,
    codes_of,
    keys_of,
)

pytestmark = pytest.mark.anyio


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_token_that_dies_in_mid_run_is_renewed_once_for_all(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipts = dingtalk.create_messages(kind, 200 if kind in ROBOT_KINDS else 10)
    dingtalk.faults({"match": RECALL_API[kind], "nth": [3], "action": {"type": "dead_token", "revoke": True}})
    report = (await dingtalk.recall(receipts)).report()
    assert report.counts()["recalled"] == len(receipts)
    assert dingtalk.calls()[TOKEN_API] == 2
    assert 10 < dingtalk.recall_calls() <= 10 + 8, "those under way bounce once, and no more"


async def test_a_token_that_stays_dead_stops_after_one_renewal(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 100)
    dingtalk.faults({"match": "batchRecall", "action": {"type": "dead_token", "revoke": True}})
    job = await dingtalk.recall(receipts)
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "InvalidAuthentication")
    assert dingtalk.calls() == {TOKEN_API: 2, RECALL_API[Kind.OTO]: 2}


async def test_a_wrong_secret_fails_everything_before_any_recall(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 100)
    job = await dingtalk.recall(receipts, client=dingtalk.client(secret="wrong"))
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts), "invalidClientIdOrSecret")
    assert dingtalk.calls() == {TOKEN_API: 1}
    assert job.is_final


@pytest.mark.parametrize("action", [{"type": "status", "status": 500}, {"type": "drop"}, {"type": "html"}])
async def test_without_a_token_nothing_went_out_and_nothing_is_unknown(
    dingtalk: LocalDingTalk, action: dict[str, Any]
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 100) + dingtalk.create_messages(Kind.DING)
    dingtalk.faults({"match": TOKEN_API, "action": action})
    job = await dingtalk.recall(receipts)
    assert dingtalk.recall_calls() == 0
    assert job.report().counts()["failed"] == 101
    assert not job.is_final


# ── Outages ──────────────────────────────────────────────────────────────────────────────────────────


def closed_port() -> int:
    """Return a loopback port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def settled_as_not_sent(job: Recall, total: int) -> bool:
    codes = codes_of(job.report(), Outcome.FAILED)
    return len(codes) == total and set(codes.values()) <= {"not_sent", "not_attempted"}


async def test_where_nobody_listens_everything_is_failed_and_can_be_tried_later(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 2000) + dingtalk.create_messages(Kind.DING, 5)
    dingtalk.url = f"http://127.0.0.1:{closed_port()}"
    job = await dingtalk.recall(receipts, all_arrived=False)
    assert settled_as_not_sent(job, 2005)
    assert not job.is_final
    assert job.report().api_calls["token"] <= 3 * 12, "three tries each for those that began side by side"
    assert dingtalk.calls() == {}


async def test_a_dingtalk_that_goes_away_is_tried_three_times_a_request_and_then_left_alone() -> None:
    local = LocalDingTalk()
    with running_sandbox(local.state) as server:
        local.url = server.url
        client = local.client()
        await client.authenticate()
    await client.aclose()  # the connection that is still open
    receipts = local.create_messages(Kind.OTO, 2000)
    job = await local.recall(receipts, client=client, all_arrived=False)
    await client.aclose()
    assert settled_as_not_sent(job, 2000)
    assert not job.is_final
    # The first batch alone, then those that began side by side; 100 batches wait in vain.
    assert job.report().api_calls["recall"] <= 3 * (1 + 10 + 10)
    assert job.report().api_calls["recall"] % 3 == 0
    assert local.calls() == {TOKEN_API: 1}


class Unreachable(httpx.AsyncBaseTransport):
    """A way to DingTalk on which the first requests to one API find no connection."""

    def __init__(self, local: LocalDingTalk, api: str, times: int) -> None:
        self._way = httpx.ASGITransport(app=create_app(local.state))
        self._api = api
        self._left = times
        self.tried = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._api in request.url.path:
            self.tried += 1
            if self._left:
                self._left -= 1
                raise httpx.ConnectError("no route")
        return await self._way.handle_async_request(request)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_short_outage_costs_a_retry_and_nothing_else(dingtalk: LocalDingTalk, times: int) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 20)
    way = Unreachable(dingtalk, "batchRecall", times)
    job = await dingtalk.recall(receipts, client=dingtalk.client(transport=way), all_arrived=False)
    assert job.report().counts()["recalled"] == 20
    assert way.tried == times + 1


async def test_outages_that_do_not_follow_each_other_do_not_stop_the_recall(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 20, conversation=GROUPS[0]) + dingtalk.create_messages(Kind.OTO, 20)
    way = Unreachable(dingtalk, "groupMessages", times=3)
    job = await dingtalk.recall(receipts, client=dingtalk.client(transport=way), all_arrived=False)
    assert codes_of(job.report(), Outcome.FAILED) == dict.fromkeys(keys_of(receipts[:20]), "not_sent")
    assert job.report().counts()["recalled"] == 20
    assert not job.is_final


async def test_no_connection_after_a_lost_answer_leaves_the_doubt(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.DING)

    class LostThenGone(httpx.AsyncBaseTransport):
        """Loses the first recall's answer, and finds no connection for the next."""

        way = httpx.ASGITransport(app=create_app(dingtalk.state))
        recalls = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "recall" not in request.url.path:
                return await self.way.handle_async_request(request)
            self.recalls += 1
            if self.recalls > 1:
                raise httpx.ConnectError("gone")
            await self.way.handle_async_request(request)
            raise httpx.ReadError("lost")

    job = await dingtalk.recall(receipts, client=dingtalk.client(transport=LostThenGone()), all_arrived=False)
    assert codes_of(job.report(), Outcome.UNKNOWN) == {receipts[0].key: "not_sent"}
