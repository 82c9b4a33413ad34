"""The meaning of any answer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client import endpoints as e
from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.client.protocol import MAX_RETRY_AFTER, RawResponse, result_of
from airflow_provider_dingtalk.exceptions import (
    AuthenticationError,
    BannedError,
    InvalidKeyError,
    InvalidRequestError,
    PermissionDeniedError,
    QuotaExhaustedError,
    ResponseError,
    ServerError,
    ThrottlingError,
    UnexpectedHtmlError,
    UnexpectedResponseError,
)
from tests.support.fake_servers import CALLS, GOOD, OLD_QUERY, OLD_RECALL, OLD_SEND, QUERY, RECALL, SEND


def _says(endpoint: Endpoint[Any], body: bytes | str | object, status: int = 200, **headers: str) -> Any:
    """Return the client's result of an answer; objects become JSON, ``a_b`` becomes header ``a-b``."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return result_of(endpoint, RawResponse(status, httpx.Headers(named), body))


# ── Good answers ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("failed", "reasons"),
    [
        ({"k2": "SYSTEM_ERROR"}, {"k2": "SYSTEM_ERROR"}),
        ({"k2": None}, {"k2": ""}),
        ({}, {}),
        (None, {}),
        ([], {}),
        ([{"processQueryKey": "k2", "code": "SYSTEM_ERROR"}], {"k2": "SYSTEM_ERROR"}),
        ([{"key": "k2", "reason": "why"}], {"k2": "why"}),
        ([{"key": "k2", "message": "text"}], {"k2": "text"}),
        ([{"key": "k2", "code": "c", "reason": "r", "message": "m"}, {"key": "k3"}], {"k2": "c", "k3": ""}),
        ([{"code": "c", "new": 1}], {"": "c"}),
    ],
)
def test_failed_result_is_read_as_map_and_as_list(failed: Any, reasons: dict[str, str]) -> None:
    result = _says(RECALL, {"successResult": ["k1"], "failedResult": failed, "addedLater": {}})
    assert (result.success_result, result.reasons()) == (["k1"], reasons)


@pytest.mark.parametrize("body", [{"successResult": None, "failedResult": None}, {}])
def test_recall_that_says_nothing_about_any_key_claims_nothing(body: dict[str, Any]) -> None:
    result = _says(RECALL, body)
    assert (result.success_result, result.failed_result, result.reasons()) == (None, None, {})


def test_oto_send_names_those_who_got_nothing() -> None:
    sent = _says(
        e.SendOtoMessages(robot_code="r", user_ids=["u"], msg_key="k", msg_param="{}"),
        {"processQueryKey": "k", "invalidStaffIdList": ["a"], "flowControlledStaffIdList": None}
        | {"filteredStaffIdList": ["c"]},
    )
    lists = (sent.invalid_staff_id_list, sent.flow_controlled_staff_id_list, sent.filtered_staff_id_list)
    assert (sent.process_query_key, lists) == ("k", (["a"], None, ["c"]))


def test_status_page_is_read_with_a_status_nobody_documented() -> None:
    page = _says(QUERY, {"sendStatus": "SUCESS", "readUserIds": ["u"], "hasMore": True, "nextToken": "50", "x": 1})
    assert (page.send_status, page.read_user_ids, page.has_more, page.next_token) == ("SUCESS", ["u"], True, "50")


def test_oto_status_names_each_receiver() -> None:
    people = [{"name": "n", "userId": "u", "readStatus": "READ", "readTimestamp": 0}]
    status = _says(
        e.QueryOtoMessage(robot_code="r", process_query_key="k"),
        {"sendStatus": "SUCCESS", "messageReadInfoList": people},
    )
    assert [(one.user_id, one.read_status) for one in status.message_read_info_list] == [("u", "READ")]


def test_old_host_is_read_where_errcode_is_0() -> None:
    assert _says(OLD_RECALL, {"errcode": 0, "errmsg": "ok"}).errcode == 0
    assert _says(OLD_SEND, {"errcode": 0, "task_id": 256271667526, "request_id": "r"}).task_id == 256271667526
    readers = _says(OLD_QUERY, {"errcode": 0, "send_result": {"read_user_id_list": ["u"], "new": 1}}).send_result
    assert (readers.read_user_id_list, readers.unread_user_id_list) == (["u"], None)
    progress = e.GetWorkNotificationProgress(agent_id=1, task_id=1)
    assert _says(progress, {"errcode": 0, "progress": {"progress_in_percent": 50, "status": 1}}).progress.status == 1


# ── What is no answer ────────────────────────────────────────────────────────────────────────────────

