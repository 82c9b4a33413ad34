"""Planted bad clients: the shipped client with one behaviour removed, by its public extension points.

A harness that does not catch them proves nothing. Each runs the same trials as the shipped client: crashes at
random times, faults before and after the effect, an outage, and a send whose checkpoint fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from msgspec.structs import replace

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import (
    DingResult,
    Idempotency,
    RecallDing,
    RecallResult,
    RecallWorkNotification,
    WorkNotificationRecalled,
)
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.exceptions import CheckpointError, DingTalkError
from airflow_provider_dingtalk.jobs.batching import batches, unique
from airflow_provider_dingtalk.jobs.checkpoint import (
    AcceptedSend,
    Checkpoint,
    MemoryCheckpoint,
    MemorySendCheckpoint,
    SendState,
)
from airflow_provider_dingtalk.jobs.recall import MAX_CALLS_NO_RESPONSE, WORKERS, Recall
from airflow_provider_dingtalk.jobs.recall_results import RECALLED, KeyResult, KeyState
from airflow_provider_dingtalk.jobs.receipt_delivery import ReceiptDelivery
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.task.checkpoint.recall import RecallTaskCheckpoint, in_canonical_order
from tests.faults.checks import NEVER, Happened, classes
from tests.faults.fixtures import CanarySandbox
from tests.faults.scheme import MIXED, RECALLS, Case, Injection, both_sides
from tests.support.airflow_seams import TaskStateStore

KEYS = 1000
#: The status of many of these cannot be polled, so after a crash only the checkpoint knows their result.
CRASH_MIX = {Kind.GROUP: 40, Kind.OTO: 40, Kind.WORK_NOTIFICATION: 10, Kind.DING: 10}
CRASHES, LATE = 14, 6
#: Documented maximum number of tries of a request, and the number after which the trial is ended.
MOST_TRIES, ENOUGH_TRIES = 3, 50


@dataclass(frozen=True)
class Parts:
    """Parts of a client; default: the shipped ones.

    :param checkpoint: Function that wraps the shipped checkpoint.
    :param by_order: The same, with the messages in the order in which the try got them.
    :param places: Class that stores the receipts of sends.
    :param broken: Name of the invariant that must catch the client.
    """

    checkpoint: Callable[[Checkpoint], Checkpoint] = lambda shipped: shipped
    by_order: Callable[[Checkpoint, Sequence[Receipt]], Checkpoint] = lambda shipped, _: shipped
    client: type[DingTalkClient] = DingTalkClient
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    delivery: type[ReceiptDelivery] = ReceiptDelivery
    broken: str = ""

    def open(self, sandbox: CanarySandbox, way: httpx.AsyncBaseTransport) -> DingTalkClient:
        return self.client(
            sandbox.app,
            hosts_at("http://127.0.0.1:1"),
            transport=way,
            clock=sandbox.clock,
            limiter=RateLimiter(0),
            retry_policy=self.retry_policy,
        )


# ── bad clients ──────────────────────────────────────────────────────────────────────────────────────


class Rewriting:
    """Checkpoint that changes what it writes to another one."""

    def __init__(self, shipped: Checkpoint) -> None:
        self._shipped = shipped

    async def load(self) -> Mapping[str, KeyResult]:
        return await self._shipped.load()

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        if rewritten := self.rewritten(key_results):
            await self._shipped.write(rewritten)

    def rewritten(self, key_results: Mapping[str, KeyResult]) -> dict[str, KeyResult]:
        raise NotImplementedError


def is_intent(key_result: KeyResult) -> bool:
    """Return True if the entry is an intent."""
    return key_result.state is KeyState.IN_DOUBT and key_result.reason is None


class ByPosition:
    """Checkpoint that stores state by the position of a message in this try's order."""

    def __init__(self, shipped: Checkpoint, receipts: Sequence[Receipt]) -> None:
        self._shipped = shipped
        places = [receipt.key for receipt in in_canonical_order(receipts)]
        self._place_of = dict(zip((receipt.key for receipt in unique(receipts).values()), places, strict=True))
        self._key_at = {place: key for key, place in self._place_of.items()}

    async def load(self) -> Mapping[str, KeyResult]:
        return {self._key_at[place]: key_result for place, key_result in (await self._shipped.load()).items()}

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        await self._shipped.write({self._place_of[key]: key_result for key, key_result in key_results.items()})


class NoIntent(Rewriting):
    """Checkpoint that writes results but no intents."""

    def rewritten(self, key_results: Mapping[str, KeyResult]) -> dict[str, KeyResult]:
        return {key: key_result for key, key_result in key_results.items() if not is_intent(key_result)}


