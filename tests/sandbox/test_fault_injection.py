"""Faults over a real socket: the response, and the effect of the call."""

from __future__ import annotations

import gzip
import json

import pytest

from airflow_provider_dingtalk.sandbox.fault_injection import merged
from tests.sandbox.raw_client import RawClient, action_of, refused, rule


@pytest.mark.parametrize(("when", "recalled"), [("before", False), ("after", True)])
def test_status_with_and_without_effect(client: RawClient, when: str, recalled: bool) -> None:
    [key] = client.create_messages("group")
    client.faults(rule(when=when, action="status"))
    assert refused(client.recall("group", [key]), "system.error", 500)
    assert client.recalled(key) is recalled


def test_status_with_headers_and_on_the_old_host(client: RawClient) -> None:
    action = action_of(
        "status", status=429, code="system.busy", errcode=90002, wrapped=True, headers={"Retry-After": "3"}
    )
    client.faults(rule(action=action))
    answer = client.query("group", "k")
    assert refused(answer, "system.busy", 429) and answer.headers["retry-after"] == "3"
    assert client.work("recall", {})["sub_code"] == "90002"


def test_other_bodies(client: RawClient) -> None:
    for action, status, text in (
        (action_of("html"), 502, "<html>"),
        (action_of("html", status=503, html="<p>"), 503, "<p>"),
        (action_of("body", text="{"), 200, "{"),
        (action_of("body", text="", status=204, content_type="text/plain"), 204, ""),
        (action_of("ban", form="html"), 200, "<html>"),
    ):
        client.faults(rule(action=action))
        answer = client.query("group", "k")
        assert answer.status_code == status and answer.text.startswith(text)
    client.faults(rule(action=action_of("ban", wait=9)))
    page = client.query("group", "k").json()
    assert (page["status"], page["wait"], page["source"], page["punish"]) == (1111, 9, "x5", "deny")


def test_throttle_and_dead_token(client: RawClient) -> None:
    client.faults(rule(action="throttle"))
    assert refused(client.query("group", "k"), "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", 403)
    assert client.work("recall", {})["sub_code"] == "90018"
    client.faults(rule(action="dead_token", times=1))
    assert refused(client.query("group", "k"), "InvalidAuthentication")
    assert refused(client.query("group", "k"), "invalid.processQueryKey")
    client.faults(rule(action=action_of("dead_token", revoke=True), times=1))
    assert refused(client.query("group", "k"), "InvalidAuthentication")
    assert refused(client.query("group", "k"), "InvalidAuthentication"), "really revoked"


def test_redirect_and_bomb(client: RawClient) -> None:
    client.faults(rule(action=action_of("redirect", url="http://127.0.0.1:9/elsewhere")))
    answer = client.query("group", "k")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")
    client.faults(rule(action=action_of("gzip_bomb", megabytes=2)))
    with client.http.stream("POST", "/v1.0/oauth2/accessToken", json={}) as bomb:
        packed = b"".join(bomb.iter_raw())
    assert len(packed) < 10_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) == 2_000_002 and json.loads(unpacked) == {}


def test_failed_keys(client: RawClient) -> None:
    keys = client.create_messages("oto", 4)
    client.faults(
        rule(action=action_of("fail_keys", first=1)), rule(action=action_of("fail_keys", keys=keys[3:], reason="busy"))
    )
    answer = client.recall("oto", keys).json()
    assert answer == {"successResult": keys[1:3], "failedResult": {keys[0]: "SYSTEM_ERROR", keys[3]: "busy"}}
    assert [client.recalled(key) for key in keys] == [False, True, True, False]


def test_poisoned_keys(client: RawClient) -> None:
    keys = client.create_messages("oto", 3)
    client.faults(rule(action=action_of("poison_keys", keys=keys[1:2], code="robot.processQueryKey.expired")))
    assert refused(client.recall("oto", keys), "robot.processQueryKey.expired")
    assert not any(client.recalled(key) for key in keys)
    assert client.recall("oto", [keys[0], keys[2]]).json()["successResult"] == [keys[0], keys[2]]


