"""Order of the steps of a call: gateway, checks, effect."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from airflow_provider_dingtalk.sandbox.app import ENDPOINTS, create_app
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.handlers import HANDLERS
from tests.sandbox.raw_client import RawClient, refused

RECALL = "/v1.0/robot/otoMessages/batchRecall"


def test_paths_are_unique() -> None:
    assert ("POST", RECALL) in ENDPOINTS
    assert len(ENDPOINTS) == len(set(ENDPOINTS.values())) == len(HANDLERS)


def test_token_comes_before_an_unreadable_body(client: RawClient) -> None:
    headers = {"x-acs-dingtalk-access-token": "dead"}
    assert refused(client.http.post(RECALL, content=b"{", headers=headers), "InvalidAuthentication")


def test_rate_limit_comes_before_the_checks(client: RawClient) -> None:
    client.behave(calls_per_second=1)
    assert client.recall("oto", None).status_code == 400
    assert client.recall("oto", None).status_code == 403


def test_throttled_calls_do_not_use_the_quota(client: RawClient) -> None:
    client.behave(calls_per_second=1)
    before = client.sandbox.state.meter.calls_this_month
    assert [client.query("group", "k").status_code for _ in range(3)] == [400, 403, 403]
    assert client.sandbox.state.meter.calls_this_month == before + 1


def test_unknown_path_is_counted_without_its_name(client: RawClient) -> None:
    assert client.post("/v1.0/robot/nothing", {}).json()["code"] == "InvalidAction.NotFound"
    assert client.control("GET", "truth?brief=1")["calls"]["?"]["refused"] == 1
    assert client.control("GET", "journal")["requests"][-1]["api"] == "/v1.0/robot/nothing"


def test_body_in_parts_is_read_whole() -> None:
    async def parts():
        yield b'{"appKey": "dingsandbox", '
        yield b'"appSecret": "sandbox-secret"}'

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(default_state()))
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
            return await http.post("/v1.0/oauth2/accessToken", content=parts())

    assert asyncio.run(call()).json()["expireIn"] == 7200


def test_request_that_does_not_arrive_whole_has_no_effect() -> None:
    state = default_state()
    messages = [
        {"type": "http.request", "body": b'{"appKey": "ding', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1.0/oauth2/accessToken", "query_string": b"", "headers": []}
    asyncio.run(create_app(state)(scope, receive, send))
    assert (sent, state.journal.seq) == ([], 0)