class CommitBeforeAnswer(Rewriting):
    """Checkpoint that writes "recalled" instead of an intent."""

    def rewritten(self, key_results: Mapping[str, KeyResult]) -> dict[str, KeyResult]:
        return {key: RECALLED if is_intent(key_result) else key_result for key, key_result in key_results.items()}


class SwallowAll(DingTalkClient):
    """Client that treats every failed recall as successful."""

    async def call(self, endpoint: Any, used: Counter[str] | None = None, why: str = "") -> Any:
        try:
            return await super().call(endpoint, used, why)
        except DingTalkError:
            if endpoint.http.idempotency is not Idempotency.RECALL:
                raise
        if isinstance(endpoint, RecallDing):
            return DingResult(open_ding_id=endpoint.open_ding_id)
        if isinstance(endpoint, RecallWorkNotification):
            return WorkNotificationRecalled(errcode=0)
        return RecallResult(success_result=list(endpoint.process_query_keys), failed_result={})


class CheckpointFirst(ReceiptDelivery):
    """Storage that writes the checkpoint first and pushes receipts only if that worked."""

    async def _write(self, states: Mapping[int, SendState], receipts: Sequence[Receipt]) -> None:
        await self._write_to_checkpoint(states, receipts)
        await self.publish(receipts)


SHIPPED = Parts()
BAD_CLIENTS = {
    "no checkpoint": Parts(checkpoint=lambda _: MemoryCheckpoint(), broken="calls"),
    "no intent": Parts(checkpoint=NoIntent, broken="false_failed"),
    "commit before the answer": Parts(checkpoint=CommitBeforeAnswer, broken="false_recalled"),
    "state by position": Parts(by_order=ByPosition, broken="false_recalled"),
    "swallow all errors": Parts(client=SwallowAll, broken="false_recalled"),
    "retry for ever": Parts(retry_policy=replace(RetryPolicy(), tries=10**6), broken="attempts"),
    "checkpoint before XCom": Parts(delivery=CheckpointFirst, broken="forgotten"),
}


# ── the trials ───────────────────────────────────────────────────────────────────────────────────────


class Crashing(httpx.AsyncBaseTransport):
    """Transport on which the task dies at one recall call, before or after the call."""

    def __init__(self, sandbox: CanarySandbox, at: int, when: str) -> None:
        self._way = sandbox.way()
        self._left = at
        self._when = when
        self.victim: asyncio.Task[Any] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if RECALLS not in request.url.path:
            return await self._way.handle_async_request(request)
        self._left -= 1
        is_last = self._left == 0
        if is_last and self._when == "before":
            await self._die()
        response = await self._way.handle_async_request(request)
        if is_last:
            await self._die()
        return response

    async def _die(self) -> None:
        assert self.victim is not None
        self.victim.cancel()
        await asyncio.sleep(60)  # the cancellation is raised here


