"""Statuses of several messages, polled in parallel: urgent ones first, each with its own error."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    DingTalkError,
    QuotaExhaustedError,
    ServerError,
    ThrottlingError,
    UnexpectedHtmlError,
)
from airflow_provider_dingtalk.jobs.circuit_breaker import MAX_OUTAGES
from airflow_provider_dingtalk.jobs.status_reader import (
    IN_FLIGHT,
    MAX_FAILURES,
    Clients,
    StatusReader,
)
from airflow_provider_dingtalk.messages.conditions import MessageStatus
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.local_dingtalk import HOUR, LocalDingTalk

pytestmark = pytest.mark.anyio

PERMISSION = "Forbidden.AccessDenied.AccessTokenPermissionDenied"
QUOTA = "Forbidden.AccessDenied.ApiCountLimitForOrg"
#: Iterations of the event loop that a request takes.
TURNS = 20


class Way(httpx.AsyncBaseTransport):
    """Transport to the sandbox that counts requests in flight, and refuses those about some messages.

    :param refused: HTTP status and code by message key.
    """

    def __init__(self, local: LocalDingTalk, refused: dict[str, tuple[int, str]] | None = None) -> None:
        self._way = httpx.ASGITransport(app=create_app(local.state))
        self._refused = refused or {}
        self._under_way = 0
        self.peak = 0
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        key = _key(request)
        if key is None:
            return await self._way.handle_async_request(request)
        self.asked.append(key)
        self._under_way += 1
        self.peak = max(self.peak, self._under_way)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self._under_way -= 1
        if key in self._refused:
            status, code = self._refused[key]
            return httpx.Response(status, json={"code": code, "message": "refused"})
        return await self._way.handle_async_request(request)


def _key(request: httpx.Request) -> str | None:
    """Return the message key of a request."""
    if request.method == "GET":
        return request.url.params.get("processQueryKey")
    found = json.loads(request.content or b"{}")
    return found.get("processQueryKey")


def clients(client: DingTalkClient, **gone: DingTalkError) -> Clients:
    """Return a function that gives a client; missing connections raise."""

    async def client_of(conn_id: str | None) -> DingTalkClient:
        if conn_id in gone:
            raise gone[str(conn_id)]
        return client

    return client_of


def reader(local: LocalDingTalk, receipts: list[Receipt]) -> StatusReader:
    return StatusReader(receipts, readers=True, clock=local.clock)


def found(job: StatusReader, receipts: list[Receipt]) -> list[MessageStatus]:
    message_statuses = [job.status_of(receipt) for receipt in receipts]
    assert None not in message_statuses
    return [message_status for message_status in message_statuses if message_status]


def codes(job: StatusReader, receipts: list[Receipt]) -> list[str | None]:
    return [message_status.error.code if message_status.error else None for message_status in found(job, receipts)]


async def test_messages_are_asked_side_by_side_and_the_most_urgent_first(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(calls_per_second=0)
    young, old = dingtalk.create_messages(Kind.OTO, 30, age=HOUR), dingtalk.create_messages(Kind.OTO, 30, age=20 * HOUR)
    undated = dingtalk.create_messages(Kind.OTO, 5, dated=False)
    way, job = Way(dingtalk), reader(dingtalk, young + old + undated)
    await job.run(clients(dingtalk.client(transport=way)))
    assert way.peak == IN_FLIGHT
    assert way.asked == [receipt.key for receipt in undated + old + young]
    assert job.used["status"] == 65
    assert codes(job, young + old + undated) == [None] * 65


async def test_a_message_that_is_named_twice_is_asked_for_once(dingtalk: LocalDingTalk) -> None:
    (receipt,) = dingtalk.create_messages(Kind.OTO)
    job = reader(dingtalk, [receipt, receipt])
    await job.run(clients(dingtalk.client()))
    assert job.used["status"] == 1
    assert len(found(job, [receipt, receipt])) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        (400, "bot.stopped"),
        (400, "invalid.openConversationId"),
        (400, "invalid.processQueryKey"),
        (400, "not.allowed.robotCode"),
        (403, PERMISSION),
        (500, "system.error"),
        (400, "who.knows"),
    ],
)
@pytest.mark.parametrize("at", [0, 2])
async def test_one_broken_message_does_not_hide_the_others(
    dingtalk: LocalDingTalk, refusal: tuple[int, str], at: int
) -> None:
    receipts = [dingtalk.create_messages(Kind.GROUP, conversation=GROUPS[0])[0], *dingtalk.create_messages(Kind.OTO)]
    receipts += dingtalk.create_messages(Kind.PRIVATE_CHAT)
    way, job = Way(dingtalk, {receipts[at].key: refusal}), reader(dingtalk, receipts)
    await job.run(clients(dingtalk.client(transport=way)))
    assert codes(job, receipts) == [refusal[1] if number == at else None for number in range(3)]
    broken = found(job, receipts)[at]
    assert broken.send_status is None and broken.readers is None
    assert broken.error and broken.error.message and broken.error.next_step


async def test_a_ding_is_its_own_outcome(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.DING) + dingtalk.create_messages(Kind.OTO)
    job = reader(dingtalk, receipts)
    await job.run(clients(dingtalk.client()))
    ding, oto = found(job, receipts)
    assert ding.error and "cannot be asked" in ding.error.message
    assert oto.error is None


@pytest.mark.parametrize(("code", "kinds"), [("bot.stopped", (Kind.GROUP,)), (PERMISSION, (Kind.GROUP, Kind.OTO))])
async def test_what_concerns_a_chat_or_a_kind_is_not_asked_for_each_message(
    dingtalk: LocalDingTalk, code: str, kinds: tuple[Kind, ...]
) -> None:
    dingtalk.behave(calls_per_second=0)
    broken = [one for kind in kinds for one in dingtalk.create_messages(kind, 100)]
    fine = dingtalk.create_messages(Kind.PRIVATE_CHAT, 3)
    status = 403 if code == PERMISSION else 400
    way = Way(dingtalk, {receipt.key: (status, code) for receipt in broken})
    job = reader(dingtalk, broken + fine)
    await job.run(clients(dingtalk.client(transport=way)))
    assert codes(job, broken + fine) == [code] * len(broken) + [None] * 3
    assert len(way.asked) <= len(kinds) * IN_FLIGHT + 3


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ({"type": "status", "status": 400, "code": "invalidClientIdOrSecret"}, AuthenticationError),
        (
            {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.ApiCountLimitForOrg"},
            QuotaExhaustedError,
        ),
        ({"type": "html", "status": 403}, UnexpectedHtmlError),
        ({"type": "throttle"}, ThrottlingError),
        ({"type": "status", "status": 500}, ServerError),
    ],
)
async def test_what_concerns_all_messages_ends_the_job_without_a_call_for_each(
    dingtalk: LocalDingTalk, action: dict[str, Any], error: type[DingTalkError]
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 200)
    dingtalk.faults({"match": "readStatus", "action": action})
    job = reader(dingtalk, receipts)
    with pytest.raises(error):
        await job.run(clients(dingtalk.client()))
    assert job.used["status"] - job.used["throttled"] <= 4 * (MAX_FAILURES + IN_FLIGHT)


async def test_without_any_connection_the_job_ends(dingtalk: LocalDingTalk) -> None:
    class Nobody(httpx.AsyncBaseTransport):
        tries = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.tries += 1
            raise httpx.ConnectError("no route", request=request)

    nobody, receipts = Nobody(), dingtalk.create_messages(Kind.OTO, 200)
    with pytest.raises(ConnectionFailedError):
        await reader(dingtalk, receipts).run(clients(dingtalk.client(transport=nobody)))
    assert nobody.tries <= 3 * (MAX_OUTAGES + IN_FLIGHT)


async def test_a_connection_that_is_gone_costs_only_its_own_messages(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 4)
    other = [Receipt(kind=Kind.OTO, robot_code="r", process_query_key="k", conn_id="other")]
    gone = ConfigurationError("It is not there.", next_step="Define it.")
    job = reader(dingtalk, receipts + other)
    await job.run(clients(dingtalk.client(), other=gone))
    assert Counter(codes(job, receipts)) == {None: 4}
    (message_status,) = found(job, other)
    assert message_status.error and message_status.error.message == "It is not there."
    with pytest.raises(ConfigurationError):
        await reader(dingtalk, other).run(clients(dingtalk.client(), other=gone))


async def test_stopped_it_asks_no_more(dingtalk: LocalDingTalk) -> None:
    job = reader(dingtalk, dingtalk.create_messages(Kind.OTO, 5))
    job.stop()
    await job.run(clients(dingtalk.client()))
    assert job.used["status"] == 0
