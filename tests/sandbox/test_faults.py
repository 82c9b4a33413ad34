"""Faults on demand, over a real socket: what they do to the answer, and which effect the call had."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.fault_injection import merged
from tests.sandbox.sandbox_dialogue import Clock, Dialogue, refused


def _fault(**rule: Any) -> dict[str, Any]:
    action = rule.pop("action")
    return {"action": {"type": action} if isinstance(action, str) else action, **rule}


def _do(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("when", "recalled"), [("before", False), ("after", True)])
def test_drop(talk: Dialogue, when: str, recalled: bool, reset: bool) -> None:
    [key] = talk.create_messages("oto")
    talk.faults(_fault(match="batchRecall", when=when, times=1, action=_do("drop", reset=reset)))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        talk.recall("oto", [key])
    assert talk.recalled(key) is recalled
    assert talk.recall("oto", [key]).json()["successResult"] == [key], "the next connection works"
    assert talk.sandbox.state.journal.calls["robot/otoMessages/batchRecall"].cut == 1


def test_truncate(talk: Dialogue) -> None:
    [key] = talk.create_messages("oto")
    talk.faults(_fault(action=_do("truncate", bytes=9)))
    with pytest.raises(httpx.RemoteProtocolError, match="received 9 bytes"):
        talk.recall("oto", [key])
    assert talk.recalled(key)


def test_trickle_sends_it_all(talk: Dialogue) -> None:
    keys = talk.create_messages("oto", 20)
    talk.faults(_fault(action=_do("trickle", bytes_per_second=20_000)))
    assert talk.recall("oto", keys).json()["successResult"] == keys


CASES = [("before", False, False), ("after", False, True), ("before", True, True)]


@pytest.mark.parametrize(("when", "although_gone", "recalled"), CASES)
def test_delay_outlasts_a_timeout(talk: Dialogue, when: str, although_gone: bool, recalled: bool) -> None:
    [key] = talk.create_messages("oto")
    talk.faults(_fault(when=when, action=_do("delay", seconds=30, although_gone=although_gone)))
    talk.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        talk.recall("oto", [key])
    talk.http.timeout = httpx.Timeout(5)
    while len(talk.control("GET", "journal")["requests"]) < 2:
        pass  # The sandbox writes the call down once it has noticed that no caller waits any more.
    assert talk.recalled(key) is recalled


def test_delay_goes_on_as_if_nothing_were(talk: Dialogue) -> None:
    keys = talk.create_messages("oto")
    talk.faults(_fault(action=_do("delay", seconds=0)))
    assert talk.recall("oto", keys).json()["successResult"] == keys


@pytest.mark.parametrize(("when", "recalled"), [("before", False), ("after", True)])
def test_status_with_and_without_effect(talk: Dialogue, when: str, recalled: bool) -> None:
    [key] = talk.create_messages("group")
    talk.faults(_fault(when=when, action="status"))
    assert refused(talk.recall("group", [key]), "system.error", 500)
    assert talk.recalled(key) is recalled


def test_status_with_headers_and_on_the_old_host(talk: Dialogue) -> None:
    action = _do("status", status=429, code="system.busy", errcode=90002, wrapped=True, headers={"Retry-After": "3"})
    talk.faults(_fault(action=action))
    answer = talk.query("group", "k")
    assert refused(answer, "system.busy", 429) and answer.headers["retry-after"] == "3"
    assert talk.work("recall", {})["sub_code"] == "90002"


def test_answers_that_are_none(talk: Dialogue) -> None:
    for action, status, text in (
        (_do("html"), 502, "<html>"),
        (_do("html", status=503, html="<p>"), 503, "<p>"),
        (_do("body", text="{"), 200, "{"),
        (_do("body", text="", status=204, content_type="text/plain"), 204, ""),
        (_do("ban", form="html"), 200, "<html>"),
    ):
        talk.faults(_fault(action=action))
        answer = talk.query("group", "k")
        assert answer.status_code == status and answer.text.startswith(text)
    talk.faults(_fault(action=_do("ban", wait=9)))
    page = talk.query("group", "k").json()
    assert (page["status"], page["wait"], page["source"], page["punish"]) == (1111, 9, "x5", "deny")


def test_throttle_and_dead_token(talk: Dialogue) -> None:
    talk.faults(_fault(action="throttle"))
    assert refused(talk.query("group", "k"), "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", 403)
    assert talk.work("recall", {})["sub_code"] == "90018"
    talk.faults(_fault(action="dead_token", times=1))
    assert refused(talk.query("group", "k"), "InvalidAuthentication")
    assert refused(talk.query("group", "k"), "invalid.processQueryKey")
    talk.faults(_fault(action=_do("dead_token", revoke=True), times=1))
    assert refused(talk.query("group", "k"), "InvalidAuthentication")
    assert refused(talk.query("group", "k"), "InvalidAuthentication"), "really revoked"


def test_redirect_and_bomb(talk: Dialogue) -> None:
    talk.faults(_fault(action=_do("redirect", url="http://127.0.0.1:9/elsewhere")))
    answer = talk.query("group", "k")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")
    talk.faults(_fault(action=_do("gzip_bomb", megabytes=2)))
    with talk.http.stream("POST", "/v1.0/oauth2/accessToken", json={}) as bomb:
        packed = b"".join(bomb.iter_raw())
    assert len(packed) < 10_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) == 2_000_002 and json.loads(unpacked) == {}


def test_keys_that_fail(talk: Dialogue) -> None:
    keys = talk.create_messages("oto", 4)
    talk.faults(_fault(action=_do("fail_keys", first=1)), _fault(action=_do("fail_keys", keys=keys[3:], reason="busy")))
    answer = talk.recall("oto", keys).json()
    assert answer == {"successResult": keys[1:3], "failedResult": {keys[0]: "SYSTEM_ERROR", keys[3]: "busy"}}
    assert [talk.recalled(key) for key in keys] == [False, True, True, False]


def test_poisoned_keys(talk: Dialogue) -> None:
    keys = talk.create_messages("oto", 3)
    talk.faults(_fault(action=_do("poison_keys", keys=keys[1:2], code="robot.processQueryKey.expired")))
    assert refused(talk.recall("oto", keys), "robot.processQueryKey.expired")
    assert not any(talk.recalled(key) for key in keys)
    assert talk.recall("oto", [keys[0], keys[2]]).json()["successResult"] == [keys[0], keys[2]]


@pytest.mark.parametrize("recalled", [True, False])
def test_omitted_keys(talk: Dialogue, recalled: bool) -> None:
    keys = talk.create_messages("group", 3)
    talk.faults(_fault(action=_do("omit_keys", keys=keys[:1], recalled=recalled)))
    assert talk.recall("group", keys).json() == {"successResult": keys[1:], "failedResult": {}}
    assert talk.recalled(keys[0]) is recalled


def test_lists_that_lie(talk: Dialogue) -> None:
    keys = talk.create_messages("private_chat", 2)
    talk.faults(_fault(action=_do("both", first=1)), _fault(action=_do("extra", key="ghost")))
    answer = talk.recall("private_chat", keys).json()
    assert answer == {"successResult": [*keys, "ghost"], "failedResult": {keys[0]: "SYSTEM_ERROR"}}
    talk.faults(_fault(action=_do("extra", result="failed")), _fault(action="list_form"))
    answer = talk.recall("private_chat", keys).json()
    assert answer["failedResult"] == [{"processQueryKey": "never-asked-for", "code": "SYSTEM_ERROR"}]
    talk.faults(_fault(action="null_lists"))
    assert talk.recall("private_chat", keys).json() == {"successResult": None, "failedResult": None}


def test_partial(talk: Dialogue) -> None:
    keys = talk.create_messages("oto", 3)
    talk.faults(_fault(action=_do("partial", first=2)))
    assert refused(talk.recall("oto", keys), "notRevoke.all.messages")
    assert [talk.recalled(key) for key in keys] == [True, True, False]


def test_paging(talk: Dialogue) -> None:
    [key] = talk.create_messages("group", readers=3)
    talk.faults(_fault(action="paging"))
    first = talk.query("group", key).json()
    assert first["hasMore"] and talk.query("group", key, nextToken=first["nextToken"]).json() == first
    talk.faults(_fault(action=_do("paging", mode="no_token")))
    assert talk.query("group", key).json() == {
        "sendStatus": "SUCCESS",
        "readUserIds": first["readUserIds"],
        "hasMore": True,
    }
    talk.faults(_fault(action=_do("paging", mode="endless")))
    tokens = [talk.query("group", key).json()["nextToken"] for _ in range(3)]
    assert len(set(tokens)) == 3
    assert talk.query("group", key, nextToken=tokens[0]).json()["readUserIds"] == []


def test_mutate(talk: Dialogue) -> None:
    [key] = talk.create_messages("group")
    talk.faults(_fault(action=_do("mutate", merge={"sendStatus": "LOST", "hasMore": None, "new": {"a": 1}})))
    assert talk.query("group", key).json() == {"sendStatus": "LOST", "readUserIds": [], "new": {"a": 1}}
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"c": 2}}


@pytest.mark.parametrize(
    ("rule", "selected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"nth": [1, 3]}, [1, 3]),
        ({"every": 2}, [2, 4, 6]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"times": 1}, [1]),
        ({"match": "groupMessages/query", "nth": [2]}, [2]),
        ({"match": "groupMessages/Query"}, []),
        ({"probability": 0}, []),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_rule_selects_calls(talk: Dialogue, rule: dict[str, Any], selected: list[int]) -> None:
    talk.faults(_fault(action="status", **rule))
    seen = [n for n in range(1, 7) if talk.query("group", "k").status_code == 500]
    assert seen == selected
    [state] = talk.control("GET", "faults")["faults"]
    assert state["fired"] == len(selected)
    talk.control("DELETE", "faults")
    assert talk.query("group", "k").status_code == 400


def test_chance_repeats_with_the_seed() -> None:
    def draws(seed: int) -> list[bool]:
        state = default_state(seed=seed, now=Clock())
        state.faults.replace([_fault(action="status", probability=0.5)])
        return [bool(state.faults.rules_for("any", state.rng)) for _ in range(64)]

    assert draws(1) == draws(1) != draws(2)
    assert 16 < sum(draws(1)) < 48


@pytest.mark.parametrize(
    "rule", [{"action": {"type": "explode"}}, {"match": "x"}, {"action": {"type": "drop"}, "nht": [1]}]
)
def test_rules_that_are_none(talk: Dialogue, rule: dict[str, Any]) -> None:
    answer = talk.http.put("/_sandbox/faults", json=[rule])
    assert answer.status_code == 400 and "error" in answer.json()


def test_in_process_a_drop_raises() -> None:
    state = default_state(now=Clock())
    state.faults.replace([_fault(action="drop")])

    async def call() -> None:
        transport = httpx.ASGITransport(create_app(state))
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
            await http.post("/v1.0/oauth2/accessToken", json={})

    with pytest.raises(ConnectionResetError):
        asyncio.run(call())
