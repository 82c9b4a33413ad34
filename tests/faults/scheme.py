"""Data types of the fault matrix: faults, the calls they hit, and the required result."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.faults import Rule
from tests.faults.fixtures import CanarySandbox

#: A fault hits one of this many calls, by default.
ONE_IN = 6
#: Number of calls for which it is decided in advance if a fault hits them.
CALLS_FORESEEN = 12_000
#: Retries of a task, as usual in Airflow.
RETRIES = 2
#: Part of the names of all recall APIs.
RECALLS = "ecall"

PAGE = "<html><body>proxy-page-body-must-not-be-logged</body></html>"
MIXED = {Kind.GROUP: 40, Kind.OTO: 30, Kind.PRIVATE_CHAT: 26, Kind.WORK_NOTIFICATION: 2, Kind.DING: 2}
ROBOTS = {Kind.GROUP: 40, Kind.OTO: 30, Kind.PRIVATE_CHAT: 30}


@dataclass(frozen=True, slots=True)
class CallFault:
    """CallFault of one call: actions of the sandbox, applied together, before or after the effect."""

    actions: tuple[dict[str, Any], ...]
    when: str = "before"


def fault(type_: str, when: str = "before", **fields: Any) -> CallFault:
    """Return a fault of one action."""
    return CallFault(({"type": type_, **fields},), when)


def both_sides(type_: str, **fields: Any) -> tuple[CallFault, CallFault]:
    """Return a fault before the effect, and the same after it."""
    return fault(type_, "before", **fields), fault(type_, "after", **fields)


def throttled(**fields: Any) -> CallFault:
    """Return a throttling fault: HTTP 429, or the errcode of the legacy host."""
    return fault("status", status=429, code="", errcode=90018, wrapped=True, **fields)


def body(text: str, **fields: Any) -> tuple[CallFault, CallFault]:
    """Return faults that replace the body, before the effect and after it."""
    return both_sides("body", text=text, **fields)


def pages(status: int) -> tuple[CallFault, CallFault]:
    """Return faults that answer with an HTML page whose text must not be logged."""
    return both_sides("html", status=status, html=PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """Selection of calls, each of which is hit by one of several faults.

    :param one_in: Hit one random call of each block of this many, so the share holds from the first calls on;
        default 6.
    :param from_call: Hit every call from this number on instead.
    """

    faults: tuple[CallFault, ...]
    match: str = RECALLS
    one_in: int = ONE_IN
    from_call: int | None = None

    def rules(self, rng: random.Random) -> list[Rule]:
        """Return the sandbox's fault rules."""
        if self.from_call is not None:
            numbers = list(range(self.from_call, CALLS_FORESEEN))
        else:
            numbers = [begin + rng.randrange(self.one_in) for begin in range(1, CALLS_FORESEEN, self.one_in)]
        chosen: list[list[int]] = [[] for _ in self.faults]
        for number in numbers:
            chosen[rng.randrange(len(chosen))].append(number)
        return [
            Rule(match=self.match, nth=InOrder(nth), when=chosen_fault.when, action=action)  # type: ignore[arg-type]
            for nth, chosen_fault in zip(chosen, self.faults, strict=True)
            for action in (msgspec.convert({"action": one}, Rule).action for one in chosen_fault.actions)
        ]


class InOrder(list[int]):
    """List of numbers with set look-up, because a rule looks up every call."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__(numbers)
        self._set = frozenset(numbers)

    def __contains__(self, number: object) -> bool:
        return number in self._set


Prepare = Callable[[CanarySandbox, int], list[Receipt]]
Way = Callable[[CanarySandbox, random.Random], httpx.AsyncBaseTransport]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A recall under a fault, and its required result.

    :param label: Name of the case in its row.
    :param injections: Faults of the sandbox.
    :param switches: Behaviour of the sandbox.
    :param mix: Percentages of the kinds of messages.
    :param prepare: Function that makes the messages instead of ``mix``.
    :param way: Factory of a transport with its own faults; it has ``hits`` and ``seen``.
    :param over_socket: Use a real socket, so connections really break.
    :param deadline: Timeout of a request in seconds of the wall clock; default 30.
    :param wall_clock: The client's pauses take real time.
    :param runs: Maximum number of runs with one checkpoint, as with Airflow's retries; higher for faults that stop
        a recall.
    :param cleared: Each further run follows a clear of the task, so it repeats what failed permanently.
    :param recovers: The server recovers in time, so no message whose status can be polled may stay unknown.
    :param failed_codes: Codes with which messages may fail although their status can be polled.
    :param expired: True if messages may be expired.
    :param hits_of: Base of the share of hits. ``rules``: calls that match the rules. ``refused``: recall calls
        that exceed ``max_keys``. ``keys``: messages in ``bad_keys``.
    :param most: Additional assertions about the result.
    :param slow: The case takes more than two seconds for any number of keys.
    """

    label: str = ""
    injections: tuple[Injection, ...] = ()
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
    hits_of: str = "rules"
    most: Callable[[Any], None] | None = None
    slow: bool = False

    @property
    def stops(self) -> bool:
        """True if the fault stops a recall, so it takes many runs."""
        return self.runs > RETRIES + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the matrix.

    :param number: Number of the row, 1 to 51.
    :param name: Name of the fault.
    :param cases: Recalls; the row's keys are divided among them.
    :param specials: Functions of this package as ``module:function``, for rows that are not only recalls.
    :param elsewhere: Module that runs the row instead.
    :param missing: Reason why the row is not run at all.
    :param slow: The row takes more than two seconds for any number of keys.
    """

    number: int
    name: str
    cases: tuple[Case, ...] = ()
    specials: tuple[str, ...] = ()
    elsewhere: str = ""
    missing: str = ""
    slow: bool = False


def hit_by(*faults: CallFault, match: str = RECALLS, one_in: int = ONE_IN, **case: Any) -> Case:
    """Return a case with one selection of calls."""
    return Case(injections=(Injection(faults=faults, match=match, one_in=one_in),), **case)
