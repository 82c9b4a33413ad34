"""Endpoints of DingTalk: one struct per API, with DingTalk's names.

An endpoint is a request. Its fields are the parameters, ``http`` holds method, host and path, ``result`` is the
type of a success answer, and ``http.doc`` is DingTalk's page. The sandbox validates with the same structs. Tests
compare them with ``tests/samples`` and the official SDK.

Paths keep DingTalk's spelling, case included: sends use ``oToMessages`` and recalls use ``otoMessages``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from airflow_provider_dingtalk.client.endpoints.base import *
from airflow_provider_dingtalk.client.endpoints.ding import *
from airflow_provider_dingtalk.client.endpoints.robot import *
from airflow_provider_dingtalk.client.endpoints.tokens import *
from airflow_provider_dingtalk.client.endpoints.work_notification import *


class Kind(StrEnum):
    """Kind of message that DingTalk can recall; modules of one kind have its name."""

    GROUP = "group"
    OTO = "oto"
    PRIVATE_CHAT = "private_chat"
    WORK_NOTIFICATION = "work_notification"
    DING = "ding"


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
