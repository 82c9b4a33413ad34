"""Requests to send and recall DINGs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.client.endpoints import Endpoint
from tests.client.endpoints.requests import NEW, ROBOT, check

#: Endpoint, URL, and the fields as DingTalk's page has them.
REQUESTS: list[tuple[Endpoint[Any], str, dict[str, Any]]] = [
    (
        e.RecallDing(robot_code="ding1", open_ding_id="D1"),
        NEW + "robot/ding/recall",
        {**ROBOT, "openDingId": "D1"},
    ),
    (
        e.SendDing(robot_code="ding1", remind_type=1, receiver_user_id_list=["u1"], content="x", call_voice="v"),
        NEW + "robot/ding/send",
        {**ROBOT, "remindType": 1, "receiverUserIdList": ["u1"], "content": "x", "callVoice": "v"},
    ),
]


@pytest.mark.parametrize(("endpoint", "url", "fields"), REQUESTS, ids=[endpoint.name for endpoint, _, _ in REQUESTS])
def test_request_is_as_on_the_page(endpoint: Endpoint[Any], url: str, fields: dict[str, Any]) -> None:
    check(endpoint, url, fields)
