"""Endpoints of DingTalk: one struct per API, with DingTalk's names.

An endpoint is a request. Its fields are the parameters, ``http`` holds method, host and path, ``result`` is the
type of a success answer, and ``http.doc`` is DingTalk's page. The sandbox validates with the same structs. Tests
compare them with ``tests/samples`` and the official SDK.

Paths keep DingTalk's spelling, case included: sends use ``oToMessages`` and recalls use ``otoMessages``.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.endpoints.base import (
    Answer,
    Auth,
    Endpoint,
    Host,
    Http,
    Idempotency,
    LegacyEndpoint,
    LegacyResponse,
    Text,
    fields_of,
    name_of,
)
from airflow_provider_dingtalk.client.endpoints.ding import (
    MAX_USERS_PER_APP_DING,
    MAX_USERS_PER_PHONE_DING,
    DingResult,
    RecallDing,
    SendDing,
)
from airflow_provider_dingtalk.client.endpoints.robot import (
    MAX_KEYS_PER_RECALL,
    MAX_MSG_PARAM_BYTES,
    MAX_RESULTS_PER_PAGE,
    MAX_USERS_PER_OTO_SEND,
    FailedKey,
    MessageReadList,
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
from airflow_provider_dingtalk.client.endpoints.tokens import AccessToken, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.client.endpoints.work_notification import (
    MAX_DEPTS_PER_WORK_NOTIFICATION,
    MAX_USERS_PER_WORK_NOTIFICATION,
    MAX_WORK_NOTIFICATION_BYTES,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    RecallWorkNotification,
    SendWorkNotification,
    WorkNotificationOutcome,
    WorkNotificationProgress,
    WorkNotificationReaders,
    WorkNotificationRecalled,
    WorkNotificationSent,
)

#: Recall window of robot one-on-one messages and work notifications, in hours.
RECALL_WINDOW_HOURS = 24

#: All endpoints that this package calls; the sandbox serves exactly these.
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
