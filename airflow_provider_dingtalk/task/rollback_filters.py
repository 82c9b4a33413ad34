"""Guards of a rollback: limits on messages' number, age and readers."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError, TooManyMessagesError
from airflow_provider_dingtalk.jobs.status_reader import Clients, StatusReader
from airflow_provider_dingtalk.messages.conditions import MessageStatus
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Receipt, is_nothing

log = logging.getLogger(__name__)

#: Most message keys listed in a plan.
MAX_LISTED = 100


class RollbackFilters(Struct, kw_only=True, frozen=True):
    """Limits of a rollback.

    :param max_messages: Recall no message if there are more; default None, no limit.
    :param max_readers: Keep messages that more people have read; 0 keeps all with a reader. Default None.
    :param older_than: Keep messages that are younger, in seconds; default None.
    :param newer_than: Keep messages that are older, in seconds; default None.
    :param with_readers: Record the readers of each message; default False.
    """

    max_messages: int | None = None
    max_readers: int | None = None
    older_than: float | None = None
    newer_than: float | None = None
    with_readers: bool = False

    @property
    def ask(self) -> bool:
        """True if DingTalk must be asked for the readers first."""
        return self.with_readers or self.max_readers is not None

    def check_number(self, number: int) -> None:
        """Raise an error if there are more messages than ``max_messages``.

        :raises TooManyMessagesError: If there are more.
        """
        if self.max_messages is not None and number > self.max_messages:
            raise TooManyMessagesError(
                f"There are {number} messages to recall, max_messages is {self.max_messages}: none was recalled.",
                code="too_many_messages",
                next_step="Look at them with dry_run=True; raise max_messages if all of them are wrong.",
            )


class SkippedMessages(Struct):
    """Number of messages that are not recalled, by reason.

    The reasons are ``too_young``, ``too_old``, ``read`` and ``not_known``.
    """

    why: Counter[str]

    def unless(self, is_fit: bool, why: str) -> bool:
        """Count a message that is not fit, and return ``is_fit``."""
        if not is_fit:
            self.why[why] += 1
        return is_fit


def rollback_filters_of(
    *,
    max_messages: Any = None,
    only_unread: bool = False,
    max_readers: Any = None,
    older_than: Any = None,
    newer_than: Any = None,
    with_readers: bool = False,
) -> RollbackFilters:
    """Make guards from an operator's arguments.

    :raises InvalidInputError: If a value is not valid, or two contradict each other.
    """
    readers = _count(max_readers, "max_readers", 0)
    if only_unread:
        if readers:
            raise InvalidInputError("max_readers", "contradicts only_unread; give one of them")
        readers = 0
    return RollbackFilters(
        max_messages=_count(max_messages, "max_messages", 1),
        max_readers=readers,
        older_than=_seconds(older_than, "older_than"),
        newer_than=_seconds(newer_than, "newer_than"),
        with_readers=with_readers,
    )


def by_age(
    receipts: Sequence[Receipt], rollback_filters: RollbackFilters, now: float, kept: SkippedMessages
) -> list[Receipt]:
    """Return the receipts whose age is within the limits.

    A message of unknown age is kept in the chat if a limit is set.

    :param now: Unix time in seconds.
    :param kept: Counter of the messages that are left out.
    """
    fit = list(receipts)
    if rollback_filters.older_than is None and rollback_filters.newer_than is None:
        return fit
    fit = [one for one in fit if kept.unless(one.sent() is not None, "not_known")]
    ages = {one.key: now - (one.sent() or now) for one in fit}
    low, high = rollback_filters.older_than or 0.0, rollback_filters.newer_than
    fit = [one for one in fit if kept.unless(ages[one.key] >= low, "too_young")]
    return [one for one in fit if kept.unless(high is None or ages[one.key] <= high, "too_old")]


class ReaderFilter:
    """Query for the readers of the messages, before they are recalled.

    A message without a known status is kept in the chat if ``max_readers`` is set. It never stops the others.

    :ivar readers: User ids of the readers, by message key.
    :ivar fit: Receipts of the messages that may be recalled.
    """

    def __init__(
        self, receipts: Sequence[Receipt], rollback_filters: RollbackFilters, now: float, kept: SkippedMessages
    ) -> None:
        self._receipts = receipts
        self._rollback_filters = rollback_filters
        self._kept = kept
        with_status = (receipt for receipt in receipts if message_type(receipt.kind).has_status)
        self._status = StatusReader(with_status, readers=True, now=now)
        self.readers: dict[str, list[str]] = {}
        self.fit: list[Receipt] = []

    @property
    def used(self) -> Counter[str]:
        """Number of API calls, by kind."""
        return self._status.used

    @property
    def connections(self) -> tuple[str | None, ...]:
        """Connection ids of the queried messages; None is the task's connection."""
        return self._status.connections

    async def run(self, clients: Clients) -> None:
        """Query the readers, and choose the messages to recall.

        :raises DingTalkError: If no connection works, no call succeeds, or the task was stopped.
        """
        await self._status.run(clients)
        if self._status.is_stopped:
            raise DingTalkError("The task was stopped before anything was recalled.", code="stopped")
        for receipt in self._receipts:
            message_status = self._reading(receipt)
            if message_status is not None:
                self.readers[receipt.key] = list(message_status.readers or ())
            if self._is_fit(message_status):
                self.fit.append(receipt)
        log.info("Asked who has read %d messages: %d calls.", len(self._receipts), self.used["status"])

    def stop(self) -> None:
        """Begin no further call."""
        self._status.stop()

    def _reading(self, receipt: Receipt) -> MessageStatus | None:
        """Return a message's status; None if DingTalk does not report readers."""
        found = self._status.status_of(receipt)
        return None if found is None or found.readers is None else found

    def _is_fit(self, message_status: MessageStatus | None) -> bool:
        most = self._rollback_filters.max_readers
        if most is None:
            return True
        if message_status is None:
            return self._kept.unless(False, "not_known")
        return self._kept.unless(len(set(message_status.readers or ())) <= most, "read")


def _count(value: Any, field: str, least: int) -> int | None:
    if value == "" or is_nothing(value):
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInputError(field, f"must be a whole number, {least} or more")
    return value


def _seconds(value: Any, field: str) -> float | None:
    if value == "" or is_nothing(value):
        return None
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    if isinstance(value, str) and len(value) < 20:
        parse: Callable[[str], float] = float
        try:
            value = parse(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e10:
        raise InvalidInputError(field, "must be a timedelta or a number of seconds, 0 or more")
    return float(value)
