"""HTTP responses."""

from __future__ import annotations

import json

import pytest

from airflow_provider_dingtalk.sandbox.api_errors import THROTTLED, ApiError
from airflow_provider_dingtalk.sandbox.responses import ApiResponse, error_response, json_response


@pytest.mark.parametrize("old_host", [False, True])
def test_throttling_is_recognised_on_both_hosts(old_host: bool) -> None:
    assert error_response(THROTTLED.on(old_host=old_host), "R").throttled


@pytest.mark.parametrize("code", ["ok", "system.error", "400002", "throttle"])
def test_other_codes_are_not_throttled(code: str) -> None:
    assert not ApiResponse(200, b"", code).throttled


def test_json() -> None:
    response = json_response({"a": [1]})
    assert (response.status, response.code, json.loads(response.body)) == (200, "ok", {"a": [1]})


def test_error_with_headers() -> None:
    response = error_response(ApiError("bad", status=429), "R1", {"Retry-After": "3"})
    assert (response.status, response.code, response.headers) == (429, "bad", (("Retry-After", "3"),))
    assert json.loads(response.body) == {"requestid": "R1", "code": "bad", "message": "bad"}
