"""State of the sandbox: apps, robots, conversations, people, messages and tokens."""

from __future__ import annotations

import base64
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

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


class Robot(Struct, kw_only=True, forbid_unknown_fields=True):
    """Robot with its app, and its state as set by an administrator."""

    robot_code: str
    client_id: str
    stopped: bool = False
    template: Literal["in_use", "stopped", "missing"] = "in_use"


class Conversation(Struct, kw_only=True, forbid_unknown_fields=True):
    """Group or chat of two people."""

    open_conversation_id: str
    kind: Literal["group", "private_chat"] = "group"
    corp_id: str = "dingcorp"
    robots: set[str] = set()  # Codes of the installed robots
    members: tuple[str, ...] = ()
    cool_apps: set[str] = set()  # Codes of the installed cool apps
    cool_app_required: bool = False  # The robots came with a cool app, so each send must name it; default False
    stopped: bool = False  # Robots are stopped here; default False
    disbanded: bool = False


class Message(Struct, kw_only=True):
    """Message with its readers and recalls.

    Times are in seconds since 1970 by the sandbox's clock.

    :param msg_param: Content of the template as JSON, for the page; not in the state snapshot.
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
    msg_param: str = "{}"
    receivers: tuple[str, ...] = ()
    readers: dict[str, float] = {}
    recalled_at: float | None = None
    recalls: int = 0
    undelivered: dict[str, list[str]] = {}


@dataclass(slots=True)
class Grant:
    """Client id and expiry time of an access token."""

    client_id: str
    expires_at: float


class ServerState:
    """State of one sandbox.

    :param populate: Function that adds apps, robots, conversations and people at the start and after every reset.
    :param seed: Seed that makes keys, tokens and random faults repeatable; default None for random ones.
    :param now: Clock below the sandbox's own, in seconds since 1970; default ``time.time``.
    :param start_behaviour: Switches at the start and after every reset; default all defaults.
    """

    def __init__(
        self,
        populate: Callable[[ServerState], None],
        *,
        seed: int | None = None,
        now: Callable[[], float] = time.time,
        start_behaviour: Behaviour | None = None,
    ) -> None:
        self.populate = populate
        self.seed = seed
        self.now = now
        self.start_behaviour = start_behaviour or Behaviour()
        self.reset()

    def reset(self) -> None:
        """Restore the initial state, without messages, tokens, faults, journal and clock offset."""
        self.behaviour = self.start_behaviour
        self.clock_offset = 0.0
        self.rng = random.Random(self.seed)  # noqa: S311 -- must be seedable, and holds no secret
        self.apps: dict[str, App] = {}
        self.robots: dict[str, Robot] = {}
        self.conversations: dict[str, Conversation] = {}
        self.people: dict[str, str] = {}
        self.departments: dict[int, tuple[str, ...]] = {}
        self.cool_apps: dict[str, str] = {}
        self.flow_controlled: set[str] = set()
        self.filtered: set[str] = set()
        self.messages: dict[Key, Message] = {}
        self.sent: Counter[str] = Counter()
        self.recalled: Counter[str] = Counter()
        self.notified_today: set[tuple[int, int, str, str]] = set()
        self.tokens: dict[str, Grant] = {}
        self.current_tokens: dict[tuple[str, str], str] = {}
        self.faults, self.journal, self.meter = Faults(), Journal(), Meter()
        self.populate(self)

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

    def snapshot(self, *, brief: bool = False) -> dict[str, Any]:
        """Return a state snapshot, for tests to compare with.

        :param brief: Return only time, counts and calls, at a cost that does not grow with the messages; default
            False.
        """
        # Tests read the state from another thread while the server changes it, so this iterates over copies.
        counts = {
            kind: {"sent": sent, "recalled": self.recalled[kind], "visible": sent - self.recalled[kind]}
            for kind, sent in list(self.sent.items())
        }
        calls = msgspec.to_builtins(dict(self.journal.calls))
        snapshot: dict[str, Any] = {"time": self.time(), "counts": counts, "calls": calls}
        if brief:
            return snapshot
        return snapshot | {
            "people": len(self.people),
            "conversations": msgspec.to_builtins(list(self.conversations.values())),
            "messages": [self._shown(message) for message in list(self.messages.values())],
        }

    def _shown(self, message: Message) -> dict[str, Any]:
        """Return a message of the snapshot, with numbers in place of people."""
        people = {"receivers": len(message.receivers), "readers": len(message.readers)}
        shown = msgspec.structs.asdict(message) | people | {"status": self.send_status(message)}
        del shown["msg_param"]
        return shown

    def add_app(self, app: App, *robot_codes: str) -> None:
        """Add an app and its robots."""
        self.apps[app.client_id] = app
        self.robots |= {code: Robot(robot_code=code, client_id=app.client_id) for code in robot_codes}

    def add_conversation(self, conversation: Conversation) -> None:
        """Add a conversation and its members, or replace the one with the same id."""
        self.conversations[conversation.open_conversation_id] = conversation
        self.add_people(conversation.members)

    def add_people(self, user_ids: Iterable[str]) -> None:
        """Add people; existing ones are unchanged."""
        for user_id in user_ids:
            self.people.setdefault(user_id, f"Name of {user_id}")

    def ensure_people(self, count: int) -> list[str]:
        """Return the ids of ``count`` people, created if there are too few."""
        while len(self.people) < count:
            self.add_people([f"user{len(self.people) + 1:03d}"])
        return list(islice(self.people, count))

    def app_with_agent(self, agent_id: int) -> App | None:
        """Return the app whose work notifications this agent sends; None if unknown."""
        return next((app for app in self.apps.values() if app.agent_id == agent_id), None)

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
        readers = dict.fromkeys(user_ids, self.time())
        self.add_people(readers)
        known = set(message.receivers)
        message.receivers += tuple(user_id for user_id in readers if user_id not in known)
        for user_id, read_at in readers.items():
            message.readers.setdefault(user_id, read_at)
