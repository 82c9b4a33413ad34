"""Waits as data: their terms, how far they are, and how they end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.api.endpoints import MAX_RESULTS_PER_PAGE
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.messaging.conditions import Obstacle
from airflow_provider_dingtalk.messaging.spacing import MAX_API_CALLS, Spacing

log = logging.getLogger(__name__)

#: What reading a stored value raises if this package did not write it.
UNREADABLE = (msgspec.ValidationError, RecursionError, OverflowError)


class MessageRecalledError(DingTalkError):
    """The message was recalled while somebody waited for something else."""

    permanent = True


class NoRecipientsError(DingTalkError):
    """The message reached no recipient."""

    permanent = True


class ConditionUnreachableError(DingTalkError):
    """The condition of a wait can never hold for the message."""

    permanent = True


class TooManyCallsError(DingTalkError):
    """The wait has used up the calls that it was given."""

    permanent = True


class Terms(Struct, frozen=True, kw_only=True):
    """How long and how often to look.

    :param began: When the wait began, in seconds since the epoch. A beat is counted from here, and the age of
        messages whose ``sent_at`` is not known.
    :param end: When to look for the last time. None: never.
    :param max_api_calls: Calls after which the wait ends in an error, those for tokens included.
    """

    spacing: Spacing
    began: float
    end: float | None = None
    max_api_calls: int = MAX_API_CALLS


class Seen(Struct, frozen=True, array_like=True):
    """What is kept of a look at a message: a few bytes, since there may be thousands.

    :param readers: How many have read it. None: nobody asked.
    :param has_more: There are more, and nobody needed to know.
    :param who: Their user ids, if somebody wants to know.
    :param dropped: Recipients that DingTalk left out, by user id, and why.
    """

    send_status: str | None
    readers: int | None = None
    has_more: bool = False
    who: tuple[str, ...] | None = None
    dropped: dict[str, str] | None = None


class State(Struct, kw_only=True):
    """How far a wait is, as plain JSON: what a look must know of those before it.

    :param looked: When the last look began that reached all that was due.
    :param used: Calls, by what they were for.
    :param met_by_key: What is as wanted, by message key.
    :param lost_keys: Keys of what can never be as wanted.
    :param sent_keys: Keys of work notifications that went out: no need to ask that again.
    """

    # Version 1 named messages by place, in `met`, `lost` and `sent`. They are not read: the wait looks again.
    looked: float | None = None
    used: dict[str, int] = {}
    met_by_key: dict[str, Seen] = {}
    lost_keys: list[str] = []
    sent_keys: list[str] = []


def entry(key: str, seen: Seen, with_readers: bool) -> dict[str, Any]:
    """A message as it was last seen, as plain JSON."""
    return {
        "key": key,
        "send_status": seen.send_status,
        "readers": seen.readers,
        **({"has_more_readers": True} if seen.has_more else {}),
        **({"read_user_ids": list(seen.who or ())} if with_readers else {}),
        **({"dropped": seen.dropped} if seen.dropped else {}),
    }


def extra_pages(seen: Seen) -> int:
    """Further calls that the next look at its readers takes."""
    return max(0, (seen.readers or 0) - 1) // MAX_RESULTS_PER_PAGE


#: Errors of a wait by their code: a trigger's event holds the code only.
ERRORS: dict[str, type[DingTalkError]] = {
    "recalled": MessageRecalledError,
    "no_recipients": NoRecipientsError,
    "condition_unreachable": ConditionUnreachableError,
    "max_api_calls": TooManyCallsError,
}


def error_of(key: str, found: Obstacle) -> DingTalkError:
    """Make the error for a message that can never be as wanted."""
    text = f"The message {key} {found.problem}."
    return ERRORS[found.code](text, code=found.code, next_step=found.next_step)


def state_of(value: Mapping[str, Any] | None) -> State:
    """Read a state from plain JSON; one that cannot be read is discarded, since a wait may look again."""
    try:
        return msgspec.convert(value or {}, State)
    except UNREADABLE as error:
        log.warning("The wait begins anew: its state cannot be read (%s).", type(error).__name__)
        return State()
