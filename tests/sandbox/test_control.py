"""Control API: snapshot, reset, behaviour, faults, and refused requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.raw_client import RawClient


def test_snapshot(client: RawClient) -> None:
    keys = client.create_messages("oto", 3, age_seconds=60, text="planted here")
    client.recall("oto", keys[:1])
    client.recall("oto", ["unknown"])
    snapshot = client.control("GET", "truth")
    assert snapshot["counts"] == {"oto": {"sent": 3, "recalled": 1, "visible": 2}}
    calls = snapshot["calls"]["robot/otoMessages/batchRecall"]
    assert calls == {"total": 2, "throttled": 0, "refused": 1, "cut": 0}
    first = snapshot["messages"][0]
    assert (first["key"], first["sent_at"], first["recalled_at"]) == (
        keys[0],
        client.clock.time - 60,
        client.clock.time,
    )
    assert (first["text"], first["recalls"], snapshot["people"]) == ("planted here", 1, 60)
    assert {chat["open_conversation_id"] for chat in snapshot["conversations"]} >= {"cidgroup1", "cidprivate1"}
    assert set(client.control("GET", "truth?brief=1")) == {"time", "counts", "calls"}
    assert client.sandbox.snapshot(brief=True)["counts"] == snapshot["counts"]


def test_reset(client: RawClient) -> None:
    client.create_messages("group", 2)
    client.faults({"action": {"type": "drop"}})
    client.control("POST", "clock", {"advance": 99})
    client.behave(unfit_keys="per_key")
    assert client.control("POST", "reset")["counts"] == {}
    state = client.sandbox.state
    assert (state.messages, state.faults.rules, state.clock_offset, state.tokens) == ({}, [], 0, {})
    assert state.behaviour.unfit_keys == "whole_batch"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "read", {"key": "nothing", "count": 1}),
        ("POST", "plant", {"kind": "pigeon"}),
        ("POST", "plant", {"kind": "group", "open_conversation_id": "cidnowhere"}),
        ("PUT", "behaviour", {"mood": "good"}),
        ("PUT", "behaviour", {"unfit_keys": "maybe"}),
        ("POST", "clock", {"forward": 1}),
        ("POST", "robots", {"robot_code": "dingnobody"}),
    ],
)
def test_invalid_requests(client: RawClient, method: str, path: str, body: Any) -> None:
    answer = client.http.request(method, f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400 and answer.json()["error"]


def test_faults_never_apply_to_the_control_api(client: RawClient) -> None:
    client.faults({"action": {"type": "drop"}})
    assert client.control("GET", "faults")["faults"][0]["seen"] == 0
