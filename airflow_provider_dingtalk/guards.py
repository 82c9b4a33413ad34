"""Guards of a rollback: how many messages at most, how old, and read by how many people."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.messaging.conditions import Reading
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt, is_nothing
from airflow_provider_dingtalk.messaging.status_reader import Clients, StatusReader

log = logging.getLogger(__name__)

#: Keys of messages listed in a plan.
MAX_LISTED = 100


class TooManyMessagesError(DingTalkError):
    """There is more to recall than ``max_messages`` allows. Nothing was recalled."""

    permanent = True


class Guards(Struct, kw_only=True, frozen=True):
    """What a rollback must not go beyond.

    :param max_messages: Recall none if there are more.
    :param max_readers: Leave messages that more people have read; 0: all that anybody read.
    :param older_than: Leave messages that are younger, in seconds.
    :param newer_than: Leave messages that are older, in seconds.
    :param with_readers: Keep who has read them.
    """

    max_messages: int | None = None
    max_readers: int | None = None
    older_than: float | None = None
    newer_than: float | None = None
    with_readers: bool = False

    @property
    def ask(self) -> bool:
        """Whether DingTalk must be asked for readers first."""
        return self.with_readers or self.max_readers is not None

    def check_number(self, number: int) -> None:
        """Refuse too many.

        :raises TooManyMessagesError: There are.
        """
        if self.max_messages is not None and number > self.max_messages:
            raise TooManyMessagesError(
                f"There are {number} messages to recall, max_messages is {self.max_messages}: none was recalled.",
                code="too_many_messages",
                next_step="Look at them with dry_run=True; raise max_messages if all of them are wrong.",
            )


class Kept(Struct):
    """Messages that stay, by why: ``too_young``, ``too_old``, ``read``, ``not_known``."""

    why: Counter[str]

    def unless(self, is_fit: bool, why: str) -> bool:
        """Count a message that is not fit."""
        if not is_fit:
            self.why[why] += 1
        return is_fit


def guards_of(
    *,
    max_messages: Any = None,
    only_unread: bool = False,
    max_readers: Any = None,
    older_than: Any = None,
    newer_than: Any = None,
    with_readers: bool = False,
) -> Guards:
    """Guards out of an operator's arguments.

    :raises InvalidInputError: One is of no use.
    """
    readers = _count(max_readers, "max_readers", 0)
    if only_unread:
        if readers:
            raise InvalidInputError("max_readers", "contradicts only_unread; give one of them")
        readers = 0
    return Guards(
        max_messages=_count(max_messages, "max_messages", 1),
        max_readers=readers,
        older_than=_seconds(older_than, "older_than"),
        newer_than=_seconds(newer_than, "newer_than"),
        with_readers=with_readers,
    )


def by_age(receipts: Sequence[Receipt], guards: Guards, now: float, kept: Kept) -> list[Receipt]:
    """Those of the right age. One of unknown age stays, if age matters."""
    fit = list(receipts)
    if guards.older_than is None and guards.newer_than is None:
        return fit
    fit = [one for one in fit if kept.unless(one.sent() is not None, "not_known")]
    ages = {one.key: now - (one.sent() or now) for one in fit}
    low, high = guards.older_than or 0.0, guards.newer_than
    fit = [one for one in fit if kept.unless(ages[one.key] >= low, "too_young")]
    return [one for one in fit if kept.unless(high is None or ages[one.key] <= high, "too_old")]


class ReaderGuard:
    """Asks who has read the messages, before they are recalled.

    A message of which DingTalk does not tell stays if readers matter; it never keeps the others.

    :ivar readers: Who has read each message, by key.
    :ivar fit: Those that may be recalled.
    """

    def __init__(self, receipts: Sequence[Receipt], guards: Guards, now: float, kept: Kept) -> None:
        self._receipts = receipts
        self._guards = guards
        self._kept = kept
        # A DING has no state.
        self._status = StatusReader((one for one in receipts if one.kind is not Kind.DING), readers=True, now=now)
        self.readers: dict[str, list[str]] = {}
        self.fit: list[Receipt] = []

    @property
    def used(self) -> Counter[str]:
        """Count of the calls."""
        return self._status.used

    @property
    def connections(self) -> tuple[str | None, ...]:
        """Connection ids of the messages that are asked for; None: that of the task."""
        return self._status.connections

    async def run(self, clients: Clients) -> None:
        """Ask, and choose.

        :raises DingTalkError: If no connection works, nothing comes through, or the task was stopped.
        """
        await self._status.run(clients)
        if self._status.is_stopped:
            raise DingTalkError("The task was stopped before anything was recalled.", code="stopped")
        for receipt in self._receipts:
            reading = self._reading(receipt)
            if reading is not None:
                self.readers[receipt.key] = list(reading.readers or ())
            if self._is_fit(reading):
                self.fit.append(receipt)
        log.info("Asked who has read %d messages: %d calls.", len(self._receipts), self.used["status"])

    def stop(self) -> None:
        """Ask no more."""
        self._status.stop()

    def _reading(self, receipt: Receipt) -> Reading | None:
        """None: DingTalk cannot be asked for it, or does not tell."""
        found = self._status.of(receipt)
        return None if found is None or found.readers is None else found

    def _is_fit(self, reading: Reading | None) -> bool:
        most = self._guards.max_readers
        if most is None:
            return True
        if reading is None:
            return self._kept.unless(False, "not_known")
        return self._kept.unless(len(set(reading.readers or ())) <= most, "read")


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
