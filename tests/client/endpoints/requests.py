"""Checks of requests: method, host, path, fields and token as on DingTalk's pages."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import httpx

from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.client.hosts import hosts_of_region
from airflow_provider_dingtalk.client.protocol import request_for

CN = hosts_of_region("cn")
TOKEN = "tok+en/1="
KEY = "a+b/c=="
ROBOT = {"robotCode": "ding1"}
CHAT = {"openConversationId": "cid1"}
NEW = "https://api.dingtalk.com/v1.0/"
WORK = "https://oapi.dingtalk.com/topapi/message/corpconversation/"


def built(endpoint: Endpoint[Any], token: str = TOKEN) -> httpx.Request:
    return request_for(endpoint, CN.base_url(endpoint.http.host), token)


def check(endpoint: Endpoint[Any], url: str, fields: dict[str, Any]) -> None:
    """Check a whole request.

    :param url: Its URL without a query.
    :param fields: Its fields as DingTalk's page has them.
    """
    request = built(endpoint)
    assert str(request.url.copy_with(query=None)) == url
    assert request.headers["host"] == request.url.host
    # A compressed answer is not asked for.
    assert (request.headers["accept"], request.headers["accept-encoding"]) == ("application/json", "identity")
    _check_fields(request, fields)
    _check_token(request)


def _check_fields(request: httpx.Request, fields: dict[str, Any]) -> None:
    if "readStatus" in request.url.path:
        assert (request.method, request.content) == ("GET", b"")
        assert dict(parse_qsl(request.url.query.decode())) == fields
        assert b"processQueryKey=a%2Bb%2Fc%3D%3D" in request.url.query
        return
    assert request.method == "POST"
    assert int(request.headers["content-length"]) == len(request.content)
    if "/topapi/" in request.url.path:
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True, strict_parsing=True))
        form = {name: json.loads(value) if name == "msg" else value for name, value in form.items()}
        assert (request.headers["content-type"], form) == ("application/x-www-form-urlencoded", fields)
    else:
        assert request.headers["content-type"] == "application/json; charset=utf-8"
        assert json.loads(request.content) == fields
        assert not request.url.query


def _check_token(request: httpx.Request) -> None:
    """Check that the token is where the host reads it, and nowhere else."""
    header, params = request.headers.get("x-acs-dingtalk-access-token"), dict(request.url.params)
    if "oauth2" in request.url.path:
        assert (header, params) == (None, {})
    elif "oapi." in request.url.host:
        assert (header, params) == (None, {"access_token": TOKEN})
        assert b"access_token=tok%2Ben%2F1%3D" in request.url.query
    else:
        assert header == TOKEN and "access_token" not in params
    assert TOKEN.encode() not in request.content
    assert "authorization" not in request.headers and "cookie" not in request.headers
