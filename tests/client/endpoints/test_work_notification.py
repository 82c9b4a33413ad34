"""Requests of work notifications, to the legacy host."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.client.endpoints import Endpoint
from tests.client.endpoints.requests import WORK, check

MSG = {"msgtype": "text", "text": {"content": "你好 & + ="}}
AGENT = {"agent_id": "7"}

#: Endpoint, URL, and the fields as DingTalk's page has them.
REQUESTS: list[tuple[Endpoint[Any], str, dict[str, Any]]] = [
    (
        e.RecallWorkNotification(agent_id=7, msg_task_id=256271667526),
        WORK + "recall",
        {**AGENT, "msg_task_id": "256271667526"},
    ),
    (e.GetWorkNotificationProgress(agent_id=7, task_id=9), WORK + "getsendprogress", {**AGENT, "task_id": "9"}),
    (e.GetWorkNotificationResult(agent_id=7, task_id=9), WORK + "getsendresult", {**AGENT, "task_id": "9"}),
    (
        e.SendWorkNotification(agent_id=7, msg=MSG, userid_list="u1,u2", dept_id_list="1,2", to_all_user=False),
        WORK + "asyncsend_v2",
        {**AGENT, "msg": MSG, "userid_list": "u1,u2", "dept_id_list": "1,2", "to_all_user": "false"},
    ),
]


@pytest.mark.parametrize(("endpoint", "url", "fields"), REQUESTS, ids=[endpoint.name for endpoint, _, _ in REQUESTS])
def test_request_is_as_on_the_page(endpoint: Endpoint[Any], url: str, fields: dict[str, Any]) -> None:
    check(endpoint, url, fields)
