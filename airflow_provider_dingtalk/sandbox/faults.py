"""Faults on demand: rules that say which calls are struck, when, and by what.

A rule is plain JSON, see :class:`Rule`; its ``action`` is one of the structs here, chosen by ``type``.
``when`` says on which side of the effect the fault strikes: ``before``, DingTalk did nothing; ``after``, it did.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]


class Action(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What a fault does."""

    @property
    def type(self) -> str:
        """The name of the action in rules, such as ``drop``."""
        return str(self.__struct_config__.tag)


# ── Time and the connection ──────────────────────────────────────────────────────────────────────────


class Delay(Action, frozen=True, kw_only=True, tag="delay"):
    """Wait, then go on as if nothing were.

    A client that gives up waiting ``before`` the effect prevents it; not so with ``although_gone``.
    """

    seconds: Annotated[float, Meta(ge=0)]
    although_gone: bool = False


class Drop(Action, frozen=True, kw_only=True, tag="drop"):
    """Cut the connection without an answer. ``reset``: by a TCP reset."""

    reset: bool = False


class Truncate(Action, frozen=True, kw_only=True, tag="truncate"):
    """Announce the whole body, send so many bytes of it, cut the connection. The effect takes place."""

    bytes: Count


class Trickle(Action, frozen=True, kw_only=True, tag="trickle"):
    """Send the body slowly. The effect takes place."""

    bytes_per_second: Annotated[float, Meta(gt=0)]


# ── Another answer ───────────────────────────────────────────────────────────────────────────────────


class Status(Action, frozen=True, kw_only=True, tag="status"):
    """An error as DingTalk words it.

    :param status: HTTP status; the old host answers 200 whatever it is.
    :param errcode: Number on the old host, and ``wrapped`` whether in ``sub_code`` under 88.
    :param headers: Extra headers, such as ``Retry-After``.
    """

    status: Annotated[int, Meta(ge=200, le=599)] = 500
    code: str = "system.error"
    message: str = "injected fault"
    errcode: int = 500
    wrapped: bool = False
    headers: dict[str, str] = {}


class Html(Action, frozen=True, kw_only=True, tag="html"):
    """A page of HTML, as proxies send."""

    status: Annotated[int, Meta(ge=200, le=599)] = 502
    html: str = "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


class Body(Action, frozen=True, kw_only=True, tag="body"):
    """Any text for a body."""

    text: str
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    content_type: str = "application/json;charset=utf-8"


class Throttle(Action, frozen=True, kw_only=True, tag="throttle"):
    """The gateway's answer to too many calls a second; ``code`` and ``errcode`` choose another of its limits."""

    code: str = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
    errcode: int = 90018


class DeadToken(Action, frozen=True, kw_only=True, tag="dead_token"):
    """The answer to a dead token; ``revoke`` also makes every token dead."""

    revoke: bool = False


class Ban(Action, frozen=True, kw_only=True, tag="ban"):
    """What a banned IP address gets: HTTP 200 with something that is no answer."""

    form: Literal["json", "html"] = "json"
    wait: int = 5


class Redirect(Action, frozen=True, kw_only=True, tag="redirect"):
    """A redirect to ``url``."""

    url: str
    status: Annotated[int, Meta(ge=300, le=399)] = 302


class GzipBomb(Action, frozen=True, kw_only=True, tag="gzip_bomb"):
    """A small body that unpacks to so many megabytes of spaces."""

    megabytes: Annotated[int, Meta(ge=1, le=4096)] = 100


# ── Recalls that go wrong for some keys ──────────────────────────────────────────────────────────────


class SomeKeys(Action, frozen=True, kw_only=True):
    """``keys`` of the batch, or its ``first`` so many; without either, all of it."""

    keys: list[str] | None = None
    first: Count | None = None

    def of(self, batch: list[str]) -> list[str]:
        """The keys of a batch that are struck, in its order."""
        if self.keys is not None:
            return [key for key in batch if key in self.keys]
        return batch if self.first is None else batch[: self.first]


class FailKeys(SomeKeys, frozen=True, kw_only=True, tag="fail_keys"):
    """Keys are not recalled and are in ``failedResult``."""

    reason: str = "SYSTEM_ERROR"


