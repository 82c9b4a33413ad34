"""What a row of the fault matrix is made of: which calls are struck by what, and how it must end."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt
from airflow_provider_dingtalk.sandbox.faults import Rule
from tests.faults.stage import Stage

#: One in so many calls is struck.
ONE_IN = 6
#: Calls for which it is decided beforehand whether they are struck.
CALLS_FORESEEN = 12_000
#: What a task usually has.
RETRIES = 2
#: All recall APIs, whatever their names, have this in common.
RECALLS = "ecall"

PAGE = "<html><body>proxy-page-body-must-not-be-logged</body></html>"
MIXED = {Kind.GROUP: 40, Kind.OTO: 30, Kind.PRIVATE_CHAT: 26, Kind.WORK_NOTIFICATION: 2, Kind.DING: 2}
ROBOTS = {Kind.GROUP: 40, Kind.OTO: 30, Kind.PRIVATE_CHAT: 30}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of striking a call: actions of the sandbox, all at once, on one side of the effect."""

    actions: tuple[dict[str, Any], ...]
    when: str = "before"


def fault(type_: str, when: str = "before", **fields: Any) -> Fault:
    """A fault of one action."""
    return Fault(({"type": type_, **fields},), when)


def both_sides(type_: str, **fields: Any) -> tuple[Fault, Fault]:
    """A fault before the effect, and the same after it."""
    return fault(type_, "before", **fields), fault(type_, "after", **fields)


def throttled(**fields: Any) -> Fault:
    """HTTP 429, or its like on the old host."""
    return fault("status", status=429, code="", errcode=90018, wrapped=True, **fields)


def body(text: str, **fields: Any) -> tuple[Fault, Fault]:
    """Another body, before the effect and after it."""
    return both_sides("body", text=text, **fields)


def pages(status: int) -> tuple[Fault, Fault]:
    """A page for people, with something in it that must not be logged."""
    return both_sides("html", status=status, html=PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """Calls that are struck, each by one of several faults.

    :param one_in: One of so many calls in a row, at random, so that the share holds from the first calls on.
    :param from_call: Strike every call from this one on instead.
    """

    faults: tuple[Fault, ...]
    match: str = RECALLS
    one_in: int = ONE_IN
    from_call: int | None = None

    def rules(self, rng: random.Random) -> list[Rule]:
        """The sandbox's rules for it."""
        if self.from_call is not None:
            numbers = list(range(self.from_call, CALLS_FORESEEN))
        else:
            numbers = [begin + rng.randrange(self.one_in) for begin in range(1, CALLS_FORESEEN, self.one_in)]
        chosen: list[list[int]] = [[] for _ in self.faults]
        for number in numbers:
            chosen[rng.randrange(len(chosen))].append(number)
        return [
            Rule(match=self.match, nth=InOrder(nth), when=struck.when, action=action)  # type: ignore[arg-type]
            for nth, struck in zip(chosen, self.faults, strict=True)
            for action in (msgspec.convert({"action": one}, Rule).action for one in struck.actions)
        ]


class InOrder(list[int]):
    """Numbers that are looked up as in a set: a rule asks for each call."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__(numbers)
        self._set = frozenset(numbers)

    def __contains__(self, number: object) -> bool:
        return number in self._set


Prepare = Callable[[Stage, int], list[Receipt]]
Way = Callable[[Stage, random.Random], httpx.AsyncBaseTransport]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A recall under a fault, and how it must end.

    :param label: Tells the cases of a row apart.
    :param strikes: What the sandbox does.
    :param switches: The sandbox's behaviour.
    :param mix: Kinds of messages, by their share of a hundred.
    :param prepare: Makes the messages instead of ``mix``.
    :param way: Another way to the sandbox, with faults of its own: it has ``struck`` and ``seen``.
    :param over_socket: Through a real socket, where connections really break.
    :param deadline: Seconds for one request; counted by the wall clock.
    :param wall_clock: The client's pauses take their time too.
    :param runs: Runs on one ledger at most, as Airflow's retries; more for what stops a recall.
    :param cleared: Each further run is after a clear of the task, which tries again what failed for good.
    :param recovers: The server recovers in time: nothing that can be asked about may stay unknown.
    :param failed_codes: Codes with which messages that can be asked about may fail, and still be there.
    :param expired: Whether messages may be expired.
    :param struck_by: ``rules``: the share is of the rules' counts; ``refused``: of the recall calls, those
        that are refused; ``keys``: of the messages that are not as they should be.
    :param most: More that must be so, for all that happened.
    """

    label: str = ""
    strikes: tuple[Strike, ...] = ()
    switches: Mapping[str, Any] = field(default_factory=dict)
    mix: Mapping[Kind, int] = field(default_factory=lambda: MIXED)
    prepare: Prepare | None = None
    way: Way | None = None
    over_socket: bool = False
    deadline: float = 30.0
    wall_clock: bool = False
    runs: int = RETRIES + 1
    cleared: bool = False
    recovers: bool = True
    failed_codes: frozenset[str] = frozenset()
    expired: bool = False
    struck_by: str = "rules"
    most: Callable[[Any], None] | None = None
    slow: bool = False

    @property
    def stops(self) -> bool:
        """Whether the fault stops a recall, so that it takes many runs."""
        return self.runs > RETRIES + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the matrix.

    :param name: In the matrix's words.
    :param cases: Recalls; the row's keys are shared out among them.
    :param specials: ``module:function`` in this folder, for what is about something else than a recall.
    :param elsewhere: Where it is run instead.
    :param missing: Why it is not run at all.
    :param slow: Takes more than two seconds whatever the number of keys.
    """

    number: int
    name: str
    cases: tuple[Case, ...] = ()
    specials: tuple[str, ...] = ()
    elsewhere: str = ""
    missing: str = ""
    slow: bool = False


def struck_by(*faults: Fault, match: str = RECALLS, one_in: int = ONE_IN, **case: Any) -> Case:
    """A case with one strike."""
    return Case(strikes=(Strike(faults=faults, match=match, one_in=one_in),), **case)
