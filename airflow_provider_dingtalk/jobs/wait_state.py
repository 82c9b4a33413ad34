"""Waits as data: options, progress, and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.client.endpoints import MAX_RESULTS_PER_PAGE
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.poll_schedule import MAX_API_CALLS, PollSchedule
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.conditions import Obstacle

log = get_logger(__name__)

#: Exceptions from reading a stored value that this package did not write.
UNREADABLE = (msgspec.ValidationError, RecursionError, OverflowError)
#: Errors of a wait by code, since a trigger's event holds the code only.
ERRORS: dict[str, type[DingTalkError]] = {
    "recalled": exceptions.MessageRecalledError,
    "no_recipients": exceptions.NoRecipientsError,
    "condition_unreachable": exceptions.ConditionUnreachableError,
    "max_api_calls": exceptions.TooManyCallsError,
}


class WaitOptions(Struct, frozen=True, kw_only=True):
    """Options of a wait: poll schedule, end, and maximum API calls.

    :param began: Unix time in seconds at which the wait began. A fixed interval starts here, and the age of
        messages with unknown ``sent_at``.
    :param end: Unix time in seconds of the last poll. None means no end.
    :param max_api_calls: Calls after which the wait ends in an error, including those for tokens; default 1000.
    """

    poll_schedule: PollSchedule
    began: float
    end: float | None = None
    max_api_calls: int = MAX_API_CALLS


class LastStatus(Struct, frozen=True, array_like=True):
    """Last status of a message, kept small for thousands of messages.

    :param readers: Number of readers; None if not requested.
    :param has_more: True if there are more readers, which the condition did not need.
    :param read_user_ids: User ids of the readers, if the caller requested them.
    :param dropped: Reason for each recipient that DingTalk left out, by user id.
    """

    send_status: str | None
    readers: int | None = None
    has_more: bool = False
    read_user_ids: tuple[str, ...] | None = None
    dropped: dict[str, str] | None = None

    @property
    def extra_pages(self) -> int:
        """Number of reader pages in a poll beyond the first."""
        return max(0, (self.readers or 0) - 1) // MAX_RESULTS_PER_PAGE

    def to_json(self, key: str, *, with_readers: bool) -> dict[str, Any]:
        """Return the status of the message with a key as plain JSON."""
        return {
            "key": key,
            "send_status": self.send_status,
            "readers": self.readers,
            **({"has_more_readers": True} if self.has_more else {}),
            **({"read_user_ids": list(self.read_user_ids or ())} if with_readers else {}),
            **({"dropped": self.dropped} if self.dropped else {}),
        }


class WaitState(Struct, kw_only=True):
    """Progress of a wait as plain JSON, for the next poll.

    :param polled_at: Unix time in seconds at which the last poll began that reached all due messages.
    :param used: API calls by purpose.
    :param met_by_key: Status of the messages that meet the condition, by message key.
    :param lost_keys: Keys of messages that can never meet the condition.
    :param sent_keys: Keys of work notifications that were sent, so their progress is not polled again.
    """

    # Version 1 named messages by index, in `met`, `lost` and `sent`. These are not read, so the wait polls again.
    polled_at: float | None = field(default=None, name="looked")
    used: dict[str, int] = {}
    met_by_key: dict[str, LastStatus] = {}
    lost_keys: list[str] = []
    sent_keys: list[str] = []


def error_of(key: str, obstacle: Obstacle) -> DingTalkError:
    """Build the error of a message that can never meet the condition."""
    return ERRORS[obstacle.code](
        f"The message {key} {obstacle.problem}.",
        code=obstacle.code,
        next_step=obstacle.next_step,
        message_zh=f"消息 {key} {obstacle.problem_zh}。",
    )


def state_of(value: Mapping[str, Any] | None) -> WaitState:
    """Parse the state of a wait from plain JSON.

    An invalid state is discarded with a warning, since the wait can poll again.
    """
    try:
        return msgspec.convert(value or {}, WaitState)
    except UNREADABLE as error:
        log.warning("The wait begins anew: its state cannot be read (%s).", type(error).__name__)
        return WaitState()
