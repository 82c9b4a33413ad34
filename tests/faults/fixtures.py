"""Fixtures of the fault rows: a sandbox with canary secrets, and sinks for all texts."""

from __future__ import annotations

import json
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from string import ascii_letters, digits
from typing import Any

import httpx
from structlog.testing import capture_logs

from airflow_provider_dingtalk.client.auth import App as ClientApp
from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.hosts import Hosts, hosts_at
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox import default
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.state import App, ServerState
from tests.support.airflow_seams import everything_said
from tests.support.local_dingtalk import RECALL_API, LocalDingTalk

#: Loggers whose lines are searched for secrets.
LOGGERS = ("airflow_provider_dingtalk", "httpx", "aiohttp")


def canary(rng: random.Random) -> str:
    """Return a unique secret that contains characters which URLs, JSON and Python quote."""
    words = ["".join(rng.choices(ascii_letters + digits, k=9)) for _ in range(6)]
    return "{}/{}+{}={}%{}&{}".format(*words)


class CanaryState(ServerState):
    """Sandbox state whose tokens are canaries; it records every token that it issued."""

    def new_token(self) -> str:
        token = canary(self.rng)
        self.given.append(token)
        return token

    def reset(self) -> None:
        self.given: list[str] = []
        super().reset()


def populate_with(secret: str, suite_secret: str, ticket: str) -> Callable[[ServerState], None]:
    """Return a function that sets up the default organisation with these secrets."""

    def populate(state: ServerState) -> None:
        default.populate(state)
        own = App(client_id=default.CLIENT_ID, client_secret=secret, agent_id=default.AGENT_ID)
        state.add_app(own, default.ROBOT_CODE)
        suite = App(
            client_id=default.SUITE_KEY,
            client_secret=suite_secret,
            agent_id=default.SUITE_AGENT_ID,
            kind="third_party",
            suite_ticket=ticket,
            corp_ids=(default.CORP_ID,),
        )
        state.add_app(suite, default.SUITE_ROBOT_CODE)

    return populate


class CanarySandbox(LocalDingTalk):
    """Sandbox with canary secrets, a virtual clock and no rate limit.

    :param seed: Seed of all random values.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        rng = random.Random(f"canaries {seed}")
        self.secret, self.suite_secret, self.ticket = canary(rng), canary(rng), canary(rng)
        company = populate_with(self.secret, self.suite_secret, self.ticket)
        self.state: CanaryState = CanaryState(company, seed=seed, now=self.clock.now)
        self.behave(calls_per_second=0)
        #: Keys of messages that cannot be recalled; set by the function that makes them.
        self.bad_keys: frozenset[str] = frozenset()

    @property
    def app(self) -> ClientApp:
        return InternalApp(client_id=default.CLIENT_ID, client_secret=self.secret)

    def secrets(self) -> list[str]:
        """Return all secrets, which must not be in any text."""
        return [self.secret, self.suite_secret, self.ticket, *self.state.given]

    def way(self) -> httpx.AsyncBaseTransport:
        """Return the transport to the sandbox in this process."""
        return httpx.ASGITransport(app=create_app(self.state))

    def open(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        deadline: float = 30.0,
        clock: Clock | None = None,
        hosts: Hosts | None = None,
        **options: Any,
    ) -> DingTalkClient:
        """Return a client of the app without a rate limit, over the socket if there is one."""
        options.setdefault("retry_policy", RetryPolicy(request_deadline=deadline))
        options.setdefault("app", self.app)
        return DingTalkClient(
            hosts=hosts or hosts_at(self.url or "http://127.0.0.1:1"),
            transport=transport or (None if self.url else self.way()),
            clock=clock or self.clock,
            limiter=RateLimiter(0),
            **options,
        )

    def plant_mixture(self, mix: dict[Kind, int], keys: int) -> list[Receipt]:
        """Create messages of several kinds by percentage, shuffled; group messages in three groups."""
        receipts: list[Receipt] = []
        for kind, share in mix.items():
            count = keys * share // 100
            homes: tuple[str | None, ...] = default.GROUPS if kind is Kind.GROUP else (None,)
            for number, home in enumerate(homes):
                part = count // len(homes) + (number < count % len(homes))
                receipts += self.create_messages(kind, part, conversation=home) if part else []
        receipts += self.create_messages(Kind.OTO, keys - len(receipts)) if len(receipts) < keys else []
        self.state.rng.shuffle(receipts)
        return receipts

    def recall_entries(self) -> list[Any]:
        """Return the sandbox's journal entry of each recall call."""
        apis = set(RECALL_API.values())
        return [entry for entry in self.state.journal.entries if entry.api in apis]


class Sinks:
    """Collection of all texts by the place that they were written to; each text once."""

    def __init__(self) -> None:
        self.texts: defaultdict[str, set[str]] = defaultdict(set)
        self.secrets: set[str] = set()

    def add(self, sink: str, *values: Any) -> None:
        """Add values: texts unchanged, others as ``repr`` and as JSON, or else as ``str``."""
        for value in values:
            if isinstance(value, str):
                self.texts[sink].add(value)
                continue
            self.texts[sink].add(repr(value))
            try:
                self.texts[sink].add(json.dumps(value))
            except (TypeError, ValueError):
                self.texts[sink].add(str(value))

    def add_error(self, error: BaseException) -> None:
        """Add all texts of an error, and of its causes and contexts."""
        self.add("exceptions", everything_said(error))


class LogSink(logging.Handler):
    """Log handler that collects every line, with arguments and traceback."""

    def __init__(self, sinks: Sinks) -> None:
        super().__init__(logging.DEBUG)
        self._sinks = sinks
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._sinks.add("logs", self.format(record))


@contextmanager
def recording(sinks: Sinks) -> Iterator[Sinks]:
    """Collect all DEBUG logs of the package and its libraries during the block."""
    handler = LogSink(sinks)
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in LOGGERS]
    propagated = [logger.propagate for logger, _ in before]
    for logger, _ in before:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        logger.propagate = False
    try:
        # Airflow's triggers log with structlog, not with the standard library.
        with capture_logs() as events:
            yield sinks
    finally:
        sinks.add("logs", *events)
        for (logger, level), up in zip(before, propagated, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = up
