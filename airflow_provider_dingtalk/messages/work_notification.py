"""Type of work notifications."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.content import work_notification_message
from airflow_provider_dingtalk.client.endpoints import (
    MAX_DEPTS_PER_WORK_NOTIFICATION,
    MAX_USERS_PER_WORK_NOTIFICATION,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    RecallWorkNotification,
    SendWorkNotification,
    WorkNotificationReaders,
)
from airflow_provider_dingtalk.exceptions import (
    InvalidInputError,
    InvalidRequestError,
    OutcomeUnknownError,
    ServerError,
    StatusUnavailableError,
)
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.conditions import Condition, MessageStatus, Obstacle, Target
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER, StatusQuery, complete, is_old
from airflow_provider_dingtalk.messages.receipt import Kind, SenderKey
from airflow_provider_dingtalk.messages.send_request import SendRequest, check_flag, one_or_more, pages, required_id

#: ``status`` of a work notification that was sent.
_SENT = 2
log = get_logger(__name__)


class WorkNotification(MessageType):
    """Type of work notifications, which are recalled one by one, within 24 hours.

    DingTalk gives the status for 24 hours, the readers for up to 100 recipients, and never reports a recall.

    https://open.dingtalk.com/document/development/obtain-the-sending-progress-of-asynchronous-sending-of-enterprise-session
    https://open.dingtalk.com/document/development/gets-the-result-of-sending-messages-asynchronously-to-the-enterprise
    """

    kind = Kind.WORK_NOTIFICATION
    plural = "work notifications"
    key_field = "task_id"
    key_argument = keys_argument = "msg_task_id"
    sender_fields = ("agent_id",)
    default_sender = "agent_id"
    content_arguments = ("text", "title", "markdown", "msg")
    send_call = SendWorkNotification
    receiver_fields = ("userid_list", "dept_id_list", "to_all_user")
    recall_window = GIVE_UP_AFTER
    status_tells_recall = False
    has_progress = True
    lists_recipients = True

    def send_requests(
        self, *, agent_id: Any, user_ids: Any = None, dept_ids: Any = None, to_all_user: bool = False, **content: Any
    ) -> list[SendRequest]:
        """Build the send requests of a work notification.

        It goes to people, to departments with all departments below them, or to all users.

        :param content: Arguments of :func:`~airflow_provider_dingtalk.client.content.work_notification_message`.
        :raises InvalidInputError: If an argument is invalid, or exceeds DingTalk's limit.
        """
        to_all_user = check_flag(to_all_user, "to_all_user")
        call = partial(
            SendWorkNotification,
            msg=work_notification_message(**content),
            agent_id=int(required_id(agent_id, "agent_id")),
        )
        users = one_or_more(user_ids, "user_ids") if user_ids is not None else []
        depts = one_or_more(dept_ids, "dept_ids") if dept_ids is not None else []
        if to_all_user == bool(users or depts):
            raise InvalidInputError("user_ids", "give user_ids or dept_ids, or to_all_user alone")
        if to_all_user:
            return [self.send_request(call(to_all_user=True), ("all users",))]
        return [
            *(
                self.send_request(call(userid_list=",".join(some)), some, len(some))
                for some in pages(users, MAX_USERS_PER_WORK_NOTIFICATION)
            ),
            *(
                self.send_request(call(dept_id_list=",".join(some)), some)
                for some in pages(depts, MAX_DEPTS_PER_WORK_NOTIFICATION)
            ),
        ]

    def recall_request(self, sender_key: SenderKey, keys: Sequence[str]) -> RecallWorkNotification:
        """Build the call that recalls one work notification."""
        return RecallWorkNotification(agent_id=int(sender_key.agent_id or 0), msg_task_id=int(keys[0]))

    def status_request(
        self, sender_key: SenderKey, key: str, max_results: int = 1, next_token: str | None = None
    ) -> GetWorkNotificationProgress:
        """Build the call that polls the progress of a work notification."""
        return GetWorkNotificationProgress(agent_id=int(sender_key.agent_id or 0), task_id=int(key))

    async def read_status(self, client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
        """Poll the progress, and the readers once the work notification is sent.

        :raises StatusUnavailableError: If the message is older than a day, or DingTalk has no status.
        :raises DingTalkError: If a call fails.
        """
        if is_old(target, status_query):
            raise StatusUnavailableError(
                f"DingTalk tells of a work notification for 24 hours; {target.key} is older.",
                code="too_old",
                message_zh=f"钉钉只能在 24 小时内查询工作通知；{target.key} 已超过。",
            )
        request = self.status_request(target.sender_key, target.key)
        if not status_query.is_sent:
            status_query.before_call()
            progress = (await client.call(request, status_query.used, "status")).progress
            if progress.status != _SENT:
                readers = () if status_query.readers else None
                return MessageStatus(key=target.key, send_status="PROCESSING", readers=readers)
        if not (status_query.readers or _lists_recipients(target, status_query)):
            return MessageStatus(key=target.key, send_status="SUCCESS")
        status_query.before_call()
        result = GetWorkNotificationResult(agent_id=request.agent_id, task_id=request.task_id)
        try:
            sent = (await client.call(result, status_query.used, "status")).send_result
        except (InvalidRequestError, StatusUnavailableError, ServerError, OutcomeUnknownError) as error:
            if status_query.readers:
                raise
            # DingTalk has no result for over 100 recipients. The progress shows that the task is done, so use that.
            log.info("Who got %s is not known: %s", target.key, error)
            return MessageStatus(key=target.key, send_status="SUCCESS")
        return _delivered(target, sent, status_query)

    def check_condition(self, condition: Condition, target: Target) -> None:
        """Refuse a condition on the readers of too many recipients.

        :raises InvalidInputError: If the condition needs readers, and there are over 100 recipients, or needs over 100
            readers.
        """
        most = MAX_USERS_PER_WORK_NOTIFICATION
        if max(condition.min_readers, len(condition.read_by)) > most:
            raise InvalidInputError("min_readers", f"is over {most}; DingTalk tells of {most} readers at most")
        if condition.asks_for_readers and (target.recipients or 0) > most:
            problem = f"{target.key} went to {target.recipients} people; DingTalk tells who read it for up to {most}"
            raise InvalidInputError("receipts", problem)

    def obstacle(self, target: Target, condition: Condition) -> Obstacle | None:
        """Return the obstacle that is known without a call to DingTalk.

        :returns: None if the condition may hold.
        """
        if condition.send_statuses <= {"RECALLED"}:
            return Obstacle(
                "condition_unreachable",
                "is a work notification, and DingTalk never tells that one was recalled",
                "Wait for SUCCESS or PROCESSING.",
                "是工作通知，钉钉从不告知其是否已撤回",
            )
        return super().obstacle(target, condition)


def _lists_recipients(target: Target, status_query: StatusQuery) -> bool:
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
        people=complete(got, target, len(dropped)) if is_told else None,
        dropped=dropped,
    )


def _dropped(sent: WorkNotificationReaders) -> dict[str, str]:
    """Return the reason for each recipient that DingTalk left out, by user id or ``dept:`` and department id."""
    dropped = dict.fromkeys(sent.failed_user_id_list or (), "failed")
    dropped |= dict.fromkeys(sent.invalid_user_id_list or (), "invalid")
    dropped |= dict.fromkeys(sent.forbidden_user_id_list or (), "forbidden")
    listed = sent.forbidden_list if isinstance(sent.forbidden_list, list) else []
    for one in listed:
        if isinstance(one, dict) and one.get("userid"):
            dropped[str(one["userid"])] = str(one.get("code") or "forbidden")
    return dropped | {f"dept:{number}": "invalid" for number in sent.invalid_dept_id_list or ()}


TYPE = WorkNotification()
