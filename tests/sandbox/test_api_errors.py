"""Forms of API errors on both hosts."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.sandbox.api_errors import (
    DEAD_TOKEN,
    MISSING_TOKEN,
    MONTH_USED_UP,
    THROTTLED,
    ApiError,
    GatewayError,
    LegacyApiError,
)
from tests.sandbox.raw_client import RawClient


def test_old_host_wraps_its_gateway(client: RawClient) -> None:
    missing, dead = client.work("recall", {}, token=""), client.work("recall", {}, token="dead")
    assert (missing["errcode"], missing["sub_code"]) == (88, "40000")
    assert (dead["errcode"], dead["sub_code"]) == (88, "40014")
    assert dead["errmsg"] == "ding talk error[subcode=40014,submsg=不合法的access_token]"
    by_header = client.post("/topapi/message/corpconversation/recall", {"agent_id": 1000001}).json()
    assert by_header["sub_code"] == "40000", "the header of the new host is not read"


def test_unknown_paths(client: RawClient) -> None:
    assert client.post("/v1.0/robot/groupMessages/batchRecall", {}).status_code == 404
    assert client.post("/v1.0/robot/oToMessages/batchRecall", {}).status_code == 404, "the case matters"
    assert client.http.post("/topapi/message/nothing").json()["errcode"] == 22


@pytest.mark.parametrize("error", [DEAD_TOKEN, MISSING_TOKEN, THROTTLED, MONTH_USED_UP])
def test_gateway_errors_on_both_hosts(error: GatewayError) -> None:
    new, old = error.on(old_host=False), error.on(old_host=True)
    assert new.body("R") == {"requestid": "R", "code": error.code, "message": error.message}
    assert new.status == error.status
    body = old.body("R")
    assert (old.status, body["errcode"], body["sub_code"]) == (200, 88, str(error.errcode))
    assert body["errmsg"] == f"ding talk error[subcode={body['sub_code']},submsg={body['sub_msg']}]"


def test_old_host_error_without_wrapping() -> None:
    assert LegacyApiError(40035, "bad").body("R") == {"errcode": 40035, "errmsg": "bad", "request_id": "R"}


def test_message_is_the_code_by_default() -> None:
    assert ApiError("bad").message == "bad"
