"""Requests for access tokens."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.client.endpoints import Endpoint
from tests.client.endpoints.requests import NEW, check

#: Endpoint, URL, and the fields as DingTalk's page has them.
REQUESTS: list[tuple[Endpoint[Any], str, dict[str, Any]]] = [
    (
        e.GetAccessToken(app_key="k", app_secret="s"),
        NEW + "oauth2/accessToken",
        {"appKey": "k", "appSecret": "s"},
    ),
    (
        e.GetCorpAccessToken(suite_key="k", suite_secret="s", auth_corp_id="c", suite_ticket="t"),
        NEW + "oauth2/corpAccessToken",
        {"suiteKey": "k", "suiteSecret": "s", "authCorpId": "c", "suiteTicket": "t"},
    ),
]


@pytest.mark.parametrize(("endpoint", "url", "fields"), REQUESTS, ids=[endpoint.name for endpoint, _, _ in REQUESTS])
def test_request_is_as_on_the_page(endpoint: Endpoint[Any], url: str, fields: dict[str, Any]) -> None:
    check(endpoint, url, fields)
