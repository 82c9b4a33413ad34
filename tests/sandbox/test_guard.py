"""Requests that other web pages make, and bodies without an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.limits import MAX_BODY_BYTES
from tests.sandbox.raw_client import RawClient

EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
#: Form that an HTML page of any site can post without a preflight request.
FORM, TEXT = "application/x-www-form-urlencoded", "text/plain"
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def _status(client: RawClient, method: str, path: str, **headers: str) -> int:
    return client.http.request(method, f"/_sandbox/{path}", headers=headers).status_code


@pytest.mark.parametrize(
    "headers",
    [
        EVIL,
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1@evil.example"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {**LINK, "Sec-Fetch-Dest": "iframe"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8848"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "me@127.0.0.1"},
        {"Host": "[::1"},
    ],
)
@pytest.mark.parametrize("path", ["", "main.js", "truth", "journal", "clock"])
def test_other_pages_read_nothing(client: RawClient, headers: dict[str, str], path: str) -> None:
    answer = client.http.get(f"/_sandbox/{path}", headers=headers)
    assert answer.status_code == 403
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("headers", [EVIL, {"Origin": "null"}, LINK, {"Host": "evil.example"}])
@pytest.mark.parametrize("type_", [FORM, TEXT, "multipart/form-data; boundary=x", "application/json"])
def test_other_pages_change_nothing(client: RawClient, headers: dict[str, str], type_: str) -> None:
    [key] = client.create_messages("oto")
    given = {**headers, "Content-Type": type_}
    rules = '[{"action": {"type": "drop"}}]'
    for method, path, body in (("POST", "reset", ""), ("POST", "faults", rules), ("OPTIONS", "faults", "")):
        assert client.http.request(method, f"/_sandbox/{path}", content=body, headers=given).status_code == 403
    assert key in client.sandbox.state.messages
    assert client.sandbox.state.faults.rules == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost"},
        {"Host": "LOCALHOST:1"},
        {"Host": "localhost."},
        {"Host": "[::1]:8848"},
        {"Host": "127.0.0.2:8848", "Origin": "http://127.0.0.2:8848", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_own_page_and_programs_are_served(client: RawClient, headers: dict[str, str]) -> None:
    assert _status(client, "GET", "truth", **headers) == _status(client, "POST", "reset", **headers) == 200


def test_link_on_another_page_opens_the_page_only(client: RawClient) -> None:
    assert _status(client, "GET", "", **LINK) == 200
    assert _status(client, "POST", "reset", **LINK) == 403


def test_apis_of_dingtalk_take_any_host_and_origin(client: RawClient) -> None:
    headers = {**EVIL, "Host": "api.dingtalk.com"}
    credentials = {"appKey": "dingsandbox", "appSecret": "sandbox-secret"}
    assert client.http.post("/v1.0/oauth2/accessToken", json=credentials, headers=headers).status_code == 200


def _in_process(allowed: list[str], method: str, path: str, **request: Any) -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(default_state(), allowed))
        async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.7:8848") as http:
            return await http.request(method, path, **request)

    return asyncio.run(call())


@pytest.mark.parametrize(
    ("host", "allowed", "status"),
    [
        ("10.0.0.7:8848", [], 200),
        ("10.0.0.8:8848", [], 403),
        ("sandbox.lan", [], 403),
        ("Sandbox.LAN:99", ["sandbox.lan"], 200),
        ("sandbox.lan", ["SANDBOX.lan."], 200),
        ("a.sandbox.lan", ["sandbox.lan"], 403),
    ],
)
def test_address_of_the_server_and_allowed_hosts(host: str, allowed: list[str], status: int) -> None:
    assert _in_process(allowed, "GET", "/_sandbox/clock", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("path", "field"), [("/_sandbox/faults", "field"), ("/v1.0/robot/groupMessages/recall", "code")]
)
def test_body_without_an_end(path: str, field: str) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 2**20
            yield b" " * 2**20

    answer = _in_process([], "POST", path, content=endless())
    assert (answer.status_code, read) == (413, MAX_BODY_BYTES + 2**20)
    assert field in answer.json() and str(MAX_BODY_BYTES) in answer.text


def test_announced_size_is_refused_before_the_body() -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"[]")
        yield b"[]"

    headers = {"Content-Length": str(10**12)}
    answer = _in_process([], "PUT", "/_sandbox/faults", content=body(), headers=headers)
    assert (answer.status_code, read) == (413, [])
    assert answer.json()["limit"] == MAX_BODY_BYTES
    assert answer.headers["connection"] == "close"