@pytest.mark.parametrize("recalled", [True, False])
def test_omitted_keys(client: RawClient, recalled: bool) -> None:
    keys = client.create_messages("group", 3)
    client.faults(rule(action=action_of("omit_keys", keys=keys[:1], recalled=recalled)))
    assert client.recall("group", keys).json() == {"successResult": keys[1:], "failedResult": {}}
    assert client.recalled(keys[0]) is recalled


def test_keys_in_wrong_lists(client: RawClient) -> None:
    keys = client.create_messages("private_chat", 2)
    client.faults(rule(action=action_of("both", first=1)), rule(action=action_of("extra", key="ghost")))
    answer = client.recall("private_chat", keys).json()
    assert answer == {"successResult": [*keys, "ghost"], "failedResult": {keys[0]: "SYSTEM_ERROR"}}
    client.faults(rule(action=action_of("extra", result="failed")), rule(action="list_form"))
    answer = client.recall("private_chat", keys).json()
    assert answer["failedResult"] == [{"processQueryKey": "never-asked-for", "code": "SYSTEM_ERROR"}]
    client.faults(rule(action="null_lists"))
    assert client.recall("private_chat", keys).json() == {"successResult": None, "failedResult": None}


def test_partial(client: RawClient) -> None:
    keys = client.create_messages("oto", 3)
    client.faults(rule(action=action_of("partial", first=2)))
    assert refused(client.recall("oto", keys), "notRevoke.all.messages")
    assert [client.recalled(key) for key in keys] == [True, True, False]


def test_paging(client: RawClient) -> None:
    [key] = client.create_messages("group", readers=3)
    client.faults(rule(action="paging"))
    first = client.query("group", key).json()
    assert first["hasMore"] and client.query("group", key, nextToken=first["nextToken"]).json() == first
    client.faults(rule(action=action_of("paging", mode="no_token")))
    assert client.query("group", key).json() == {
        "sendStatus": "SUCCESS",
        "readUserIds": first["readUserIds"],
        "hasMore": True,
    }
    client.faults(rule(action=action_of("paging", mode="endless")))
    tokens = [client.query("group", key).json()["nextToken"] for _ in range(3)]
    assert len(set(tokens)) == 3
    assert client.query("group", key, nextToken=tokens[0]).json()["readUserIds"] == []


def test_mutate(client: RawClient) -> None:
    [key] = client.create_messages("group")
    client.faults(rule(action=action_of("mutate", merge={"sendStatus": "LOST", "hasMore": None, "new": {"a": 1}})))
    assert client.query("group", key).json() == {"sendStatus": "LOST", "readUserIds": [], "new": {"a": 1}}
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"c": 2}}


def test_list_form_by_switch_applies_with_and_without_faults(client: RawClient) -> None:
    client.behave(failed_result_form="list", unfit_keys="per_key")
    unknown = {"processQueryKey": "unknown", "code": "invalid.processQueryKey"}
    assert client.recall("oto", ["unknown"]).json()["failedResult"] == [unknown]
    [key] = client.create_messages("oto")
    client.faults(rule(action="fail_keys"), rule(action=action_of("extra", result="failed")))
    assert client.recall("oto", [key]).json()["failedResult"] == [
        {"processQueryKey": key, "code": "SYSTEM_ERROR"},
        {"processQueryKey": "never-asked-for", "code": "SYSTEM_ERROR"},
    ]


def test_list_form_comes_last(client: RawClient) -> None:
    [key] = client.create_messages("oto")
    client.faults(rule(action="list_form"), rule(action="both"))
    answer = client.recall("oto", [key]).json()
    assert answer == {"successResult": [key], "failedResult": [{"processQueryKey": key, "code": "SYSTEM_ERROR"}]}


def test_changes_of_recalls_leave_other_responses_alone(client: RawClient) -> None:
    client.faults(rule(action="both"), rule(action="null_lists"), rule(action="paging"), rule(action="list_form"))
    assert set(client.send("group").json()) == {"processQueryKey"}


def test_first_response_is_sent(client: RawClient) -> None:
    client.faults(rule(action=action_of("html", status=503)), rule(action=action_of("html", status=504)))
    assert client.query("group", "k").status_code == 503
