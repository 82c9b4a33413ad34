"""State of the sandbox: apps, robots, conversations, people, messages and tokens."""

from __future__ import annotations

import base64
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.faults import Faults
from airflow_provider_dingtalk.sandbox.journal import Journal
from airflow_provider_dingtalk.sandbox.meter import Meter

#: Message key: a ``processQueryKey``, an ``openDingId``, or the number of a work notification's task.
Key = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """App of the developer console.

    :param client_id: Client id, also called ``appKey``; ``suiteKey`` of a third-party app.
    :param suite_ticket: Ticket of a third-party app; None accepts any ticket, as DingTalk does for custom apps.
    :param corp_ids: Organisations that the app belongs to or is authorised by.
    """

    client_id: str
    client_secret: str = field(repr=False)
    agent_id: int
    kind: Literal["internal", "third_party"] = "internal"
    suite_ticket: str | None = field(default=None, repr=False)
    corp_ids: tuple[str, ...] = ("dingcorp",)


@dataclass(slots=True, kw_only=True)
class Robot:
    """Robot with its app, and its state as set by an administrator."""

    robot_code: str
    client_id: str
    stopped: bool = False
    template: Literal["in_use", "stopped", "missing"] = "in_use"


@dataclass(slots=True, kw_only=True)
class Conversation:
    """Group or chat of two people.

    :param robots: Codes of the installed robots.
    :param cool_apps: Codes of the installed cool apps.
    :param cool_app_required: The robots came with a cool app, so each send must name it; default False.
    :param stopped: Robots are stopped here; default False.
    """

    open_conversation_id: str
    kind: Literal["group", "private_chat"] = "group"
    corp_id: str = "dingcorp"
    robots: set[str] = field(default_factory=set)
    members: tuple[str, ...] = ()
    cool_apps: set[str] = field(default_factory=set)
    cool_app_required: bool = False
    stopped: bool = False
    disbanded: bool = False


@dataclass(slots=True, kw_only=True)
class Message:
    """Message with its readers and recalls.

    Times are in seconds since 1970 by the sandbox's clock.

    :param readers: Time of reading by user id, in order. Kept after a recall (our choice).
    :param recalls: Number of recalls that took effect, including repeated ones.
    :param undelivered: People who did not get a work notification, by the name of their list in ``getsendresult``.
    """

    key: Key
    kind: str
    client_id: str
    sent_at: float
    robot_code: str | None = None
    agent_id: int | None = None
    open_conversation_id: str | None = None
    msg_key: str = "sampleText"
    text: str = ""
    receivers: tuple[str, ...] = ()
    readers: dict[str, float] = field(default_factory=dict)
    recalled_at: float | None = None
    recalls: int = 0
    undelivered: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Grant:
    """Client id and expiry time of an access token."""

    client_id: str
    expires_at: float


