"""Conditions of a wait as data, and the rule that evaluates them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Literal, get_args

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import InvalidInputError, shown
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey

#: Number of messages that must meet the condition.
Match = Literal["all", "any"]
#: Values of ``sendStatus`` that DingTalk's pages document.
SEND_STATUSES = ("SUCCESS", "RECALLED", "PROCESSING")
# 0.07 * 100 is 7.000000000000001, so math.ceil() without a tolerance would give 8.
_ROUNDING = 1e-9


class Condition(Struct, frozen=True, kw_only=True):
    """Condition of a wait; one message must meet all of its fields.

    :param send_statuses: Accepted values of the message's ``sendStatus``; default SUCCESS.
    :param min_readers: Minimum number of readers; default 0.
    :param read_by: User ids of people who must have read it; default empty.
    :param min_read_share: Minimum share of the recipients who have read it, over 0 and up to 1. None disables it.
    :param audience: Number of recipients, instead of that of DingTalk or the receipt; default None.
    :param match: ``all`` (default) if each message must meet the condition, ``any`` if one is enough.
    :param needs_recipients: If True (default), a message without recipients can never meet the condition.
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
        """True if a poll must fetch the readers, page by page."""
        return self.min_readers > 0 or bool(self.read_by) or self.min_read_share is not None


class Target(Struct, frozen=True):
    """Message to poll: the fields of its receipt that polls need.

    It is small, since a wait may have thousands.

    :param sent: Unix time in seconds at which DingTalk accepted it; None if unknown.
    :param recipients: Number of recipients, if its receipt has it.
    :param conn_id: Airflow connection that sent it; None means that of the wait.
    """

    sender_key: SenderKey
    key: str
    sent: float | None = None
    recipients: int | None = None
    conn_id: str | None = None


def target_of(receipt: Receipt) -> Target:
    """Return the fields of a receipt that polls need."""
    return Target(receipt.sender_key, receipt.key, receipt.sent(), receipt.recipients, receipt.conn_id)


