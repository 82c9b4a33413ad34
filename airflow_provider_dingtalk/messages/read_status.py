"""Status of a message and its readers; ``conditions`` evaluates it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import (
    MAX_RESULTS_PER_PAGE,
    MAX_USERS_PER_WORK_NOTIFICATION,
    RECALL_WINDOW_HOURS,
    Endpoint,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    MessageReadList,
    OtoStatus,
    QueryGroupMessage,
    QueryOtoMessage,
    QueryPrivateChatMessage,
    WorkNotificationReaders,
)
from airflow_provider_dingtalk.exceptions import (
    DingTalkError,
    InvalidInputError,
    InvalidRequestError,
    OutcomeUnknownError,
    ServerError,
    StatusUnavailableError,
    UnexpectedResponseError,
)
from airflow_provider_dingtalk.messages.conditions import (
    Condition,
    Judgement,
    MessageStatus,
    Target,
    evaluate,
    target_of,
)
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, SenderKey

#: Kinds that DingTalk recalls for 24 hours only. For the others, no limit is documented.
WINDOWED = frozenset({Kind.OTO, Kind.WORK_NOTIFICATION})
#: Age in seconds after which a windowed message is given up without a call: 24 h, and 10 min for differing clocks.
GIVE_UP_AFTER = RECALL_WINDOW_HOURS * 3600.0 + 600.0
#: Pages of readers, 200,000 readers, after which the list counts as endless.
MAX_PAGES = 1000
#: ``status`` of a work notification that was sent.
_SENT = 2
#: Misspellings in samples of DingTalk's pages (documented, not observed), and the intended value.
_SPELLINGS = {"SUCESS": "SUCCESS"}
log = logging.getLogger(__name__)


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


async def read(
    client: DingTalkClient, receipt: Receipt, *, readers: bool, now: float, used: Counter[str]
) -> MessageStatus:
    """Poll a message's status, with its readers from all pages.

    "No status" means "not yet" for a message that is young or of unknown age.

    :param readers: True to fetch the readers.
    :param now: Current Unix time in seconds, to compute the age.
    :param used: Counter of the API calls by purpose.
    :raises StatusUnavailableError: If DingTalk has no status and the message is older than a day.
    :raises DingTalkError: If a call fails.
    """
    return await read_target(client, target_of(receipt), StatusQuery(readers=readers, now=now, used=used))


async def read_target(client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
    """Poll a message without its whole receipt; see :func:`read`."""
    kind = target.sender_key.kind
    if kind is Kind.DING:
        raise InvalidInputError("receipts", f"messages of kind {kind} cannot be asked for their state")
    known = status_query.began if target.sent is None else target.sent
    is_old = known is not None and status_query.now - known > GIVE_UP_AFTER
    if kind is Kind.WORK_NOTIFICATION:
        return await _work_notification(client, target, status_query, is_old)
    try:
        return await _all_pages(client, target, status_query)
    except StatusUnavailableError:
        if is_old:
            raise
        return MessageStatus(key=target.key, send_status=None)


# ── Work notifications: two calls, since progress and readers are two APIs ───────────────────────────


async def _work_notification(
    client: DingTalkClient, target: Target, status_query: StatusQuery, is_old: bool
) -> MessageStatus:
    """Poll a work notification, whose status DingTalk gives for 24 hours.

    DingTalk gives the readers for up to 100 recipients.

    https://open.dingtalk.com/document/development/obtain-the-sending-progress-of-asynchronous-sending-of-enterprise-session
    https://open.dingtalk.com/document/development/gets-the-result-of-sending-messages-asynchronously-to-the-enterprise
    """
    if is_old:
        raise StatusUnavailableError(
            f"DingTalk tells of a work notification for 24 hours; {target.key} is older.", code="too_old"
        )
    agent_id, task_id = int(target.sender_key.agent_id or 0), int(target.key)
    if not status_query.is_sent:
        status_query.before_call()
        progress = GetWorkNotificationProgress(agent_id=agent_id, task_id=task_id)
        if (await client.call(progress, status_query.used, "status")).progress.status != _SENT:
            return MessageStatus(key=target.key, send_status="PROCESSING", readers=() if status_query.readers else None)
    if not (status_query.readers or _tells_recipients(target, status_query)):
        return MessageStatus(key=target.key, send_status="SUCCESS")
    status_query.before_call()
    result = GetWorkNotificationResult(agent_id=agent_id, task_id=task_id)
    try:
        sent = (await client.call(result, status_query.used, "status")).send_result
    except (InvalidRequestError, StatusUnavailableError, ServerError, OutcomeUnknownError) as error:
        if status_query.readers:
            raise
        # DingTalk has no result for over 100 recipients. The progress shows that the task is done, so use that.
        log.info("Who got %s is not known: %s", target.key, error)
        return MessageStatus(key=target.key, send_status="SUCCESS")
    return _delivered(target, sent, status_query)


def _tells_recipients(target: Target, status_query: StatusQuery) -> bool:
    return status_query.recipients and (target.recipients or 0) <= MAX_USERS_PER_WORK_NOTIFICATION


def _delivered(target: Target, sent: WorkNotificationReaders, status_query: StatusQuery) -> MessageStatus:
    dropped = _dropped(sent)
    who = tuple(dict.fromkeys(sent.read_user_id_list or ()))
    got = frozenset(who) | (frozenset(sent.unread_user_id_list or ()) - dropped.keys())
    # If all lists are empty, the recipients are not known.
    is_told = bool(got or dropped)
    return MessageStatus(
        key=target.key,
        send_status="SUCCESS",
        readers=who if status_query.readers else None,
        recipients=len(got) if is_told else target.recipients,
        people=_complete(got, target, len(dropped)) if is_told else None,
        dropped=dropped,
    )


def _complete(got: frozenset[str], target: Target, dropped: int = 0) -> frozenset[str] | None:
    """Return the recipients if there are as many as in the receipt."""
    return got if got and len(got) + dropped >= (target.recipients or 0) else None


def _dropped(sent: WorkNotificationReaders) -> dict[str, str]:
    """Return the recipients that DingTalk left out.

    :returns: Code, or name of the list that names the recipient, by user id or ``dept:`` and department id.
    """
    dropped = dict.fromkeys(sent.failed_user_id_list or (), "failed")
    dropped |= dict.fromkeys(sent.invalid_user_id_list or (), "invalid")
    dropped |= dict.fromkeys(sent.forbidden_user_id_list or (), "forbidden")
    listed = sent.forbidden_list if isinstance(sent.forbidden_list, list) else []
    for one in listed:
        if isinstance(one, dict) and one.get("userid"):
            dropped[str(one["userid"])] = str(one.get("code") or "forbidden")
    dropped |= {f"dept:{number}": "invalid" for number in sent.invalid_dept_id_list or ()}
    return dropped


# ── Robot messages: one call, or one call for each page of readers ───────────────────────────────────


async def _all_pages(client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
    try:
        return await _pages(client, target, status_query)
    except InvalidRequestError as error:
        if error.code != "invalidParameter.cursor.invalid":
            raise
    # The cursor became invalid between two pages, so start again from the first page, once.
    return await _pages(client, target, status_query)


async def _pages(client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
    size = MAX_RESULTS_PER_PAGE if status_query.readers else 1
    found: dict[str, None] = {}
    cursors: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        status_query.before_call()
        page = await client.call(status_call(target.sender_key, target.key, size, cursor), status_query.used, "status")
        if isinstance(page, OtoStatus):
            return _oto(target, page, status_query)
        if not isinstance(page, MessageReadList):
            raise TypeError(f"no status: {page!r}")
        found.update(dict.fromkeys(page.read_user_ids or ()))
        message_status = _paged(target, page, found, status_query)
        if not message_status.has_more or _is_decided(message_status, status_query.enough):
            return message_status
        cursor = page.next_token
        if not cursor or cursor in cursors:
            raise _endless("its cursor comes back" if cursor else "it says there is more and gives no cursor")
        cursors.add(cursor)
    raise _endless(f"more than {MAX_PAGES} pages")


def _paged(target: Target, page: MessageReadList, found: dict[str, None], status_query: StatusQuery) -> MessageStatus:
    if not status_query.readers:
        return MessageStatus(key=target.key, send_status=page.send_status)
    return MessageStatus(
        key=target.key,
        send_status=page.send_status,
        readers=tuple(found),
        recipients=target.recipients,
        has_more=bool(page.has_more),
    )


def _is_decided(message_status: MessageStatus, enough: Condition | None) -> bool:
    """Return True if more readers make no difference."""
    if enough is None:
        return False
    if message_status.send_status in enough.send_statuses and len(message_status.readers or ()) < enough.min_readers:
        return False  # the usual case on all pages but the last, so skip the evaluation
    return message_status.send_status not in enough.send_statuses or evaluate(message_status, enough) is Judgement.MET


def _oto(target: Target, page: OtoStatus, status_query: StatusQuery) -> MessageStatus:
    status = _SPELLINGS.get(page.send_status or "", page.send_status)
    if not status_query.readers:
        return MessageStatus(key=target.key, send_status=status)
    people = page.message_read_info_list or ()
    who = dict.fromkeys(person.user_id for person in people if person.read_status == "READ")
    got = frozenset(person.user_id for person in people)
    return MessageStatus(
        key=target.key,
        send_status=status,
        readers=tuple(who),
        recipients=len(got) or target.recipients,
        people=_complete(got, target),
    )


def _endless(problem: str) -> DingTalkError:
    return UnexpectedResponseError(f"The list of readers does not end: {problem}.", code="endless_pages")


def status_call(
    sender_key: SenderKey, key: str, max_results: int = 1, next_token: str | None = None
) -> Endpoint[object]:
    """Build the call that polls the status of a message.

    :param max_results: Maximum readers on a page, for kinds with pages; default 1.
    :raises InvalidInputError: If the message is a DING.
    """
    match sender_key.kind:
        case Kind.GROUP:
            query: type[QueryGroupMessage | QueryPrivateChatMessage] = QueryGroupMessage
        case Kind.PRIVATE_CHAT:
            query = QueryPrivateChatMessage
        case Kind.OTO:
            return QueryOtoMessage(robot_code=sender_key.robot_code or "", process_query_key=key)
        case Kind.WORK_NOTIFICATION:
            return GetWorkNotificationProgress(agent_id=int(sender_key.agent_id or 0), task_id=int(key))
        case Kind.DING:
            raise InvalidInputError("receipts", "DINGs cannot be asked for their state")
    return query(
        process_query_key=key,
        open_conversation_id=sender_key.open_conversation_id,
        robot_code=sender_key.robot_code,
        max_results=max_results,
        next_token=next_token,
    )
