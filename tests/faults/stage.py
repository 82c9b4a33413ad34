"""The stage of the fault rows: a local DingTalk whose secrets are canaries, and all that was written."""

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

from airflow_provider_dingtalk.api.auth import App as ClientApp
from airflow_provider_dingtalk.api.auth import InternalApp
from airflow_provider_dingtalk.api.client import DingTalkClient, Patience
from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.api.hosts import Hosts, hosts_at
from airflow_provider_dingtalk.api.limits import Limiter
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt
from airflow_provider_dingtalk.sandbox import default
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.state import App, Key, MessageKind, World
from tests.edge.airflow_seams import everything_said
from tests.messaging.local_dingtalk import RECALL_API, LocalDingTalk

#: Loggers whose every line is looked through.
LOGGERS = ("airflow_provider_dingtalk", "httpx", "aiohttp")


def canary(rng: random.Random) -> str:
    """A secret like no other text, with what URLs, JSON and Python quote far from each other."""
    words = ["".join(rng.choices(ascii_letters + digits, k=9)) for _ in range(6)]
    return "{}/{}+{}={}%{}&{}".format(*words)


class CanaryWorld(World):
    """A world whose tokens are canaries; it remembers all that it ever gave."""

    def random_hex(self, length: int = 32) -> str:
        if length != 32:
            return super().random_hex(length)
        token = canary(self.rng)
        self.given.append(token)
        return token

    def new_key(self, kind: MessageKind) -> Key:
        # DINGs are called as tokens are; their names are no secret.
        return self.random_key() if kind == "ding" else super().new_key(kind)

    def reset(self) -> None:
        self.given: list[str] = []
        super().reset()


def furnished_with(secret: str, suite_secret: str, ticket: str) -> Callable[[World], None]:
    """The usual company, but with these secrets."""

    def furnish(world: World) -> None:
        default.furnish(world)
        own = App(client_id=default.CLIENT_ID, client_secret=secret, agent_id=default.AGENT_ID)
        world.add_app(own, default.ROBOT_CODE)
        suite = App(
            client_id=default.SUITE_KEY,
            client_secret=suite_secret,
            agent_id=default.SUITE_AGENT_ID,
            kind="third_party",
            suite_ticket=ticket,
            corp_ids=(default.CORP_ID,),
        )
        world.add_app(suite, default.SUITE_ROBOT_CODE)

    return furnish


class Stage(LocalDingTalk):
    """A sandbox with canaries for secrets, on a clock that takes no time and without a limit of calls.

    :param seed: Everything at random comes from it.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        rng = random.Random(f"canaries {seed}")
        self.secret, self.suite_secret, self.ticket = canary(rng), canary(rng), canary(rng)
        company = furnished_with(self.secret, self.suite_secret, self.ticket)
        self.world: CanaryWorld = CanaryWorld(company, seed=seed, now=self.clock.now)
        self.behave(calls_per_second=0)
        #: Messages that are not as they should be, by key; set by whoever makes them.
        self.bad_keys: frozenset[str] = frozenset()

    @property
    def app(self) -> ClientApp:
        return InternalApp(client_id=default.CLIENT_ID, client_secret=self.secret)

    def secrets(self) -> list[str]:
        """All that must be in no text."""
        return [self.secret, self.suite_secret, self.ticket, *self.world.given]

    def way(self) -> httpx.AsyncBaseTransport:
        """The way to the sandbox in this process."""
        return httpx.ASGITransport(app=create_app(self.world))

    def open(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        deadline: float = 30.0,
        clock: Clock | None = None,
        hosts: Hosts | None = None,
        **options: Any,
    ) -> DingTalkClient:
        """A client of the app, without a pace of its own: over the socket if there is one."""
        options.setdefault("patience", Patience(request_deadline=deadline))
        options.setdefault("app", self.app)
        return DingTalkClient(
            hosts=hosts or hosts_at(self.url or "http://127.0.0.1:1"),
            transport=transport or (None if self.url else self.way()),
            clock=clock or self.clock,
            limiter=Limiter(0),
            **options,
        )

    def plant_mixture(self, mix: dict[Kind, int], keys: int) -> list[Receipt]:
        """Messages of several kinds by their share of a hundred; group messages in three groups. In no order."""
        receipts: list[Receipt] = []
        for kind, share in mix.items():
            count = keys * share // 100
            homes: tuple[str | None, ...] = default.GROUPS if kind is Kind.GROUP else (None,)
            for number, home in enumerate(homes):
                part = count // len(homes) + (number < count % len(homes))
                receipts += self.plant(kind, part, conversation=home) if part else []
        receipts += self.plant(Kind.OTO, keys - len(receipts)) if len(receipts) < keys else []
        self.world.rng.shuffle(receipts)
        return receipts

    def recall_entries(self) -> list[Any]:
        """What the sandbox noted of each recall call."""
        apis = set(RECALL_API.values())
        return [entry for entry in self.world.journal.entries if entry.api in apis]


class Sinks:
    """All places that text goes to, by name; each text once."""

    def __init__(self) -> None:
        self.texts: defaultdict[str, set[str]] = defaultdict(set)
        self.secrets: set[str] = set()

    def add(self, sink: str, *values: Any) -> None:
        """Keep values: texts as they are, others as JSON if they are, and as Python shows them."""
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
        """Keep all that an error can show, and those behind it."""
        self.add("exceptions", everything_said(error))


class LogSink(logging.Handler):
    """Keeps every line of a log once, with its arguments and its traceback."""

    def __init__(self, sinks: Sinks) -> None:
        super().__init__(logging.DEBUG)
        self._sinks = sinks
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._sinks.add("logs", self.format(record))


@contextmanager
def recording(sinks: Sinks) -> Iterator[Sinks]:
    """Everything that is logged at DEBUG while the block lasts, by us and by the libraries under us."""
    handler = LogSink(sinks)
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in LOGGERS]
    propagated = [logger.propagate for logger, _ in before]
    for logger, _ in before:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        logger.propagate = False
    try:
        # Airflow's triggers log past the standard library.
        with capture_logs() as events:
            yield sinks
    finally:
        sinks.add("logs", *events)
        for (logger, level), up in zip(before, propagated, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = up
