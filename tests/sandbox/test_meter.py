"""Rate limit and monthly quota of the gateway."""

from __future__ import annotations

from tests.sandbox.raw_client import RawClient, refused


def _burst(client: RawClient, calls: int) -> list[int]:
    return [client.query("group", "k").status_code for _ in range(calls)]


def test_fixed_window(client: RawClient) -> None:
    client.behave(calls_per_second=3)
    client.clock.time += 0.9
    assert _burst(client, 4) == [400, 400, 400, 403]
    assert refused(client.query("group", "k"), "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", 403)
    assert client.query("private_chat", "k").status_code == 400, "each API has its own allowance"
    client.token = client.login("dingother", "other-secret")
    assert client.query("group", "k").status_code == 400, "each app has its own allowance"
    client.token = client.login()
    client.clock.time += 0.1
    assert _burst(client, 4) == [400, 400, 400, 403], "a new second, a new allowance"
    assert client.sandbox.state.journal.calls["robot/groupMessages/query"].throttled == 3


def test_sliding_window(client: RawClient) -> None:
    client.behave(calls_per_second=3, throttle_window="sliding")
    client.clock.time += 0.9
    assert _burst(client, 4) == [400, 400, 400, 403]
    client.clock.time += 0.99
    assert _burst(client, 1) == [403]
    client.clock.time += 0.01
    assert _burst(client, 4) == [400, 400, 400, 403]


def test_throttled_old_host_and_tokens(client: RawClient) -> None:
    client.behave(calls_per_second=1)
    form = {"agent_id": 1000001, "msg_task_id": 1}
    assert client.work("recall", form)["errcode"] == 400002
    throttled = client.work("recall", form)
    assert (throttled["errcode"], throttled["sub_code"]) == (88, "90018")
    assert client.login() and client.login()
    client.behave(throttle_tokens=True)
    body = {"appKey": "dingsandbox", "appSecret": "sandbox-secret"}
    assert [client.http.post("/v1.0/oauth2/accessToken", json=body).status_code for _ in range(2)] == [200, 403]


def test_monthly_quota(client: RawClient) -> None:
    client.behave(calls_per_month=2)
    assert _burst(client, 2) == [400, 400]
    assert refused(client.query("group", "k"), "Forbidden.AccessDenied.ApiCountLimitForOrg", 403)
    assert client.work("recall", {})["sub_code"] == "90020"
    assert client.login(), "token APIs are exempt"
    client.behave(token_seconds=90 * 24 * 3600)
    client.token = client.login()
    client.control("POST", "clock", {"advance": 32 * 24 * 3600})
    assert _burst(client, 1) == [400], "a new month"
