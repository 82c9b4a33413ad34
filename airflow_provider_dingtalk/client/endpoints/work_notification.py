"""Endpoints of work notifications on the legacy host."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from airflow_provider_dingtalk.client.endpoints.base import (
    Idempotency,
    LegacyEndpoint,
    LegacyResponse,
    Text,
    legacy_http,
)

#: DingTalk's limit on ``userid_list`` in one work notification.
MAX_USERS_PER_WORK_NOTIFICATION = 100
#: DingTalk's limit on ``dept_id_list`` in one work notification.
MAX_DEPTS_PER_WORK_NOTIFICATION = 20
#: DingTalk's limit on ``msg`` of a work notification, in bytes of JSON.
MAX_WORK_NOTIFICATION_BYTES = 2048


class WorkNotificationRecalled(LegacyResponse, kw_only=True, frozen=True):
    """Answer to the recall of a whole task. There is no result by person."""


class RecallWorkNotification(LegacyEndpoint[WorkNotificationRecalled], kw_only=True, frozen=True):
    """Request to recall a work notification from all receivers, within 24 hours."""

    http: ClassVar = legacy_http(
        "/topapi/message/corpconversation/recall", "notification-of-work-withdrawal", Idempotency.RECALL
    )
    result: ClassVar = WorkNotificationRecalled

    agent_id: int
    msg_task_id: int


class TaskProgress(Struct, kw_only=True, frozen=True):
    """Progress of a work notification. ``status`` is 0 for not begun, 1 for in progress, 2 for done."""

    progress_in_percent: int
    status: int


class WorkNotificationProgress(LegacyResponse, kw_only=True, frozen=True):
    """Answer with the progress of a work notification."""

    progress: TaskProgress


class GetWorkNotificationProgress(LegacyEndpoint[WorkNotificationProgress], kw_only=True, frozen=True):
    """Request for the progress of a work notification."""

    http: ClassVar = legacy_http(
        "/topapi/message/corpconversation/getsendprogress",
        "obtain-the-sending-progress-of-asynchronous-sending-of-enterprise-session",
    )
    result: ClassVar = WorkNotificationProgress

    agent_id: int
    task_id: int


class WorkNotificationReaders(Struct, kw_only=True, frozen=True):
    """Receivers of a work notification: read, unread, and left out by reason."""

    read_user_id_list: list[str] | None = None
    unread_user_id_list: list[str] | None = None
    failed_user_id_list: list[str] | None = None
    invalid_user_id_list: list[str] | None = None
    forbidden_user_id_list: list[str] | None = None
    forbidden_list: Any = None
    invalid_dept_id_list: list[int | str] | None = None


class WorkNotificationOutcome(LegacyResponse, kw_only=True, frozen=True):
    """Answer with the receivers of a work notification."""

    send_result: WorkNotificationReaders


class GetWorkNotificationResult(LegacyEndpoint[WorkNotificationOutcome], kw_only=True, frozen=True):
    """Request for a work notification's readers. It works for 24 hours and up to 100 receivers."""

    http: ClassVar = legacy_http(
        "/topapi/message/corpconversation/getsendresult",
        "gets-the-result-of-sending-messages-asynchronously-to-the-enterprise",
    )
    result: ClassVar = WorkNotificationOutcome

    agent_id: int
    task_id: int


class WorkNotificationSent(LegacyResponse, kw_only=True, frozen=True):
    """Answer with the task that sends a work notification asynchronously."""

    task_id: int


class SendWorkNotification(LegacyEndpoint[WorkNotificationSent], kw_only=True, frozen=True):
    """Request to send a work notification asynchronously.

    ``userid_list`` and ``dept_id_list`` are comma-separated.
    """

    http: ClassVar = legacy_http(
        "/topapi/message/corpconversation/asyncsend_v2",
        "asynchronous-sending-of-enterprise-session-messages",
        Idempotency.SEND,
    )
    result: ClassVar = WorkNotificationSent

    agent_id: int
    msg: dict[str, Any]
    userid_list: Text | None = None
    dept_id_list: Text | None = None
    to_all_user: bool | None = None
