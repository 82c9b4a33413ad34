"""Fault injection by rules, which select calls and name an action.

A rule is plain JSON, see :class:`Rule`. Its ``action`` is one of the structs here, selected by ``type``. With
``when`` set to ``before`` the fault applies before the effect, so DingTalk did nothing; with ``after`` the effect
took place.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]


A = TypeVar("A", bound="Action")


class Action(Struct, forbid_unknown_fields=True, tag_field="type"):
    """Action of a fault."""

    @property
    def type(self) -> str:
        """Name of the action in rules, such as ``drop``."""
        return str(self.__struct_config__.tag)


class Delay(Action, tag="delay"):
    """Delay of the response, which is then unchanged.

    A client that disconnects during a delay ``before`` the effect prevents the effect, unless ``although_gone``.
    """

    seconds: Annotated[float, Meta(ge=0)]  # Delay in seconds
    although_gone: bool = False


class Drop(Action, tag="drop"):
    """Cut connection without a response."""

    reset: bool = False  # Cut it by a TCP reset; default False


class Truncate(Action, tag="truncate"):
    """Cut connection after a part of the announced body. The effect takes place."""

    bytes: Count  # Number of bytes that are sent


class Trickle(Action, tag="trickle"):
    """Slowly sent body. The effect takes place."""

    bytes_per_second: Annotated[float, Meta(gt=0)]


class Status(Action, tag="status"):
    """API error in the form of DingTalk.

    :param status: HTTP status of the new host; the old host always answers 200. Default 500.
    :param errcode: Error number of the old host; default 500.
    :param wrapped: Put the number into ``sub_code`` under ``errcode`` 88; default False.
    :param headers: Additional headers, such as ``Retry-After``.
    """

    status: Annotated[int, Meta(ge=200, le=599)] = 500
    code: str = "system.error"
    message: str = "injected fault"
    errcode: int = 500
    wrapped: bool = False
    headers: dict[str, str] = {}


class Html(Action, tag="html"):
    """HTML page, as proxies send it."""

    status: Annotated[int, Meta(ge=200, le=599)] = 502
    html: str = "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


class Body(Action, tag="body"):
    """Response with any text as its body."""

    text: str
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    content_type: str = "application/json;charset=utf-8"


class Throttle(Action, tag="throttle"):
    """Throttling by the gateway, by default for too many calls a second.

    ``code`` and ``errcode`` select another of its limits.
    """

    code: str = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
    errcode: int = 90018


class DeadToken(Action, tag="dead_token"):
    """Response to a dead token."""

    revoke: bool = False  # Also revoke all tokens; default False


class Ban(Action, tag="ban"):
    """Response to a banned IP address: HTTP 200 with a firewall's page."""

    form: Literal["json", "html"] = "json"
    wait: int = 5


class Redirect(Action, tag="redirect"):
    """Redirect to ``url``."""

    url: str
    status: Annotated[int, Meta(ge=300, le=399)] = 302


class GzipBomb(Action, tag="gzip_bomb"):
    """Small compressed body of many spaces."""

    megabytes: Annotated[int, Meta(ge=1, le=4096)] = 100  # Size after decompression in megabytes; default 100


class SomeKeys(Action):
    """Action on some keys of a recall's batch.

    :param keys: Keys that it applies to; default None.
    :param first: Number of keys at the start of the batch, used without ``keys``; default None for all keys.
    """

    keys: list[str] | None = None
    first: Count | None = None

    def of(self, batch: list[str]) -> list[str]:
        """Select the batch's keys that the action applies to, in order."""
        if self.keys is not None:
            return [key for key in batch if key in self.keys]
        return batch if self.first is None else batch[: self.first]


class FailKeys(SomeKeys, tag="fail_keys"):
    """Failed keys, which are not recalled and are in ``failedResult``."""

    reason: str = "SYSTEM_ERROR"


class PoisonKeys(SomeKeys, tag="poison_keys"):
    """Keys that make DingTalk refuse every batch with one of them."""

    code: str = "invalid.processQueryKey"