class PoisonKeys(SomeKeys, frozen=True, kw_only=True, tag="poison_keys"):
    """As long as one of the keys is in a batch, the whole batch is refused."""

    code: str = "invalid.processQueryKey"


class OmitKeys(SomeKeys, frozen=True, kw_only=True, tag="omit_keys"):
    """Keys are in neither list, ``recalled`` or not."""

    recalled: bool = True


class Both(SomeKeys, frozen=True, kw_only=True, tag="both"):
    """Keys are recalled and in both lists."""

    reason: str = "SYSTEM_ERROR"


class Extra(Action, frozen=True, kw_only=True, tag="extra"):
    """A key nobody asked for is in the answer."""

    key: str = "never-asked-for"
    result: Literal["success", "failed"] = "success"


class ListForm(Action, frozen=True, kw_only=True, tag="list_form"):
    """``failedResult`` is a list of ``{processQueryKey, code}``, as users claim to have seen."""


class NullLists(Action, frozen=True, kw_only=True, tag="null_lists"):
    """Both lists are null. The effect takes place."""


class Partial(Action, frozen=True, kw_only=True, tag="partial"):
    """HTTP 400 ``notRevoke.all.messages`` after the ``first`` so many keys are recalled."""

    first: Count


# ── Other answers that go wrong ──────────────────────────────────────────────────────────────────────


class Paging(Action, frozen=True, kw_only=True, tag="paging"):
    """Readers without end: the same cursor again, ``hasMore`` without a cursor, or ever new pages."""

    mode: Literal["repeat", "no_token", "endless"] = "repeat"


class Mutate(Action, frozen=True, kw_only=True, tag="mutate"):
    """Merge JSON into the body of the answer (RFC 7386: null removes)."""

    merge: dict[str, Any]


AnyAction = (
    Delay
    | Drop
    | Truncate
    | Trickle
    | Status
    | Html
    | Body
    | Throttle
    | DeadToken
    | Ban
    | Redirect
    | GzipBomb
    | FailKeys
    | PoisonKeys
    | OmitKeys
    | Both
    | Extra
    | ListForm
    | NullLists
    | Partial
    | Paging
    | Mutate
)


class Rule(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which calls a fault strikes.

    :param match: An API name, or a part of one, mind the case; empty for all. ``_sandbox`` is never struck.
    :param nth: Numbers of the matching calls that are struck, from 1.
    :param every: Strike every so many matching calls.
    :param probability: Strike at random, by the seed of the world.
    :param times: Stop after so many strikes.
    :param when: Side of the effect; ignored by actions that say themselves whether it takes place.
    :param seen: Matching calls so far; set by the sandbox.
    :param fired: Strikes so far; set by the sandbox.
    """

    action: AnyAction
    match: str = ""
    nth: list[int] | None = None
    every: Annotated[int, Meta(ge=1)] | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    times: Count | None = None
    when: Literal["before", "after"] = "before"
    seen: int = 0
    fired: int = 0

    def strikes(self, api: str, rng: random.Random) -> bool:
        """Count a call, and say whether it is struck."""
        if self.match not in api:
            return False
        self.seen += 1
        if self.times is not None and self.fired >= self.times:
            return False
        if self.nth is not None and self.seen not in self.nth:
            return False
        if self.every is not None and self.seen % self.every:
            return False
        if self.probability is not None and rng.random() >= self.probability:
            return False
        self.fired += 1
        return True


class Faults:
    """The rules in force. All that match a call strike it, in order; the first that answers, answers."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def replace(self, rules: list[Any]) -> None:
        """Set the rules, from structs or plain JSON.

        :raises msgspec.ValidationError: A rule is no rule.
        """
        self.rules = [rule if isinstance(rule, Rule) else msgspec.convert(rule, Rule) for rule in rules]

    def add(self, *rules: Any) -> None:
        """Add rules to those in force."""
        self.replace([*self.rules, *rules])

    def striking(self, api: str, rng: random.Random) -> list[Rule]:
        """The rules that strike this call."""
        return [rule for rule in self.rules if rule.strikes(api, rng)] if self.rules else []


def actions(rules: list[Rule], *types: type[Action]) -> Iterator[Any]:
    """The actions of some types among those that strike a call."""
    return (rule.action for rule in rules if isinstance(rule.action, types))