NO_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n ",
    "a list": b'["successResult"]',
    "a string": b'"ok"',
    "null": b"null",
    "a number": b"0",
    "cut JSON": b'{"successResult": ["key1"',
    "two objects": b"{}{}",
    "NaN": b'{"errcode": NaN}',
    "infinity": b'{"errcode": Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"errcode": 0}',
    "no UTF-8": b'{"errmsg": "\xff\xfe"}',
    "half a surrogate pair": b'{"errmsg": "\\ud800"}',
    "5,000 digits": b'{"errcode": ' + b"9" * 5000 + b"}",
    "5,000 digits behind a minus": b'{"errcode": -' + b"9" * 5000 + b"}",
    "5,000 digits in a list": b'{"successResult": [' + b"9" * 5000 + b"]}",
    "deep lists": b"[" * 100_000,
    "deep lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a deep value": b'{"failedResult": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("status", [200, 302, 400, 404])
def test_what_is_no_json_object_is_ambiguous(endpoint: Endpoint[Any], body: bytes, status: int) -> None:
    with pytest.raises(UnexpectedResponseError, match="proxy") as caught:
        _says(endpoint, body, status, content_type="text/plain; charset=utf-8")
    assert (caught.value.code, caught.value.permanent) == ("unexpected_answer", False)
    assert f"HTTP {status} with {len(body)} bytes of text/plain" in str(caught.value)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
def test_5xx_page_is_a_server_error(endpoint: Endpoint[Any], status: int) -> None:
    with pytest.raises(ServerError) as caught:
        _says(endpoint, b"<html>Bad Gateway</html>", status)
    assert (caught.value.status_code, caught.value.code) == (status, "")


def test_429_page_is_throttling() -> None:
    with pytest.raises(ThrottlingError):
        _says(SEND, b"slow down", 429)


WRONG_SHAPES: list[tuple[Endpoint[Any], Any]] = [
    (RECALL, {"successResult": "key1"}),
    (RECALL, {"successResult": {"key1": True}}),
    (RECALL, {"successResult": [1]}),
    (RECALL, {"successResult": [None]}),
    (RECALL, {"successResult": True}),
    (RECALL, {"failedResult": "key1"}),
    (RECALL, {"failedResult": {"key1": 5}}),
    (RECALL, {"failedResult": ["key1"]}),
    (RECALL, {"failedResult": [{"key": 1}]}),
    (QUERY, {"sendStatus": 1}),
    (QUERY, {"readUserIds": "u"}),
    (QUERY, {"hasMore": "true"}),
    (QUERY, {"nextToken": 50}),
    (SEND, {}),
    (SEND, {"processQueryKey": None}),
    (SEND, {"processQueryKey": ""}),
    (SEND, {"processQueryKey": 5}),
    (OLD_RECALL, {}),
    (OLD_RECALL, {"errmsg": "ok"}),
    (OLD_RECALL, {"success": True, "errmsg": "ok"}),
    (OLD_RECALL, {"errcode": None}),
    (OLD_RECALL, {"errcode": False}),
    (OLD_RECALL, {"errcode": 0.0}),
    (OLD_RECALL, {"errcode": 400002.0}),
    (OLD_RECALL, {"errcode": "0"}),
    (OLD_RECALL, {"errcode": [0]}),
    (OLD_RECALL, {"errcode": ""}),
    (OLD_SEND, {"errcode": 0}),
    (OLD_SEND, {"errcode": 0, "task_id": "1"}),
    (OLD_QUERY, {"errcode": 0}),
    (OLD_QUERY, {"errcode": 0, "send_result": None}),
    (e.GetAccessToken(app_key="k", app_secret="s"), {"accessToken": "t"}),
    (e.GetAccessToken(app_key="k", app_secret="s"), {"accessToken": "", "expireIn": 7200}),
    (e.GetAccessToken(app_key="k", app_secret="s"), {"accessToken": "t", "expireIn": 0}),
    (e.GetAccessToken(app_key="k", app_secret="s"), {"accessToken": "tö", "expireIn": 7200}),
    (e.GetAccessToken(app_key="k", app_secret="s"), {"accessToken": "t\r\nx: y", "expireIn": 7200}),
    (e.RecallDing(robot_code="r", open_ding_id="d"), {}),
]


@pytest.mark.parametrize(("endpoint", "body"), WRONG_SHAPES)
def test_json_of_another_shape_is_never_taken_for_success(endpoint: Endpoint[Any], body: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="another shape"):
        _says(endpoint, body)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
