"""All endpoints: that each is tested, and what is refused before it is sent."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.exceptions import InvalidInputError
from tests.client.endpoints import test_ding, test_robot, test_tokens, test_work_notification
from tests.client.endpoints.requests import built
from tests.support.fake_servers import OLD_SEND


def test_each_endpoint_is_tested() -> None:
    modules = (test_ding, test_robot, test_tokens, test_work_notification)
    tested = [type(endpoint).__name__ for module in modules for endpoint, _, _ in module.REQUESTS]
    assert sorted(tested) == sorted(cls.__name__ for cls in e.ENDPOINTS)


def test_case_of_the_one_on_one_paths_differs_as_it_does_at_dingtalk() -> None:
    assert "oToMessages" in e.SendOtoMessages.http.path and "oToMessages" in e.QueryOtoMessage.http.path
    assert "otoMessages" in e.RecallOtoMessages.http.path


def test_the_page_of_each_endpoint_is_a_url() -> None:
    assert all(cls.http.doc.startswith("https://open.dingtalk.com/document/development/") for cls in e.ENDPOINTS)


def test_fields_that_are_not_given_do_not_go_over_the_wire() -> None:
    assert json.loads(built(e.QueryGroupMessage(process_query_key="k")).content) == {"processQueryKey": "k"}
    assert dict(parse_qsl(built(OLD_SEND).content.decode())).keys() == {"agent_id", "userid_list", "msg"}


BAD_REQUESTS: list[tuple[Endpoint[Any], str]] = [
    (e.RecallOtoMessages(robot_code="r", process_query_keys=["k"] * 21), "<= 20"),
    (e.RecallOtoMessages(robot_code="r", process_query_keys=[]), ">= 1"),
    (e.RecallOtoMessages(robot_code="r", process_query_keys=[""]), "processQueryKeys"),
    (e.RecallOtoMessages(robot_code="", process_query_keys=["k"]), "robotCode"),
    (e.RecallOtoMessages(robot_code=None, process_query_keys=["k"]), "robotCode"),  # type: ignore[arg-type]
    (e.RecallOtoMessages(robot_code="r", process_query_keys="k"), "processQueryKeys"),  # type: ignore[arg-type]
    (e.RecallOtoMessages(robot_code="r", process_query_keys=[1]), "processQueryKeys"),  # type: ignore[list-item]
    (e.RecallOtoMessages(robot_code="r", process_query_keys=["\ud800"]), "surrogate"),
    (e.QueryOtoMessage(robot_code="r", process_query_key="\udfff"), "surrogate"),
    (e.RecallWorkNotification(agent_id="7", msg_task_id=1), "agent_id"),  # type: ignore[arg-type]
    (e.RecallWorkNotification(agent_id=True, msg_task_id=1), "agent_id"),
    (e.QueryGroupMessage(process_query_key="k", max_results=201), "maxResults"),
    (e.QueryGroupMessage(process_query_key="k", max_results=0), "maxResults"),
    (e.SendOtoMessages(robot_code="r", user_ids=["u"] * 21, msg_key="k", msg_param="{}"), "userIds"),
    (e.SendDing(robot_code="r", remind_type=4, receiver_user_id_list=["u"], content="x"), "remindType"),
    (
        e.SendDing(robot_code="r", remind_type=1, receiver_user_id_list=["u"] * 201, content="x"),
        "receiverUserIdList",
    ),
    (e.SendWorkNotification(agent_id=1, msg={"x": object()}), "JSON"),
    (e.SendWorkNotification(agent_id=1, msg={"x": "\ud800"}), "surrogate"),
    (e.GetAccessToken(app_key="k", app_secret=""), "appSecret"),
    (e.GetCorpAccessToken(suite_key="k", suite_secret="s", auth_corp_id="c", suite_ticket=None), "suiteTicket"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("endpoint", "named"), BAD_REQUESTS)
def test_bad_request_is_refused_by_name_before_it_is_sent(endpoint: Endpoint[Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named) as caught:
        built(endpoint)
    assert caught.value.field == endpoint.name
    assert caught.value.__context__ is None
