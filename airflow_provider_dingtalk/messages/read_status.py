"""Polls of a message's status: options, pages of readers, and age limits; ``conditions`` evaluates the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import (
    MAX_RESULTS_PER_PAGE,
    RECALL_WINDOW_HOURS,
    Endpoint,
    MessageReadList,
)
from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidRequestError, UnexpectedResponseError
from airflow_provider_dingtalk.messages.conditions import Condition, Judgement, MessageStatus, Target, evaluate

#: Age in seconds after which a status or a recall is given up: 24 h, and 10 min for differing clocks.
GIVE_UP_AFTER = RECALL_WINDOW_HOURS * 3600.0 + 600.0
#: Pages of readers, 200,000 readers, after which the list counts as endless.
MAX_PAGES = 1000

PageRequest = Callable[[int, str | None], Endpoint[MessageReadList]]


class StatusQuery(Struct, kw_only=True):
    """Options for polling the status of one message.

    :param readers: True to fetch the readers.
    :param now: Current Unix time in seconds, to compute the age.
    :param used: Counter of the API calls by purpose.
    :param enough: Condition that ends the paging when more readers make no difference. None fetches all pages.
    :param is_sent: True if a work notification is known to be sent, so its progress is not polled; default False.
    :param recipients: True to fetch the recipients of a work notification; default False. It costs one more call
        if ``readers`` is False.
    :param began: Unix time in seconds at which the wait began. It replaces an unknown send time, which is not
        later.
    :param before_call: Function called before each call; an exception of it ends the poll.
    """

    readers: bool
    now: float
    used: Counter[str]
    enough: Condition | None = None
    is_sent: bool = False
    recipients: bool = False
    began: float | None = None
    before_call: Callable[[], None] = lambda: None


def is_old(target: Target, status_query: StatusQuery) -> bool:
    """Return True if a message is older than ``GIVE_UP_AFTER``; False if its age is unknown."""
    sent = status_query.began if target.sent is None else target.sent
    return sent is not None and status_query.now - sent > GIVE_UP_AFTER


def complete(got: frozenset[str], target: Target, dropped: int = 0) -> frozenset[str] | None:
    """Return the recipients if there are as many as in the receipt; else None.

    :param dropped: Number of recipients that DingTalk left out; default 0.
    """
    return got if got and len(got) + dropped >= (target.recipients or 0) else None


async def read_all_pages(
    client: DingTalkClient, target: Target, status_query: StatusQuery, page_request: PageRequest
) -> MessageStatus:
    """Poll the status of a message with all pages of its readers.

    :param page_request: Function that builds the call for a page from its size and cursor.
    :raises UnexpectedResponseError: If the pages do not end.
    :raises DingTalkError: If a call fails.
    """
    try:
        return await _read_pages(client, target, status_query, page_request)
    except InvalidRequestError as error:
        if error.code != "invalidParameter.cursor.invalid":
            raise
    # The cursor became invalid between two pages, so start again from the first page, once.
    return await _read_pages(client, target, status_query, page_request)


async def _read_pages(
    client: DingTalkClient, target: Target, status_query: StatusQuery, page_request: PageRequest
) -> MessageStatus:
    size = MAX_RESULTS_PER_PAGE if status_query.readers else 1
    found: dict[str, None] = {}
    cursors: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        status_query.before_call()
        page = await client.call(page_request(size, cursor), status_query.used, "status")
        if not status_query.readers:
            return MessageStatus(key=target.key, send_status=page.send_status)
        found.update(dict.fromkeys(page.read_user_ids or ()))
        message_status = MessageStatus(
            key=target.key,
            send_status=page.send_status,
            readers=tuple(found),
            recipients=target.recipients,
            has_more=bool(page.has_more),
        )
        if not message_status.has_more or _is_decided(message_status, status_query.enough):
            return message_status
        cursor = page.next_token
        if not cursor or cursor in cursors:
            raise _endless("its cursor comes back" if cursor else "it says there is more and gives no cursor")
        cursors.add(cursor)
    raise _endless(f"more than {MAX_PAGES} pages")


def _is_decided(message_status: MessageStatus, enough: Condition | None) -> bool:
    """Return True if more readers make no difference."""
    if enough is None:
        return False
    if message_status.send_status in enough.send_statuses and len(message_status.readers or ()) < enough.min_readers:
        return False  # the usual case on all pages but the last, so skip the evaluation
    return message_status.send_status not in enough.send_statuses or evaluate(message_status, enough) is Judgement.MET


def _endless(problem: str) -> DingTalkError:
    return UnexpectedResponseError(
        f"The list of readers does not end: {problem}.",
        code="endless_pages",
        message_zh=f"已读人员列表没有结尾：{problem}。",
    )