def test_redirect_is_never_taken_for_success(endpoint: Endpoint[Any], status: int) -> None:
    with pytest.raises(UnexpectedResponseError, match=f"HTTP {status}"):
        _says(endpoint, GOOD[endpoint.name], status, location="http://127.0.0.1/elsewhere")
    with pytest.raises(UnexpectedResponseError, match=f"HTTP {status}"):
        _says(endpoint, b"", status, location="http://127.0.0.1/elsewhere")


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize(("status", "error"), [(500, ServerError), (400, ResponseError), (403, PermissionDeniedError)])
def test_good_body_under_a_bad_status_is_an_error(endpoint: Endpoint[Any], status: int, error: type) -> None:
    with pytest.raises(error):
        _says(endpoint, GOOD[endpoint.name], status)


# ── Errors of the current host ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "InvalidAuthentication", AuthenticationError),
        (403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", ThrottlingError),
        (403, "Forbidden.AccessDenied.AccessTokenPermissionDenied", PermissionDeniedError),
        (403, "Forbidden.AccessDenied.ApiCountLimitForOrg", QuotaExhaustedError),
        (400, "send.too.fast", ThrottlingError),
        (400, "invalid.processQueryKey", InvalidKeyError),
        (500, "system.error", ServerError),
        (400, "never.heard.of", ResponseError),
    ],
)
def test_new_host_is_understood_by_its_code(status: int, code: str, error: type) -> None:
    with pytest.raises(ResponseError) as caught:
        _says(RECALL, {"requestid": "R-1", "code": code, "message": "text\nof\x00DingTalk"}, status)
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.request_id) == (code, "R-1")
    assert (caught.value.status_code, caught.value.endpoint) == (status, RECALL.name)
    assert f"{RECALL.name}: {code} (HTTP {status}): text of DingTalk." in str(caught.value)


@pytest.mark.parametrize("code", [None, 5.5, True, [], {}, "", int("9" * 4000)], ids=lambda code: str(type(code)))
def test_error_with_a_strange_code_goes_by_its_status(code: Any) -> None:
    # 4,000 digits: short enough for Python to print, too long for a message.
    with pytest.raises(ResponseError) as caught:
        _says(RECALL, {"code": code, "message": ["x"], "requestid": {}}, 500)
    assert isinstance(caught.value, ServerError)
    assert len(str(caught.value)) < 1000


def test_long_texts_of_the_answer_are_cut_short() -> None:
    with pytest.raises(ResponseError) as caught:
        _says(RECALL, {"code": "c" * 10_000, "message": "m" * 10_000, "requestid": "r" * 10_000}, 400)
    assert len(str(caught.value)) < 1000
    assert len(caught.value.code) == len(caught.value.request_id) == 200


@pytest.mark.parametrize(
    "shown", ["secret+/=", "secret%2B%2F%3D", "x" * 195 + "secret+/=", "x" * 198 + "secret%2B%2F%3D"]
)
@pytest.mark.parametrize("field", ["code", "message", "requestid", "errcode", "errmsg", "sub_code", "sub_msg"])
def test_secret_in_an_answer_is_masked_also_where_the_text_is_cut(shown: str, field: str) -> None:
    new: dict[str, Any] = {"code": "c", "message": "m", "requestid": "r"}
    body = new if field in {"code", "message", "requestid"} else {}
    body = body or {"errcode": 88, "errmsg": "m", "request_id": "r"}
    answer = RawResponse(400, httpx.Headers(), json.dumps(body | {field: shown}).encode())
    with pytest.raises(ResponseError) as caught:
        result_of(RECALL, answer, ("", "secret+/="))
    assert "secr" not in repr(vars(caught.value)) + str(caught.value)


# ── Errors of the legacy host ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ({"errcode": 40014, "errmsg": "x"}, "40014", AuthenticationError),
        ({"errcode": "40014", "errmsg": "x"}, "40014", AuthenticationError),
        ({"errcode": 88, "sub_code": "40014", "sub_msg": "x"}, "40014", AuthenticationError),
        ({"errcode": 88, "sub_code": 42001, "sub_msg": "x"}, "42001", AuthenticationError),
        (
            {"errcode": 88, "errmsg": "ding talk error[subcode=90002,submsg=apiPath(...)]"},
            "90002",
            ThrottlingError,
        ),
        ({"errcode": 88, "sub_code": "90018", "sub_msg": "x"}, "90018", ThrottlingError),
        ({"errcode": 90019, "errmsg": "x"}, "90019", ThrottlingError),
        ({"errcode": -1, "errmsg": "system busy"}, "-1", ServerError),
        ({"errcode": 88, "sub_code": "60011"}, "60011", PermissionDeniedError),
        ({"errcode": 90020, "errmsg": "x"}, "90020", QuotaExhaustedError),
        ({"errcode": 400002, "errmsg": "x"}, "400002", InvalidRequestError),
        ({"errcode": 500, "errmsg": "x"}, "500", ServerError),
        ({"errcode": 88, "errmsg": "no cause"}, "88", ResponseError),
        ({"errcode": 88, "sub_code": None, "errmsg": None}, "88", ResponseError),
        ({"errcode": 88, "sub_code": "", "errmsg": "ding talk error[subcode=,submsg=]"}, "88", ResponseError),
        ({"errcode": 404, "errmsg": "no such path"}, "404", ResponseError),
    ],
)
@pytest.mark.parametrize("endpoint", [OLD_RECALL, OLD_SEND, RECALL], ids=lambda endpoint: endpoint.name)
def test_old_host_hides_its_cause_in_three_places(
    endpoint: Endpoint[Any], body: dict[str, Any], code: str, error: type
) -> None:
    with pytest.raises(ResponseError) as caught:
        _says(endpoint, body | {"request_id": "R-1"})
    assert (type(caught.value), caught.value.code, caught.value.request_id) == (error, code, "R-1")
    assert caught.value.status_code == 200


