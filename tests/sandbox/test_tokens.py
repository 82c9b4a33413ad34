"""Access tokens: issue, renewal, expiry and refusal."""

from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, refused

SUITE = {
    "suiteKey": "suitesandbox",
    "suiteSecret": "suite-secret",
    "authCorpId": "dingcorp",
    "suiteTicket": "sandbox-ticket",
}


def test_internal_token_is_the_same_and_prolonged(client: RawClient) -> None:
    first = client.login()
    client.clock.time += 7199
    assert client.login() == first
    client.clock.time += 7199
    assert client.query("group", "k").json()["code"] == "invalid.processQueryKey", "still alive"
    client.clock.time += 1
    assert refused(client.query("group", "k"), "InvalidAuthentication")
    assert client.login() != first


@pytest.mark.parametrize(("renewal", "old_lives"), [("keeps_old", True), ("revokes_old", False)])
def test_corp_token_is_new_each_time(client: RawClient, renewal: str, old_lives: bool) -> None:
    client.behave(corp_token_renewal=renewal)
    old, new = (client.post("/v1.0/oauth2/corpAccessToken", SUITE).json()["accessToken"] for _ in range(2))
    assert old != new
    client.token = old
    code = "invalid.processQueryKey" if old_lives else "InvalidAuthentication"
    assert refused(client.query("group", "k", robotCode="suitesandbox"), code)


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
def test_bad_credentials(client: RawClient, path: str, body: dict[str, str], code: str) -> None:
    assert refused(client.http.post(f"/v1.0/oauth2/{path}", json=body), code)


def test_missing_and_dead_tokens(client: RawClient) -> None:
    recall = "/v1.0/robot/otoMessages/batchRecall"
    assert refused(client.http.post(recall, json={}), "AuthenticationFailed.MissingParameter")
    bearer = client.http.post(recall, json={}, headers={"Authorization": f"Bearer {client.token}"})
    assert refused(bearer, "AuthenticationFailed.MissingParameter")
    dead = client.post(recall, {}, token="dead")
    assert refused(dead, "InvalidAuthentication")
    assert dead.json()["message"] == "不合法的access_token"
    client.control("POST", "tokens/revoke")
    assert refused(client.recall("oto", ["k"]), "InvalidAuthentication")