class MessageStatus(Struct, frozen=True, kw_only=True):
    """Status of a message at one poll.

    :param send_status: DingTalk's ``sendStatus``; None while DingTalk has none.
    :param readers: User ids in DingTalk's order; None if the caller did not request them.
    :param recipients: Number of recipients; None if unknown or not requested.
    :param has_more: True if there are more readers, which the condition did not need.
    :param people: User ids of all recipients, if DingTalk listed them completely; else None.
    :param dropped: Reason for each recipient that DingTalk left out, by user id or ``dept:`` and department id.
    :param error: Reason (code, text, next step) why the status could not be read; else None.
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
    """Result of evaluating a condition."""

    MET = "met"
    NOT_YET = "not_yet"
    NEVER = "never"
    """The condition cannot hold any more; :func:`obstacle` returns the reason."""


class Obstacle(Struct, frozen=True):
    """Reason why a message can never meet a condition.

    :param code: ``recalled``, ``no_recipients``, or ``condition_unreachable``.
    :param problem: End of a sentence that begins with the message.
    :param next_step: Next step for the user.
    :param problem_zh: The same end in Chinese.
    """

    code: str
    problem: str
    next_step: str
    problem_zh: str


_FEWER = "Lower min_readers or min_read_share, or name fewer people in read_by."


def obstacle(message_status: MessageStatus, condition: Condition) -> Obstacle | None:
    """Return the reason why a message can never meet a condition.

    :returns: None if the message still may meet it.
    """
    if message_status.send_status == "RECALLED" and "RECALLED" not in condition.send_statuses:
        advice = "If that is what you wait for, add RECALLED to send_statuses."
        return Obstacle("recalled", "was recalled", advice, "已被撤回")
    if message_status.send_status == "SUCCESS" and condition.send_statuses == {"PROCESSING"}:
        problem, zh = "is sent, and will not be PROCESSING again", "已发送，不会再处于 PROCESSING"
        return Obstacle("condition_unreachable", problem, "Wait for SUCCESS.", zh)
    if message_status.send_status != "SUCCESS" or "SUCCESS" not in condition.send_statuses:
        return None
    if condition.needs_recipients and message_status.recipients == 0 and message_status.dropped:
        return no_recipients(message_status.dropped)
    if message_status.people is None:
        return None
    if strangers := sorted(set(condition.read_by) - message_status.people):
        names = ", ".join(strangers[:5])
        return Obstacle(
            "condition_unreachable",
            f"did not go to {names} of read_by",
            "Name people in read_by who got the message.",
            f"没有发给 read_by 中的 {names}",
        )
    return too_few_recipients(condition, len(message_status.people))


def no_recipients(dropped: Mapping[str, str]) -> Obstacle:
    """Return the obstacle of a message that reached no recipient.

    :param dropped: Reason for each recipient that DingTalk left out; empty if only the receipt is known.
    """
    reasons = ", ".join(sorted(set(dropped.values()))[:5])
    how = f": DingTalk left out {len(dropped)} ({reasons})" if dropped else ", by its own receipt"
    how_zh = f"：钉钉遗漏 {len(dropped)} 人（{reasons}）" if dropped else "（据其回执）"
    advice = "Check the recipients of the send; fail_on_unreached=False takes the send as done all the same."
    return Obstacle("no_recipients", f"reached no recipient{how}", advice, f"没有送达任何人{how_zh}")


def too_few_recipients(condition: Condition, recipients: int) -> Obstacle | None:
    """Return an obstacle if the condition needs more readers than recipients.

    :param recipients: Number of recipients; 0 if unknown.
    """
    most = condition.audience or recipients
    needed = _readers_needed(condition, recipients)
    if not most or needed <= most:
        return None
    problem, zh = f"went to {most} people, and {needed} must have read it", f"只发给 {most} 人，却要求 {needed} 人已读"
    return Obstacle("condition_unreachable", problem, _FEWER, zh)


def _readers_needed(condition: Condition, recipients: int) -> int:
    return max(_needed(condition, recipients) or 0, len(set(condition.read_by)))


def evaluate(message_status: MessageStatus, condition: Condition) -> Judgement:
    """Evaluate a condition for one message, for all ways of waiting."""
    if obstacle(message_status, condition) is not None:
        return Judgement.NEVER
    if message_status.send_status not in condition.send_statuses:
        return Judgement.NOT_YET
    readers = set(message_status.readers or ())
    needed = _needed(condition, message_status.recipients)
    enough = needed is not None and len(readers) >= needed and readers >= set(condition.read_by)
    return Judgement.MET if enough else Judgement.NOT_YET


def evaluate_all(judgements: Collection[Judgement], condition: Condition) -> Judgement:
    """Combine the judgements of all messages into one."""
    decisive, rest = Judgement.NEVER, Judgement.MET
    if condition.match == "any":
        decisive, rest = rest, decisive
    return next((one for one in (decisive, Judgement.NOT_YET) if one in judgements), rest)


def _needed(condition: Condition, recipients: int | None) -> int | None:
    """Return the number of readers needed; None if the audience is unknown."""
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
    """Build a condition from an operator's arguments.

    :raises InvalidInputError: If an argument is invalid, or more readers are required than ``audience``.
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
    if audience is not None and too_few_recipients(condition, audience):
        needed = _readers_needed(condition, audience)
        raise InvalidInputError("audience", f"Invalid audience: {audience}; {needed} must have read it. {_FEWER}")
    return condition


def _check_statuses(words: Collection[str]) -> None:
    if unknown := sorted(set(words) - {*SEND_STATUSES}):
        shown = ", ".join(repr(word[:40]) for word in unknown[:5])
        problem = f"Invalid send_statuses: {shown}; expected some of: {', '.join(SEND_STATUSES)}"
        raise InvalidInputError("send_statuses", problem)


def _is_whole(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and at_least <= value < 2**63


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _check_words(field: str, words: Any) -> None:
    if words is not None and not (isinstance(words, Collection) and not isinstance(words, str | bytes)):
        raise InvalidInputError(field, f"must be a list, not {type(words).__name__}")
    if not all(isinstance(word, str) and word for word in words or ()):
        raise InvalidInputError(field, "must be a list of texts")
