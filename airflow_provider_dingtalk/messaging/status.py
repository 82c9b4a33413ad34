"""Status: is a message delivered, who read it, and is that what somebody waits for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.api.client import DingTalkClient
from airflow_provider_dingtalk.api.endpoints import MAX_RESULTS_PER_PAGE, MessageStatus, OtoStatus
from airflow_provider_dingtalk.api.errors import (
    DingTalkError,
    InvalidInputError,
    InvalidRequestError,
    StatusUnavailableError,
    UnexpectedResponseError,
)
from airflow_provider_dingtalk.messaging.plan import ASKABLE, GIVE_UP_AFTER, status_call
from airflow_provider_dingtalk.messaging.receipts import Receipt

log = logging.getLogger(__name__)

#: Pages of readers after which something must be wrong: 200,000 readers.
MAX_PAGES = 1000


class Condition(Struct, frozen=True, kw_only=True):
    """What somebody waits for. All that is given must hold.

    :param send_statuses: The message's ``sendStatus`` is one of these.
    :param min_readers: At least so many people have read it.
    :param read_by: These people, by user id, have read it.
    """

    send_statuses: frozenset[str] = frozenset({"SUCCESS"})
    min_readers: int = 0
    read_by: tuple[str, ...] = ()

    @property
    def asks_for_readers(self) -> bool:
        """Whether the readers must be looked at, page by page."""
        return self.min_readers > 0 or bool(self.read_by)


class Reading(Struct, frozen=True, kw_only=True):
    """A message's state at one moment.

    :param send_status: DingTalk's word, or None while it has none to give.
    :param readers: User ids, in DingTalk's order; None: nobody asked for them.
    """

    key: str
    send_status: str | None
    readers: tuple[str, ...] | None = None


class Judgement(StrEnum):
    """Whether a condition holds."""

    MET = "met"
    NOT_YET = "not_yet"
    NEVER = "never"
    """It cannot hold any more: the message was recalled."""


def evaluate(reading: Reading, condition: Condition) -> Judgement:
    """Whether a message is as somebody wants it. The one rule for all ways of waiting."""
    if reading.send_status == "RECALLED" and "RECALLED" not in condition.send_statuses:
        return Judgement.NEVER
    if reading.send_status not in condition.send_statuses:
        return Judgement.NOT_YET
    readers = set(reading.readers or ())
    enough = len(readers) >= condition.min_readers and readers >= set(condition.read_by)
    return Judgement.MET if enough else Judgement.NOT_YET


def condition_of(
    send_statuses: Collection[str] | None, min_readers: Any = 0, read_by: Collection[str] | None = None
) -> Condition:
    """A condition out of an operator's arguments.

    :raises InvalidInputError: A number below zero, or a list that is none.
    """
    if isinstance(min_readers, bool) or not isinstance(min_readers, int) or min_readers < 0:
        raise InvalidInputError("min_readers", "must be a whole number, 0 or more")
    for field, words in (("send_statuses", send_statuses), ("read_by", read_by)):
        if words is not None and not (isinstance(words, Collection) and not isinstance(words, str | bytes)):
            raise InvalidInputError(field, f"must be a list, not {type(words).__name__}")
        if not all(isinstance(word, str) and word for word in words or ()):
            raise InvalidInputError(field, "must be a list of texts")
    return Condition(
        send_statuses=frozenset(send_statuses or {"SUCCESS"}),
        min_readers=min_readers,
        read_by=tuple(read_by or ()),
    )


async def read(
    client: DingTalkClient, receipt: Receipt, *, readers: bool, now: float, used: Counter[str]
) -> Reading:
    """Ask DingTalk for a message's state, and for its readers across all pages.

    "No status" means "not yet" for a message that is young or of unknown age.

    :param now: Seconds since the epoch, to tell young from old.
    :raises DingTalkError: See the tree; :class:`StatusUnavailableError` for a message older than a day.
    """
    if receipt.kind not in ASKABLE:
        raise InvalidInputError("receipts", f"messages of kind {receipt.kind} cannot be asked for their state")
    try:
        return await _all_pages(client, receipt, readers, used)
    except StatusUnavailableError:
        sent = receipt.sent()
        if sent is not None and now - sent > GIVE_UP_AFTER:
            raise
        return Reading(key=receipt.key, send_status=None)


async def _all_pages(client: DingTalkClient, receipt: Receipt, readers: bool, used: Counter[str]) -> Reading:
    try:
        return await _pages(client, receipt, readers, used)
    except InvalidRequestError as error:
        if error.code != "invalidParameter.cursor.invalid":
            raise
    # A cursor that died between two pages: once more from the first.
    return await _pages(client, receipt, readers, used)


async def _pages(client: DingTalkClient, receipt: Receipt, readers: bool, used: Counter[str]) -> Reading:
    size = MAX_RESULTS_PER_PAGE if readers else 1
    found: dict[str, None] = {}
    cursors: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.call(status_call(receipt.group, receipt.key, size, cursor), used, "status")
        if isinstance(page, OtoStatus):
            who = (reader.user_id for reader in page.message_read_info_list or () if reader.read_status == "READ")
            return Reading(key=receipt.key, send_status=page.send_status, readers=tuple(who) if readers else None)
        if not isinstance(page, MessageStatus):
            raise TypeError(f"no status: {page!r}")
        found.update(dict.fromkeys(page.read_user_ids or ()))
        if not readers or not page.has_more:
            return Reading(
                key=receipt.key, send_status=page.send_status, readers=tuple(found) if readers else None
            )
        cursor = page.next_token
        if not cursor or cursor in cursors:
            raise _endless("its cursor comes back" if cursor else "it says there is more and gives no cursor")
        cursors.add(cursor)
    raise _endless(f"more than {MAX_PAGES} pages")


def _endless(problem: str) -> DingTalkError:
    return UnexpectedResponseError(f"The list of readers does not end: {problem}.", code="endless_pages")


def summary(readings: Mapping[str, Reading], *, with_readers: bool) -> list[dict[str, Any]]:
    """States as plain JSON, for an XCom. Who read is said only if asked for: ids of people are personal data."""
    return [
        {
            "key": reading.key,
            "send_status": reading.send_status,
            "readers": None if reading.readers is None else len(reading.readers),
            **({"read_user_ids": list(reading.readers or ())} if with_readers else {}),
        }
        for reading in readings.values()
    ]
