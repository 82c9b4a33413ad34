"""The gateway: tokens, calls per second, calls per month, unknown paths."""

from __future__ import annotations

import pytest

from tests.sandbox.sandbox_dialogue import Dialogue, refused

SUITE = {
    "suiteKey": "suitesandbox",
    "suiteSecret": "suite-secret",
    "authCorpId": "dingcorp",
    "suiteTicket": "sandbox-ticket",
}


def test_internal_token_is_the_same_and_prolonged(talk: Dialogue) -> None:
    first = talk.login()
    talk.clock.time += 7199
    assert talk.login() == first
    talk.clock.time += 7199
    assert talk.query("group", "k").json()["code"] == "invalid.processQueryKey", "still alive"
    talk.clock.time += 1
    assert refused(talk.query("group", "k"), "InvalidAuthentication")
    assert talk.login() != first


@pytest.mark.parametrize(("renewal", "old_lives"), [("keeps_old", True), ("revokes_old", False)])
def test_corp_token_is_new_each_time(talk: Dialogue, renewal: str, old_lives: bool) -> None:
    talk.behave(corp_token_renewal=renewal)
    old, new = (talk.post("/v1.0/oauth2/corpAccessToken", SUITE).json()["accessToken"] for _ in range(2))
    assert old != new
    talk.token = old
    code = "invalid.processQueryKey" if old_lives else "InvalidAuthentication"
    assert refused(talk.query("group", "k", robotCode="suitesandbox"), code)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("accessToken", {"appKey": "dingsandbox", "appSecret": "wrong"}, "invalidClientIdOrSecret"),
        ("accessToken", {"appKey": "suitesandbox", "appSecret": "suite-secret"}, "invalidClientIdOrSecret"),
        ("accessToken", {}, "invalidClientIdOrSecret"),
        ("corpAccessToken", {**SUITE, "suiteKey": "x"}, "invalidSuiteKey"),
        ("corpAccessToken", {**SUITE, "suiteSecret": "x"}, "invalidSuiteKey"),
        ("corpAccessToken", {**SUITE, "suiteTicket": "x"}, "invalidSuiteTicket"),
        ("corpAccessToken", {**SUITE, "authCorpId": "x"}, "invalidAuthInfo"),
    ],
)
def test_bad_credentials(talk: Dialogue, path: str, body: dict[str, str], code: str) -> None:
    assert refused(talk.http.post(f"/v1.0/oauth2/{path}", json=body), code)


def test_missing_and_dead_tokens(talk: Dialogue) -> None:
    recall = "/v1.0/robot/otoMessages/batchRecall"
    assert refused(talk.http.post(recall, json={}), "AuthenticationFailed.MissingParameter")
    bearer = talk.http.post(recall, json={}, headers={"Authorization": f"Bearer {talk.token}"})
    assert refused(bearer, "AuthenticationFailed.MissingParameter")
    dead = talk.post(recall, {}, token="dead")
    assert refused(dead, "InvalidAuthentication")
    assert dead.json()["message"] == "不合法的access_token"
    talk.control("POST", "tokens/revoke")
    assert refused(talk.recall("oto", ["k"]), "InvalidAuthentication")


def test_old_host_wraps_its_gateway(talk: Dialogue) -> None:
    missing, dead = talk.work("recall", {}, token=""), talk.work("recall", {}, token="dead")
    assert (missing["errcode"], missing["sub_code"]) == (88, "40000")
    assert (dead["errcode"], dead["sub_code"]) == (88, "40014")
    assert dead["errmsg"] == "ding talk error[subcode=40014,submsg=不合法的access_token]"
    by_header = talk.post("/topapi/message/corpconversation/recall", {"agent_id": 1000}).json()
    assert by_header["sub_code"] == "40000", "the header of the new host is not read"


def test_unknown_paths(talk: Dialogue) -> None:
    assert talk.post("/v1.0/robot/groupMessages/batchRecall", {}).status_code == 404
    assert talk.post("/v1.0/robot/oToMessages/batchRecall", {}).status_code == 404, "the case matters"
    assert talk.http.post("/topapi/message/nothing").json()["errcode"] == 22


def _burst(talk: Dialogue, calls: int) -> list[int]:
    return [talk.query("group", "k").status_code for _ in range(calls)]


def test_fixed_window(talk: Dialogue) -> None:
    talk.behave(calls_per_second=3)
    talk.clock.time += 0.9
    assert _burst(talk, 4) == [400, 400, 400, 403]
    assert refused(talk.query("group", "k"), "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", 403)
    assert talk.query("private_chat", "k").status_code == 400, "each API has its own allowance"
    talk.token = talk.login("dingother", "other-secret")
    assert talk.query("group", "k").status_code == 400, "each app has its own allowance"
    talk.token = talk.login()
    talk.clock.time += 0.1
    assert _burst(talk, 4) == [400, 400, 400, 403], "a new second, a new allowance"
    assert talk.sandbox.state.journal.calls["robot/groupMessages/query"].throttled == 3


def test_sliding_window(talk: Dialogue) -> None:
    talk.behave(calls_per_second=3, throttle_window="sliding")
    talk.clock.time += 0.9
    assert _burst(talk, 4) == [400, 400, 400, 403]
    talk.clock.time += 0.99
    assert _burst(talk, 1) == [403]
    talk.clock.time += 0.01
    assert _burst(talk, 4) == [400, 400, 400, 403]


def test_throttled_old_host_and_tokens(talk: Dialogue) -> None:
    talk.behave(calls_per_second=1)
    form = {"agent_id": 1000, "msg_task_id": 1}
    assert talk.work("recall", form)["errcode"] == 400002
    throttled = talk.work("recall", form)
    assert (throttled["errcode"], throttled["sub_code"]) == (88, "90018")
    assert talk.login() and talk.login()
    talk.behave(throttle_tokens=True)
    body = {"appKey": "dingsandbox", "appSecret": "sandbox-secret"}
    assert [talk.http.post("/v1.0/oauth2/accessToken", json=body).status_code for _ in range(2)] == [200, 403]


def test_monthly_quota(talk: Dialogue) -> None:
    talk.behave(calls_per_month=2)
    assert _burst(talk, 2) == [400, 400]
    assert refused(talk.query("group", "k"), "Forbidden.AccessDenied.ApiCountLimitForOrg", 403)
    assert talk.work("recall", {})["sub_code"] == "90020"
    assert talk.login(), "token APIs are exempt"
    talk.behave(token_seconds=90 * 24 * 3600)
    talk.token = talk.login()
    talk.control("POST", "clock", {"advance": 32 * 24 * 3600})
    assert _burst(talk, 1) == [400], "a new month"