class OmitKeys(SomeKeys, tag="omit_keys"):
    """Omitted keys, which are in neither list."""

    recalled: bool = True  # Recall them nevertheless; default True


class Both(SomeKeys, tag="both"):
    """Keys that are recalled and in both lists."""

    reason: str = "SYSTEM_ERROR"


class Extra(Action, tag="extra"):
    """Key in the response that the call did not name."""

    key: str = "never-asked-for"
    result: Literal["success", "failed"] = "success"


class ListForm(Action, tag="list_form"):
    """``failedResult`` as list of ``{processQueryKey, code}``, as users claim to have seen."""


class NullLists(Action, tag="null_lists"):
    """Null in place of both lists. The effect takes place."""


class Partial(Action, tag="partial"):
    """HTTP 400 ``notRevoke.all.messages`` after the first keys are recalled."""

    first: Count  # Number of keys that are recalled


class Paging(Action, tag="paging"):
    """Endless pages of readers.

    :param mode: ``repeat`` (default) returns the same cursor again, ``no_token`` sets ``hasMore`` without a
        cursor, and ``endless`` returns new cursors without end.
    """

    mode: Literal["repeat", "no_token", "endless"] = "repeat"


class Mutate(Action, tag="mutate"):
    """JSON merged into the response's body (RFC 7386, where null removes)."""

    merge: dict[str, Any]


AnyAction = (
    Delay | Drop | Truncate | Trickle | Status | Html | Body | Throttle | DeadToken | Ban | Redirect | GzipBomb
    | FailKeys | PoisonKeys | OmitKeys | Both | Extra | ListForm | NullLists | Partial | Paging | Mutate
)  # fmt: skip


class Rule(Struct, kw_only=True, forbid_unknown_fields=True):
    """Rule that selects the calls of a fault.

    :param match: API name or a part of it, case-sensitive; default empty for all. It never matches ``_sandbox``.
    :param body: Part of the request's body; default empty for all.
    :param nth: Numbers of the matching calls that the fault applies to, from 1; default None for all.
    :param every: Apply to each matching call whose number is a multiple of this; default None.
    :param probability: Probability of the fault, from 0 to 1, by the state's seed; default None for 1.
    :param times: Maximum number of calls that the fault applies to; default None for no limit.
    :param when: Side of the effect, ``before`` (default) or ``after``. Actions with a fixed effect ignore it.
    :param seen: Number of matching calls so far; set by the sandbox.
    :param fired: Number of calls that the fault applied to so far; set by the sandbox.
    """

    action: AnyAction
    match: str = ""
    body: str = ""
    nth: list[int] | None = None
    every: Annotated[int, Meta(ge=1)] | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    times: Count | None = None
    when: Literal["before", "after"] = "before"
    seen: int = 0
    fired: int = 0

    def applies_to(self, api: str, body: bytes, rng: random.Random) -> bool:
        """Count a call and return True if the fault applies to it."""
        if self.match not in api or self.body.encode() not in body:
            return False
        self.seen += 1
        applies = (
            (self.times is None or self.fired < self.times)
            and (self.nth is None or self.seen in self.nth)
            and (self.every is None or self.seen % self.every == 0)
            and (self.probability is None or rng.random() < self.probability)
        )
        self.fired += applies
        return applies


class Faults:
    """Active rules. All that match a call apply in order; the first response is sent."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def replace(self, rules: list[Any]) -> None:
        """Replace the active rules.

        :param rules: Structs or plain JSON.
        :raises msgspec.ValidationError: If a rule is invalid.
        """
        self.rules = [rule if isinstance(rule, Rule) else msgspec.convert(rule, Rule) for rule in rules]

    def add(self, *rules: Any) -> None:
        """Add rules to the active ones."""
        self.replace([*self.rules, *rules])

    def rules_for(self, api: str, body: bytes, rng: random.Random) -> list[Rule]:
        """Count a call and return the rules that apply to it."""
        return [rule for rule in self.rules if rule.applies_to(api, body, rng)]


def actions(rules: list[Rule], type_: type[A]) -> list[A]:
    """Return the actions of a type from a call's rules."""
    return [rule.action for rule in rules if isinstance(rule.action, type_)]
