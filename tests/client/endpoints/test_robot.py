"""Requests to a robot's API."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.client.endpoints import Endpoint
from tests.client.endpoints.requests import CHAT, KEY, NEW, ROBOT, check

#: Endpoint, URL, and the fields as DingTalk's page has them.
REQUESTS: list[tuple[Endpoint[Any], str, dict[str, Any]]] = [
    (
        e.RecallGroupMessages(open_conversation_id="cid1", robot_code="ding1", process_query_keys=[KEY]),
        NEW + "robot/groupMessages/recall",
        {**CHAT, **ROBOT, "processQueryKeys": [KEY]},
    ),
    (
        e.RecallOtoMessages(robot_code="ding1", process_query_keys=[KEY]),
        NEW + "robot/otoMessages/batchRecall",
        {**ROBOT, "processQueryKeys": [KEY]},
    ),
    (
        e.RecallPrivateChatMessages(open_conversation_id="cid1", robot_code="ding1", process_query_keys=[KEY]),
        NEW + "robot/privateChatMessages/batchRecall",
        {**CHAT, **ROBOT, "processQueryKeys": [KEY]},
    ),
    (
        e.QueryGroupMessage(
            process_query_key=KEY,
            open_conversation_id="cid1",
            robot_code="ding1",
            max_results=200,
            next_token="50",
        ),
        NEW + "robot/groupMessages/query",
        {**CHAT, **ROBOT, "processQueryKey": KEY, "maxResults": 200, "nextToken": "50"},
    ),
    (
        e.QueryPrivateChatMessage(process_query_key=KEY, open_conversation_id="cid1", robot_code="ding1"),
        NEW + "robot/privateChatMessages/query",
        {**CHAT, **ROBOT, "processQueryKey": KEY},
    ),
    (
        e.QueryOtoMessage(robot_code="ding1", process_query_key=KEY),
        NEW + "robot/oToMessages/readStatus",
        {**ROBOT, "processQueryKey": KEY},
    ),
    (
        e.SendGroupMessage(
            msg_key="sampleText",
            msg_param='{"content":"你"}',
            open_conversation_id="cid1",
            robot_code="ding1",
            cool_app_code="COOLAPP-1",
        ),
        NEW + "robot/groupMessages/send",
        {**CHAT, **ROBOT, "msgKey": "sampleText", "msgParam": '{"content":"你"}', "coolAppCode": "COOLAPP-1"},
    ),
    (
        e.SendOtoMessages(robot_code="ding1", user_ids=["u1", "u2"], msg_key="sampleText", msg_param="{}"),
        NEW + "robot/oToMessages/batchSend",
        {**ROBOT, "userIds": ["u1", "u2"], "msgKey": "sampleText", "msgParam": "{}"},
    ),
    (
        e.SendPrivateChatMessage(
            msg_key="k", msg_param="{}", open_conversation_id="cid1", robot_code="ding1", cool_app_code="COOLAPP-1"
        ),
        NEW + "robot/privateChatMessages/send",
        {**CHAT, **ROBOT, "msgKey": "k", "msgParam": "{}", "coolAppCode": "COOLAPP-1"},
    ),
]


@pytest.mark.parametrize(("endpoint", "url", "fields"), REQUESTS, ids=[endpoint.name for endpoint, _, _ in REQUESTS])
def test_request_is_as_on_the_page(endpoint: Endpoint[Any], url: str, fields: dict[str, Any]) -> None:
    check(endpoint, url, fields)
