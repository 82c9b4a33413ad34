"""Work notifications: sent in the background, looked at, taken back. All on the old host."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from airflow_provider_dingtalk.api.endpoints.base import (
    DOCS,
    Auth,
    Effect,
    Host,
    Http,
    OldAnswer,
    OldEndpoint,
    Text,
)

#: DingTalk-imposed limit on ``userid_list`` in one work notification.
MAX_USERS_PER_WORK_NOTIFICATION = 100
#: DingTalk-imposed limit on ``dept_id_list`` in one work notification.
MAX_DEPTS_PER_WORK_NOTIFICATION = 20
#: DingTalk-imposed limit on ``msg`` of a work notification, in bytes of JSON.
MAX_WORK_NOTIFICATION_BYTES = 2048


class WorkNotificationRecalled(OldAnswer, kw_only=True, frozen=True):
    """The whole task was recalled. There is no result by person."""


class RecallWorkNotification(OldEndpoint[WorkNotificationRecalled], kw_only=True, frozen=True):
    """Take back a work notification from all its receivers, within 24 hours."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/recall",
        doc=DOCS + "notification-of-work-withdrawal",
        host=Host.OAPI,
        auth=Auth.QUERY,
        effect=Effect.RECALL,
    )
    result: ClassVar = WorkNotificationRecalled

    agent_id: int
    msg_task_id: int


class SendProgress(Struct, kw_only=True, frozen=True):
    """How far a work notification is. ``status``: 0 not begun, 1 under way, 2 done."""

    progress_in_percent: int
    status: int


class WorkNotificationProgress(OldAnswer, kw_only=True, frozen=True):
    """How far a work notification is."""

    progress: SendProgress


class GetWorkNotificationProgress(OldEndpoint[WorkNotificationProgress], kw_only=True, frozen=True):
    """How far a work notification is."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/getsendprogress",
        doc=DOCS + "obtain-the-sending-progress-of-asynchronous-sending-of-enterprise-session",
        host=Host.OAPI,
        auth=Auth.QUERY,
    )
    result: ClassVar = WorkNotificationProgress

    agent_id: int
    task_id: int


class WorkNotificationReaders(Struct, kw_only=True, frozen=True):
    """Who got a work notification, who read it, who did not get it."""

    read_user_id_list: list[str] | None = None
    unread_user_id_list: list[str] | None = None
    failed_user_id_list: list[str] | None = None
    invalid_user_id_list: list[str] | None = None
    forbidden_user_id_list: list[str] | None = None
    forbidden_list: Any = None
    invalid_dept_id_list: list[int | str] | None = None


class WorkNotificationOutcome(OldAnswer, kw_only=True, frozen=True):
    """Who got a work notification, who read it, who did not get it."""

    send_result: WorkNotificationReaders


class GetWorkNotificationResult(OldEndpoint[WorkNotificationOutcome], kw_only=True, frozen=True):
    """Who read a work notification, for 24 hours and up to 100 receivers."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/getsendresult",
        doc=DOCS + "gets-the-result-of-sending-messages-asynchronously-to-the-enterprise",
        host=Host.OAPI,
        auth=Auth.QUERY,
    )
    result: ClassVar = WorkNotificationOutcome

    agent_id: int
    task_id: int


class WorkNotificationSent(OldAnswer, kw_only=True, frozen=True):
    """The task that sends a work notification in the background."""

    task_id: int


class SendWorkNotification(OldEndpoint[WorkNotificationSent], kw_only=True, frozen=True):
    """Send a work notification in the background. ``userid_list`` and ``dept_id_list`` are comma-separated."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/asyncsend_v2",
        doc=DOCS + "asynchronous-sending-of-enterprise-session-messages",
        host=Host.OAPI,
        auth=Auth.QUERY,
        effect=Effect.SEND,
    )
    result: ClassVar = WorkNotificationSent

    agent_id: int
    msg: dict[str, Any]
    userid_list: Text | None = None
    dept_id_list: Text | None = None
    to_all_user: bool | None = None
