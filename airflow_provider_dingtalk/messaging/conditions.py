"""Conditions: what somebody waits for, as data, and the one rule that says whether it is so."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, get_args

from msgspec import Struct

from airflow_provider_dingtalk.api.endpoints import MAX_USERS_PER_WORK_NOTIFICATION
from airflow_provider_dingtalk.api.errors import InvalidInputError, shown
from airflow_provider_dingtalk.messaging.receipts import Group, Kind, Receipt
from airflow_provider_dingtalk.messaging.report import Reason

#: Of several messages, how many must be as wanted.
Match = Literal["all", "any"]
#: Values of ``sendStatus`` that DingTalk's pages document.
SEND_STATUSES = ("SUCCESS", "RECALLED", "PROCESSING")
#: Kinds for which DingTalk itself tells who got a message.
TELLS_RECIPIENTS = frozenset({Kind.OTO, Kind.WORK_NOTIFICATION})
# 0.3 * 10 is a hair more than 3.
_ROUNDING = 1e-9


class Condition(Struct, frozen=True, kw_only=True):
    """What somebody waits for. All that is given must hold, of one and the same message.

    :param send_statuses: The message's ``sendStatus`` is one of these.
    :param min_readers: At least so many people have read it.
    :param read_by: These people, by user id, have read it.
    :param min_read_share: At least this share of those who got it have read it; over 0, up to 1.
    :param audience: How many got it, where that is to be somebody's own word and not DingTalk's.
    :param match: Whether ``all`` messages must be so, or ``any`` one.
    :param needs_recipients: A message that reached no recipient can never be as wanted.
    """

    send_statuses: frozenset[str] = frozenset({"SUCCESS"})
    min_readers: int = 0
    read_by: tuple[str, ...] = ()
    min_read_share: float | None = None
    audience: int | None = None
    match: Match = "all"
    needs_recipients: bool = True

    @property
    def asks_for_readers(self) -> bool:
        """Whether the readers must be looked at, page by page."""
        return self.min_readers > 0 or bool(self.read_by) or self.min_read_share is not None


class Target(Struct, frozen=True):
    """A message to look at: a receipt without what a look does not need, for there may be thousands.

    :param sent: When DingTalk accepted it, in seconds since the epoch. None: unknown.
    :param recipients: To how many people it went, if its receipt says so.
    :param conn_id: Airflow connection that sent it; None: that of the wait.
    """

    group: Group
    key: str
    sent: float | None = None
    recipients: int | None = None
    conn_id: str | None = None


def target_of(receipt: Receipt) -> Target:
    """What of a receipt is needed to look at its message."""
    return Target(receipt.group, receipt.key, receipt.sent(), receipt.recipients, receipt.conn_id)


class Reading(Struct, frozen=True, kw_only=True):
    """A message's state at one moment.

    :param send_status: DingTalk's word, or None while it has none to give.
    :param readers: User ids, in DingTalk's order; None: nobody asked for them.
    :param recipients: To how many people it went; None: not known, or nobody asked.
    :param has_more: There are more readers, and the condition did not need them.
    :param people: User ids of all who got it, if DingTalk listed them and the list is complete.
    :param dropped: User ids, and ``dept:`` with ids of departments, that DingTalk left out, and why.
    :param error: Why DingTalk does not tell the state of this message: code, text, next step; else None.
    """

    key: str
    send_status: str | None
    readers: tuple[str, ...] | None = None
    recipients: int | None = None
    has_more: bool = False
    people: frozenset[str] | None = None
    dropped: dict[str, str] = {}
    error: Reason | None = None


class Judgement(StrEnum):
    """Whether a condition holds."""

    MET = "met"
    NOT_YET = "not_yet"
    NEVER = "never"
    """It cannot hold any more; :func:`obstacle` has the reason."""


class Obstacle(Struct, frozen=True):
    """A reason why a message can never be as wanted.

    :param code: ``recalled``, ``no_recipients``, or ``condition_unreachable``.
    :param problem: The end of a sentence that begins with the message.
    :param next_step: What a person can do about it.
    """

    code: str
    problem: str
    next_step: str


_FEWER = "Lower min_readers or min_read_share, or name fewer people in read_by."


def obstacle(reading: Reading, condition: Condition) -> Obstacle | None:
    """Name what keeps a condition from ever holding for a message; None: it still may."""
    if reading.send_status == "RECALLED" and "RECALLED" not in condition.send_statuses:
        advice = "If that is what you wait for, add RECALLED to send_statuses."
        return Obstacle("recalled", "was recalled", advice)
    if reading.send_status != "SUCCESS" or "SUCCESS" not in condition.send_statuses:
        return None
    if condition.needs_recipients and reading.recipients == 0 and reading.dropped:
        return no_recipients(reading.dropped)
    if reading.people is None:
        return None
    if strangers := sorted(set(condition.read_by) - reading.people):
        problem = f"did not go to {', '.join(strangers[:5])} of read_by"
        return Obstacle("condition_unreachable", problem, "Name people in read_by who got the message.")
    return _too_few(condition, len(reading.people))


def no_recipients(dropped: Mapping[str, str]) -> Obstacle:
    """The obstacle that no recipient got the message."""
    reasons = ", ".join(sorted(set(dropped.values()))[:5])
    problem = (
        f"reached no recipient: DingTalk left out {len(dropped)} ({reasons})"
        if dropped
        else ("reached no recipient, by its own receipt")
    )
    advice = "Check the recipients of the send; fail_on_unreached=False takes the send as done all the same."
    return Obstacle("no_recipients", problem, advice)


def hopeless(target: Target, condition: Condition) -> Obstacle | None:
    """Name what keeps a condition from ever holding, before DingTalk is asked; None: it may hold."""
    is_work = target.group.kind is Kind.WORK_NOTIFICATION
    if is_work and condition.send_statuses <= {"RECALLED"}:
        problem = "is a work notification, and DingTalk never tells that one was recalled"
        return Obstacle("condition_unreachable", problem, "Wait for SUCCESS or PROCESSING.")
    if "SUCCESS" not in condition.send_statuses or target.recipients is None:
        return None
    if target.recipients == 0 and condition.needs_recipients and target.group.kind in TELLS_RECIPIENTS:
        return no_recipients({})
    return _too_few(condition, target.recipients)


def _too_few(condition: Condition, recipients: int) -> Obstacle | None:
    """Compare the readers that are needed with the recipients there are; 0 recipients: not known."""
    most = condition.audience or recipients
    needed = _readers_needed(condition, recipients)
    if not most or needed <= most:
        return None
    return Obstacle("condition_unreachable", f"went to {most} people, and {needed} must have read it", _FEWER)


def _readers_needed(condition: Condition, recipients: int) -> int:
    return max(_needed(condition, recipients) or 0, len(set(condition.read_by)))


def evaluate(reading: Reading, condition: Condition) -> Judgement:
    """Whether a message is as somebody wants it. The one rule for all ways of waiting."""
    if obstacle(reading, condition) is not None:
        return Judgement.NEVER
    if reading.send_status not in condition.send_statuses:
        return Judgement.NOT_YET
    readers = set(reading.readers or ())
    needed = _needed(condition, reading.recipients)
    enough = needed is not None and len(readers) >= needed and readers >= set(condition.read_by)
    return Judgement.MET if enough else Judgement.NOT_YET


def evaluate_all(judgements: Collection[Judgement], condition: Condition) -> Judgement:
    """Whether the messages together are as somebody wants them."""
    if condition.match == "any":
        if Judgement.MET in judgements:
            return Judgement.MET
        return Judgement.NOT_YET if Judgement.NOT_YET in judgements else Judgement.NEVER
    if Judgement.NEVER in judgements:
        return Judgement.NEVER
    return Judgement.NOT_YET if Judgement.NOT_YET in judgements else Judgement.MET


def _needed(condition: Condition, recipients: int | None) -> int | None:
    """How many must have read it. None: nobody can say, since nobody knows of how many."""
    if condition.min_read_share is None:
        return condition.min_readers
    audience = condition.audience or recipients
    if not audience:
        return None
    return max(condition.min_readers, math.ceil(condition.min_read_share * audience - _ROUNDING))


def condition_of(
    send_statuses: Collection[str] | None,
    min_readers: Any = 0,
    read_by: Collection[str] | None = None,
    *,
    min_read_share: Any = None,
    audience: Any = None,
    match: Any = "all",
    needs_recipients: bool = True,
) -> Condition:
    """A condition out of an operator's arguments.

    :raises InvalidInputError: If a number is out of range, a list or a word is not valid, or more people must have
        read a message than got it.
    """
    if not _is_whole(min_readers, at_least=0):
        raise InvalidInputError("min_readers", "must be a whole number, 0 or more")
    if audience is not None and not _is_whole(audience, at_least=1):
        raise InvalidInputError("audience", "must be a whole number, 1 or more")
    if min_read_share is not None and not _is_share(min_read_share):
        raise InvalidInputError("min_read_share", "must be a number over 0 and up to 1, e.g. 0.8")
    if match not in get_args(Match):
        raise InvalidInputError("match", f"is {shown(match)}; use all or any")
    for field, words in (("send_statuses", send_statuses), ("read_by", read_by)):
        _check_words(field, words)
    _check_statuses(send_statuses or ())
    condition = Condition(
        send_statuses=frozenset(send_statuses or {"SUCCESS"}),
        min_readers=min_readers,
        read_by=tuple(read_by or ()),
        min_read_share=None if min_read_share is None else float(min_read_share),
        audience=audience,
        match=match,
        needs_recipients=needs_recipients,
    )
    if audience is not None and _too_few(condition, audience):
        needed = _readers_needed(condition, audience)
        raise InvalidInputError("audience", f"Invalid audience: {audience}; {needed} must have read it. {_FEWER}")
    return condition


def _check_statuses(words: Collection[str]) -> None:
    if unknown := sorted(set(words) - {*SEND_STATUSES}):
        shown = ", ".join(repr(word[:40]) for word in unknown[:5])
        problem = f"Invalid send_statuses: {shown}; expected some of: {', '.join(SEND_STATUSES)}"
        raise InvalidInputError("send_statuses", problem)


def _is_whole(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _check_words(field: str, words: Any) -> None:
    if words is not None and not (isinstance(words, Collection) and not isinstance(words, str | bytes)):
        raise InvalidInputError(field, f"must be a list, not {type(words).__name__}")
    if not all(isinstance(word, str) and word for word in words or ()):
        raise InvalidInputError(field, "must be a list of texts")


def check_targets(condition: Condition, targets: Iterable[Target]) -> None:
    """Refuse what can never be known or never hold of a message, before DingTalk is asked.

    With ``match="any"`` a condition is refused only if it can hold for none of the messages.

    :raises InvalidInputError: If DingTalk cannot tell readers or share, or the condition can never hold.
    """
    targets = list(targets)
    _check_knowable(condition, targets)
    obstacles = [(target, found) for target in targets if (found := hopeless(target, condition))]
    if obstacles and (condition.match == "all" or len(obstacles) == len(targets)):
        target, found = obstacles[0]
        raise InvalidInputError("receipts", f"the message {target.key} {found.problem}. {found.next_step}")


def _check_knowable(condition: Condition, targets: Iterable[Target]) -> None:
    for target in targets:
        kind, known = target.group.kind, target.recipients
        if kind is Kind.DING:
            raise InvalidInputError("receipts", "DINGs cannot be asked for their state")
        if not condition.asks_for_readers:
            continue
        if kind is Kind.WORK_NOTIFICATION and (known or 0) > MAX_USERS_PER_WORK_NOTIFICATION:
            # https://open.dingtalk.com/document/development/gets-the-result-of-sending-messages-asynchronously-to-the-enterprise
            most = MAX_USERS_PER_WORK_NOTIFICATION
            problem = f"{target.key} went to {known} people; DingTalk tells who read it for up to {most}"
            raise InvalidInputError("receipts", problem)
        if condition.min_read_share and not (condition.audience or known or kind in TELLS_RECIPIENTS):
            problem = f"nobody knows to how many people the {kind} message went; give audience"
            raise InvalidInputError("min_read_share", problem)
