"""DingTalk's calls: one struct per API, in DingTalk's own words.

An endpoint is the request itself: its fields are the parameters, ``http`` says where they go, ``result``
is the shape of a good answer, and ``http.doc`` is DingTalk's page about it. The sandbox validates against
the same structs; ``tests/samples`` and the official SDK are the witnesses that keep them honest.

Paths are spelt as DingTalk spells them, mind the case: one sends to ``oToMessages`` and recalls from
``otoMessages``.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.api.endpoints.base import (
    Answer,
    Auth,
    Effect,
    Endpoint,
    Host,
    Http,
    OldAnswer,
    OldEndpoint,
    Text,
    fields_of,
    name_of,
)
from airflow_provider_dingtalk.api.endpoints.ding import (
    MAX_USERS_PER_APP_DING,
    MAX_USERS_PER_PHONE_DING,
    DingResult,
    RecallDing,
    SendDing,
)
from airflow_provider_dingtalk.api.endpoints.robot import (
    MAX_KEYS_PER_RECALL,
    MAX_MSG_PARAM_BYTES,
    MAX_RESULTS_PER_PAGE,
    MAX_USERS_PER_OTO_SEND,
    FailedKey,
    MessageStatus,
    OtoReader,
    OtoSendResult,
    OtoStatus,
    QueryGroupMessage,
    QueryOtoMessage,
    QueryPrivateChatMessage,
    RecallGroupMessages,
    RecallOtoMessages,
    RecallPrivateChatMessages,
    RecallResult,
    SendGroupMessage,
    SendOtoMessages,
    SendPrivateChatMessage,
    SendResult,
)
from airflow_provider_dingtalk.api.endpoints.tokens import AccessToken, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.api.endpoints.work_notification import (
    MAX_DEPTS_PER_WORK_NOTIFICATION,
    MAX_USERS_PER_WORK_NOTIFICATION,
    MAX_WORK_NOTIFICATION_BYTES,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    RecallWorkNotification,
    SendProgress,
    SendWorkNotification,
    WorkNotificationOutcome,
    WorkNotificationProgress,
    WorkNotificationReaders,
    WorkNotificationRecalled,
    WorkNotificationSent,
)

#: Hours in which DingTalk lets robot one-on-one messages and work notifications be recalled.
RECALL_WINDOW_HOURS = 24

#: Every call this package makes; the sandbox serves exactly these.
ENDPOINTS: tuple[type[Endpoint[Any]], ...] = (
    RecallGroupMessages,
    RecallOtoMessages,
    RecallPrivateChatMessages,
    RecallWorkNotification,
    RecallDing,
    QueryGroupMessage,
    QueryPrivateChatMessage,
    QueryOtoMessage,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    SendGroupMessage,
    SendOtoMessages,
    SendPrivateChatMessage,
    SendWorkNotification,
    SendDing,
    GetAccessToken,
    GetCorpAccessToken,
)

__all__ = [
    "ENDPOINTS",
    "MAX_DEPTS_PER_WORK_NOTIFICATION",
    "MAX_KEYS_PER_RECALL",
    "MAX_MSG_PARAM_BYTES",
    "MAX_RESULTS_PER_PAGE",
    "MAX_USERS_PER_APP_DING",
    "MAX_USERS_PER_OTO_SEND",
    "MAX_USERS_PER_PHONE_DING",
    "MAX_USERS_PER_WORK_NOTIFICATION",
    "MAX_WORK_NOTIFICATION_BYTES",
    "RECALL_WINDOW_HOURS",
    "AccessToken",
    "Answer",
    "Auth",
    "DingResult",
    "Effect",
    "Endpoint",
    "FailedKey",
    "GetAccessToken",
    "GetCorpAccessToken",
    "GetWorkNotificationProgress",
    "GetWorkNotificationResult",
    "Host",
    "Http",
    "MessageStatus",
    "OldAnswer",
    "OldEndpoint",
    "OtoReader",
    "OtoSendResult",
    "OtoStatus",
    "QueryGroupMessage",
    "QueryOtoMessage",
    "QueryPrivateChatMessage",
    "RecallDing",
    "RecallGroupMessages",
    "RecallOtoMessages",
    "RecallPrivateChatMessages",
    "RecallResult",
    "RecallWorkNotification",
    "SendDing",
    "SendGroupMessage",
    "SendOtoMessages",
    "SendPrivateChatMessage",
    "SendProgress",
    "SendResult",
    "SendWorkNotification",
    "Text",
    "WorkNotificationOutcome",
    "WorkNotificationProgress",
    "WorkNotificationReaders",
    "WorkNotificationRecalled",
    "WorkNotificationSent",
    "fields_of",
    "name_of",
]
