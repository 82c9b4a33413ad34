"""The sandbox's world: who there is, what was sent, and what became of it."""

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

MessageKind = Literal["group", "oto", "private_chat", "work_notification", "ding"]
#: What a send gives back: a ``processQueryKey`` or ``openDingId``, or the number of a work notification's task.
Key = str | int

FIRST_TASK_ID = 256_271_667_526


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app of the developer console.

    :param client_id: Also called ``appKey``; ``suiteKey`` of a third-party app.
    :param suite_ticket: Of a third-party app; ``None`` takes any ticket, as DingTalk does for custom apps.
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
    """A robot, the app it belongs to, and what an administrator did to it."""

    robot_code: str
    client_id: str
    stopped: bool = False
    template: Literal["in_use", "stopped", "missing"] = "in_use"


@dataclass(slots=True, kw_only=True)
class Conversation:
    """A group or a chat of two people.

    :param robots: Codes of the robots installed.
    :param cool_apps: Codes of the cool apps installed.
    :param cool_app_required: Whether robots came with a cool app, so that each send must name it.
    :param stopped: Whether robots are stopped here.
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
    """A message and what became of it. Times are seconds since 1970 on the sandbox's clock.

    :param readers: When each reader read it, in order. Kept when the message is recalled (our choice).
    :param recalls: How often a recall of it was carried out; 2 and more are repetitions.
    :param undelivered: Work notifications: people who got nothing, by the name of their list in ``getsendresult``.
    """

    key: Key
    kind: MessageKind
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
    """What an access token stands for."""

    client_id: str
    expires_at: float


@dataclass(slots=True)
class World:
    """Everything there is. ``furnish`` fills it at the start and after every reset.

    :param furnish: Adds apps, robots, conversations and people to an empty world.
    :param seed: Makes keys, tokens and the chances of faults repeat from run to run; ``None`` for fresh ones.
    :param now: The clock below the sandbox's own, in seconds since 1970.
    :param start_behaviour: The switches at the start and after every reset.
    """

    furnish: Callable[[World], None]
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
        """Back to the beginning: no messages, tokens, faults or journal, the clock on time."""
        self.behaviour = self.start_behaviour
        self.clock_offset = 0.0
        self.rng = random.Random(self.seed)  # noqa: S311 -- a seedable world, and no secret of anybody
        self.apps, self.robots, self.conversations = {}, {}, {}
        self.people, self.departments, self.cool_apps = {}, {}, {}
        self.flow_controlled, self.filtered = set(), set()
        self.messages, self.sent, self.recalled = {}, Counter(), Counter()
        self.notified_today = set()
        self.tokens, self.current_tokens = {}, {}
        self.faults, self.journal, self.meter = Faults(), Journal(), Meter()
        self.furnish(self)

    # ── Time and chance ──────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """The sandbox's clock, in seconds since 1970."""
        return self.now() + self.clock_offset

    def random_key(self) -> str:
        """A key such as DingTalk's: base64, so with ``=`` at the end and now and then ``+`` and ``/``."""
        return base64.b64encode(self.rng.randbytes(32)).decode()

    def random_hex(self, length: int = 32) -> str:
        """Random hexadecimal digits: access tokens and ``openDingId``."""
        return f"{self.rng.getrandbits(length * 4):0{length}x}"

    def request_id(self) -> str:
        """A fresh ``requestid``."""
        return str(UUID(int=self.rng.getrandbits(128))).upper()

    # ── Making things ────────────────────────────────────────────────────────────────────────────────

    def add_app(self, app: App, *robot_codes: str) -> None:
        """Add an app and its robots."""
        self.apps[app.client_id] = app
        for code in robot_codes:
            self.robots[code] = Robot(robot_code=code, client_id=app.client_id)

    def add_conversation(self, conversation: Conversation) -> None:
        """Add a conversation, or replace the one with the same id."""
        self.conversations[conversation.open_conversation_id] = conversation

    def add_people(self, user_ids: Iterable[str]) -> None:
        """Add people; those who are there already stay as they are."""
        for user_id in user_ids:
            self.people.setdefault(user_id, f"Name of {user_id}")

    def crowd(self, count: int) -> list[str]:
        """The ids of ``count`` people, new ones when there are too few."""
        while len(self.people) < count:
            self.add_people([f"user{len(self.people) + 1:03d}"])
        return list(self.people)[:count]

    def app_with_agent(self, agent_id: int) -> App | None:
        """The app whose work notifications go out under this agent."""
        return next((app for app in self.apps.values() if app.agent_id == agent_id), None)

    # ── The life of a message ────────────────────────────────────────────────────────────────────────

    def new_key(self, kind: MessageKind) -> Key:
        """A key for a new message, in the form that its kind has."""
        if kind == "work_notification":
            return FIRST_TASK_ID + self.sent[kind] * 7 + self.rng.randrange(7)
        return self.random_hex() if kind == "ding" else self.random_key()

    def deliver(self, message: Message) -> Key:
        """Take a message in and give back its key."""
        self.messages[message.key] = message
        self.sent[message.kind] += 1
        return message.key

    def recall(self, message: Message) -> None:
        """Take a message back. Again is harmless: the time of the first recall stays."""
        message.recalls += 1
        if message.recalled_at is None:
            message.recalled_at = self.time()
            self.recalled[message.kind] += 1

    def age(self, message: Message) -> float:
        """Seconds since the message was sent."""
        return self.time() - message.sent_at

    def send_status(self, message: Message) -> str:
        """``PROCESSING``, ``SUCCESS`` or ``RECALLED``."""
        if message.recalled_at is not None:
            return "RECALLED"
        return "PROCESSING" if self.age(message) < self.behaviour.processing_seconds else "SUCCESS"

    def read(self, message: Message, user_ids: Iterable[str]) -> None:
        """People read a message; those who are no receivers become some."""
        wanted = list(user_ids)
        self.add_people(wanted)
        known = set(message.receivers)
        message.receivers += tuple(user_id for user_id in wanted if user_id not in known)
        for user_id in wanted:
            message.readers.setdefault(user_id, self.time())
