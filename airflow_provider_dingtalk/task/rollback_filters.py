"""Filters of a rollback: limits on the messages' number, age and readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError, TooManyMessagesError
from airflow_provider_dingtalk.jobs.status_reader import Clients, StatusReader
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.task.arguments import is_missing, parse_count, parse_flag, parse_seconds

log = get_logger(__name__)

#: Most message keys, and most conversations, listed in a plan.
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
    def needs_readers(self) -> bool:
        """True if DingTalk must be polled for the readers first."""
        return self.with_readers or self.max_readers is not None

    def check_number(self, number: int) -> None:
        """Raise an error if there are more messages than ``max_messages``.

        :raises TooManyMessagesError: If there are more.
        """
        if self.max_messages is not None and number > self.max_messages:
            raise TooManyMessagesError(
                f"There are {number} messages to recall, max_messages is {self.max_messages}: none was recalled.",
                message_zh=f"有 {number} 条消息要撤回，max_messages 为 {self.max_messages}：未撤回任何消息。",
                code="too_many_messages",
                next_step="Look at them with dry_run=True; raise max_messages if all of them are wrong.",
            )


def rollback_filters_of(
    *, only_unread: Any = False, max_readers: Any = None, with_readers: Any = False, **limits: Any
) -> RollbackFilters:
    """Make filters from an operator's arguments.

    :param limits: ``max_messages``, ``older_than`` and ``newer_than``.
    :raises InvalidInputError: If a value is not valid, or two contradict each other.
    """
    given = {name: value for name, value in limits.items() if not is_missing(value)}
    readers = None if is_missing(max_readers) else parse_count(max_readers, "max_readers", 0)
    if (is_unread := parse_flag(only_unread, "only_unread")) and readers:
        raise InvalidInputError("max_readers", "contradicts only_unread; give one of them")
    ages = {name: parse_seconds(given[name], name) for name in ("older_than", "newer_than") if name in given}
    if len(ages) == 2 and ages["older_than"] >= ages["newer_than"]:
        raise InvalidInputError("newer_than", "must be more than older_than: no message is of an age between them")
    return RollbackFilters(
        max_messages=parse_count(given["max_messages"], "max_messages", 1) if "max_messages" in given else None,
        max_readers=0 if is_unread else readers,
        with_readers=parse_flag(with_readers, "with_readers"),
        **ages,
    )


def valid_filters_of(given: Mapping[str, Any], errors: list[DingTalkError]) -> RollbackFilters:
    """Make filters as :func:`rollback_filters_of`, without those that choose no message and are invalid.

    :param errors: List that gets their errors, because they must not keep the messages in the chats.
    :raises InvalidInputError: If a value that chooses messages is not valid, or two contradict each other.
    """
    valid = dict(given)
    for name in ("max_messages", "with_readers"):
        try:
            rollback_filters_of(**{name: given[name]})
        except InvalidInputError as error:
            errors.append(error)
            del valid[name]
    return rollback_filters_of(**valid)


def by_age(
    receipts: Sequence[Receipt], rollback_filters: RollbackFilters, now: float, skipped: Counter[str]
) -> list[Receipt]:
    """Return the receipts whose age is within the limits.

    A message of unknown age is kept in the chat if a limit is set.

    :param now: Unix time in seconds.
    :param skipped: Counter of the messages that are left out, as ``not_known``, ``too_young`` or ``too_old``.
    """
    reasons = {receipt.key: _age_problem(receipt, rollback_filters, now) for receipt in receipts}
    skipped.update(reason for receipt in receipts if (reason := reasons[receipt.key]))
    return [receipt for receipt in receipts if not reasons[receipt.key]]


def _age_problem(receipt: Receipt, rollback_filters: RollbackFilters, now: float) -> str | None:
    lower, upper = rollback_filters.older_than, rollback_filters.newer_than
    if lower is None and upper is None:
        return None
    if (sent := receipt.sent()) is None:
        return "not_known"
    if now - sent < (lower or 0.0):
        return "too_young"
    return "too_old" if upper is not None and now - sent > upper else None


class ReaderFilter:
    """Poll for the readers of the messages, before they are recalled.

    A message without a known status is kept in the chat if ``max_readers`` is set. It never stops the others.

    :param skipped: Counter of the messages that are left out, as ``not_known`` or ``read``.
    :ivar readers: User ids of the readers, by message key.
    :ivar fit: Receipts of the messages that may be recalled.
    """

    def __init__(
        self, receipts: Sequence[Receipt], rollback_filters: RollbackFilters, now: float, skipped: Counter[str]
    ) -> None:
        self._receipts = receipts
        self._max_readers = rollback_filters.max_readers
        self._skipped = skipped
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
        """Connection ids of the polled messages; None is the task's connection."""
        return self._status.connections

    async def run(self, clients: Clients) -> None:
        """Poll the readers, and choose the messages to recall.

        :raises DingTalkError: If the task was stopped; with ``max_readers`` also if no connection works, or no call
            succeeds.
        """
        try:
            await self._status.run(clients)
        except DingTalkError as error:
            # If readers are only recorded, a message that stays in the chat does more harm than a missing record.
            if self._max_readers is not None:
                raise
            log.warning("Not all readers are known: %s", error)
        if self._status.is_stopped:
            raise DingTalkError("The task was stopped before anything was recalled.", code="stopped")
        for receipt in self._receipts:
            status = self._status.status_of(receipt)
            if status is not None and status.readers is not None:
                self.readers[receipt.key] = list(status.readers)
            if reason := self._problem(receipt):
                self._skipped[reason] += 1
            else:
                self.fit.append(receipt)
        log.info("Polled the readers of %d messages: %d calls.", len(self._receipts), self.used["status"])

    def stop(self) -> None:
        """Begin no further call."""
        self._status.stop()

    def _problem(self, receipt: Receipt) -> str | None:
        if self._max_readers is None:
            return None
        if receipt.key not in self.readers:
            return "not_known"
        return "read" if len(set(self.readers[receipt.key])) > self._max_readers else None