def test_text_of_the_cause_is_shown_and_not_its_wrapping() -> None:
    wrapped = {"errcode": 88, "sub_code": "40014", "sub_msg": "不合法", "errmsg": "ding talk error[subcode=40014]"}
    with pytest.raises(AuthenticationError, match="不合法") as caught:
        _says(OLD_RECALL, wrapped)
    assert "ding talk error" not in str(caught.value)


# ── The ban ──────────────────────────────────────────────────────────────────────────────────────────

BAN_PAGE = """<!DOCTYPE html><html><script>window.config = {"status":1111,"wait":5,"punish":"deny"}</script></html>"""


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ('{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"u"}', 300),
        ('{"status": 1111, "wait": "2"}', 120),
        ('{"status":1111}', 300),
        ('{"punish":"deny","wait":1}', 60),
        ('{"status":1111,"wait":999}', MAX_RETRY_AFTER),
        (BAN_PAGE, 300),
        ("<html>punish=deny</html>", 300),
    ],
)
def test_ban_is_seen_in_html_and_in_json(endpoint: Endpoint[Any], status: int, body: str, seconds: float) -> None:
    with pytest.raises(BannedError, match="shut out for 5 minutes") as caught:
        _says(endpoint, body, status)
    assert (caught.value.retry_after, caught.value.code, caught.value.permanent) == (seconds, "1111", False)


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_any_other_page_may_be_the_ban_and_says_that_it_may_be_a_proxy(endpoint: Endpoint[Any], status: int) -> None:
    with pytest.raises(UnexpectedHtmlError, match="proxy") as caught:
        _says(endpoint, b"\n <html><body>Welcome to the guest network</body></html>", status)
    assert (caught.value.code, caught.value.retry_after, caught.value.permanent) == ("html_page", 300, False)
    assert "guest" not in str(caught.value)


@pytest.mark.parametrize("content_type", ["", "text/secret123", "x" * 1000, "TEXT/HTML", "a/b\r\nx: secret"])
def test_strange_content_type_stays_out_of_the_text(content_type: str) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        _says(RECALL, b"", content_type=content_type)
    assert "secret123" not in str(caught.value) and len(str(caught.value)) < 300


def test_answers_that_only_look_like_a_ban_are_none() -> None:
    assert _says(RECALL, {"successResult": ["1111"], "failedResult": {"status": "1111"}}).success_result == ["1111"]
    assert _says(OLD_SEND, {"errcode": 0, "task_id": 1111}).task_id == 1111


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 1.0),
        ("299", 299.0),
        ("301", MAX_RETRY_AFTER),
        ("999999", MAX_RETRY_AFTER),
        ("1000000000", 1.0),
        ("1e9", 1.0),
        ("-5", 1.0),
        ("1.5", 1.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
        ("soon", 1.0),
        ("", 1.0),
        ("nan", 1.0),
        ("inf", 1.0),
    ],
)
def test_retry_after_counts_where_it_is_a_sensible_number(header: str, seconds: float) -> None:
    throttled = {"code": "Forbidden.AccessDenied.QpsLimitForApi", "message": "m"}
    for body in (throttled, {"errcode": 90002}):
        with pytest.raises(ThrottlingError) as caught:
            _says(QUERY, body, 403, retry_after=header)
        assert caught.value.retry_after == seconds
    with pytest.raises(ThrottlingError) as caught:
        _says(QUERY, b"slow down", 429, retry_after=header)
    assert caught.value.retry_after == seconds


def test_no_retry_after_is_a_second() -> None:
    with pytest.raises(ThrottlingError) as caught:
        _says(QUERY, {"errcode": 90018})
    assert caught.value.retry_after == 1.0