@dataclass(slots=True)
class ServerState:
    """State of one sandbox.

    :param furnish: Function that adds apps, robots, conversations and people at the start and after every reset.
    :param seed: Seed that makes keys, tokens and random faults repeatable; default None for random ones.
    :param now: Clock below the sandbox's own, in seconds since 1970; default ``time.time``.
    :param start_behaviour: Switches at the start and after every reset.
    """

    populate: Callable[[ServerState], None]
    seed: int | None = None
    now: Callable[[], float] = time.time
    start_behaviour: Behaviour = field(default_factory=Behaviour)
    behaviour: Behaviour = field(init=False)
    clock_offset: float = field(init=False)
    rng: random.Random = field(init=False)
    apps: dict[str, App] = field(init=False)
    robots: dict[str, Robot] = field(init=False)
    conversations: dict[str, Conversation] = field(init=False)
    people: dict[str, str] = field(init=False)
    departments: dict[int, tuple[str, ...]] = field(init=False)
    cool_apps: dict[str, str] = field(init=False)
    flow_controlled: set[str] = field(init=False)
    filtered: set[str] = field(init=False)
    messages: dict[Key, Message] = field(init=False)
    sent: Counter[str] = field(init=False)
    recalled: Counter[str] = field(init=False)
    notified_today: set[tuple[int, int, str, str]] = field(init=False)
    tokens: dict[str, Grant] = field(init=False)
    current_tokens: dict[tuple[str, str], str] = field(init=False)
    faults: Faults = field(init=False)
    journal: Journal = field(init=False)
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Restore the initial state, without messages, tokens, faults, journal and clock offset."""
        self.behaviour = self.start_behaviour
        self.clock_offset = 0.0
        self.rng = random.Random(self.seed)  # noqa: S311 -- must be seedable, and holds no secret
        self.apps, self.robots, self.conversations = {}, {}, {}
        self.people, self.departments, self.cool_apps = {}, {}, {}
        self.flow_controlled, self.filtered = set(), set()
        self.messages, self.sent, self.recalled = {}, Counter(), Counter()
        self.notified_today = set()
        self.tokens, self.current_tokens = {}, {}
        self.faults, self.journal, self.meter = Faults(), Journal(), Meter()
        self.populate(self)

    # ── Time and chance ──────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Return the time of the sandbox's clock in seconds since 1970."""
        return self.now() + self.clock_offset

    def random_key(self) -> str:
        """Return a random base64 key, with ``=``, ``+`` and ``/`` like DingTalk's."""
        return base64.b64encode(self.rng.randbytes(32)).decode()

    def random_hex(self) -> str:
        """Return 32 random hexadecimal digits, as in ``openDingId``."""
        return f"{self.rng.getrandbits(128):032x}"

    def new_token(self) -> str:
        """Return a new access token."""
        return self.random_hex()

    def request_id(self) -> str:
        """Return a new ``requestid``."""
        return str(UUID(int=self.rng.getrandbits(128))).upper()

    # ── Apps, conversations and people ───────────────────────────────────────────────────────────────

    def add_app(self, app: App, *robot_codes: str) -> None:
        """Add an app and its robots."""
        self.apps[app.client_id] = app
        for code in robot_codes:
            self.robots[code] = Robot(robot_code=code, client_id=app.client_id)

    def add_conversation(self, conversation: Conversation) -> None:
        """Add a conversation, or replace the one with the same id."""
        self.conversations[conversation.open_conversation_id] = conversation

    def add_people(self, user_ids: Iterable[str]) -> None:
        """Add people; existing ones are unchanged."""
        for user_id in user_ids:
            self.people.setdefault(user_id, f"Name of {user_id}")

    def ensure_people(self, count: int) -> list[str]:
        """Return the ids of ``count`` people, created if there are too few."""
        while len(self.people) < count:
            self.add_people([f"user{len(self.people) + 1:03d}"])
        return list(self.people)[:count]

    def app_with_agent(self, agent_id: int) -> App | None:
        """Return the app whose work notifications this agent sends; None if unknown."""
        return next((app for app in self.apps.values() if app.agent_id == agent_id), None)

    # ── Messages ─────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, message: Message) -> Key:
        """Add a message and return its key."""
        self.messages[message.key] = message
        self.sent[message.kind] += 1
        return message.key

    def recall(self, message: Message) -> None:
        """Recall a message; a repeated recall keeps the time of the first."""
        message.recalls += 1
        if message.recalled_at is None:
            message.recalled_at = self.time()
            self.recalled[message.kind] += 1

    def age(self, message: Message) -> float:
        """Return the seconds since the message was sent."""
        return self.time() - message.sent_at

    def send_status(self, message: Message) -> str:
        """Return ``PROCESSING``, ``SUCCESS`` or ``RECALLED``."""
        if message.recalled_at is not None:
            return "RECALLED"
        return "PROCESSING" if self.age(message) < self.behaviour.processing_seconds else "SUCCESS"

    def read(self, message: Message, user_ids: Iterable[str]) -> None:
        """Let people read a message; other people become receivers."""
        wanted = list(user_ids)
        self.add_people(wanted)
        known = set(message.receivers)
        message.receivers += tuple(user_id for user_id in wanted if user_id not in known)
        for user_id in wanted:
            message.readers.setdefault(user_id, self.time())
