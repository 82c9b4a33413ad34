"""In-process sandbox, and the invariants of every recall from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.jobs.checkpoint import Checkpoint
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, SenderKey, iso
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, MarkRead, create_messages, mark_read
from airflow_provider_dingtalk.sandbox.default import (
    AGENT_ID,
    CLIENT_ID,
    CLIENT_SECRET,
    ROBOT_CODE,
    default_state,
)
from airflow_provider_dingtalk.sandbox.handlers import MESSAGE_TYPES
from airflow_provider_dingtalk.sandbox.state import Message
from tests.clock import VirtualClock

HOUR = 3600.0
ALL_KINDS = tuple(Kind)
#: Kinds whose recall takes several keys and whose status tells of a recall.
ROBOT_KINDS = tuple(kind for kind in Kind if message_type(kind).status_tells_recall)
#: The contract tests compare these paths with those of the official SDK.
RECALL_API = {kind: message_type(kind).recall_request(SenderKey(kind), ["1"]).name for kind in Kind}
STATUS_API = {kind: message_type(kind).status_request(SenderKey(kind), "1").name for kind in ROBOT_KINDS}
TOKEN_API = "oauth2/accessToken"


class LocalDingTalk:
    """A sandbox and its clock.

    :param url: URL of a running server; default in-process.
    """

    def __init__(self, *, seed: int = 7, url: str = "") -> None:
        self.clock = VirtualClock()
        self.state = default_state(seed=seed, now=self.clock.now)
        self.url = url

    def client(
        self,
        secret: str = CLIENT_SECRET,
        transport: httpx.AsyncBaseTransport | None = None,
        limiter: RateLimiter | None = None,
    ) -> DingTalkClient:
        app = InternalApp(client_id=CLIENT_ID, client_secret=secret)
        if self.url:
            return DingTalkClient(app, hosts_at(self.url), clock=self.clock)
        transport = transport or httpx.ASGITransport(app=create_app(self.state))
        return DingTalkClient(
            app, hosts_at("http://127.0.0.1:1"), clock=self.clock, transport=transport, limiter=limiter
        )

    def faults(self, *rules: dict[str, Any]) -> None:
        """Replace the fault rules, given as plain JSON."""
        self.state.faults.replace(list(rules))

    def behave(self, **switches: Any) -> None:
        self.state.behaviour = self.state.behaviour.changed(switches)

    def create_messages(
        self, kind: Kind, count: int = 1, *, age: float = 0, dated: bool = True, conversation: str | None = None
    ) -> list[Receipt]:
        """Create messages sent ``age`` seconds ago and return their receipts, ``dated`` or not."""
        order = CreateMessages(kind=kind.value, count=count, age_seconds=age, open_conversation_id=conversation)
        sent_at = iso(self.state.time() - age) if dated else None
        keys = create_messages(self.state, order)["keys"]
        return [receipt_for(kind, key, sent_at=sent_at, conversation=conversation) for key in keys]

    def read_by(self, receipt: Receipt, *user_ids: str, count: int | None = None) -> None:
        """Let users read a message."""
        mark_read(self.state, MarkRead(key=receipt.key, user_ids=list(user_ids), count=count))

    # ── State of the sandbox ──

    def message(self, receipt: Receipt) -> Message | None:
        key = int(receipt.key) if receipt.kind is Kind.WORK_NOTIFICATION else receipt.key
        return self.state.messages.get(key)

    def is_recalled(self, receipt: Receipt) -> bool:
        """Return True if the message is recalled in the sandbox."""
        message = self.message(receipt)
        return message is not None and message.recalled_at is not None

    def calls(self) -> Counter[str]:
        """Return the number of requests that arrived, by API."""
        return Counter({api: calls.total for api, calls in self.state.journal.calls.items()})

    def called(self, apis: Iterable[str]) -> int:
        counted = self.calls()
        return sum(counted[api] for api in apis)

    def recall_calls(self) -> int:
        return self.called(RECALL_API.values())

    def status_calls(self) -> int:
        return self.called(STATUS_API.values())

    # ── Recalls ──

    async def recall(
        self,
        receipts: Sequence[Receipt],
        *,
        checkpoint: Checkpoint | None = None,
        client: DingTalkClient | None = None,
        fresh: bool = True,
        all_arrived: bool = True,
    ) -> Recall:
        """Recall, and compare the report with the sandbox's state.

        :param fresh: No message was recalled before by another program; default True.
        :param all_arrived: No request was lost before it arrived; default True.
        """
        before = self.calls()
        job = Recall(receipts, checkpoint=checkpoint, clock=self.clock)
        report = await job.run(client or self.client())
        check_account(self, report, receipts, fresh=fresh)
        if all_arrived:
            check_calls(report, self.calls() - before)
        return job


def receipt_for(kind: Kind, key: str | int, *, sent_at: str | None = None, conversation: str | None = None) -> Receipt:
    """The receipt of a message of the default company."""
    of_kind, home = message_type(kind), MESSAGE_TYPES[kind].default_conversation
    of_default = {"robot_code": ROBOT_CODE, "agent_id": str(AGENT_ID), "open_conversation_id": conversation or home}
    fields: dict[str, Any] = {name: of_default[name] for name in of_kind.sender_fields}
    return Receipt(kind=kind, sent_at=sent_at, **fields, **{of_kind.key_field: str(key)})


def check_account(local: LocalDingTalk, report: Report, receipts: Sequence[Receipt], *, fresh: bool = True) -> None:
    """Check that every message has exactly one outcome, and that the sandbox agrees."""
    asked = {receipt.key: receipt for receipt in receipts}
    classes = {outcome: report.keys(outcome) for outcome in Outcome}
    reported = [key for keys in classes.values() for key in keys]
    assert sorted(reported) == sorted(asked), "the classes must partition exactly the keys that were asked"
    counts = report.counts()
    assert counts == {**{name.value: len(keys) for name, keys in classes.items()}, "total": len(asked)}
    assert report.duplicates == len(receipts) - len(asked)
    for key in classes[Outcome.RECALLED]:
        assert local.is_recalled(asked[key]), f"{key} is called recalled and is not"
    for key in classes[Outcome.FAILED] + classes[Outcome.EXPIRED]:
        # If another program recalled a message whose status cannot be polled, its outcome is not known.
        if fresh or asked[key].kind in ROBOT_KINDS:
            assert not local.is_recalled(asked[key]), f"{key} is called {report.results[key]} and is recalled"
    for outcome in (Outcome.FAILED, Outcome.EXPIRED, Outcome.UNKNOWN):
        for key in classes[outcome]:
            reason = report.results[key].reason
            assert reason is not None
            assert reason.code and reason.message


def check_calls(report: Report, arrived: Mapping[str, int]) -> None:
    """Check that the report's API calls are those that DingTalk counted."""
    used = report.api_calls
    assert sum(used.get(why, 0) for why in ("recall", "again", "bisect")) == sum(
        arrived.get(api, 0) for api in RECALL_API.values()
    )
    assert used.get("status", 0) == sum(arrived.get(api, 0) for api in STATUS_API.values())
    assert used.get("token", 0) == arrived.get(TOKEN_API, 0)
    assert report.to_json()["api_calls"]["total"] == sum(arrived.values())


def keys_of(receipts: Iterable[Receipt]) -> list[str]:
    return [receipt.key for receipt in receipts]


def codes_of(report: Report, outcome: Outcome) -> dict[str, str]:
    """Return the reason code of each message with an outcome."""
    return {key: report.results[key].reason.code for key in report.keys(outcome)}  # type: ignore[union-attr]