def crashes(parts: Parts, seed: int) -> set[str]:
    """Crash at random times, each followed by a retry; DingTalk refuses repeated recalls."""
    sandbox, rng, store = CanarySandbox(seed), random.Random(f"crashes {seed}"), TaskStateStore()
    sandbox.behave(already_recalled="failed")
    receipts = sandbox.plant_mixture(dict(CRASH_MIX), KEYS)
    happened = Happened(sandbox, Case(), receipts)
    planned = len(batches(receipts))
    # Early and late crashes: some soon after the previous one, some when most of the work is done.
    moments = [rng.randrange(2, planned // 6) for _ in range(CRASHES - LATE)]
    moments += [rng.randrange(planned // 2, planned * 9 // 10) for _ in range(LATE)]
    broken: set[str] = set()
    for number, moment in enumerate([*moments, 0]):
        happened.runs += 1
        way = Crashing(sandbox, moment, ("before", "after")[number % 2])
        named = receipts + rng.sample(receipts, number)
        rng.shuffle(named)
        report = asyncio.run(_until_it_dies(parts, sandbox, way, named, store))
        account = classes(happened, report)
        # The report of a killed try is not read; its checkpoint appears in the report of the last try.
        if not moment:
            broken |= {name for name in NEVER if getattr(account, name)}
    if sandbox.recall_calls() > planned + CRASHES * WORKERS * MAX_CALLS_NO_RESPONSE:
        broken.add("calls")
    return broken


async def _until_it_dies(
    parts: Parts, sandbox: CanarySandbox, way: Crashing, receipts: list[Receipt], store: TaskStateStore
) -> Any:
    shipped = RecallTaskCheckpoint(store, receipts, clear_count=0)
    checkpoint = parts.checkpoint(parts.by_order(shipped, receipts))
    job = Recall(receipts, checkpoint=checkpoint, clock=sandbox.clock)
    way.victim = asyncio.ensure_future(job.run(parts.open(sandbox, way)))
    await asyncio.gather(way.victim, return_exceptions=True)
    return job.report()


def faults(parts: Parts, seed: int) -> set[str]:
    """Lose answers before the effect and after it."""
    sandbox = CanarySandbox(seed)
    receipts = sandbox.plant_mixture(dict(MIXED), KEYS)
    sandbox.state.faults.add(*Injection(faults=both_sides("status", status=500)).rules(random.Random(seed)))
    job = Recall(receipts, clock=sandbox.clock)
    report = asyncio.run(job.run(parts.open(sandbox, sandbox.way())))
    account = classes(Happened(sandbox, Case(), receipts, runs=1), report)
    return {name for name in NEVER if getattr(account, name)}


class Gone(httpx.AsyncBaseTransport):
    """Transport on which no recall gets a connection; it ends the trial after ``ENOUGH_TRIES``."""

    def __init__(self, sandbox: CanarySandbox) -> None:
        self._way = sandbox.way()
        self.tries: Counter[bytes] = Counter()
        self.victim: asyncio.Task[Any] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if RECALLS not in request.url.path:
            return await self._way.handle_async_request(request)
        self.tries[request.content] += 1
        if self.tries[request.content] >= ENOUGH_TRIES and self.victim:
            self.victim.cancel()
        raise httpx.ConnectError("no route", request=request)


def outage(parts: Parts, seed: int) -> set[str]:
    """Refuse all connections; each request may be tried three times."""
    sandbox = CanarySandbox(seed)
    receipts = sandbox.plant_mixture(dict(MIXED), KEYS // 10)
    way = Gone(sandbox)
    job = Recall(receipts, clock=sandbox.clock)
    asyncio.run(_watched(parts, sandbox, way, job))
    account = classes(Happened(sandbox, Case(), receipts, runs=1), job.report())
    broken = {name for name in NEVER if getattr(account, name)}
    return broken | ({"attempts"} if max(way.tries.values()) > MOST_TRIES else set())


async def _watched(parts: Parts, sandbox: CanarySandbox, way: Gone, job: Recall) -> None:
    way.victim = asyncio.ensure_future(job.run(parts.open(sandbox, way)))
    await asyncio.gather(way.victim, return_exceptions=True)


class AwayAfterTheEffect(MemorySendCheckpoint):
    """Checkpoint that fails after a message was accepted, until the job is stopped."""

    job: Send
    attempts = 0

    async def write(self, states: Mapping[int, SendState]) -> None:
        if any(isinstance(state, AcceptedSend) for state in states.values()):
            self.attempts += 1
            if self.attempts == ENOUGH_TRIES:
                self.job.stop()
            raise CheckpointError("away", code="checkpoint")
        await super().write(states)


def sends(parts: Parts, seed: int) -> set[str]:
    """Send with a checkpoint that fails after each accepted message; the receipts must be stored."""
    sandbox, kept = CanarySandbox(seed), set()

    async def keep(receipts: Sequence[Receipt]) -> None:
        kept.update(receipt.key for receipt in receipts)

    send_requests = send_requests_for(
        "oto", user_ids=list(sandbox.state.people)[:5], robot_code=ROBOT_CODE, text="hello"
    )
    checkpoint = AwayAfterTheEffect()
    job = checkpoint.job = Send(send_requests, checkpoint=checkpoint, store_receipts=keep, clock=sandbox.clock)
    job.delivery = parts.delivery(checkpoint, keep, None, sandbox.clock)
    with contextlib.suppress(CheckpointError):
        asyncio.run(job.run(parts.open(sandbox, sandbox.way())))
    return {"forgotten"} if set(map(str, sandbox.state.messages)) - kept else set()


def broken_by(parts: Parts, seed: int) -> set[str]:
    """Return the invariants that a client breaks in any trial."""
    return crashes(parts, seed) | faults(parts, seed) | outage(parts, seed) | sends(parts, seed)


def caught(name: str, seed: int) -> str | None:
    """Return the invariant of the missing behaviour if a bad client breaks it, else None."""
    parts = BAD_CLIENTS[name]
    return parts.broken if parts.broken in broken_by(parts, seed) else None
